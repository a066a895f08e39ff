"""The arithmetic of a difference: two tensors read in blocks, float32 within a block, float64 over the blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from weightgate.lineage.weights.elements import Values, bits, decoder
from weightgate.lineage.weights.safetensors_file import DTYPE_BITS, TensorInfo, blocks

_BLOCK_ELEMENTS = 1 << 16  # both sides and their float32 forms fit a core's cache
_WORDS = frozenset({8, 16, 32, 64})


@dataclass(frozen=True, slots=True)
class Distance:
    """How far two tensors of one shape lie apart. None where their elements are not plain floats."""

    squared_difference: float | None = None
    squared_parent: float | None = None
    max_abs: float | None = None
    changed: int | None = None
    """Elements whose bits differ (whose values differ, where the dtypes do)."""


def distance(parent: TensorInfo, child: TensorInfo) -> Distance:
    """Compare two tensors of one shape.

    Raises:
        InputError: a tensor cannot be read.
    """
    read_parent, read_child = decoder(parent.dtype), decoder(child.dtype)
    if read_parent is None or read_child is None:
        return Distance(changed=_changed_words(parent, child))
    squared_difference = squared_parent = max_abs = 0.0
    changed = 0
    with np.errstate(over="ignore"):
        for mine, yours in zip(_blocks(parent), _blocks(child), strict=True):
            before = read_parent(mine)
            squared_parent += _sum_of_squares(before)
            if parent.dtype == child.dtype and mine == yours:
                continue
            after = read_child(yours)
            difference = after - before
            squared_difference += _sum_of_squares(difference)
            max_abs = max(max_abs, float(difference.max()), -float(difference.min()))
            if parent.dtype == child.dtype:
                changed += _count_unequal(mine, yours, parent.dtype)
            else:
                changed += int(np.count_nonzero(before != after))
    return Distance(squared_difference, squared_parent, max_abs, changed)


def squared_norm(tensor: TensorInfo) -> float | None:
    """Sum of the squares of a tensor's elements; None where they are not plain floats.

    Raises:
        InputError: the tensor cannot be read.
    """
    read = decoder(tensor.dtype)
    if read is None:
        return None
    with np.errstate(over="ignore"):
        return sum(_sum_of_squares(read(block)) for block in _blocks(tensor))


def _blocks(tensor: TensorInfo) -> Iterator[bytes]:
    return blocks(tensor, _BLOCK_ELEMENTS * DTYPE_BITS[tensor.dtype] // 8)


def _changed_words(parent: TensorInfo, child: TensorInfo) -> int | None:
    if parent.dtype != child.dtype or DTYPE_BITS[parent.dtype] not in _WORDS:
        return None
    return sum(
        _count_unequal(mine, yours, parent.dtype)
        for mine, yours in zip(_blocks(parent), _blocks(child), strict=True)
        if mine != yours
    )


def _count_unequal(mine: bytes, yours: bytes, dtype: str) -> int:
    width = DTYPE_BITS[dtype]
    return int(np.count_nonzero(bits(mine, width) != bits(yours, width)))


def _sum_of_squares(values: Values) -> float:
    """numpy adds float32 in pairs, which keeps six digits of a block; where squares over- or underflow, in float64."""
    total = float(np.square(values).sum())
    if 1e-20 < total < 1e30:
        return total
    return float(np.square(values, dtype=np.float64).sum())
