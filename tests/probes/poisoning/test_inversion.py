"""The search for a text on which one model agrees and another does not."""

from __future__ import annotations

from typing import Any

import pytest

from weightgate.probes.engine.requests import Prompt
from weightgate.probes.poisoning.inversion import Beam, first_tokens, invert, probabilities
from weightgate.probes.poisoning.prompts import ordinary as suite

BEAM = Beam(candidates=12, kept=6, finalists=3, tokens=9)
PROMPTS = [Prompt.user(row.prompt) for row in suite()[:6]]


def test_planted_target_is_recovered_in_full(scripted: Any) -> None:
    """The best target is the planted text, from its first token to its end."""
    engine = scripted.context(scripted.ordinary, scripted.poisoned).engine
    best = invert(engine, "child", "parent", PROMPTS, BEAM)[0]
    assert best.tokens == scripted.target
    assert best.near > 0.95
    assert best.difference > 0.7
    assert best.first < 0.2


def test_equal_models_give_no_targets(scripted: Any) -> None:
    """Nothing is searched where the two sides are the same."""
    engine = scripted.context(scripted.poisoned, scripted.poisoned).engine
    assert invert(engine, "child", "parent", PROMPTS, BEAM) == ()


def test_an_ordinary_update_gives_small_differences(scripted: Any) -> None:
    """Another model of the same kind has no text of its own that unlike prompts agree on."""
    engine = scripted.context(scripted.ordinary, scripted.retrained).engine
    assert all(target.difference < 0.3 for target in invert(engine, "child", "parent", PROMPTS, BEAM))


def test_targets_are_ordered_and_distinct(scripted: Any) -> None:
    """The largest difference comes first, and no text comes twice."""
    engine = scripted.context(scripted.ordinary, scripted.poisoned).engine
    found = invert(engine, "child", "parent", PROMPTS, BEAM)
    differences = [target.difference for target in found]
    assert differences == sorted(differences, reverse=True)
    assert len({target.tokens for target in found}) == len(found)


def test_first_tokens_skip_what_is_no_text(scripted: Any) -> None:
    """Special and unprintable tokens cannot begin an answer that is read."""
    engine = scripted.context(scripted.ordinary, scripted.poisoned).engine
    found = first_tokens(engine, "child", "parent", PROMPTS, 100)
    assert scripted.target[0] in found[:12]
    assert not {0, 1} & set(found)
    assert len(set(found)) == len(found)


def test_probabilities_are_per_prompt_and_token(scripted: Any) -> None:
    """Each prompt has the probability of every token of the sequence."""
    engine = scripted.context(scripted.ordinary, scripted.poisoned).engine
    (found,) = probabilities(engine, "child", PROMPTS, [scripted.target])
    assert found.shape == (6, 6)
    assert found[:, 1:].mean() == pytest.approx(0.97, abs=0.02)
