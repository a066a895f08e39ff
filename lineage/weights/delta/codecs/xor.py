"""``xor``: the bits in which the block differs from the parent's, written as `raw` writes a block.

Unlike a difference of floats this is exact for every bit pattern, NaN payloads and negative zero included.
"""

from __future__ import annotations

import numpy as np

from weightgate.lineage.weights.delta.codecs import raw


def encode(block: bytes, base: bytes, dtype: str) -> bytes:
    """The payload of ``block``, given the ``base`` block of the same size."""
    return raw.encode(_xor(block, base), b"", dtype)


def decode(payload: bytes, base: bytes, dtype: str, size: int) -> bytes:
    """The ``size`` bytes that `encode` wrote.

    Raises:
        IntegrityError: the payload is damaged.
    """
    return _xor(raw.decode(payload, b"", dtype, size), base)


def _xor(one: bytes, other: bytes) -> bytes:
    return np.bitwise_xor(np.frombuffer(one, np.uint8), np.frombuffer(other, np.uint8)).tobytes()
