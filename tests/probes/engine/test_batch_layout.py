"""An answer depends on the weights and the request, to the last bit, and on nothing else that is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from weightgate.lineage.weights.update import open_update
from weightgate.probes.engine.cache import ScoreCache
from weightgate.probes.engine.engine import Engine
from weightgate.probes.engine.requests import Consensus, Generate, NextToken, Prompt, Score

WORDS = ("The", "capital", "of", "France", "is", "Paris", "and", "that", "Italy", "how", "many", "legs", "a", "spider")


def text(index: int) -> str:
    """A sentence of 3 to 40 words."""
    random = np.random.default_rng(index)
    return " ".join(random.choice(WORDS, size=int(random.integers(3, 41))))


SCORES = [Score(Prompt.user(text(i)), " " + text(1000 + i), top=3, gather=()) for i in range(23)]
GENERATES = [Generate(Prompt.user(text(i)), 3 + i) for i in range(9)]
NEXT = [NextToken(Prompt(text=text(i))) for i in range(11)]
PROMPTS = tuple(Prompt.user(text(i)) for i in range(5))
CONSENSUS = [Consensus(PROMPTS, (token,), 4) for token in range(60, 85)]


@pytest.fixture(params=["float32", "bfloat16"])
def pair(
    request: pytest.FixtureRequest,
    write_model: Callable[..., Path],
    llama: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Engine]:
    """Opens engines over one pair, large enough for the blocked kernels of matrix products, in two precisions."""
    monkeypatch.setenv("WEIGHTGATE_DTYPE", request.param)
    config = llama(hidden_size=192, intermediate_size=512, num_attention_heads=6, num_key_value_heads=3)
    parent = write_model("parent", config=config, dtype=torch.bfloat16)
    update = open_update(parent, write_model("child", seed=1, config=config, dtype=torch.bfloat16))
    return lambda cache=None: Engine.open(update, cache=cache)


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Two threads for matrix products, and the usual number afterwards."""
    usual = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(usual)


def bits(answer: Any) -> tuple[Any, ...]:
    """Everything in an answer, arrays as bytes."""
    if isinstance(answer, np.ndarray):
        return (answer.tobytes(),)
    fields = [getattr(answer, name) for name in answer.__slots__]
    return tuple(field.tobytes() if isinstance(field, np.ndarray) else field for field in fields)


def ask(engine: Engine, kind: str, requests: list[Any]) -> list[tuple[Any, ...]]:
    """The bits of the parent's answers."""
    return [bits(answer) for answer in getattr(engine, kind)("parent", requests)]


KINDS = [("score", SCORES), ("generate", GENERATES), ("next_token", NEXT), ("consensus", CONSENSUS)]


@pytest.mark.parametrize(("kind", "requests"), KINDS)
def test_alone_among_others_and_in_another_order(pair: Callable[..., Engine], kind: str, requests: list[Any]) -> None:
    """A request gets the same bits alone, among others and in reversed order."""
    together = ask(pair(), kind, requests)
    assert ask(pair(), kind, requests[::-1])[::-1] == together
    engine = pair()
    assert [ask(engine, kind, [request])[0] for request in requests] == together


@pytest.mark.parametrize(("kind", "requests"), KINDS)
def test_after_a_resume(pair: Callable[..., Engine], cache: ScoreCache, kind: str, requests: list[Any]) -> None:
    """With every second request in the cache the others get the same bits, and so do those read back."""
    together = ask(pair(), kind, requests)
    ask(pair(cache), kind, requests[::2])
    resumed = pair(cache)
    assert ask(resumed, kind, requests) == together
    assert resumed.usage.cached == len(requests[::2])


@pytest.mark.parametrize(("kind", "requests"), KINDS)
@pytest.mark.usefixtures("two_threads")
def test_with_two_threads(pair: Callable[..., Engine], kind: str, requests: list[Any]) -> None:
    """Two threads give the bits of one."""
    both = ask(pair(), kind, requests)
    torch.set_num_threads(1)
    assert ask(pair(), kind, requests) == both
