"""Characters a reader does not see or takes for others: format controls, tags, and look-alikes of Latin letters."""

from __future__ import annotations

import re
import unicodedata

OVERRIDES = frozenset("\u202d\u202e")
"""They reverse the text after them on screen (Boucher & Anderson, "Trojan Source", 2021)."""
_JOINERS = frozenset("\u200c\u200d")
_TAGS = range(0xE0000, 0xE0080)
_FLAG = "\U0001f3f4"
_LATIN = re.compile(r"[A-Za-z]")
_WORD = re.compile(r"[^\W\d_]+")
_LOOK_ALIKE_SCRIPTS = ("CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "FULLWIDTH LATIN", "MATHEMATICAL")


def hidden(text: str) -> tuple[str, ...]:
    """Invisible characters of ``text`` that have no ordinary use where they stand, as sorted 'U+XXXX NAME'.

    A joiner between non-ASCII characters (emoji sequences, Persian and Indic spelling), a tag after a flag, and a byte
    order mark at the very start are ordinary.
    """
    if text.isascii():
        return ()
    return _names({character for at, character in enumerate(text) if _is_hidden(text, at, character)})


def deceptive(text: str) -> tuple[str, ...]:
    """Those hidden characters that carry text of their own (tags) or reverse what is shown (overrides)."""
    if text.isascii():
        return ()
    return _names({c for at, c in enumerate(text) if (c in OVERRIDES or ord(c) in _TAGS) and _is_hidden(text, at, c)})


def visible(text: str) -> str:
    """``text`` without its hidden characters."""
    return text if text.isascii() else "".join(c for at, c in enumerate(text) if not _is_hidden(text, at, c))


def hidden_runs(text: str) -> tuple[str, ...]:
    """The runs of hidden characters in ``text``, as they are."""
    marks = "".join(c if _is_hidden(text, at, c) else " " for at, c in enumerate(text))
    return tuple(run for run in marks.split(" ") if run)


def look_alikes(text: str) -> tuple[str, ...]:
    """Words that mix Latin letters with letters of a script that has look-alikes of them (Unicode TR 39)."""
    return tuple(word for word in _WORD.findall(text) if not word.isascii() and _LATIN.search(word) and _mixes(word))


def quoted(text: str, limit: int = 200) -> str:
    """``text`` as it can be shown anywhere: in quotes, cut at ``limit`` characters, unprintable ones written out."""
    return repr(text[:limit]) + ("…" if len(text) > limit else "")


def _names(characters: set[str]) -> tuple[str, ...]:
    return tuple(sorted(f"U+{ord(c):04X} {unicodedata.name(c, 'UNNAMED')}" for c in characters))


def _is_hidden(text: str, at: int, character: str) -> bool:
    if character.isascii() or unicodedata.category(character) != "Cf" or character == "\u00ad":
        return False
    if character in _JOINERS:
        return text[max(0, at - 1) : at].isascii() or text[at + 1 : at + 2].isascii()
    if ord(character) in _TAGS:
        return _FLAG not in text[max(0, at - 8) : at]
    return not (character == "\ufeff" and at == 0)


def _mixes(word: str) -> bool:
    names = (unicodedata.name(character, "") for character in word if not character.isascii())
    return any(name.startswith(_LOOK_ALIKE_SCRIPTS) for name in names)
