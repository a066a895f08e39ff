"""Two tensors of one shape read side by side, as matrices: whole rows at a time, in blocks that fit a core's cache."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from weightgate.lineage.weights.elements import Values, decoder
from weightgate.lineage.weights.safetensors_file import DTYPE_BITS, TensorInfo, blocks

Matrix = NDArray[np.float32]
_BLOCK_ELEMENTS = 1 << 18
_INTEGERS: Mapping[str, Callable[[bytes], Values]] = {"I8": lambda block: np.frombuffer(block, "i1").astype(np.float32)}


def is_matrix(tensor: TensorInfo) -> bool:
    """Whether it has rows and columns, and elements that are plain floats."""
    return len(tensor.shape) >= 2 and tensor.elements > 0 and decoder(tensor.dtype) is not None


def dimensions(tensor: TensorInfo) -> tuple[int, int]:
    """Rows and columns; further dimensions are taken together."""
    return tensor.shape[0], math.prod(tensor.shape[1:])


def row_blocks(tensor: TensorInfo) -> Iterator[Matrix]:
    """The matrix in blocks of whole rows, as float32; 8-bit integers are read as numbers too.

    Raises:
        InputError: it cannot be read.
    """
    read = decoder(tensor.dtype) or _INTEGERS[tensor.dtype]
    _, columns = dimensions(tensor)
    height = max(1, _BLOCK_ELEMENTS // columns)
    for block in blocks(tensor, height * columns * DTYPE_BITS[tensor.dtype] // 8):
        yield read(block).astype(np.float32, copy=False).reshape(-1, columns)


def some_rows(tensor: TensorInfo, most: int) -> Matrix:
    """At most ``most`` rows, evenly spread.

    Raises:
        InputError: it cannot be read.
    """
    read = decoder(tensor.dtype) or _INTEGERS[tensor.dtype]
    rows, columns = dimensions(tensor)
    width = columns * DTYPE_BITS[tensor.dtype] // 8
    picked = np.unique(np.linspace(0, rows - 1, min(rows, most)).astype(np.int64))
    parts = [replace(tensor, start=tensor.start + int(row) * width, nbytes=width) for row in picked]
    return np.stack([read(b"".join(blocks(part, width))).astype(np.float32) for part in parts])


def spread(items: list[TensorInfo], most: int) -> list[TensorInfo]:
    """At most ``most`` of the items, evenly spread and always the same ones."""
    if len(items) <= most:
        return items
    return [items[int(at)] for at in np.linspace(0, len(items) - 1, most)]


def step(values: Matrix, dtype: str) -> Matrix:
    """Distance to the next number that ``dtype`` has, for each value: the grain of rounding there."""
    fraction_bits, least = _GRAIN[dtype]
    _, exponent = np.frexp(values)
    grain: Matrix = np.ldexp(np.float32(1), np.maximum(exponent - 1, least) - fraction_bits)
    return grain


# dtype -> (stored bits of the fraction, exponent of the smallest normal number)
_GRAIN = {
    "F64": (23, -126),  # differences are taken in float32
    "F32": (23, -126),
    "BF16": (7, -126),
    "F16": (10, -14),
    "F8_E4M3": (3, -6),
    "F8_E5M2": (2, -14),
    "F8_E4M3FNUZ": (3, -7),
    "F8_E5M2FNUZ": (2, -15),
    "F8_E8M0": (0, -126),
}
