"""Foreign text is shown for what it is: nothing hidden, nothing reordered, nothing endless."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightgate.reports.visible import block, brief, inline

ANY = st.text(st.characters(), max_size=300)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text", "plain text"),
        ("\x1b[31mred", "⟨ESC⟩[31mred"),
        ("a\x00b\x7fc\x9bd", "a⟨NUL⟩b⟨U+007F⟩c⟨U+009B⟩d"),
        ("safe\u202egnp.exe", "safe⟨U+202E⟩gnp.exe"),
        ("zero\u200bwidth\ufeff", "zero⟨U+200B⟩width⟨U+FEFF⟩"),
        ("tag\U000e0041 select\U000e0101", "tag⟨U+E0041⟩ select⟨U+E0101⟩"),
        ("two\nlines\tand", "two⏎lines⟨TAB⟩and"),
        ("carriage\rreturn\r\nand", "carriage⟨CR⟩return⏎and"),
        ("a" + "\u0301" * 50, "a" + "\u0301" * 4),
        ("Grüße, 你好, שלום", "Grüße, 你好, שלום"),
    ],
)
def test_inline_shows_what_is_hidden(text: str, shown: str) -> None:
    """Controls, overrides and invisible characters become names; ordinary text of any script stays."""
    assert inline(text) == shown


def test_block_keeps_lines() -> None:
    """Text of several lines keeps its line breaks and tabs."""
    assert block("a\n\tb\r\nc\x1b") == "a\n\tb\nc⟨ESC⟩"


def test_long_text_is_cut_and_counted() -> None:
    """What is cut off is said, and where to find it."""
    assert block("x" * 100_000, 10) == "x" * 10 + "… (99,990 more characters in record.json)"
    assert brief("x" * 100_000, 10) == "x" * 9 + "…"
    assert brief("x" * 10, 10) == "x" * 10


@given(ANY)
def test_nothing_shown_is_invisible(text: str) -> None:
    """Whatever comes in, no control, format, private, unassigned or surrogate character goes out."""
    categories = {unicodedata.category(character) for character in inline(text)}
    assert not categories & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    inline(text).encode()


@given(ANY, st.integers(2, 40))
def test_brief_keeps_its_limit(text: str, limit: int) -> None:
    """A brief text is never longer than asked for."""
    assert len(brief(text, limit)) <= limit
