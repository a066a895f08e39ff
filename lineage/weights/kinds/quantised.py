"""Weights stored as 8-bit numbers with scales beside them: the form, and how far dequantising lands from the parent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from weightgate.lineage.weights.elements import decoder
from weightgate.lineage.weights.kinds.facts import Quantisation
from weightgate.lineage.weights.kinds.pairs import Matrix, dimensions, is_matrix, row_blocks
from weightgate.lineage.weights.safetensors_file import TensorInfo
from weightgate.lineage.weights.threads import in_order

STORED = frozenset({"I8", "F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ"})
"""Dtypes that hold quantised weights."""

# as compressed-tensors, bitsandbytes (SCB: largest of the row), GPT-Q and the fp8 checkpoints of DeepSeek name them
_SCALES = ("weight_scale", "weight_scale_inv", "SCB", "scales", "scale")
_MOST_LEVELS = 256


def find_stored(parent: Mapping[str, TensorInfo], child: Mapping[str, TensorInfo]) -> Quantisation | None:
    """Matrices that the parent has as wider floats and the child as 8-bit numbers.

    Raises:
        InputError: a tensor cannot be read.
    """
    names = [
        name
        for name, mine in parent.items()
        if is_matrix(mine) and mine.dtype not in STORED and name in child
        if child[name].dtype in STORED and child[name].shape == mine.shape
    ]
    if not names:
        return None

    def error(name: str) -> tuple[float, float] | None:
        return _round_trip(parent[name], child[name], _scale_of(name, child))

    errors = [found for found in in_order(error, names) if found is not None]
    norm = sum(found[1] for found in errors)
    scale = _scale_of(names[0], child)
    return Quantisation(
        form="stored",
        dtype=Counter(child[name].dtype for name in names).most_common(1)[0][0],
        matrices=len(names),
        quantised=len(names),
        levels=_MOST_LEVELS,
        bits=8,
        group="tensor" if scale is None else _sharing(scale, parent[names[0]]),
        round_trip=float(np.sqrt(sum(found[0] for found in errors) / norm))
        if len(errors) == len(names) and norm > 0
        else None,
    )


def is_scale(name: str, child: Mapping[str, TensorInfo]) -> bool:
    """Whether a tensor that only the child has belongs to a quantised matrix."""
    head, _, last = name.rpartition(".")
    return last in {*_SCALES, "weight_format", "weight_zero_point", "input_scale", "weight_scale_inv"} and (
        f"{head}.weight" in child
    )


def _scale_of(name: str, child: Mapping[str, TensorInfo]) -> TensorInfo | None:
    base = name.removesuffix(".weight")
    found = (child.get(f"{base}.{scale}") for scale in _SCALES)
    return next((scale for scale in found if scale is not None and decoder(scale.dtype) is not None), None)


def _sharing(scale: TensorInfo, matrix: TensorInfo) -> str:
    rows, columns = dimensions(matrix)
    if scale.elements == 1:
        return "tensor"
    if scale.elements == rows:
        return "row"
    if len(scale.shape) == 2 and scale.shape[0] == rows and scale.shape[1] and columns % scale.shape[1] == 0:
        return str(columns // scale.shape[1])
    return "block"


def _round_trip(mine: TensorInfo, yours: TensorInfo, scale: TensorInfo | None) -> tuple[float, float] | None:
    """Squared norms of the error after dequantising and of the parent; None where the scales are not understood."""
    factors = _factors(scale, yours)
    if factors is None:
        return None
    columns = dimensions(yours)[1]
    error = norm = 0.0
    at = 0
    for before, levels in zip(row_blocks(mine), row_blocks(yours), strict=True):
        part = factors if len(factors) == 1 else factors[at : at + len(before)]
        at += len(before)
        wide = part if part.shape[1] == 1 else np.repeat(part, columns // part.shape[1], axis=1)
        error += float(np.sum(np.square(levels * wide - before), dtype=np.float64))
        norm += float(np.sum(np.square(before), dtype=np.float64))
    return error, norm


def _factors(scale: TensorInfo | None, matrix: TensorInfo) -> Matrix | None:
    """What levels are multiplied by: one number, one a row, or one a group of a row."""
    rows, columns = dimensions(matrix)
    if scale is None:
        return np.ones((1, 1), np.float32) if matrix.dtype != "I8" else None
    groups = scale.elements // rows if scale.elements > 1 else 1
    if scale.elements != 1 and (groups == 0 or scale.elements != rows * groups or columns % groups):
        return None
    values = np.concatenate([part.ravel() for part in row_blocks(replace(scale, shape=(1, scale.elements)))])
    divided = values / 127 if scale.name.endswith(".SCB") else values
    return divided.reshape(1 if scale.elements == 1 else rows, groups).astype(np.float32)
