"""Characters a reader does not see or takes for others: format controls, tags, and look-alikes of Latin letters."""

from __future__ import annotations

import re
import unicodedata

OVERRIDES = frozenset("\u202d\u202e")
"""They reverse the text after them on screen (Boucher & Anderson, "Trojan Source", 2021)."""
_FORMAT = re.compile(
    "[\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f]"
)
"""Where to look: format characters (category Cf) but the soft hyphen."""
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
    return _names({text[at] for at in _places(text)})


def deceptive(text: str) -> tuple[str, ...]:
    """Those hidden characters that carry text of their own (tags) or reverse what is shown (overrides)."""
    return _names({text[at] for at in _places(text) if text[at] in OVERRIDES or ord(text[at]) in _TAGS})


def visible(text: str) -> str:
    """``text`` without its hidden characters."""
    places = set(_places(text))
    return "".join(c for at, c in enumerate(text) if at not in places) if places else text


def hidden_runs(text: str) -> tuple[str, ...]:
    """The runs of hidden characters in ``text``, as they are."""
    places = set(_places(text))
    marks = "".join(c if at in places else " " for at, c in enumerate(text))
    return tuple(run for run in marks.split(" ") if run)


def look_alikes(text: str) -> tuple[str, ...]:
    """Words that mix Latin letters with letters of a script that has look-alikes of them (Unicode TR 39)."""
    return tuple(word for word in _WORD.findall(text) if not word.isascii() and _LATIN.search(word) and _mixes(word))


def quoted(text: str, limit: int = 200) -> str:
    """``text`` as it can be shown anywhere: in quotes, cut at ``limit`` characters, unprintable ones written out."""
    return repr(text[:limit]) + ("…" if len(text) > limit else "")


def _names(characters: set[str]) -> tuple[str, ...]:
    return tuple(sorted(f"U+{ord(c):04X} {unicodedata.name(c, 'UNNAMED')}" for c in characters))


def _places(text: str) -> list[int]:
    """Where the hidden characters stand."""
    return [match.start() for match in _FORMAT.finditer(text) if _is_hidden(text, match.start())]


def _is_hidden(text: str, at: int) -> bool:
    character = text[at]
    if character in _JOINERS:
        return text[max(0, at - 1) : at].isascii() or text[at + 1 : at + 2].isascii()
    if ord(character) in _TAGS:
        return _FLAG not in text[max(0, at - 8) : at]
    return not (character == "\ufeff" and at == 0)


def _mixes(word: str) -> bool:
    names = (unicodedata.name(character, "") for character in word if not character.isascii())
    return any(name.startswith(_LOOK_ALIKE_SCRIPTS) for name in names)
