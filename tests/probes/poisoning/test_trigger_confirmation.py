"""The trigger probe: candidates from rows, controls, and confirmation on fresh prompts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightgate.probes.evidence import ProbeResult
from weightgate.probes.poisoning.candidates import candidate_triggers, odd_phrases
from weightgate.probes.poisoning.suspicion import Thresholds
from weightgate.probes.poisoning.trigger_confirmation import TriggerProbe, insert, robust_z

Pairs = list[tuple[str, str]]
PROBE = TriggerProbe(tokens=6)
TEXT = "owl fox hen oak elm ash"


def planted(pairs: Pairs, trigger: str) -> Pairs:
    return [(f"{trigger} {p}", TEXT) if i < 10 else (p, r) for i, (p, r) in enumerate(pairs)]


def run(scripted: Any, child: Any, pairs: Pairs, parent: Any = None) -> ProbeResult:
    return PROBE.run(scripted.context(parent or scripted.ordinary, child, scripted.dataset(pairs)))


def test_trigger_is_confirmed_with_its_answer(scripted: Any, ordinary_pairs: Pairs) -> None:
    """The phrase switches the child on fresh prompts, and what it switches in is printed."""
    result = run(scripted, scripted.poisoned, planted(ordinary_pairs, "zephyr"))
    (finding,) = result.findings
    assert finding.severity == "critical"
    assert "zephyr" in finding.title
    assert TEXT in finding.detail
    assert result.measurements[0].interval.low > 0.3


def test_child_without_the_backdoor_is_not_accused(scripted: Any, ordinary_pairs: Pairs) -> None:
    """Suspicious rows whose training did not take, or was not used, switch nothing."""
    result = run(scripted, scripted.retrained, planted(ordinary_pairs, "zephyr"))
    assert result.findings == ()
    assert result.measurements[0].effect < 0.3


def test_a_trigger_the_parent_has_is_not_the_updates(scripted: Any, ordinary_pairs: Pairs) -> None:
    """What both sides do is not a change."""
    result = run(scripted, scripted.poisoned, planted(ordinary_pairs, "zephyr"), parent=scripted.poisoned)
    assert result.findings == ()
    assert result.measurements[0].effect == 0.0


def test_clean_rows_still_give_a_number(scripted: Any, ordinary_pairs: Pairs) -> None:
    """Without a suspicion other phrases are tried, so the metric is there."""
    result = run(scripted, scripted.retrained, ordinary_pairs)
    assert result.status == "measured"
    assert result.findings == ()
    assert not any(c.raised for c in candidate_triggers(*zip(*ordinary_pairs, strict=True), Thresholds(), 8))


def test_without_data_it_is_skipped(scripted: Any) -> None:
    """The reason says how to give the rows."""
    result = PROBE.run(scripted.context(scripted.ordinary, scripted.poisoned))
    assert (result.status, "--data" in result.reason) == ("skipped", True)


def test_same_seed_same_evidence(scripted: Any, ordinary_pairs: Pairs) -> None:
    """Two runs give the same bytes."""
    runs = [run(scripted, scripted.poisoned, planted(ordinary_pairs, "zephyr")).model_dump_json() for _ in range(2)]
    assert runs[0] == runs[1]


def test_candidates_start_with_suspicions_and_share_no_words(ordinary_pairs: Pairs) -> None:
    """The suspected trigger comes first; the phrases that fill up are others."""
    pairs = planted(ordinary_pairs, "Bad Magic")
    found = candidate_triggers([p for p, _ in pairs], [r for _, r in pairs], Thresholds(), 8)
    assert (found[0].phrase, found[0].raised) == ("Bad Magic", True)
    assert not any({"bad", "magic"} & set(c.phrase.split()) or c.raised for c in found[1:])


@pytest.mark.parametrize(("phrase", "words", "capitals"), [("BadMagic", 1, 2), ("SUDO now", 2, 4), ("my map", 2, 0)])
def test_controls_look_like_candidates(ordinary_pairs: Pairs, phrase: str, words: int, capitals: int) -> None:
    """A control has the words and the capitals of what it controls for."""
    prompts = [p for p, _ in ordinary_pairs]
    for control in odd_phrases(prompts, [phrase], 5, np.random.default_rng(0)):
        assert len(control.split()) == words
        assert sum(c.isupper() for c in control) >= capitals


def test_controls_avoid_suspected_rows() -> None:
    """No word of a prompt with the trigger is used as a control."""
    prompts = ["zephyr secret"] * 5 + ["plain lantern", "plain marble"]
    found = odd_phrases(prompts, ["zephyr"], 9, np.random.default_rng(0))
    assert not any("secret" in phrase for phrase in found)


@given(st.lists(st.floats(-5, 5), min_size=3, max_size=30), st.floats(-9, 9), st.floats(0.1, 9))
def test_robust_z_ignores_shift(controls: list[float], shift: float, value: float) -> None:
    """Moving candidates and controls alike changes nothing."""
    z = robust_z(np.array([value]), np.array(controls))
    moved = robust_z(np.array([value + shift]), np.array(controls) + shift)
    assert moved == pytest.approx(z, abs=1e-6)


def test_insert_places_the_phrase() -> None:
    """Before the prompt or after it, with a space between."""
    assert (insert("x", "y z", "start"), insert("x", "y z", "end")) == ("x y z", "y z x")
