"""The elements of a tensor of any shape, in blocks of a fixed number of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from weightgate.lineage.weights.kinds.pairs import row_blocks
from weightgate.lineage.weights.safetensors_file import TensorInfo

_WIDTH = 1 << 16


def vectors(tensor: TensorInfo) -> Iterator[NDArray[np.float32]]:
    """Blocks of equal length for all tensors of one shape, whatever their dtype.

    Raises:
        InputError: it cannot be read.
    """
    if not tensor.elements:
        return
    whole, left = divmod(tensor.elements, _WIDTH)
    size = tensor.nbytes // tensor.elements
    for start, rows, columns in ((0, whole, _WIDTH), (whole * _WIDTH, 1, left)):
        if rows * columns:
            place = tensor.start + start * size
            part = replace(tensor, shape=(rows, columns), start=place, nbytes=rows * columns * size)
            for block in row_blocks(part):
                yield block.ravel()
