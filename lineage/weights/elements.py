"""What the bits of a tensor's elements mean, with numpy alone: bfloat16 and the 8-bit floats are read by their bits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.unsignedinteger[Any]]
Values = NDArray[np.floating[Any]]

_WORD: Mapping[int, str] = MappingProxyType({8: "u1", 16: "<u2", 32: "<u4", 64: "<u8"})

# dtype -> (width of the word, bits that are looked at, smallest such pattern that is infinite or not a number).
# Patterns of a sign-less float grow with its magnitude, and infinity and NaN come last (IEEE 754; for the 8-bit formats
# OCP OFP8 v1.0 and OCP Microscaling v1.0, and for FNUZ, where only the pattern of minus zero is NaN, arXiv:2206.02915).
_NOT_FINITE = MappingProxyType(
    {
        "F64": (64, 0x7FFF_FFFF_FFFF_FFFF, 0x7FF0_0000_0000_0000),
        "C64": (32, 0x7FFF_FFFF, 0x7F80_0000),
        "F32": (32, 0x7FFF_FFFF, 0x7F80_0000),
        "BF16": (16, 0x7FFF, 0x7F80),
        "F16": (16, 0x7FFF, 0x7C00),
        "F8_E5M2": (8, 0x7F, 0x7C),
        "F8_E4M3": (8, 0x7F, 0x7F),
        "F8_E8M0": (8, 0xFF, 0xFF),
    }
)


def count_not_finite(block: bytes, dtype: str) -> int:
    """How many elements of ``block`` are NaN or infinite; 0 for dtypes that have no such values."""
    if dtype in {"F8_E4M3FNUZ", "F8_E5M2FNUZ"}:
        return block.count(b"\x80")
    if dtype not in _NOT_FINITE:
        return 0
    width, mask, first = _NOT_FINITE[dtype]
    words = bits(block, width)
    magnitude = np.bitwise_and(words, words.dtype.type(mask))
    if magnitude.max(initial=0) < first:
        return 0
    return int(np.count_nonzero(magnitude >= first))


def bits(block: bytes, width: int) -> Bits:
    """The elements of ``block`` as unsigned words of ``width`` bits: equal words are equal elements, NaN included."""
    words: Bits = np.frombuffer(block, _WORD[width])
    return words


def decoder(dtype: str) -> Callable[[bytes], Values] | None:
    """How to turn bytes of ``dtype`` into float32 (F64: float64) values; None where elements are not plain numbers.

    Integers count as "not plain numbers": in checkpoints they are indices or packed, quantized weights.
    """
    match dtype:
        case "F64":
            return lambda block: np.frombuffer(block, "<f8")
        case "F32":
            return lambda block: np.frombuffer(block, "<f4")
        case "F16":
            return lambda block: np.frombuffer(block, "<f2").astype(np.float32)
        case "BF16":
            return lambda block: np.left_shift(np.frombuffer(block, "<u2"), 16, dtype=np.uint32).view(np.float32)
        case "F8_E5M2" | "F8_E4M3" | "F8_E8M0" | "F8_E4M3FNUZ" | "F8_E5M2FNUZ":
            table = _float8_values(dtype)
            return lambda block: table[np.frombuffer(block, "u1")]
        case _:
            return None


@cache
def _float8_values(dtype: str) -> NDArray[np.float32]:
    """The value of each of the 256 patterns; NaN and infinity are not told apart."""
    pattern = np.arange(256)
    if dtype == "F8_E8M0":
        return np.where(pattern < 255, np.exp2(pattern - 127.0), np.nan).astype(np.float32)
    fraction_bits = 3 if "E4M3" in dtype else 2
    bias = {"F8_E4M3": 7, "F8_E5M2": 15, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 16}[dtype]
    exponent = (pattern & 0x7F) >> fraction_bits
    fraction = (pattern & ((1 << fraction_bits) - 1)) / (1 << fraction_bits)
    magnitude = np.where(exponent > 0, (1 + fraction) * np.exp2(exponent - bias), fraction * np.exp2(1.0 - bias))
    finite = [count_not_finite(bytes([value]), dtype) == 0 for value in range(256)]
    return np.where(finite, np.where(pattern < 128, magnitude, -magnitude), np.nan).astype(np.float32)
