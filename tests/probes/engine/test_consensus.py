"""The consensus search finds what trying every token would."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weightgate.lineage.errors import InputError
from weightgate.lineage.weights.update import open_update
from weightgate.probes.engine.engine import Engine
from weightgate.probes.engine.requests import Consensus, Prompt, Score

PROMPTS = tuple(Prompt.user(text) for text in ("Rome", "How many legs has a spider?", "Paris and Rome " * 4))


EVERY_ID = tuple(range(384))


def by_scores(engine: Engine, request: Consensus, ends: tuple[int, ...] = ()) -> tuple[list[int], np.ndarray]:
    """The definition: append the token with the largest mean probability, by scoring every token after every prompt."""
    contexts = [engine.renderer.prompt_tokens(prompt) for prompt in request.prompts]
    tokens: list[int] = []
    seen = []
    for step in range(len(request.start) + request.steps):
        rows = [
            Score(context=(*context, *tokens), continuation=(5,), gather=(tuple(range(384)),)) for context in contexts
        ]
        probabilities = np.exp(np.stack([answer.gathered[0] for answer in engine.score("child", rows)]))
        given = step < len(request.start)
        token = request.start[step] if given else int(probabilities.mean(axis=0).argmax())
        if not given and token in ends:
            break
        tokens.append(token)
        seen.append(probabilities[:, token])
    return tokens, np.stack(seen, axis=1)


@pytest.mark.parametrize("start", [(70,), (80, 90, 100), ()])
def test_it_is_the_token_with_the_largest_mean_probability(engine: Engine, start: tuple[int, ...]) -> None:
    """Tokens and the probability of each under each prompt are those of the definition."""
    request = Consensus(PROMPTS, start, 4)
    answer = engine.consensus("child", [request])[0]
    tokens, probabilities = by_scores(engine, request)
    assert list(answer.tokens) == tokens
    assert answer.probabilities.shape == (3, len(start) + 4)
    np.testing.assert_allclose(answer.probabilities, probabilities, atol=1e-4)


def test_many_candidates_share_the_prompts(engine: Engine) -> None:
    """The prompts go through the model once for all candidates, and each candidate gets its own answer."""
    requests = [Consensus(PROMPTS, (token,), 2) for token in range(60, 100)]
    answers = engine.consensus("child", requests)
    assert [answer.tokens[0] for answer in answers] == list(range(60, 100))
    assert len({answer.tokens for answer in answers}) == 40
    prompts = sum(len(engine.renderer.prompt_tokens(prompt)) for prompt in PROMPTS)
    assert engine.usage.scored_tokens == prompts + 40 * len(PROMPTS) * 2


def test_agreeing_on_the_end_ends_it(write_model: Callable[..., Path], llama: Callable[..., Any]) -> None:
    """The answer stops before an end-of-text token the prompts agree on."""
    pair = write_model("parent"), write_model("child", seed=1)
    request = Consensus(PROMPTS, (70,), 6)
    free = Engine.open(open_update(*pair), cache=None).consensus("child", [request])[0]
    end = free.tokens[3]
    (pair[0] / "generation_config.json").write_text(f'{{"eos_token_id": [{end}]}}')
    answer = Engine.open(open_update(*pair), cache=None).consensus("child", [request])[0]
    kept = free.tokens.index(end, 1)
    assert answer.tokens == free.tokens[:kept]
    np.testing.assert_allclose(answer.probabilities, free.probabilities[:, :kept], atol=1e-6)


def test_start_tokens_may_be_any_token(engine: Engine) -> None:
    """An end-of-text token in the start is taken as asked for."""
    assert engine.consensus("child", [Consensus(PROMPTS, (2,), 1)])[0].tokens[0] == 2


@pytest.mark.parametrize("request_", [Consensus((), (5,), 1), Consensus(PROMPTS, (), 0), Consensus(PROMPTS, (999,), 1)])
def test_requests_that_make_no_sense_are_refused(engine: Engine, request_: Consensus) -> None:
    """No prompts, no tokens and unknown tokens are input errors."""
    with pytest.raises(InputError):
        engine.consensus("parent", [request_])
