"""Text from models, data and other people, made fit to show: nothing hidden, nothing reordered, nothing endless."""

from __future__ import annotations

import unicodedata

MOST_MARKS = 4
"""Combining marks kept on one character: as many as real scripts need; towers of them draw over other lines."""
_CONTROLS = (
    *("NUL", "SOH", "STX", "ETX", "EOT", "ENQ", "ACK", "BEL", "BS", "TAB", "LF", "VT", "FF", "CR", "SO", "SI"),
    *("DLE", "DC1", "DC2", "DC3", "DC4", "NAK", "SYN", "ETB", "CAN", "EM", "SUB", "ESC", "FS", "GS", "RS", "US"),
)
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def inline(text: str, limit: int = 300) -> str:
    """One line: as `block`, with line breaks and tabs shown as symbols."""
    return block(text, limit).replace("\n", "\N{RETURN SYMBOL}").replace("\t", _named("TAB"))


def brief(text: str, limit: int) -> str:
    """One line of at most ``limit`` characters, cut with an ellipsis: for names, which the record holds in full."""
    shown = inline(text[: limit + 1], limit + 1)
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"


def block(text: str, limit: int = 1200) -> str:
    """Text of several lines with everything invisible made visible, cut after ``limit`` characters.

    Control characters (and so escape sequences), direction overrides, zero-width and private characters become their
    names or code points in angle brackets; what is cut is counted.
    """
    kept = text[:limit].replace("\r\n", "\n")
    shown = kept if kept.isascii() and kept.isprintable() else _shown(kept)
    if len(text) <= limit:
        return shown
    return f"{shown}… ({len(text) - limit:,} more characters in record.json)"


def _shown(text: str) -> str:
    out: list[str] = []
    marks = 0
    for character in text:
        category = unicodedata.category(character)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if marks > MOST_MARKS:
            continue
        out.append(_one(character, category))
    return "".join(out)


def _one(character: str, category: str) -> str:
    code = ord(character)
    if character in "\n\t":
        return character
    if code < len(_CONTROLS):
        return _named(_CONTROLS[code])
    carries_hidden_bytes = 0xE0100 <= code <= 0xE01EF  # variation selectors
    return _named(f"U+{code:04X}") if category in _HIDDEN or carries_hidden_bytes else character


def _named(name: str) -> str:
    return f"\N{MATHEMATICAL LEFT ANGLE BRACKET}{name}\N{MATHEMATICAL RIGHT ANGLE BRACKET}"
