"""Bit planes: one bit for each of n positions, as a packed bitmap or, where ones are rare, as the gaps between them.

A gap byte g below 255 means g zeros and a one; 255 means 255 zeros. No gap byte stands for zeros at the end.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from weightgate.lineage.errors import IntegrityError
from weightgate.lineage.weights.delta.codecs.frames import FrameReader, add

Bits = NDArray[np.bool_]

_BITMAP, _GAPS = b"\0", b"\1"
_RARE = 10  # a Huffman code spends at least one bit on eight positions; below one in ten, gaps are smaller


def add_bits(out: bytearray, plane: Bits) -> None:
    """Append a plane; nothing for one of no positions."""
    if not plane.size:
        return
    if np.count_nonzero(plane) * _RARE < plane.size:
        out += _GAPS
        add(out, _gaps(plane))
    else:
        out += _BITMAP
        add(out, np.packbits(plane).tobytes())


def read_bits(reader: FrameReader, size: int) -> Bits:
    """The next plane, of ``size`` positions.

    Raises:
        IntegrityError: it is damaged.
    """
    if not size:
        return np.zeros(0, np.bool_)
    kind = reader.take(1)
    if kind == _BITMAP:
        packed = np.frombuffer(reader.exactly((size + 7) // 8), np.uint8)
        return np.unpackbits(packed, count=size).view(np.bool_)
    if kind != _GAPS:
        raise IntegrityError("a bit plane of unknown kind", remedy="take the delta from where it was made again")
    steps = np.frombuffer(reader.frame(size), np.uint8)
    ends = np.cumsum(np.where(steps == 255, 255, steps + np.int64(1)))
    if ends.size and ends[-1] > size:
        raise IntegrityError("a bit plane runs past its end", remedy="take the delta from where it was made again")
    plane = np.zeros(size, np.bool_)
    plane[ends[steps < 255] - 1] = True
    return plane


def _gaps(plane: Bits) -> bytes:
    ones = np.flatnonzero(plane)
    gaps = ones.copy()
    gaps[1:] -= ones[:-1] + 1
    full, rest = np.divmod(gaps, 255)
    steps = np.full(int(full.sum()) + gaps.size, 255, np.uint8)
    steps[np.cumsum(full + 1) - 1] = rest
    return steps.tobytes()
