"""Which codec writes a piece: what the parent already has, or the smallest of a trial on a sample from the middle."""

from __future__ import annotations

from types import MappingProxyType
from typing import Protocol

from weightgate.lineage.weights.delta.codecs import ectx, raw, xor
from weightgate.lineage.weights.delta.header import CodecName
from weightgate.lineage.weights.delta.layout import Region

_SAMPLE_BYTES = 1 << 16


class Codec(Protocol):
    """A module that writes blocks and reads them back."""

    def encode(self, block: bytes, base: bytes, dtype: str) -> bytes:
        """The payload of a block, given the parent's block of the same size."""
        ...

    def decode(self, payload: bytes, base: bytes, dtype: str, size: int) -> bytes:
        """The block again; IntegrityError where the payload is damaged."""
        ...


CODECS: MappingProxyType[str, Codec] = MappingProxyType({"ectx": ectx, "xor": xor, "raw": raw})


def choose(region: Region, base: Region | None) -> CodecName:
    """The codec that makes the sample smallest."""
    dtype = region.where.dtype
    if base is None or base.where.dtype != dtype:
        return "raw"
    start = max(0, region.where.nbytes - _SAMPLE_BYTES) // 2 // 8 * 8
    size = min(_SAMPLE_BYTES, region.where.nbytes - start)
    block, before = region.read(start, size), base.read(start, size)
    candidates: tuple[CodecName, ...] = ("ectx", "xor", "raw") if dtype in ectx.FRACTION_BITS else ("xor", "raw")
    return min(candidates, key=lambda name: len(CODECS[name].encode(block, before, dtype)))
