"""The command line: bad input gives one clear error and exit code 2, results go to stdout, the rest to stderr."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from weightgate.audit.cli.main import hoist

if TYPE_CHECKING:
    from conftest import Command
    from weightgate.probes.twin.models import Twin

Spoil = Callable[[Path], object]


def truncated(model: Path) -> None:
    file = model / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def no_header(model: Path) -> None:
    (model / "model.safetensors").write_bytes(struct.pack("<Q", 1 << 60) + b"{}")


def not_a_number(model: Path) -> None:
    tensors = load_file(model / "model.safetensors")
    name = min(tensors)
    tensors[name] = np.full_like(tensors[name], np.nan)
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})


def pickle_only(model: Path) -> None:
    (model / "model.safetensors").unlink()
    (model / "pytorch_model.bin").write_bytes(b"\x80\x04cposix\nsystem\n.")


def edited(field: str, value: object) -> Spoil:
    def edit(model: Path) -> None:
        config = json.loads((model / "config.json").read_text())
        (model / "config.json").write_text(json.dumps(config | {field: value}))

    return edit


def no_config(model: Path) -> None:
    (model / "config.json").unlink()


def other_vocabulary(model: Path) -> None:
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    words = tokenizer["model"]["vocab"]
    one, two = sorted(words)[200:202]
    words[one], words[two] = words[two], words[one]
    (model / "tokenizer.json").write_text(json.dumps(tokenizer))


SPOILED: dict[str, tuple[Spoil, str]] = {
    "truncated safetensors": (truncated, "model.safetensors"),
    "a header beyond the file": (no_header, "model.safetensors"),
    "weights that are not numbers": (not_a_number, "NaN"),
    "a pickle and nothing else": (pickle_only, "pytorch_model.bin"),
    "another hidden size": (edited("hidden_size", 96), "hidden_size"),
    "another vocabulary size": (edited("vocab_size", 99), "vocab_size"),
    "words with other numbers": (other_vocabulary, "tokenizer"),
    "no configuration": (no_config, "config.json"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_spoiled_child_is_one_clear_error(twin: Twin, weightgate: Command, tmp_path: Path, name: str) -> None:
    """The error names the file or field and says what to do; exit code 2; no run folder is left behind."""
    spoil, named = SPOILED[name]
    child = shutil.copytree(twin.children["benign"], tmp_path / "child")
    spoil(child)
    said = weightgate("gate", twin.parent, child, "--out", tmp_path / "run", "-q")
    assert said.code == 2, said.err
    assert named in said.err
    assert "Traceback" not in said.err
    assert "try:" in said.err
    assert said.out == ""
    assert not (tmp_path / "run").exists()


def test_missing_things_are_named(twin: Twin, weightgate: Command, tmp_path: Path) -> None:
    """A model, a data file, a policy, a key and a probe that are not there."""
    parent, child = twin.parent, twin.children["benign"]
    for arguments, named in (
        ((tmp_path / "nothing", child), "nothing"),
        ((parent, child, "--data", tmp_path / "rows.jsonl"), "rows.jsonl"),
        ((parent, child, "--policy", "defualt"), "default"),
        ((parent, child, "--key", tmp_path / "key.pem"), "key.pem"),
        ((parent, child, "--probes", "alignmnet.*"), "alignmnet"),
    ):
        said = weightgate("gate", *arguments)
        assert (said.code, named in said.err) == (2, True), said.err


def test_an_unknown_policy_key_is_named_with_its_line(twin: Twin, weightgate: Command, tmp_path: Path) -> None:
    """A misspelt key in a policy never silently loosens it."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "name: mine\nversion: 1\nrequire: [{probe: alignment.refusal}]\n"
        "budgets:\n  - {metric: regression.suite/accuracy, max_dorp: 0.1}\n"
    )
    said = weightgate("gate", twin.parent, twin.children["benign"], "--policy", policy)
    assert said.code == 2
    assert "max_dorp" in said.err
    assert "policy.yaml" in said.err


