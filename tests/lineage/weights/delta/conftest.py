"""Checkpoints of any tensors in any shards, and deltas with a forged header."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

Tensors = Mapping[str, tuple[str, tuple[int, ...], bytes]]
MAGIC = b"\x89WGD\r\n\x1a\n"


def safetensors_file(tensors: Tensors) -> bytes:
    """A safetensors file whose header has spaces in it, as some writers pad it."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [end, end + len(data)]}
        end += len(data)
    encoded = json.dumps(header).encode() + b"   "
    return len(encoded).to_bytes(8, "little") + encoded + b"".join(data for _, _, data in tensors.values())


@pytest.fixture(scope="session")
def write_model() -> Callable[..., Path]:
    """Writes a model folder: tensors spread over ``shards`` files in turn, and further files by name."""

    def write(folder: Path, tensors: Tensors, shards: int = 1, files: Mapping[str, bytes] | None = None) -> Path:
        folder.mkdir(parents=True)
        if shards == 1:
            (folder / "model.safetensors").write_bytes(safetensors_file(tensors))
        else:
            placed = {name: f"model-{at % shards}.safetensors" for at, name in enumerate(tensors)}
            for shard in set(placed.values()):
                inside = {name: tensor for name, tensor in tensors.items() if placed[name] == shard}
                (folder / shard).write_bytes(safetensors_file(inside))
            (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": placed}))
        for name, data in {"config.json": b'{"model_type": "llama"}', **(files or {})}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        return folder

    return write


@pytest.fixture(scope="session")
def contents() -> Callable[[Path], dict[str, bytes]]:
    """Every file of a folder, by its name relative to it."""

    def read(folder: Path) -> dict[str, bytes]:
        return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}

    return read


@pytest.fixture(scope="session")
def reseal() -> Callable[..., bytes]:
    """A delta with another header or other blocks, and a digest that fits: what an attacker would write."""

    def forge(delta: bytes, header: bytes | None = None, blocks: bytes | None = None) -> bytes:
        length = int.from_bytes(delta[12:20], "little")
        header = delta[20 : 20 + length] if header is None else header
        blocks = delta[20 + length : -32] if blocks is None else blocks
        data = MAGIC + (1).to_bytes(4, "little") + len(header).to_bytes(8, "little") + header + blocks
        return data + hashlib.sha256(data).digest()

    return forge
