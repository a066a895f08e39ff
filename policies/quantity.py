"""Numbers as people read them: proportions in points, everything else in its unit."""

from __future__ import annotations

import math

MINUS = "\N{MINUS SIGN}"


def amount(value: float, unit: str) -> str:
    """The size of a change without its sign, for example '4.2 points' for 0.042 of a proportion."""
    return f"{plain(abs(value), unit)} {unit_name(unit)}".rstrip()


def signed(value: float, unit: str, scale: float = 0.0) -> str:
    """A change with its sign and without its unit, for example '+4.2' for 0.042 of a proportion."""
    number = plain(abs(value), unit, scale)
    if not float(number.replace(",", "")):
        return number
    return f"{'+' if value > 0 else MINUS}{number}"


def interval(low: float, high: float, unit: str) -> tuple[str, str]:
    """Both ends of an interval, with as many decimals as the larger one asks for."""
    scale = max(abs(low), abs(high))
    return signed(low, unit, scale), signed(high, unit, scale)


def reading(value: float, unit: str) -> str:
    """A level rather than a change, without its unit: a proportion in per cent, anything else as it is."""
    number = plain(abs(value), unit)
    sign = MINUS if value < 0 and float(number.replace(",", "")) else ""
    return f"{sign}{number} %" if unit == "proportion" else f"{sign}{number}"


def unit_name(unit: str) -> str:
    """The unit that `signed` numbers are in."""
    return "points" if unit == "proportion" else unit


def plain(value: float, unit: str, scale: float = 0.0) -> str:
    """A number that is not negative, to about three digits of it or of ``scale`` (proportions: a tenth of a point)."""
    size = max(value, scale)
    if unit == "proportion" and size < 1000:
        return f"{100 * value:.1f}"
    if 0 < size < 0.001 or size >= 1e7:
        return f"{value:.2g}"
    if size >= 100:
        return f"{value:,.0f}"
    return f"{value:.{1 if size >= 10 else 2 if size >= 1 else 3}f}"


def power(value: float) -> str:
    """A chance in per cent; never rounded up to certainty or down to none."""
    return "under 1 %" if value < 0.01 else "over 99 %" if value > 0.99 else f"{100 * value:.0f} %"


def count(number: int, noun: str) -> str:
    """How many of something, also where it is one."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def e_value(logarithm: float) -> str:
    """An e-value from its natural logarithm: how many times the stake a bet against the hypothesis has won."""
    return f"e = {math.exp(logarithm):.3g}" if abs(logarithm) < 14 else f"e = 1e{logarithm / math.log(10):+.0f}"
