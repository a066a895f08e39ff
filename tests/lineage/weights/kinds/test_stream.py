"""Streams of fast weights: how many steps, their chain, and how far they go together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.lineage.weights.kinds.conftest import encode, network

from weightgate.lineage.errors import InputError
from weightgate.lineage.weights.checkpoint import Checkpoint
from weightgate.lineage.weights.delta.apply import apply
from weightgate.lineage.weights.delta.pack import pack
from weightgate.lineage.weights.fingerprint import fingerprint
from weightgate.lineage.weights.update import open_update

NAME = "model.layers.1.mlp.up_proj.weight"


@pytest.fixture
def parent(model_folder: Callable[..., Path]) -> Path:
    return model_folder("parent", tensors={name: encode(array, "BF16") for name, array in network().items()})


def written(folder: Path, steps: list[dict[str, Any]], config: dict[str, Any] | None = None) -> Path:
    from safetensors.numpy import save_file

    folder.mkdir()
    for number, arrays in enumerate(steps, 1):
        save_file({name: np.asarray(a, "<f4") for name, a in arrays.items()}, folder / f"step-{number:06d}.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(config or {"peft_type": "FAST_WEIGHTS"}))
    return folder


def test_a_stream_is_described(parent: Path, tmp_path: Path) -> None:
    """Three steps that partly undo each other: sum, path, largest step, and the chain of digests."""
    ones = np.ones((128, 64))
    folder = written(tmp_path / "stream", [{NAME: 0.01 * ones}, {NAME: 0.03 * ones}, {NAME: -0.02 * ones}])
    update = open_update(parent, folder)
    stream = update.delta.facts.stream
    assert update.kind == "fast-weights"
    assert stream is not None
    length = np.sqrt(sum(np.square(array).sum() for array in network().values()))
    assert (stream.steps, stream.largest_step) == (3, 2)
    assert stream.norm == pytest.approx(0.02 * np.sqrt(ones.size) / length, rel=1e-2)
    assert stream.path == pytest.approx(0.06 * np.sqrt(ones.size) / length, rel=1e-2)
    head = bytes(32)
    for number in (1, 2, 3):
        root = fingerprint(Checkpoint.open(folder / f"step-{number:06d}.safetensors")).tensor_root
        head = hashlib.sha256(head + bytes.fromhex(root)).digest()
    assert (stream.head, stream.last) == (head.hex(), root)
    assert [change.name for change in update.delta.changed] == [NAME]


def test_the_order_of_steps_is_part_of_the_chain(parent: Path, tmp_path: Path) -> None:
    """The same steps in another order sum up to the same weights and are another stream."""
    one, two = ({NAME: np.full((128, 64), value)} for value in (0.01, 0.02))
    first, second = (
        open_update(parent, written(tmp_path / name, steps)).delta.facts.stream
        for name, steps in (("ab", [one, two]), ("ba", [two, one]))
    )
    assert first is not None
    assert second is not None
    assert first.norm == pytest.approx(second.norm)
    assert first.head != second.head


def test_a_stream_survives_packing(parent: Path, tmp_path: Path) -> None:
    """Bit by bit, as any child."""
    folder = written(tmp_path / "stream", [{NAME: np.ones((128, 64))}, {NAME: np.ones((128, 64))}])
    pack(parent, folder, tmp_path / "delta")
    apply(parent, tmp_path / "delta", tmp_path / "again")
    for file in folder.iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()


def test_what_is_no_stream_is_refused(parent: Path, tmp_path: Path) -> None:
    """A gap, a tensor that does not fit, another configuration."""
    step = {NAME: np.ones((128, 64))}
    gap = written(tmp_path / "gap", [step, step, step])
    (gap / "step-000002.safetensors").unlink()
    with pytest.raises(InputError, match="do not follow each other"):
        open_update(parent, gap)
    with pytest.raises(InputError, match="does not fit"):
        open_update(parent, written(tmp_path / "other", [{NAME: np.ones(3)}]))
    with pytest.raises(InputError, match="FAST_WEIGHTS"):
        open_update(parent, written(tmp_path / "lora", [step], {"peft_type": "LORA"}))
