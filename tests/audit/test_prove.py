"""One tensor, checked against a signed changeset without the others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.weights.checkpoint import Checkpoint
from weightgate.lineage.weights.fingerprint import fingerprint
from weightgate.lineage.weights.tensor_proof import (
    TensorProof,
    check_proof,
    check_tensor,
    proof_bytes,
    prove,
    read_proof,
)

if TYPE_CHECKING:
    from conftest import Command
    from weightgate.probes.twin.models import Twin

TENSOR = "model.norm.weight"


def shards(folder: Path, tensors: int = 2000) -> Path:
    """A model of many small tensors in two shards."""
    from safetensors.numpy import save_file

    folder.mkdir()
    weight_map = {}
    for shard in range(2):
        names = [f"layers.{number}.weight" for number in range(shard, tensors, 2)]
        file = f"model-{shard}.safetensors"
        save_file({name: np.full(3, len(name) + shard, np.float32) for name in names}, folder / file)
        weight_map |= dict.fromkeys(names, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    (folder / "config.json").write_text("{}")
    return folder


def test_a_shard_is_enough(tmp_path: Path) -> None:
    """Of two thousand tensors in two shards one is checked, with the other shard gone; the proof is under 2 KB."""
    model = shards(tmp_path / "model")
    found = fingerprint(Checkpoint.open(model))
    proof = prove(found, "layers.7.weight")
    assert len(proof_bytes(proof)) < 2048
    check_proof(proof, found.tensor_root)
    (model / "model-0.safetensors").unlink()
    assert check_tensor(proof, model) == check_tensor(proof, model / "model-1.safetensors") == 12
    with pytest.raises(InputError, match="is not there"):
        check_tensor(prove(found, "layers.8.weight"), model)


def test_any_other_proof_is_refused(tmp_path: Path) -> None:
    """Each field changed: the proof no longer leads to the root; another root is not reached either."""
    found = fingerprint(Checkpoint.open(shards(tmp_path / "model", 9)))
    proof = prove(found, "layers.3.weight")
    changes: list[dict[str, Any]] = [
        {"index": proof.index + 1},
        {"size": proof.size + 8},
        {"path": proof.path[:-1]},
        {"path": (*proof.path, "0" * 64)},
        {"path": ("0" * 64, *proof.path[1:])},
        {"tensor": proof.tensor.model_copy(update={"name": "layers.4.weight"})},
        {"tensor": proof.tensor.model_copy(update={"shape": (1, 3)})},
        {"tensor": proof.tensor.model_copy(update={"dtype": "I32"})},
        {"tensor": proof.tensor.model_copy(update={"sha256": "0" * 64})},
    ]
    for change in changes:
        with pytest.raises(IntegrityError):
            check_proof(proof.model_copy(update=change), found.tensor_root)
    with pytest.raises(IntegrityError):
        check_proof(proof, "0" * 64)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace('"index":3', '"index":3.0'),
        lambda text: text.replace('"index":', '"index": '),
        lambda text: text.replace('"version":"1"', '"version":"2"'),
        lambda text: text.replace('"path":["', '"path":["zz'),
        lambda text: text[:-2],
        lambda text: text + " " * 20_000,
        lambda text: "[" * 5000,  # noqa: ARG005 - one signature for all
    ],
)
def test_hostile_proof_files_are_refused(spoil: Any, tmp_path: Path) -> None:
    """Anything but the canonical form is one clear error."""
    found = fingerprint(Checkpoint.open(shards(tmp_path / "model", 9)))
    proof = TensorProof(**{**prove(found, "layers.3.weight").model_dump(), "index": 3})
    (tmp_path / "p").write_text(spoil(proof_bytes(proof).decode()))
    with pytest.raises(InputError):
        read_proof(tmp_path / "p")


def test_the_commands_prove_and_verify(twin: Twin, weightgate: Command, tmp_path: Path) -> None:
    """A proof of the audited child holds against its changeset; of another model, or a changed tensor, it does not."""
    child, run = tmp_path / "child", tmp_path / "run"
    shutil.copytree(twin.children["benign"], child)
    weightgate("gate", twin.parent, child, "--probes", "poisoning.files", "--out", run, "--policy", "research")
    made = weightgate("prove", child, "--tensor", TENSOR, "--out", tmp_path / "norm.proof", "--json")
    assert made.json["bytes"] < 2048
    check = ("verify", run / "changeset.json", "--proof", tmp_path / "norm.proof")
    (child / "config.json").unlink()
    good = weightgate(*check, "--tensor", TENSOR, "--model", child, "--json")
    assert good.code == 0, good.err
    assert any(c["name"] == "tensor" and "bytes read" in c["detail"] for c in good.json["checks"])
    assert weightgate(*check, "--tensor", "lm_head.weight").code == 2
    assert weightgate(*check, "--parent", twin.parent).code == 2

    weightgate("prove", twin.children["eroded"], "--tensor", TENSOR, "--out", tmp_path / "other.proof")
    assert weightgate("verify", run, "--proof", tmp_path / "other.proof").code == 4
    file = child / "model.safetensors"
    tensor = next(t for t in _headers(file) if t.name == TENSOR)
    data = bytearray(file.read_bytes())
    data[tensor.start] ^= 1
    file.write_bytes(data)
    assert weightgate(*check, "--model", child).code == 4


def _headers(file: Path) -> Any:
    from weightgate.lineage.weights.safetensors_file import read_header

    return read_header(file)
