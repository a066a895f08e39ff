"""Recipes: read and hashed, never run; whatever is hostile is one clear error."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from weightgate.lineage.errors import InputError
from weightgate.lineage.recipe import Recipe, checked_path, load_recipe

SAID = {"command": ["python", "train.py"], "inputs": ["train.py", "data"], "output": "out/child"}


def recipe(folder: Path, **changes: Any) -> Path:
    """A recipe in a folder with a script and two rows of data; fields that are None are left out."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    (folder / "train.py").write_text("raise SystemExit('this must not be run')\n")
    for name in ("b.jsonl", "a.jsonl"):
        (folder / "data" / name).write_text(name)
    document = {key: value for key, value in {**SAID, **changes}.items() if value is not None}
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def test_inputs_are_files_by_their_digest_in_order(tmp_path: Path) -> None:
    """Folders are taken file by file."""
    found = load_recipe(recipe(tmp_path, seeds={"torch": 7}, threads=2, environment={"CUBLAS": ":4096:8"}))
    assert [entry.path for entry in found.inputs] == ["data/a.jsonl", "data/b.jsonl", "train.py"]
    assert found.inputs[0].sha256 == hashlib.sha256(b"a.jsonl").hexdigest()
    assert (found.seeds, found.threads, found.output) == ({"torch": 7}, 2, "out/child")
    assert Recipe.model_validate_json(found.model_dump_json()) == found


