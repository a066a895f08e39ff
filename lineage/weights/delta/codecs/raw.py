"""``raw``: the block without the parent. First bytes of all elements, then second bytes, and so on, a frame each.

Bytes of one significance resemble each other (the exponents of a layer): groups compress better than the whole.
"""

from __future__ import annotations

import numpy as np

from weightgate.lineage.weights.delta.codecs.frames import FrameReader, add
from weightgate.lineage.weights.safetensors_file import DTYPE_BITS


def encode(block: bytes, base: bytes, dtype: str) -> bytes:  # noqa: ARG001 - every codec has this signature
    """The payload of ``block``."""
    out = bytearray()
    width = _width(dtype)
    columns = np.frombuffer(block, np.uint8).reshape(-1, width)
    for column in range(width):
        add(out, columns[:, column].tobytes())
    return bytes(out)


def decode(payload: bytes, base: bytes, dtype: str, size: int) -> bytes:  # noqa: ARG001 - as above
    """The ``size`` bytes that `encode` wrote.

    Raises:
        IntegrityError: the payload is damaged.
    """
    reader = FrameReader(payload)
    width = _width(dtype)
    columns = np.empty((size // width, width), np.uint8)
    for column in range(width):
        columns[:, column] = np.frombuffer(reader.exactly(size // width), np.uint8)
    reader.end()
    return columns.tobytes()


def _width(dtype: str) -> int:
    """Bytes of an element; 1 for the packed formats of less than a byte."""
    return max(1, DTYPE_BITS[dtype] // 8)
