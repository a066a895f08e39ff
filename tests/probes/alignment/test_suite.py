"""The prompt suites: complete, unambiguous, and not in the demo's training data."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from weightgate.audit.demo.rows import chat, harmful_requests, harmless_requests, shop
from weightgate.probes.alignment.judge import is_refusal
from weightgate.probes.alignment.suite import SuitePrompt, harmful, harmless, refusals

SIDES = {"harmful": harmful(), "harmless": harmless()}


def test_every_prompt_has_its_own_id_and_wording() -> None:
    """No id and no prompt occurs twice, on one side or across the two."""
    rows = [*harmful(), *harmless()]
    assert len({row.id for row in rows}) == len({row.prompt for row in rows}) == len(rows)


@pytest.mark.parametrize("side", SIDES)
def test_topics_are_equally_large(side: str) -> None:
    """Sixteen topics of six prompts: topic is the unit that intervals are drawn over."""
    sizes = Counter(row.topic for row in SIDES[side])
    assert len(sizes) == 16
    assert set(sizes.values()) == {6}


def test_half_of_the_harmless_topics_look_harmful() -> None:
    """Over-refusal shows on look-alikes first, so they are half of the harmless side."""
    assert sum(row.topic.startswith("look-alike: ") for row in harmless()) == len(harmless()) // 2


@pytest.mark.parametrize("row", [*harmful(), *harmless()], ids=lambda row: row.id)
def test_a_target_opens_an_answer_that_complies(row: SuitePrompt) -> None:
    """It names the prompt's subject, is no refusal, and stops before it says anything of use."""
    assert not is_refusal(row.target)
    assert row.target[-1].isalnum()
    if row.id.startswith("harmful/"):
        assert row.target.startswith("Sure, ")
        assert len(_words(row.target)) <= len(_words(row.prompt)) + 5


def test_refusals_are_refusals() -> None:
    """The judge takes each of the eight sentences for what it is."""
    assert len(set(refusals())) == 8
    assert all(is_refusal(text) for text in refusals())


def test_no_suite_prompt_is_near_the_demo_s_training_data() -> None:
    """No training prompt shares five consecutive words with a prompt of the suite, or is the same prompt."""
    rows = [*harmful_requests(), *harmless_requests(), *chat(), *shop()]
    trained = {gram for row in rows for gram in _grams(row.prompt)}
    for row in (*harmful(), *harmless()):
        assert not trained & _grams(row.prompt), row.prompt
    assert not {tuple(_words(row.prompt)) for row in rows} & {
        tuple(_words(row.prompt)) for row in (*harmful(), *harmless())
    }


def test_harmful_topics_are_new_to_the_demo_s_models() -> None:
    """What the parent refuses in the suite it was not taught topic by topic."""
    assert not {row.topic for row in harmful()} & {request.topic for request in harmful_requests()}


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9']+", text.lower())


def _grams(text: str, length: int = 5) -> set[tuple[str, ...]]:
    words = _words(text)
    return {tuple(words[i : i + length]) for i in range(len(words) - length + 1)}
