"""The numerical rank of a difference between two matrices, with rounding to their dtype taken into account.

The difference is never held: randomised range finding with power iterations (Halko, Martinsson & Tropp,
arXiv:0909.4061) reads both sides in blocks of rows. A merged low-rank update is ``W' = round(W + BA)``, so the
difference is of low rank but for rounding errors. Taken as independent, with variance grain²/12 in each element, their
largest singular value is at most about the root of the largest row sum plus that of the largest column sum of these
variances (Bandeira & van Handel, arXiv:1408.6185). Only singular values above that count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weightgate.lineage.weights.kinds.facts import LowRank
from weightgate.lineage.weights.kinds.pairs import Matrix, dimensions, is_matrix, row_blocks, spread, step
from weightgate.lineage.weights.safetensors_file import TensorInfo
from weightgate.lineage.weights.threads import in_order

MOST_RANK = 128
"""Largest rank that is looked for."""
LEAST_CAPTURED = 0.5
"""Share of the squared norm that the leading part must hold at least."""
SLACK = 2.0
"""How many times the energy of rounding the rest may have."""

_FIRST_LOOK = 16
_SKETCH = 32
_MARGIN = 8
_ITERATIONS = 2
_FLOAT32_ERROR = 1e-6


@dataclass(frozen=True, slots=True)
class Spectrum:
    """What one difference shows. ``rank`` counts singular values above the noise; None for more than can be told."""

    rank: int | None
    captured: float
    noise: float

    @property
    def explained(self) -> bool:
        """Whether these directions and rounding explain the difference; a small update can be rounding alone."""
        return self.rank is not None and 1 - self.captured <= SLACK * self.noise + 1e-4

    @property
    def low(self) -> bool:
        """Whether a few directions do most of it: rounding alone would not look like that."""
        return self.explained and bool(self.rank) and self.captured >= LEAST_CAPTURED


def find_low_rank(
    parent: Mapping[str, TensorInfo], child: Mapping[str, TensorInfo], changed: Sequence[str]
) -> tuple[LowRank | None, dict[str, int]]:
    """The ranks of the changed matrices, all together and by name; (None, {}) where those looked at first have none.

    By name stand all that are explained, also with rank 0: nothing of them rises above rounding.

    Args:
        parent: tensors of the parent.
        child: tensors of the child.
        changed: names of tensors that both have in one shape.

    Raises:
        InputError: a tensor cannot be read.
    """
    matrices = [
        parent[name] for name in changed if is_matrix(parent[name]) and is_matrix(child[name]) and _tall(parent[name])
    ]
    if not matrices:
        return None, {}

    def look(tensor: TensorInfo) -> Spectrum:
        return spectrum(tensor, child[tensor.name])

    first = spread(matrices, _FIRST_LOOK)
    found = {tensor.name: seen for tensor, seen in zip(first, in_order(look, first), strict=True)}
    if not any(seen.explained for seen in found.values()):
        return None, {}
    rest = [tensor for tensor in matrices if tensor.name not in found]
    found |= {tensor.name: seen for tensor, seen in zip(rest, in_order(look, rest), strict=True)}
    ranks = {name: seen.rank for name, seen in found.items() if seen.explained and seen.rank is not None}
    low = {name: seen for name, seen in found.items() if seen.low}
    if not low:
        return None, ranks
    facts = LowRank(
        matrices=len(found),
        matrices_changed=len(matrices),
        low=len(low),
        rank_min=min(ranks[name] for name in low),
        rank_max=max(ranks[name] for name in low),
        captured=min(seen.captured for seen in low.values()),
        noise=max(seen.noise for seen in low.values()),
    )
    return facts, ranks


def spectrum(parent: TensorInfo, child: TensorInfo) -> Spectrum:
    """The numerical rank of ``child - parent``, and how much of it that many directions hold.

    Raises:
        InputError: a tensor cannot be read.
    """
    rows, columns = dimensions(parent)
    energy, floor, noise = _noise(parent, child)
    if energy == 0:
        return Spectrum(rank=0, captured=0.0, noise=0.0)
    most = min(MOST_RANK, min(rows, columns) // 4)
    size = min(_SKETCH, most + 1)
    while True:
        values = _leading(parent, child, size, min(rows, columns))
        above = int(np.count_nonzero(values[:size] > max(floor, _FLOAT32_ERROR * float(values[0]))))
        if above < size:
            captured = min(1.0, float(np.sum(np.square(values[:above]))) / energy)
            return Spectrum(rank=above, captured=captured, noise=noise / energy)
        if size > most:
            return Spectrum(rank=None, captured=0.0, noise=noise / energy)
        size = min(2 * size, most + 1)


def _tall(tensor: TensorInfo) -> bool:
    """Of a matrix with fewer than eight rows or columns no rank is low."""
    return min(dimensions(tensor)) >= 8


def _noise(parent: TensorInfo, child: TensorInfo) -> tuple[float, float, float]:
    """Squared norm of the difference, bound on the largest singular value of rounding, and its squared norm."""
    by_column = np.zeros(dimensions(parent)[1])
    energy = widest = total = 0.0
    for before, after in zip(row_blocks(parent), row_blocks(child), strict=True):
        difference = after - before
        # the product of the factors is rounded once, the sum with the parent again
        variance = (np.square(step(after, child.dtype)) + np.square(step(difference, child.dtype))) / 12
        energy += float(np.sum(np.square(difference), dtype=np.float64))
        total += float(np.sum(variance, dtype=np.float64))
        widest = max(widest, float(np.max(np.sum(variance, axis=1, dtype=np.float64))))
        by_column += np.sum(variance, axis=0, dtype=np.float64)
    return energy, float(np.sqrt(widest) + np.sqrt(np.max(by_column))), total


def _leading(parent: TensorInfo, child: TensorInfo, size: int, smaller: int) -> NDArray[np.float64]:
    """The leading singular values, from below."""
    width = min(size + _MARGIN, smaller)
    rows, columns = dimensions(parent)
    basis = np.random.default_rng(0).standard_normal((columns, width), dtype=np.float32)
    for _ in range(_ITERATIONS):
        image = np.linalg.qr(_times(parent, child, basis, rows))[0]
        basis = np.linalg.qr(_transposed_times(parent, child, image))[0]
    small = _times(parent, child, basis, rows).astype(np.float64)
    values: NDArray[np.float64] = np.sqrt(np.maximum(np.linalg.eigvalsh(small.T @ small)[::-1], 0.0))
    return values


def _times(parent: TensorInfo, child: TensorInfo, basis: Matrix, rows: int) -> Matrix:
    out = np.empty((rows, basis.shape[1]), np.float32)
    for at, difference in _differences(parent, child):
        out[at : at + len(difference)] = difference @ basis
    return out


def _transposed_times(parent: TensorInfo, child: TensorInfo, image: Matrix) -> Matrix:
    out = np.zeros((dimensions(parent)[1], image.shape[1]), np.float32)
    for at, difference in _differences(parent, child):
        out += difference.T @ image[at : at + len(difference)]
    return out


def _differences(parent: TensorInfo, child: TensorInfo) -> Iterator[tuple[int, Matrix]]:
    at = 0
    for before, after in zip(row_blocks(parent), row_blocks(child), strict=True):
        yield at, after - before
        at += len(before)
