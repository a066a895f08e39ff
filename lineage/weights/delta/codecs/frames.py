"""Frames: byte strings one after the other, each kept as it is or compressed with Zstandard (RFC 8878).

A frame is four bytes, little-endian, and the bytes they count; the highest bit says that those are one Zstandard frame.
The reader states how many bytes may come out before anything is decompressed.
"""

from __future__ import annotations

import sys

from weightgate.lineage.errors import IntegrityError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LEVEL = 1  # levels 1 and 3 reach the same size on weights
_COMPRESSED = 1 << 31
_WINDOW: dict[int, int] = {
    zstd.DecompressionParameter.window_log_max: 23
}  # 8 MiB: above any block, far below what a bomb asks for
_DAMAGED = "take the delta from where it was made again"


def add(out: bytearray, data: bytes) -> None:
    """Append ``data`` as a frame."""
    packed = zstd.compress(data, LEVEL)
    if len(packed) < len(data):
        out += (len(packed) | _COMPRESSED).to_bytes(4, "little") + packed
    else:
        out += len(data).to_bytes(4, "little") + data


class FrameReader:
    """Takes what `add` appended, in the same order."""

    def __init__(self, payload: bytes) -> None:
        self._payload, self._at = payload, 0

    def frame(self, most: int) -> bytes:
        """The next frame's bytes.

        Raises:
            IntegrityError: the payload ends early, the frame holds more than ``most`` bytes, or it is no valid frame.
        """
        word = int.from_bytes(self.take(4), "little")
        data = self.take(word & ~_COMPRESSED)
        if not word & _COMPRESSED:
            if len(data) > most:
                raise IntegrityError(f"a frame of {len(data)} bytes where {most} are left", remedy=_DAMAGED)
            return data
        stream = zstd.ZstdDecompressor(options=_WINDOW)
        try:
            plain = stream.decompress(data, max_length=most + 1)
        except zstd.ZstdError as error:
            raise IntegrityError(f"a frame cannot be decompressed: {error}", remedy=_DAMAGED) from error
        if len(plain) > most or not stream.eof or stream.unused_data:
            raise IntegrityError(f"a frame that does not end, or not within {most} bytes", remedy=_DAMAGED)
        return plain

    def exactly(self, size: int) -> bytes:
        """The next frame, which must hold ``size`` bytes.

        Raises:
            IntegrityError: as for `frame`, or it holds fewer.
        """
        data = self.frame(size)
        if len(data) != size:
            raise IntegrityError(f"a frame of {len(data)} bytes instead of {size}", remedy=_DAMAGED)
        return data

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes as they are.

        Raises:
            IntegrityError: fewer are left.
        """
        data = self._payload[self._at : self._at + count]
        if len(data) != count:
            raise IntegrityError("a block ends within a frame", remedy=_DAMAGED)
        self._at += count
        return data

    def end(self) -> None:
        """Check that nothing is left.

        Raises:
            IntegrityError: bytes after the last frame.
        """
        if self._at != len(self._payload):
            raise IntegrityError("bytes after the last frame of a block", remedy=_DAMAGED)
