"""Which elements changed, where only few did."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weightgate.lineage.canonical import canonical, sha256_hex
from weightgate.lineage.weights.elements import bits
from weightgate.lineage.weights.kinds.facts import RowUpdate, Sparse
from weightgate.lineage.weights.safetensors_file import DTYPE_BITS, TensorInfo, blocks
from weightgate.lineage.weights.weight_difference import TensorDifference

MOST_ELEMENTS = 0.05
"""Share of changed elements up to which an update is sparse."""
MOST_ROWS = 0.25
"""Share of changed rows up to which a matrix is said to have changed in some rows only."""
MOST_ONE_STEP = 0.5
"""Share of one-step moves from which a small share of changed elements is put down to rounding."""
LOOK = 0.25
"""Share of changed elements up to which their positions are read: at most a quarter of the rows can hold more."""

_LISTED = 100
_BLOCK_ELEMENTS = 1 << 18
_WORDS = frozenset({8, 16, 32, 64})
_FLOATS = frozenset({"F16", "BF16", "F32", "F64"})


@dataclass(slots=True)
class _Counts:
    elements: int = 0
    changed: int = 0
    one_step: int = 0


def find_sparse(
    parent: Mapping[str, TensorInfo], child: Mapping[str, TensorInfo], changed: Sequence[TensorDifference]
) -> Sparse | None:
    """Positions and rows of the changed elements; None where many changed, or a changed tensor has no counterpart.

    Raises:
        InputError: a tensor cannot be read.
    """
    if not changed or not all(_comparable(tensor) for tensor in changed):
        return None
    total = sum(parent[tensor.name].elements for tensor in changed)
    touched = sum((tensor.changed_fraction or 0.0) * parent[tensor.name].elements for tensor in changed)
    if not total or touched > LOOK * total:
        return None
    counts, hasher, rows = _Counts(), hashlib.sha256(), []
    for tensor in sorted(changed, key=lambda tensor: tensor.name):
        hasher.update(canonical(tensor.name))
        rows += _scan(parent[tensor.name], child[tensor.name], hasher, counts)
    return Sparse(
        elements_changed=counts.changed,
        elements_total=counts.elements,
        fraction=counts.changed / counts.elements,
        one_step=counts.one_step / max(1, counts.changed),
        positions=hasher.hexdigest(),
        rows=tuple(rows),
    )


def is_sparse(found: Sparse, tensors: int) -> bool:
    """Whether it is a sparse update: whole rows of every changed tensor, or few elements that moved far."""
    if len(found.rows) == tensors:
        return True
    return found.fraction <= MOST_ELEMENTS and found.one_step < MOST_ONE_STEP


def _comparable(tensor: TensorDifference) -> bool:
    before, after = tensor.before, tensor.after
    return (
        tensor.change == "changed"
        and before is not None
        and before == after
        and tensor.changed_fraction is not None
        and DTYPE_BITS[before.dtype] in _WORDS
    )


def _scan(mine: TensorInfo, yours: TensorInfo, hasher: hashlib._Hash, counts: _Counts) -> list[RowUpdate]:
    width = DTYPE_BITS[mine.dtype]
    columns = mine.elements // mine.shape[0] if len(mine.shape) > 1 else 1
    touched = np.zeros(mine.shape[0] if len(mine.shape) > 1 else 0, bool)
    offset = changed = 0
    size = _BLOCK_ELEMENTS * width // 8
    for before, after in zip(blocks(mine, size), blocks(yours, size), strict=True):
        old, new = bits(before, width), bits(after, width)
        at = np.flatnonzero(old != new)
        if at.size:
            hasher.update((at + offset).astype("<u8").tobytes())
            changed += at.size
            if mine.dtype in _FLOATS:
                moved = _ordinal(new[at], width) - _ordinal(old[at], width)
                counts.one_step += int(np.count_nonzero(np.abs(moved) == 1))
            if touched.size:
                touched[np.unique((at + offset) // columns)] = True
        offset += old.size
    counts.elements += offset
    counts.changed += changed
    rows = np.flatnonzero(touched)
    # rows in which a few elements moved are no rows that were written: rounding leaves such traces
    if not rows.size or rows.size > MOST_ROWS * touched.size or 2 * changed < rows.size * columns:
        return []
    return [
        RowUpdate(
            name=mine.name,
            rows=int(rows.size),
            rows_total=int(touched.size),
            first=tuple(int(row) for row in rows[:_LISTED]),
            sha256=sha256_hex(rows.astype("<u8").tobytes()),
        )
    ]


def _ordinal(words: NDArray[np.unsignedinteger], width: int) -> NDArray[np.int64]:
    """The place of each float among all floats of its dtype, from its bits; both zeros share one."""
    sign = np.int64(1) << np.int64(min(width, 63) - 1)
    if width == 64:
        return words.view(np.int64)  # far apart wherever it matters: only neighbours of one sign are counted
    plain = words.astype(np.int64)
    return np.where(plain & sign, -(plain & (sign - 1)), plain)
