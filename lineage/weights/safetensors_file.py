"""A strict reader of safetensors files: the header is checked against the file before a byte of a tensor is used.

The format is the one of the safetensors library: eight bytes with the header's length (little-endian), a JSON header,
and the tensors' bytes, which the header must cover without gaps or overlaps.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

from weightgate.lineage.errors import InputError
from weightgate.lineage.strict_json import parse

MAX_HEADER_BYTES = 100_000_000  # the library's own limit
MAX_NAME = 1000
MAX_DIMENSIONS = 64
BLOCK_BYTES = 1 << 18  # large enough to make a read cheap, small enough to stay in a core's cache

DTYPE_BITS = MappingProxyType(
    {
        "BOOL": 8,
        "F4": 4,
        "F6_E2M3": 6,
        "F6_E3M2": 6,
        "U8": 8,
        "I8": 8,
        "F8_E5M2": 8,
        "F8_E4M3": 8,
        "F8_E8M0": 8,
        "F8_E4M3FNUZ": 8,
        "F8_E5M2FNUZ": 8,
        "I16": 16,
        "U16": 16,
        "F16": 16,
        "BF16": 16,
        "I32": 32,
        "U32": 32,
        "F32": 32,
        "C64": 64,
        "F64": 64,
        "I64": 64,
        "U64": 64,
    }
)
"""Bits of one element, for every dtype of safetensors 0.8."""

_DAMAGED = "the file is damaged or was not written by safetensors: download or save it again"


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Where one tensor lies: ``nbytes`` little-endian bytes from byte ``start`` of ``file``, in row-major order."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    start: int
    nbytes: int

    @property
    def elements(self) -> int:
        """Number of elements; 1 for a scalar."""
        return math.prod(self.shape)


def read_header(path: Path) -> tuple[TensorInfo, ...]:
    """The tensors of a safetensors file, in the order of their bytes.

    Raises:
        InputError: unreadable, truncated, a header that is too large or not JSON, a key given twice, an unknown dtype,
            a shape that does not fit its bytes, or offsets that overlap, leave holes or leave the file.
    """
    try:
        with path.open("rb") as file:
            header, data_start, size = _read_header_json(file, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", remedy="check the path and its rights") from error
    tensors = [_tensor(path, name, entry, data_start) for name, entry in header.items() if name != "__metadata__"]
    tensors.sort(key=lambda tensor: (tensor.start, tensor.nbytes))
    _check_cover(path, tensors, data_start, size)
    return tuple(tensors)


def blocks(tensor: TensorInfo, size: int = BLOCK_BYTES) -> Iterator[bytes]:
    """The bytes of a tensor in pieces of ``size`` bytes, the last one shorter.

    Plain reads instead of a memory map: mapped pages count against the process and make no pass faster.

    Raises:
        InputError: the file became unreadable or shorter since its header was read.
    """
    left = tensor.nbytes
    try:
        with tensor.file.open("rb") as file:
            file.seek(tensor.start)
            while left:
                block = file.read(min(size, left))
                if len(block) < min(size, left):
                    raise InputError(f"{tensor.file}: ends within tensor {tensor.name!r}", remedy=_DAMAGED)
                left -= len(block)
                yield block
    except OSError as error:
        raise InputError(
            f"{tensor.file}: tensor {tensor.name!r} cannot be read: {error.strerror}", remedy="check the disk"
        ) from error


def _read_header_json(file: BinaryIO, path: Path) -> tuple[dict[str, Any], int, int]:
    size = file.seek(0, 2)
    file.seek(0)
    prefix = file.read(8)
    if len(prefix) < 8:
        raise InputError(f"{path}: {size} bytes are too few for a safetensors file", remedy=_DAMAGED)
    length = int.from_bytes(prefix, "little")
    if length > MAX_HEADER_BYTES:
        raise InputError(f"{path}: a header of {length} bytes is over {MAX_HEADER_BYTES}", remedy=_DAMAGED)
    if 8 + length > size:
        raise InputError(f"{path}: truncated, its header of {length} bytes ends after the file", remedy=_DAMAGED)
    header = parse(file.read(length), f"{path}: safetensors header")
    if not isinstance(header, dict):
        raise InputError(f"{path}: the safetensors header is not a JSON object", remedy=_DAMAGED)
    metadata = header.get("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise InputError(f"{path}: __metadata__ is not a map of text to text", remedy=_DAMAGED)
    return header, 8 + length, size


def _tensor(path: Path, name: str, entry: Any, data_start: int) -> TensorInfo:
    if len(name) > MAX_NAME:
        raise InputError(f"{path}: the tensor name {name[:40]!r}… is over {MAX_NAME} characters", remedy=_DAMAGED)
    where = f"{path}: tensor {name!r}"
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise InputError(f"{where} needs exactly the keys dtype, shape and data_offsets", remedy=_DAMAGED)
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    bits = DTYPE_BITS.get(dtype) if isinstance(dtype, str) else None
    if bits is None:
        raise InputError(
            f"{where} has the unknown dtype {reprlib.repr(dtype)}", remedy=f"known are {', '.join(DTYPE_BITS)}"
        )
    if not _are_sizes(shape):
        raise InputError(f"{where} has the shape {reprlib.repr(shape)}, not a short list of sizes", remedy=_DAMAGED)
    if not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise InputError(
            f"{where} has the data_offsets {reprlib.repr(offsets)}, not a start and an end", remedy=_DAMAGED
        )
    start, end = offsets
    if math.prod(shape) * bits != (end - start) * 8:
        raise InputError(f"{where}: {dtype} of shape {shape} does not fill its {end - start} bytes", remedy=_DAMAGED)
    return TensorInfo(name, dtype, tuple(shape), path, data_start + start, end - start)


def _are_sizes(values: Any) -> bool:
    if not isinstance(values, list) or len(values) > MAX_DIMENSIONS:
        return False
    return all(type(value) is int and value >= 0 for value in values)


def _check_cover(path: Path, tensors: list[TensorInfo], data_start: int, size: int) -> None:
    end = data_start
    for tensor in tensors:
        if tensor.start != end:
            fault = "overlaps the tensor before it" if tensor.start < end else "leaves a hole before it"
            raise InputError(f"{path}: tensor {tensor.name!r} {fault}", remedy=_DAMAGED)
        end = tensor.start + tensor.nbytes
        if end > size:
            raise InputError(f"{path}: truncated, tensor {tensor.name!r} ends after the file", remedy=_DAMAGED)
    if end != size:
        raise InputError(f"{path}: {size - end} bytes after the last tensor belong to none", remedy=_DAMAGED)
