"""Whether a child is a weighted sum of given models, and with which weights: least squares over every tensor.

With the parent P, sources S and a child C, the coefficients minimise ‖(C - P) - Σ c·(S - P)‖. Only inner products are
kept, so memory does not grow with the models. Rounding the sum to the child's dtype bounds what may remain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weightgate.lineage.errors import InputError
from weightgate.lineage.weights.checkpoint import Checkpoint
from weightgate.lineage.weights.elements import decoder
from weightgate.lineage.weights.fingerprint import fingerprint
from weightgate.lineage.weights.kinds.facts import Merge, MergeSource
from weightgate.lineage.weights.kinds.pairs import step
from weightgate.lineage.weights.kinds.vectors import vectors
from weightgate.lineage.weights.safetensors_file import TensorInfo
from weightgate.lineage.weights.threads import in_order

MOST_SOURCES = 16
SLACK = 2.0
"""How often the energy of one rounding for each model the rest may have: sums are often taken in the dtype itself."""

_LISTED = 100
_DEPENDENT = 1e-9
_EXACT = 1e-10

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Products:
    """Inner products over one tensor: of the sources' differences, with the child's, and of the child's with itself."""

    gram: Array
    right: Array
    energy: float
    noise: float


def find_merge(parent: Checkpoint, child: Checkpoint, sources: Sequence[Checkpoint]) -> Merge:
    """The coefficients of the sources in the child, and how well they explain it.

    Raises:
        InputError: a tensor cannot be read, a source has other tensors, or the sources do not determine coefficients.
    """
    names = _names(parent, child, sources)

    def products(name: str) -> _Products:
        return _products(parent.tensors[name], child.tensors[name], [source.tensors[name] for source in sources])

    found = dict(zip(names, in_order(products, names), strict=True))
    gram, right = sum(p.gram for p in found.values()), sum(p.right for p in found.values())
    coefficients = _solve(np.asarray(gram), np.asarray(right), sources)
    energy = sum(p.energy for p in found.values())
    beyond = [name for name in names if not _explained(found[name], coefficients)]
    beyond += sorted(child.tensors.keys() ^ parent.tensors.keys())
    rest = sum(_rest(p, coefficients) for p in found.values())
    return Merge(
        sources=tuple(
            MergeSource(name=source.path.name, root=fingerprint(source).root, coefficient=float(value))
            for source, value in zip(sources, coefficients, strict=True)
        ),
        parent_coefficient=float(1 - coefficients.sum()),
        residual=float(np.sqrt(rest / energy)) if energy else 0.0,
        noise=float(np.sqrt(sum(p.noise for p in found.values()) / energy)) if energy else 0.0,
        explained=not beyond,
        unexplained=tuple(beyond[:_LISTED]),
        unexplained_count=len(beyond),
    )


def _names(parent: Checkpoint, child: Checkpoint, sources: Sequence[Checkpoint]) -> list[str]:
    """Float tensors that all have in one shape."""
    if not 0 < len(sources) <= MOST_SOURCES:
        raise InputError(f"{len(sources)} models of a merge", remedy=f"name one to {MOST_SOURCES}")
    shared = [name for name in parent.tensors if name in child.tensors]
    for source in sources:
        for name in shared:
            theirs = source.tensors.get(name)
            if theirs is None or theirs.shape != parent.tensors[name].shape:
                raise InputError(
                    f"{source.path}: has no tensor {name!r} of shape {list(parent.tensors[name].shape)}",
                    remedy="only models of one architecture can be merged",
                )
    return [
        name
        for name in shared
        if child.tensors[name].shape == parent.tensors[name].shape
        and all(decoder(model.tensors[name].dtype) is not None for model in (parent, child, *sources))
    ]


def _products(mine: TensorInfo, yours: TensorInfo, others: Sequence[TensorInfo]) -> _Products:
    gram, right = np.zeros((len(others), len(others))), np.zeros(len(others))
    energy = noise = 0.0
    for before, after, *rest in zip(*(vectors(tensor) for tensor in (mine, yours, *others)), strict=True):
        differences = np.stack([other.astype(np.float64) - before for other in rest])
        difference = after.astype(np.float64) - before
        moved = np.any(differences != 0, axis=0)  # nothing is rounded where all models agree
        gram += differences @ differences.T
        right += differences @ difference
        energy += float(difference @ difference)
        noise += float(np.sum(np.square(step(after[moved], yours.dtype)), dtype=np.float64)) / 12
    return _Products(gram, right, energy, noise)


def _solve(gram: Array, right: Array, sources: Sequence[Checkpoint]) -> Array:
    lengths = np.sqrt(np.diag(gram))
    for source, length in zip(sources, lengths, strict=True):
        if length == 0:
            raise InputError(
                f"{source.path}: has the weights of the parent",
                remedy="leave it out: the parent is part of every merge, its coefficient is one less the others",
            )
    scaled = gram / np.outer(lengths, lengths)
    if np.linalg.eigvalsh(scaled)[0] < _DEPENDENT:
        raise InputError(
            "the models of the merge are sums of each other and the parent: no coefficients can be told",
            remedy="name each of them once, and none that was merged from the others",
        )
    solved: Array = np.linalg.solve(scaled, right / lengths) / lengths
    return solved


def _rest(products: _Products, coefficients: Array) -> float:
    explained = 2 * coefficients @ products.right - coefficients @ products.gram @ coefficients
    return max(0.0, products.energy - float(explained))


def _explained(products: _Products, coefficients: Array) -> bool:
    scale = products.energy + float(np.trace(products.gram))
    return _rest(products, coefficients) <= SLACK * (len(coefficients) + 1) * products.noise + _EXACT * scale
