"""``ectx``: steps between 16-bit floats, sorted by the exponent of the parent's element.

A weight changes only where the update outweighs half a unit in the last place (ulp), and the ulp is set by the exponent
of the parent's element, which the decoder has. Sorted by that exponent, positions with equal odds of changing lie
together, and a plain Huffman code comes close to the entropy of the steps given the exponent. Exponents with few
elements share a segment.

Each segment holds bit planes: sign flips; whether the magnitude moved; its direction; then the number of steps in Elias
gamma code (Elias 1975, IEEE T-IT 21), its length in unary, one plane a position of the code. All arithmetic is on bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from weightgate.lineage.weights.delta.codecs.bits import Bits, add_bits, read_bits
from weightgate.lineage.weights.delta.codecs.frames import FrameReader

FRACTION_BITS: Mapping[str, int] = MappingProxyType({"BF16": 7, "F16": 10})
"""The dtypes this codec takes, and the bits below their exponent."""

_MAGNITUDE = np.uint16(0x7FFF)
_MORE_BITS = 14  # a step count is below 2**15: one leading bit and up to these
_SEGMENT = 1 << 14  # elements; smaller ones cost more in Huffman tables than they gain

Words = NDArray[np.uint16]
Steps = NDArray[np.int16]


def encode(block: bytes, base: bytes, dtype: str) -> bytes:
    """The payload of ``block``, given the ``base`` block of the same size."""
    before, after = np.frombuffer(base, "<u2"), np.frombuffer(block, "<u2")
    out = bytearray()
    for places in _segments(before, FRACTION_BITS[dtype]):
        mine, yours = before[places], after[places]
        add_bits(out, (mine ^ yours) > _MAGNITUDE)
        _add_steps(out, (yours & _MAGNITUDE).view(np.int16) - (mine & _MAGNITUDE).view(np.int16))
    return bytes(out)


def decode(payload: bytes, base: bytes, dtype: str, size: int) -> bytes:
    """The ``size`` bytes that `encode` wrote.

    Raises:
        IntegrityError: the payload is damaged.
    """
    before = np.frombuffer(base, "<u2")
    after = np.empty(size // 2, "<u2")
    reader = FrameReader(payload)
    for places in _segments(before, FRACTION_BITS[dtype]):
        mine = before[places]
        flipped = read_bits(reader, places.size)
        magnitude = (mine & _MAGNITUDE) + _read_steps(reader, places.size).view(np.uint16)
        sign = (mine & ~_MAGNITUDE) ^ (flipped.astype(np.uint16) << 15)
        after[places] = sign | (magnitude & _MAGNITUDE)
    reader.end()
    return after.tobytes()


def _segments(before: Words, fraction_bits: int) -> Iterator[NDArray[np.int64]]:
    """Positions sorted by exponent, cut where the exponent changes and at least `_SEGMENT` have gathered."""
    exponents = ((before & _MAGNITUDE) >> fraction_bits).astype(np.uint8)
    order = np.argsort(exponents, kind="stable")
    start = 0
    for end in np.cumsum(np.bincount(exponents)).tolist():
        if end - start >= _SEGMENT or (end == before.size and end > start):
            yield order[start:end]
            start = end


def _add_steps(out: bytearray, steps: Steps) -> None:
    moved = steps != 0
    add_bits(out, moved)
    steps = steps.compress(moved)
    add_bits(out, steps < 0)
    counts = np.abs(steps)
    for _ in range(_MORE_BITS):
        longer = counts > 1
        add_bits(out, longer)
        counts = counts.compress(longer)
        add_bits(out, (counts & 1).astype(np.bool_))
        counts >>= 1


def _read_steps(reader: FrameReader, size: int) -> Steps:
    moved = np.flatnonzero(read_bits(reader, size))
    down = read_bits(reader, moved.size)
    planes: list[tuple[int, NDArray[np.int64], Bits]] = []
    left = moved.size
    for _ in range(_MORE_BITS):
        longer = np.flatnonzero(read_bits(reader, left))
        planes.append((left, longer, read_bits(reader, longer.size)))
        left = longer.size
    counts = np.ones(left, np.int16)
    for left, longer, lowest in reversed(planes):
        higher, counts = counts, np.ones(left, np.int16)
        counts[longer] = higher << 1 | lowest
    sign = down.astype(np.int16)
    steps = np.zeros(size, np.int16)
    steps[moved] = (counts ^ -sign) + sign  # two's complement negates where the sign is 1
    return steps
