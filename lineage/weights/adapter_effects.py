"""Adapters that multiply: how far they move a matrix, computed in blocks of rows from the factors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from weightgate.lineage.errors import InputError
from weightgate.lineage.weights.kinds.pairs import dimensions, is_matrix, row_blocks
from weightgate.lineage.weights.safetensors_file import TensorInfo

Values = NDArray[np.float64]


def dora_squared(target: TensorInfo, down: Values, up: Values, scale: float, magnitude: Values) -> float | None:
    """Squared norm of what DoRA does (arXiv:2402.09353): each row of ``W + scale · B · A`` gets the learned length.

    None where the matrix is no plain floats, or is stored the other way round.

    Raises:
        InputError: the matrix cannot be read.
    """
    if not is_matrix(target) or target.shape != (up.shape[0], down.shape[1]) or magnitude.size != up.shape[0]:
        return None
    total, at = 0.0, 0
    for block in row_blocks(target):
        rows = slice(at, at + len(block))
        moved = block + scale * (up[rows] @ down)
        lengths = np.linalg.norm(moved, axis=1, keepdims=True)
        if np.any(lengths == 0):
            return None
        total += float(np.sum(np.square(moved * (magnitude.reshape(-1, 1)[rows] / lengths) - block)))
        at += len(block)
    return total


def ia3_squared(target: TensorInfo, factors: Values, *, transposed: bool, where: str) -> float | None:
    """Squared norm of what IA3 does (arXiv:2205.05638): rows or columns of the matrix are multiplied by ``factors``.

    Args:
        target: the matrix.
        factors: (rows, 1) or (1, columns), of the matrix as peft sees it.
        transposed: whether it is stored the other way round.
        where: the adapter and module, for messages.

    Raises:
        InputError: the factors do not fit the matrix, or it cannot be read.
    """
    if not is_matrix(target):
        return None
    turned = factors.T if transposed else factors
    rows, columns = dimensions(target)
    if turned.shape not in {(rows, 1), (1, columns)}:
        raise InputError(
            f"{where}: {turned.size} IA3 factors do not fit the parent's {list(target.shape)}",
            remedy="give the model the adapter was trained on as the parent",
        )
    total, at = 0.0, 0
    for block in row_blocks(target):
        part = turned if turned.shape[0] == 1 and rows != 1 else turned[at : at + len(block)]
        total += float(np.sum(np.square((part - 1) * block)))
        at += len(block)
    return total
