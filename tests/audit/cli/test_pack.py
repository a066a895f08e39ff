"""weightgate pack and apply, as they are called."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., Any]


def weights(values: bytes) -> bytes:
    header = b'{"w":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}}' % (len(values), len(values))
    return len(header).to_bytes(8, "little") + header + values


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A parent and a child folder with a pickle."""
    for name, values in (("parent", b"a" * 100), ("child", b"a" * 99 + b"b")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(weights(values))
        (tmp_path / name / "config.json").write_text('{"model_type": "llama"}')
    (tmp_path / "child" / "optimizer.pt").write_bytes(b"pickle")
    return tmp_path / "parent", tmp_path / "child"


def test_a_child_goes_there_and_back(weightgate: Command, pair: tuple[Path, Path]) -> None:
    """One JSON object a command; the files come back, what was left out is named."""
    parent, child = pair
    packed = weightgate("pack", parent, child, "--out", "delta", "--json")
    assert packed.code == 0
    assert packed.json["codecs"] == {"xor": 1}
    assert packed.json["left_out"] == ["optimizer.pt"]
    assert "optimizer.pt" in packed.err
    assert packed.json["bytes"] == Path("delta").stat().st_size
    applied = weightgate("apply", parent, "delta", "--out", "again", "--json")
    assert applied.code == 0
    assert applied.json["root"] == packed.json["child"]
    for name in ("model.safetensors", "config.json"):
        assert Path("again", name).read_bytes() == (child / name).read_bytes()


def test_people_read_sizes_and_roots(weightgate: Command, pair: tuple[Path, Path]) -> None:
    """Without --json."""
    parent, child = pair
    packed = weightgate("pack", parent, child, "--out", "delta")
    assert "tensors: 1 xor" in packed.out
    applied = weightgate("apply", parent, "delta", "--out", "again")
    assert applied.out.splitlines()[-1].removeprefix("root ") in packed.out


def test_exit_codes(weightgate: Command, pair: tuple[Path, Path]) -> None:
    """4 where something does not check out, 2 where the input is no good."""
    parent, child = pair
    weightgate("pack", parent, child, "--out", "delta")
    assert weightgate("apply", child, "delta", "--out", "again").code == 4
    Path("damaged").write_bytes(Path("delta").read_bytes()[:-1])
    assert weightgate("apply", parent, "damaged", "--out", "again").code == 4
    assert weightgate("apply", parent, parent / "config.json", "--out", "again").code == 2
    assert weightgate("pack", parent, child, "--out", "delta").code == 2
    assert weightgate("pack", parent, "nowhere", "--out", "other").code == 2
    assert not Path("again").exists()