def test_json_says_the_same(tmp_path: Path) -> None:
    """A recipe may be JSON."""
    path = recipe(tmp_path)
    same = tmp_path / "recipe.json"
    same.write_text(json.dumps(SAID))
    assert load_recipe(same) == load_recipe(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"command": "python train.py"}, "command"),
        ({"command": []}, "needs command"),
        ({"command": ["a\0b"]}, "NUL"),
        ({"inputs": ["../secret"]}, "within the recipe's folder"),
        ({"inputs": ["/etc/passwd"]}, "within the recipe's folder"),
        ({"inputs": ["missing"]}, "no such file"),
        ({"inputs": ["data/../train.py"]}, "shortest form"),
        ({"output": "../child"}, "within the recipe's folder"),
        ({"output": "data"}, "overlap"),
        ({"output": "."}, "names of their own"),
        ({"output": "train.py/x"}, "overlap"),
        ({"parent": "out"}, "overlap"),
        ({"directory": ".."}, "within the recipe's folder"),
        ({"threads": 0}, "threads"),
        ({"seeds": {"torch": -1}}, "seeds"),
        ({"environment": {"PATH": "/tmp"}}, "cannot be set"),  # noqa: S108
        ({"environment": {"OMP_NUM_THREADS": "9"}}, "cannot be set"),
        ({"environment": {"A=B": "1"}}, "cannot be set"),
        ({"allowed": ["HOME"]}, "cannot be set"),
        ({"tolerance": {"max_abs": -1, "relative_norm": 0}}, "tolerance"),
        ({"dvc": "train"}, "instead of"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_faulty_recipe_is_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    """By one error that names the field or the path."""
    with pytest.raises(InputError, match=message):
        load_recipe(recipe(tmp_path, **changes))


@pytest.mark.parametrize(
    "text", ["", "[]", "&a [*a]", "command: !!python/object/apply:os.system [id]", "a: 1\na: 2", "\xff", "{" * 10_000]
)
def test_other_documents_are_refused(text: str, tmp_path: Path) -> None:
    """Not a map, aliases, tags, repeated keys, no text, and nested without end."""
    path = tmp_path / "recipe.yaml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError):
        load_recipe(path)


@given(st.text(max_size=30))
def test_no_path_leaves_the_folder(path: str) -> None:
    """A path that is accepted leads to a place within the folder it starts from."""
    try:
        plain = checked_path(path)
    except ValueError:
        return
    home = "/recipe/folder"
    assert os.path.normpath(os.path.join(home, plain)).startswith(home)  # noqa: PTH118


@given(st.binary(max_size=300))
def test_any_bytes_give_a_recipe_or_one_error(data: bytes) -> None:
    """Nothing but InputError comes out of any file."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("recipe.yaml", "recipe.json"):
            path = Path(folder, name)
            path.write_bytes(data)
            with pytest.raises(InputError):
                load_recipe(path)


def test_a_signed_recipe_is_checked_like_a_written_one() -> None:
    """Paths of a changeset that somebody else signed are not trusted either."""
    entry = {"path": "../x", "sha256": "0" * 64, "nbytes": 1}
    for change in ({"inputs": [entry]}, {"output": "/etc"}, {"parent": "a/../../b"}, {"directory": "/"}):
        with pytest.raises(ValidationError):
            Recipe.model_validate({"command": ["x"], "inputs": [], "output": "o", **change})


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    """A git repository with a DVC pipeline of one stage that was run by DVC itself."""
    pytest.importorskip("dvc", reason="DVC is not installed")
    folder = tmp_path / "repository"
    (folder / "data").mkdir(parents=True)
    for name in ("z/1.jsonl", "a.jsonl"):
        (folder / "data" / name).parent.mkdir(exist_ok=True)
        (folder / "data" / name).write_text(name)
    (folder / "params.yaml").write_text("train:\n  steps: 3\n")
    (folder / "copy.py").write_text(
        "import pathlib, sys\nout = pathlib.Path(sys.argv[2]); out.mkdir(exist_ok=True)\n"
        "(out / 'x').write_bytes(pathlib.Path(sys.argv[1], 'a.jsonl').read_bytes())\n"
    )
    stage = {
        "cmd": "python copy.py data out --steps ${train.steps}",
        "deps": ["copy.py", "data"],
        "params": ["train.steps"],
        "outs": ["out"],
    }
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"train": stage}}))
    (folder / "recipe.yaml").write_text("dvc: train\n")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "DVC_NO_ANALYTICS": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
    }
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"], ["dvc", "repro", "-q"]):
        program = shutil.which(command[0], path=environment["PATH"])
        if program is None:
            pytest.skip(f"{command[0]} is not installed")
        subprocess.run([program, *command[1:]], cwd=folder, env=environment, check=True, capture_output=True)
    return folder


def test_a_stage_of_dvc_is_read_without_dvc(pipeline: Path) -> None:
    """The command as it was run, its dependencies and parameter file by SHA-256, and its output."""
    found = load_recipe(pipeline / "recipe.yaml")
    assert found.command == ("python", "copy.py", "data", "out", "--steps", "3")
    assert [entry.path for entry in found.inputs] == ["copy.py", "data/a.jsonl", "data/z/1.jsonl", "params.yaml"]
    assert (found.output, found.directory, found.stage) == ("out", ".", "train")


def test_a_stage_whose_files_changed_since_is_refused(pipeline: Path) -> None:
    """What dvc.lock names by MD5 must be what is there: a file, a file in a folder, a parameter and the command."""
    for name, text in (("copy.py", "pass"), ("data/z/1.jsonl", "other"), ("params.yaml", "train:\n  steps: 4\n")):
        before = (pipeline / name).read_text()
        (pipeline / name).write_text(text)
        with pytest.raises(InputError, match=r"dvc\.lock"):
            load_recipe(pipeline / "recipe.yaml")
        (pipeline / name).write_text(before)
    written = (pipeline / "dvc.yaml").read_text()
    (pipeline / "dvc.yaml").write_text(written.replace("${train.steps}", "9"))
    with pytest.raises(InputError, match="not the one in dvc"):
        load_recipe(pipeline / "recipe.yaml")


def test_stages_that_cannot_be_replayed_are_refused(pipeline: Path) -> None:
    """No such stage, a shell, a path out of the folder, and an output that is none."""
    (pipeline / "recipe.yaml").write_text("dvc: other\n")
    with pytest.raises(InputError, match="no stage"):
        load_recipe(pipeline / "recipe.yaml")
    (pipeline / "recipe.yaml").write_text("dvc: train\noutput: data\n")
    with pytest.raises(InputError, match="which of the outputs"):
        load_recipe(pipeline / "recipe.yaml")
    (pipeline / "recipe.yaml").write_text("dvc: train\n")
    lock = yaml.safe_load((pipeline / "dvc.lock").read_text())
    for change, message in (
        ({"cmd": "python copy.py | tee log"}, "needs a shell"),
        ({"cmd": "python 'copy.py"}, "split into words"),
        ({"deps": [{"path": "../../etc/passwd", "md5": "0" * 32, "hash": "md5"}]}, "within the recipe's folder"),
        ({"deps": "x"}, "malformed"),
        ({"deps": [{"path": "copy.py", "md5": "0" * 32}]}, "no MD5 of it as DVC 3"),
    ):
        document = {"schema": "2.0", "stages": {"train": {**lock["stages"]["train"], **change}}}
        (pipeline / "dvc.lock").write_text(yaml.safe_dump(document))
        with pytest.raises(InputError, match=message):
            load_recipe(pipeline / "recipe.yaml")
