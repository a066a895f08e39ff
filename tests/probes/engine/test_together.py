"""Askers that share a plan get the answers they would get alone, for less."""

from __future__ import annotations

from typing import Any

import pytest

from weightgate.lineage.errors import InputError
from weightgate.lineage.weights.update import Update
from weightgate.probes.engine.cache import ScoreCache
from weightgate.probes.engine.engine import Engine, Usage
from weightgate.probes.engine.errors import TimeBudgetError
from weightgate.probes.engine.requests import Generate, NextToken, Prompt, Score

WORDS = ("Rome", "Italy", "spider", "legs", "France", "capital", "eight")


def score(engine: Engine, words: tuple[str, ...], side: str = "parent") -> list[bytes]:
    """The bits of a few scores."""
    requests = [Score(Prompt(text=f"The {word}"), " is Paris") for word in words]
    return [answer.logprobs.tobytes() for answer in engine.score(side, requests)]  # type: ignore[arg-type]


def first(engine: Engine) -> Any:
    """Asks three times, each time depending on the answer before."""
    text = engine.generate("parent", [Generate(Prompt(text="Rome"), 3)])[0].text
    return score(engine, (*WORDS[:3], text)), score(engine, WORDS[2:4], "child")


def second(engine: Engine) -> Any:
    """Asks in part for the same."""
    return score(engine, WORDS[1:6]), [
        a.tobytes() for a in engine.next_token("child", [NextToken(Prompt(text="Rome"))])
    ]


def test_answers_are_those_of_asking_alone(update: Update) -> None:
    """To the bit, with rounds of different kinds and of different number."""
    alone = [ask(Engine.open(update, cache=None)) for ask in (first, second)]
    together = Engine.open(update, cache=None).together([first, second])
    assert [result for result, _, _ in together] == alone


def test_what_two_ask_for_is_run_once(update: Update) -> None:
    """Two askers of the same scores cost what one costs; the first pays, and the parts add up to the whole."""
    alone = Engine.open(update, cache=None)
    score(alone, WORDS)
    shared = Engine.open(update, cache=None)
    (_, one, _), (_, other, _) = shared.together([lambda e: score(e, WORDS), lambda e: score(e, WORDS)])
    assert shared.usage.scored_tokens == alone.usage.scored_tokens
    assert (one.scored_tokens, other.scored_tokens) == (alone.usage.scored_tokens, 0)
    assert one + other == shared.usage == Usage(alone.usage.scored_tokens, 0, 14)


def test_batches_are_filled_from_all_askers(update: Update, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven askers of one prompt each need fewer batches together than one after another."""
    asks = [lambda e, word=word: score(e, (word,)) for word in WORDS]

    def batches(engine: Engine, run: Any) -> int:
        score(engine, ("warm",))
        backend = engine._executor._runners["parent"]._backends["parent"]  # type: ignore[attr-defined]
        count, begin, hidden = [0], backend.begin, backend.hidden
        monkeypatch.setattr(backend, "begin", lambda t: (count.append(1), begin(t))[1])
        monkeypatch.setattr(backend, "hidden", lambda t: (count.append(1), hidden(t))[1])
        run(engine)
        return sum(count)

    together = batches(Engine.open(update, cache=None), lambda engine: engine.together(asks))
    apart = batches(Engine.open(update, cache=None), lambda engine: [ask(engine) for ask in asks])
    assert together < apart


def test_an_askers_mistake_is_its_own(engine: Engine) -> None:
    """A request that makes no sense reaches the asker that made it; the others have their answers."""

    def careless(engine: Engine) -> str:
        try:
            engine.score("parent", [Score(Prompt(text="x"), "")])
        except InputError:
            return "refused"
        return "answered"

    results = engine.together([careless, lambda e: score(e, WORDS), lambda e: len(e.generate("parent", []))])
    assert results[0][0] == "refused"
    assert len(results[1][0]) == len(WORDS)
    assert results[2][0] == 0


def test_an_error_ends_the_run_after_the_others(engine: Engine) -> None:
    """What an asker raises is raised when all have ended, and nobody is left waiting."""
    ended = []

    def fails(_: Engine) -> None:
        raise KeyError("broken")

    with pytest.raises(KeyError, match="broken"):
        engine.together([fails, lambda e: ended.append(score(e, WORDS))])
    assert len(ended[0]) == len(WORDS)


def test_a_deadline_reaches_every_asker(update: Update) -> None:
    """Nobody hangs when the time is up."""
    engine = Engine.open(update, cache=None, deadline=0.0)

    def late(engine: Engine) -> str:
        try:
            score(engine, WORDS)
        except TimeBudgetError:
            return "late"
        return "answered"

    assert [result for result, _, _ in engine.together([late, late])] == ["late", "late"]


def test_the_parents_side_of_a_second_update_is_free(update: Update, cache: ScoreCache) -> None:
    """With another child, the parent is not loaded and not one of its tokens is run: only the new child's are."""
    Engine.open(update, cache=cache).together([first, second])
    again = Engine.open(update, cache=cache)
    again.together([lambda e: (score(e, WORDS[1:6]), score(e, WORDS[2:6], "child"))])
    backends = again._executor._runners["parent"]._backends  # type: ignore[attr-defined]
    assert list(backends) == ["child"]
    assert again.usage.scored_tokens > 0