def test_an_unwritable_out_folder_is_an_error_before_any_scoring(
    twin: Twin, weightgate: Command, tmp_path: Path
) -> None:
    """A path below a file is found out before time is spent."""
    (tmp_path / "file").write_text("x")
    said = weightgate("gate", twin.parent, twin.children["benign"], "--out", tmp_path / "file" / "run")
    assert (said.code, "file" in said.err) == (2, True)


def test_broken_rows_are_named_with_their_line(twin: Twin, weightgate: Command, tmp_path: Path) -> None:
    """Training data that is not JSON lines is refused with file and line."""
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "fine"}\n{"text": \n')
    said = weightgate("gate", twin.parent, twin.children["benign"], "--data", rows)
    assert said.code == 2
    assert "rows.jsonl" in said.err
    assert "2" in said.err


def test_errors_are_an_object_with_json(weightgate: Command, tmp_path: Path) -> None:
    """With --json even an error is one object on stdout."""
    said = weightgate("diff", tmp_path / "a", tmp_path / "b", "--json")
    assert said.code == 2
    assert said.json["exit_code"] == 2


def test_global_flags_work_before_and_after_the_command(twin: Twin, weightgate: Command) -> None:
    """`weightgate --json probes` and `weightgate probes --json` are the same."""
    assert weightgate("--json", "probes").json == weightgate("probes", "--json").json
    assert hoist(["gate", "a", "-q", "--", "-v"]) == ["-q", "gate", "a", "--", "-v"]


def test_probes_are_listed_with_needs_and_limits(weightgate: Command) -> None:
    """Every probe says what it needs and what it cannot see."""
    found = weightgate("probes", "--json").json["probes"]
    assert {"alignment", "poisoning", "privacy", "regression"} <= {probe["family"] for probe in found}
    assert all(probe["limits"] for probe in found)
    table = weightgate("probes")
    assert all(probe["name"] in table.out for probe in found)


def test_diff_shows_what_changed(twin: Twin, weightgate: Command, tmp_path: Path) -> None:
    """As a table within 80 columns, as JSON, and as one HTML file."""
    table = weightgate("diff", twin.parent, twin.children["benign"])
    assert table.code == 0
    assert max(map(len, table.out.splitlines())) <= 100
    assert "tensors differ" in table.out
    whole = weightgate("diff", twin.parent, twin.children["benign"], "--json").json
    assert whole["difference"]["weights"]["tensors"]
    page = weightgate("diff", twin.parent, twin.children["benign"], "--format", "html", "--out", tmp_path / "d.html")
    assert page.code == 0
    assert (tmp_path / "d.html").read_text().lstrip().lower().startswith("<!doctype html>")


def test_diff_of_equal_checkpoints_says_identical(twin: Twin, weightgate: Command) -> None:
    """Nothing changed is a result of its own."""
    assert "identical" in weightgate("diff", twin.parent, twin.parent).out


def test_keygen_never_overwrites(weightgate: Command, tmp_path: Path) -> None:
    """A second key of the same name is refused; the first stays as it was."""
    assert weightgate("keygen", tmp_path / "k.pem", "--kind", "ecdsa-p256").code == 0
    before = (tmp_path / "k.pem").read_bytes()
    assert weightgate("keygen", tmp_path / "k.pem").code == 2
    assert (tmp_path / "k.pem").read_bytes() == before


def test_verify_of_something_else_is_an_input_error(weightgate: Command, tmp_path: Path) -> None:
    """A folder that is no run, and a file that is no changeset."""
    weightgate("keygen", tmp_path / "k.pem")
    (tmp_path / "empty").mkdir()
    assert weightgate("verify", tmp_path / "empty", "--public-key", tmp_path / "k.pub").code == 2
    (tmp_path / "x.json").write_text("{}")
    assert weightgate("verify", tmp_path / "x.json", "--public-key", tmp_path / "k.pub").code in (2, 4)


def test_a_crash_is_never_a_verdict(weightgate: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An unexpected exception exits 2 with a traceback: 0 or 1 would read as approve or block."""
    from weightgate.audit import compare

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(compare, "compare", broken)
    said = weightgate("diff", tmp_path, tmp_path)
    assert (said.code, "boom" in said.err) == (2, True)
