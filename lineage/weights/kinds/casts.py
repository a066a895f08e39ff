"""Tensors that are stored in another dtype: with the same values, with the nearest ones, or with others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from weightgate.lineage.weights.elements import decoder
from weightgate.lineage.weights.kinds.facts import Cast
from weightgate.lineage.weights.kinds.pairs import row_blocks, step
from weightgate.lineage.weights.safetensors_file import TensorInfo
from weightgate.lineage.weights.threads import in_order
from weightgate.lineage.weights.weight_difference import TensorDifference


def find_casts(
    parent: Mapping[str, TensorInfo], child: Mapping[str, TensorInfo], changed: Sequence[TensorDifference]
) -> tuple[Cast, ...]:
    """Which dtypes became which, and whether values were kept or went to the nearest that there is.

    Raises:
        InputError: a tensor cannot be read.
    """
    pairs = [
        (parent[tensor.name], child[tensor.name], tensor.changed_fraction == 0)
        for tensor in changed
        if tensor.change == "changed" and tensor.before and tensor.after and tensor.before.dtype != tensor.after.dtype
    ]

    def nearest(pair: tuple[TensorInfo, TensorInfo, bool]) -> bool:
        return pair[2] or _is_nearest(pair[0], pair[1])

    tensors, exact, near = Counter[tuple[str, str]](), Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for (mine, yours, same), close in zip(pairs, in_order(nearest, pairs), strict=True):
        key = (mine.dtype, yours.dtype)
        tensors[key] += 1
        exact[key] += same
        near[key] += close
    return tuple(
        Cast(before=key[0], after=key[1], tensors=tensors[key], exact=exact[key], nearest=near[key])
        for key in sorted(tensors)
    )


def is_dtype_only(casts: Sequence[Cast], changed: int) -> bool:
    """Whether every changed tensor holds the parent's values, or those nearest to them, in another dtype."""
    return changed > 0 and sum(cast.nearest for cast in casts) == changed


def _is_nearest(mine: TensorInfo, yours: TensorInfo) -> bool:
    """Whether every value of the child is within half a step of the parent's."""
    if decoder(mine.dtype) is None or decoder(yours.dtype) is None or not yours.elements:
        return False
    before, after = (replace(tensor, shape=(1, tensor.elements)) for tensor in (mine, yours))
    for old, new in zip(row_blocks(before), row_blocks(after), strict=True):
        if np.any(np.abs(new - old) > 0.5 * step(np.maximum(np.abs(new), np.abs(old)), yours.dtype)):
            return False
    return True
