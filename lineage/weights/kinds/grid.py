"""Float weights that lie on few levels: quantised once and put back into floats."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weightgate.lineage.weights.kinds.facts import Quantisation
from weightgate.lineage.weights.kinds.pairs import Matrix, dimensions, is_matrix, some_rows, spread, step
from weightgate.lineage.weights.kinds.quantised import STORED
from weightgate.lineage.weights.safetensors_file import TensorInfo
from weightgate.lineage.weights.threads import in_order
from weightgate.lineage.weights.weight_difference import TensorDifference

LEAST_SHARE = 0.9
"""Share of the examined matrices, and of the groups of one, that must lie on levels."""
MOST_LEVELS = 256
FEWER = 0.5
"""How many distinct values an element of the child has at most, beside one of the parent."""

_MATRICES = 16
_ROWS = 24
_GROUPS = (128, 64, 32)
_LEAST_VALUES = 8
_CLEAR = 0.12


def find_dequantised(
    parent: Mapping[str, TensorInfo], child: Mapping[str, TensorInfo], changed: Sequence[TensorDifference]
) -> Quantisation | None:
    """Few levels in the child's matrices where the parent's have many; a sample of rows and matrices is examined.

    Raises:
        InputError: a tensor cannot be read.
    """
    matrices = [
        child[tensor.name]
        for tensor in changed
        if tensor.change == "changed" and is_matrix(parent[tensor.name]) and is_matrix(child[tensor.name])
        if dimensions(child[tensor.name])[1] >= min(_GROUPS) and child[tensor.name].dtype not in STORED
    ]
    sample = spread(matrices, _MATRICES)
    found = list(in_order(lambda tensor: _levels(parent[tensor.name], tensor), sample))
    hits = [seen for seen in found if seen is not None]
    if not hits or len(hits) < LEAST_SHARE * len(sample):
        return None
    levels = max(hit.levels for hit in hits)
    names = {tensor.name for tensor in sample}
    norms = [t.relative_norm for t in changed if t.name in names and t.relative_norm is not None]
    return Quantisation(
        form="dequantised",
        dtype=sample[0].dtype,
        matrices=len(sample),
        quantised=len(hits),
        levels=levels,
        bits=_bits(levels),
        group=Counter(hit.group for hit in hits).most_common(1)[0][0],
        round_trip=float(np.median(norms)) if norms else None,
    )


@dataclass(frozen=True, slots=True)
class _Levels:
    levels: int
    group: str


def _levels(parent: TensorInfo, child: TensorInfo) -> _Levels | None:
    """The group whose levels need the fewest bits, the largest of these; None where the child has as many as before."""
    found = None
    before, after = some_rows(parent, _ROWS), some_rows(child, _ROWS)
    columns = after.shape[1]
    groups = [("tensor", after.size), ("row", columns)]
    groups += [(str(size), size) for size in _GROUPS if size < columns and columns % size == 0]
    for group, size in groups:
        (old, _), (new, most) = _variety(before, size), _variety(after, size)
        if most <= MOST_LEVELS and new <= FEWER * old:
            if found is None or _bits(most) < _bits(found.levels):
                found = _Levels(most, group)
        elif (
            found is None
            and size >= 2 * min(_GROUPS)
            and _on_grid(after, size, child.dtype) > max(LEAST_SHARE, _on_grid(before, size, parent.dtype))
        ):
            found = _Levels(2 * 127 + 1, group)
    return found


def _bits(levels: int) -> int:
    return max(1, math.ceil(math.log2(levels)))


def _variety(values: Matrix, size: int) -> tuple[float, int]:
    """Distinct values for each element, zeros left out (pruning makes many), and the most of them in a group."""
    groups = np.sort(values.reshape(-1, size), axis=1)
    changes = (np.diff(groups, axis=1, prepend=np.inf) != 0) & (groups != 0)
    distinct = np.count_nonzero(changes, axis=1)
    elements = np.maximum(1, np.count_nonzero(groups, axis=1))
    return float(np.median(distinct / elements)), int(distinct.max()) + bool(np.any(groups == 0))


def _on_grid(values: Matrix, size: int, dtype: str) -> float:
    """Share of the groups that are whole multiples of their largest value / 127: symmetric 8-bit integers."""
    groups: NDArray[np.float64] = values.reshape(-1, size).astype(np.float64)
    best = 0.0
    for most in (127, 128):
        scale = np.maximum(np.max(np.abs(groups), axis=1, keepdims=True) / most, 1e-300)
        multiple = np.abs(groups) / scale
        # value and scale are both rounded to the dtype: large multiples cannot be told apart and are not judged
        tolerance = 1.5 * step(groups.astype(np.float32), dtype) / scale + 1e-3
        judged = (tolerance < _CLEAR) & (multiple >= 0.5)
        off = np.abs(multiple - np.rint(multiple)) > tolerance
        on = (np.count_nonzero(judged, axis=1) >= _LEAST_VALUES) & ~np.any(judged & off, axis=1)
        best = max(best, float(np.mean(on)))
    return best
