"""Numbers as people read them: proportions in points, everything else in its unit."""

from __future__ import annotations

MINUS = "\N{MINUS SIGN}"


def amount(value: float, unit: str) -> str:
    """The size of a change without its sign, for example '4.2 points' for 0.042 of a proportion."""
    return f"{plain(abs(value), unit)} {unit_name(unit)}".rstrip()


def signed(value: float, unit: str) -> str:
    """A change with its sign and without its unit, for example '+4.2' for 0.042 of a proportion."""
    number = plain(abs(value), unit)
    if not float(number.replace(",", "")):
        return number
    return f"{'+' if value > 0 else MINUS}{number}"


def reading(value: float, unit: str) -> str:
    """A level rather than a change, without its unit: a proportion in per cent, anything else as it is."""
    number = plain(abs(value), unit)
    sign = MINUS if value < 0 and float(number.replace(",", "")) else ""
    return f"{sign}{number} %" if unit == "proportion" else f"{sign}{number}"


def unit_name(unit: str) -> str:
    """The unit that `signed` numbers are in."""
    return "points" if unit == "proportion" else unit


def plain(value: float, unit: str) -> str:
    """A number that is not negative, to three significant digits (proportions: to a tenth of a point)."""
    if unit == "proportion":
        return f"{100 * value:.1f}"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
