"""Which tensors differ between two checkpoints, and by how much. Memory does not grow with the checkpoints."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Set
from typing import Literal

from pydantic import Field

from weightgate.lineage.canonical import Frozen
from weightgate.lineage.weights.checkpoint import Checkpoint
from weightgate.lineage.weights.fingerprint import Fingerprint
from weightgate.lineage.weights.safetensors_file import TensorInfo
from weightgate.lineage.weights.tensor_difference import Distance, distance, squared_norm
from weightgate.lineage.weights.threads import in_order


class TensorForm(Frozen):
    """How a tensor is stored."""

    dtype: str = Field(description="safetensors dtype, for example 'BF16'.")
    shape: tuple[int, ...]


class TensorDifference(Frozen):
    """One tensor that is not the same on both sides. Numbers are None where elements are not plain floats."""

    name: str
    change: Literal["changed", "added", "removed", "reshaped"]
    before: TensorForm | None = None
    after: TensorForm | None = None
    relative_norm: float | None = Field(
        default=None, description="Frobenius norm of the difference over that of the parent; None if that is zero."
    )
    max_abs: float | None = Field(default=None, description="Largest absolute difference of an element.")
    changed_fraction: float | None = Field(default=None, description="Share of elements whose bits differ.")


class WeightDifference(Frozen):
    """All tensors that differ."""

    tensors_total: int = Field(description="Tensors on either side.")
    parameters_changed_fraction: float = Field(ge=0, le=1, description="Share of parameters in tensors that differ.")
    relative_norm: float | None = Field(description="Over all tensors both sides have, as for one tensor.")
    tensors: tuple[TensorDifference, ...] = Field(default=(), description="Those that differ, ordered by name.")


def weight_difference(
    parent: Checkpoint,
    child: Checkpoint,
    before: Fingerprint,
    after: Fingerprint,
    progress: Callable[[int], None] | None = None,
) -> WeightDifference:
    """Compare the tensors of two checkpoints; where digests are equal only the parent's norm is taken.

    Args:
        parent: the side that differences are relative to.
        child: the other side.
        before: fingerprint of ``parent``.
        after: fingerprint of ``child``.
        progress: called with the number of bytes read since the last call.

    Raises:
        InputError: a tensor cannot be read.
    """
    if before.tensor_root == after.tensor_root:
        return WeightDifference(tensors_total=len(before.tensors), parameters_changed_fraction=0, relative_norm=0)
    digests = {tensor.name: tensor for tensor in after.tensors}
    equal = {tensor.name for tensor in before.tensors if digests.get(tensor.name) == tensor}
    distances = _distances(parent, child, equal, progress)
    differing = sorted({*parent.tensors, *child.tensors} - equal)
    return WeightDifference(
        tensors_total=len(differing) + len(equal),
        parameters_changed_fraction=changed_fraction(parent.tensors, child.tensors, differing),
        relative_norm=total_norm(distances.values()),
        tensors=tuple(
            _describe(name, parent.tensors.get(name), child.tensors.get(name), distances.get(name))
            for name in differing
        ),
    )


def _distances(
    parent: Checkpoint, child: Checkpoint, equal: Set[str], progress: Callable[[int], None] | None
) -> dict[str, Distance]:
    """Of every tensor that both sides have in one shape."""
    shared = [name for name, mine in parent.tensors.items() if _same_shape(mine, child.tensors.get(name))]

    def measure(name: str) -> Distance:
        if name not in equal:
            return distance(parent.tensors[name], child.tensors[name])
        norm = squared_norm(parent.tensors[name])
        return Distance(None if norm is None else 0.0, norm)

    distances: dict[str, Distance] = {}
    for name, found in zip(shared, in_order(measure, shared), strict=True):
        distances[name] = found
        if progress is not None:
            progress(parent.tensors[name].nbytes + (0 if name in equal else child.tensors[name].nbytes))
    return distances


def relative_norm(squared_difference: float | None, squared_parent: float | None) -> float | None:
    """Root of the ratio of two sums of squares; 0 for no difference, None where there is no finite ratio."""
    if squared_difference is None or squared_parent is None:
        return None
    if squared_difference == 0:
        return 0.0
    value = math.sqrt(squared_difference / squared_parent) if squared_parent > 0 else math.inf
    return value if math.isfinite(value) else None


def total_norm(distances: Iterable[Distance]) -> float | None:
    """Relative norm over several tensors; those without numbers are left out, None if all are."""
    known = [
        (found.squared_difference, found.squared_parent)
        for found in distances
        if found.squared_difference is not None and found.squared_parent is not None
    ]
    if not known:
        return None
    return relative_norm(sum(pair[0] for pair in known), sum(pair[1] for pair in known))


def changed_fraction(
    parent: Mapping[str, TensorInfo], child: Mapping[str, TensorInfo], differing: Iterable[str]
) -> float:
    """Share of the parameters on either side that lie in tensors that differ."""
    elements = {name: tensor.elements for name, tensor in (*parent.items(), *child.items())}
    total = sum(elements.values())
    return sum(elements[name] for name in differing) / total if total else 0.0


def form(tensor: TensorInfo | None) -> TensorForm | None:
    """How a tensor is stored; None for none."""
    return None if tensor is None else TensorForm(dtype=tensor.dtype, shape=tensor.shape)


def _same_shape(mine: TensorInfo, yours: TensorInfo | None) -> bool:
    return yours is not None and mine.shape == yours.shape


def _describe(name: str, mine: TensorInfo | None, yours: TensorInfo | None, found: Distance | None) -> TensorDifference:
    before, after = form(mine), form(yours)
    if mine is None or yours is None:
        return TensorDifference(name=name, change="added" if mine is None else "removed", before=before, after=after)
    if found is None:
        return TensorDifference(name=name, change="reshaped", before=before, after=after)
    finite = found.max_abs is not None and math.isfinite(found.max_abs)
    return TensorDifference(
        name=name,
        change="changed",
        before=before,
        after=after,
        relative_norm=relative_norm(found.squared_difference, found.squared_parent),
        max_abs=found.max_abs if finite else None,
        changed_fraction=None if found.changed is None else found.changed / max(1, mine.elements),
    )
