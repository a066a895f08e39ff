"""``ectx``: steps between 16-bit floats, sorted by the exponent of the parent's element.

A weight changes only where the update outweighs half a unit in the last place (ulp), and the ulp is set by the exponent
of the parent's element, which the decoder has. Sorted by that exponent, positions with equal odds of changing lie
together, and a plain Huffman code comes close to the entropy of the steps given the exponent. Exponents with few
elements share a segment.

Each segment holds bit planes: sign flips; whether the magnitude moved; its direction; then the number of steps in Elias
gamma code (Elias 1975, IEEE T-IT 21), its length in unary, one plane a position of the code. All arithmetic is on bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
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
Places = NDArray[np.int64]


def encode(block: bytes, base: bytes, dtype: str) -> bytes:
    """The payload of ``block``, given the ``base`` block of the same size."""
    before, after = np.frombuffer(base, "<u2"), np.frombuffer(block, "<u2")
    order, ends = _segments(before, FRACTION_BITS[dtype])
    # one gather of everything, then slices: much of the time goes into moving elements
    flipped = (before ^ after).take(order) > _MAGNITUDE
    steps = ((after & _MAGNITUDE).view(np.int16) - (before & _MAGNITUDE).view(np.int16)).take(order)
    out = bytearray()
    for start, end in pairwise(ends):
        add_bits(out, flipped[start:end])
        _add_steps(out, steps[start:end])
    return bytes(out)


def decode(payload: bytes, base: bytes, dtype: str, size: int) -> bytes:
    """The ``size`` bytes that `encode` wrote.

    Raises:
        IntegrityError: the payload is damaged.
    """
    before = np.frombuffer(base, "<u2")
    order, ends = _segments(before, FRACTION_BITS[dtype])
    flipped, steps = np.zeros(size // 2, np.uint16), np.zeros(size // 2, np.uint16)
    reader = FrameReader(payload)
    for start, end in pairwise(ends):
        places = order[start:end]
        flipped[places[np.flatnonzero(read_bits(reader, places.size))]] = ~_MAGNITUDE
        moved, counts = _read_steps(reader, places.size)
        steps[places[moved]] = counts.view(np.uint16)
    reader.end()
    sign = (before & ~_MAGNITUDE) ^ flipped
    return (sign | ((before & _MAGNITUDE) + steps & _MAGNITUDE)).tobytes()


def _segments(before: Words, fraction_bits: int) -> tuple[Places, list[int]]:
    """Positions sorted by exponent, and where they are cut: where it changes and `_SEGMENT` or more have gathered."""
    exponents = ((before & _MAGNITUDE) >> fraction_bits).astype(np.uint8)
    ends = [0]
    for end in np.cumsum(np.bincount(exponents)).tolist():
        if end - ends[-1] >= _SEGMENT or (end == before.size and end > ends[-1]):
            ends.append(end)
    return np.argsort(exponents, kind="stable"), ends


def _add_steps(out: bytearray, steps: Steps) -> None:
    moved = steps != 0
    add_bits(out, moved)
    steps = steps.take(np.flatnonzero(moved))
    add_bits(out, steps < 0)
    counts = np.abs(steps)
    for _ in range(_MORE_BITS):
        if not counts.size:
            break
        longer = counts > 1
        add_bits(out, longer)
        counts = counts.take(np.flatnonzero(longer))
        add_bits(out, (counts & 1).astype(np.bool_))
        counts >>= 1


def _read_steps(reader: FrameReader, size: int) -> tuple[Places, Steps]:
    """Where magnitudes moved, and by how much."""
    moved = np.flatnonzero(read_bits(reader, size))
    down = read_bits(reader, moved.size)
    planes: list[tuple[int, Places, Bits]] = []
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
    return moved, (counts ^ -sign) + sign  # two's complement negates where the sign is 1
