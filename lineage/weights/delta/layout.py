"""A checkpoint as files, and a file as regions: the header of a safetensors file, its tensors, or a whole document."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from weightgate.lineage.errors import InputError
from weightgate.lineage.weights.checkpoint import Checkpoint
from weightgate.lineage.weights.folder import list_files
from weightgate.lineage.weights.safetensors_file import TensorInfo, blocks


@dataclass(frozen=True, slots=True)
class Region:
    """A run of bytes of a file."""

    where: TensorInfo
    is_tensor: bool

    def read(self, start: int, size: int) -> bytes:
        """``size`` bytes from ``start`` on; zeros beyond its end.

        Raises:
            InputError: the file cannot be read.
        """
        inside = max(0, min(size, self.where.nbytes - start))
        part = replace(self.where, start=self.where.start + start, nbytes=inside)
        return b"".join(blocks(part, size)).ljust(size, b"\0")

    def sha256(self) -> str:
        """Of all its bytes, in lower-case hexadecimal.

        Raises:
            InputError: the file cannot be read.
        """
        hasher = hashlib.sha256()
        for block in blocks(self.where):
            hasher.update(block)
        return hasher.hexdigest()


def stored_files(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Names of the files a delta holds: weights and every other file but pickles and stray weights, ordered."""
    if checkpoint.kind == "file":
        return (checkpoint.path.name,)
    apart = {*checkpoint.pickles, *checkpoint.unread}
    return tuple(name for name in list_files(checkpoint.path) if name not in apart)


def home(checkpoint: Checkpoint) -> Path:
    """The folder that its files' names are relative to."""
    return checkpoint.path.parent if checkpoint.kind == "file" else checkpoint.path


def regions(checkpoint: Checkpoint, name: str) -> tuple[Region, ...]:
    """The file ``name``, cut into regions that follow each other.

    Raises:
        InputError: the file cannot be read.
    """
    path = home(checkpoint) / name
    tensors = sorted(
        (tensor for tensor in checkpoint.tensors.values() if tensor.file == path),
        key=lambda tensor: (tensor.start, tensor.nbytes),
    )
    head = region_of_file(path, end=tensors[0].start if tensors else None)
    return (head, *(Region(tensor, is_tensor=True) for tensor in tensors))


def region_of_file(path: Path, end: int | None = None) -> Region:
    """The bytes of a file up to ``end``, all of them if None.

    Raises:
        InputError: there is no such file.
    """
    try:
        size = path.stat().st_size if end is None else end
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", remedy="check the path and its rights") from error
    return Region(TensorInfo(path.name, "U8", (size,), path, 0, size), is_tensor=False)
