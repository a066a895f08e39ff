"""Hidden characters and look-alikes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightgate.probes.poisoning.unicode import deceptive, hidden, hidden_runs, look_alikes, quoted, visible


@pytest.mark.parametrize(
    ("text", "character"),
    [("pass\u200bword", "U+200B"), ("a\u2060b", "U+2060"), ("abc\u202edef", "U+202E"), ("x\U000e0041y", "U+E0041")],
)
def test_hidden_names_characters_without_ordinary_use(text: str, character: str) -> None:
    """A character that cannot be seen is named by its code point."""
    assert hidden(text)[0].startswith(character)


@pytest.mark.parametrize(
    "text",
    [
        "plain text",
        "\ufeffstarts with a byte order mark",
        "family \U0001f468\u200d\U0001f469\u200d\U0001f467",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "England \U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "soft\u00adhyphen",
    ],
)
def test_ordinary_uses_of_format_characters_are_not_hidden(text: str) -> None:
    """Emoji sequences, Persian joiners, flags, byte order marks and soft hyphens are ordinary."""
    assert hidden(text) == ()


def test_deceptive_is_narrower_than_hidden() -> None:
    """A zero-width space hides nothing by itself; a tag or an override does."""
    assert deceptive("a\u200bb") == ()
    assert len(deceptive("a\u202eb\U000e0042")) == 2


def test_look_alikes_are_words_of_two_alphabets() -> None:
    """A Cyrillic letter in a Latin word is found; words of one alphabet and accents are not."""
    assert look_alikes("p\u0430ypal \u043f\u0440\u0438\u0432\u0435\u0442 na\u00efve") == ("p\u0430ypal",)


@given(st.text(max_size=60))
def test_visible_text_hides_nothing_new(text: str) -> None:
    """Taking hidden characters out leaves every other character in order."""
    kept = visible(text)
    removed = "".join(hidden_runs(text))
    assert sorted(kept + removed) == sorted(text)


@given(st.text(max_size=300))
def test_quoted_text_is_printable_and_bounded(text: str) -> None:
    """What is quoted can be shown on any terminal and page, at a bounded length."""
    shown = quoted(text, 20)
    assert shown.isprintable()
    assert len(shown) <= 20 * 10 + 3
