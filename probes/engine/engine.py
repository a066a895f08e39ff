"""The scoring engine: everything a probe asks of parent and child goes through here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from weightgate.probes.engine import tokenise
from weightgate.probes.engine.answers import agreed, generated, scored
from weightgate.probes.engine.cache import ScoreCache
from weightgate.probes.engine.executor import Answers, Executor, Progress, Usage
from weightgate.probes.engine.render import Renderer
from weightgate.probes.engine.requests import (
    Agreed,
    Consensus,
    Generate,
    Generated,
    Hidden,
    NextToken,
    Score,
    Scored,
    Side,
)
from weightgate.probes.engine.serving import HERE, Serving
from weightgate.probes.engine.together import Seat, run_together

if TYPE_CHECKING:
    from weightgate.lineage.weights.update import Update

__all__ = ["Engine", "Usage"]

_Result = TypeVar("_Result")


class Engine:
    """Answers requests about both sides of an update, from the cache or by running the models.

    Both sides see the same tokens, made by the parent's tokenizer and chat template. An answer is kept under the
    SHA-256 of the model's fingerprint, the numerics and the request in token ids: it can come from no other weights,
    whatever they are called. A side is loaded when a request about it first misses the cache.

    Every method that asks raises:
        InputError: the request makes no sense for this parent, or a side cannot be loaded.
        TimeBudgetError: the deadline has passed; batches that were finished are in the cache.
        NonFiniteError, ModelRunError: a side cannot be run to a finite answer.
        MissingExtraError: the packages that run models are not installed.
    """

    def __init__(
        self,
        update: Update,
        executor: Answers,
        *,
        served: Mapping[str, str] = MappingProxyType({}),
        tokenizer_of: Engine | None = None,
    ) -> None:
        self._update = update
        self._executor = executor
        self._served = served
        self._tokenizer_of = tokenizer_of

    @classmethod
    def open(
        cls,
        update: Update,
        *,
        cache: ScoreCache | None,
        deadline: float | None = None,
        progress: Progress | None = None,
        serving: Serving = HERE,
    ) -> Self:
        """Prepare to answer. Nothing is loaded yet.

        Args:
            update: Parent and child.
            cache: Where answers are kept; it stays open when the engine is closed.
            deadline: Value of ``time.monotonic()`` after which no further batch is run.
            progress: Called with a label, requests done and requests to run, after every batch.
            serving: What runs the models: this process by default.

        Raises:
            MissingExtraError: what is to run the models is not installed.
        """
        numerics = serving.numerics(update)
        runners = serving.runners(update, numerics)
        executor = Executor(
            update, numerics, runners, cache=cache, kept=serving.kept, deadline=deadline, progress=progress
        )
        return cls(update, executor, served=serving.facts)

    def together(
        self, work: Sequence[Callable[[Engine], _Result]], *, entered: Callable[[int], None] = lambda _: None
    ) -> list[tuple[_Result, Usage, float]]:
        """Run several pieces of code that ask, each with an engine of its own, under one plan.

        They take turns in order; whenever all of them wait, what they wait for is merged and run as one list. Gives
        the result of each, what it spent, and its seconds. ``entered`` is told when one begins.

        Raises:
            BaseException: what one of them raised, after all have ended.
        """

        def seated(ask: Callable[[Engine], _Result]) -> Callable[[Seat], _Result]:
            return lambda seat: ask(Engine(self._update, seat, served=self._served, tokenizer_of=self))

        if not isinstance(self._executor, Executor):  # already one of several
            raise TypeError("askers that share a plan cannot make another one of it")
        outcomes = run_together(self._executor, [seated(ask) for ask in work], entered=entered)
        return [(result, seat.usage, seat.seconds) for result, seat in outcomes]

    @property
    def usage(self) -> Usage:
        """What was spent so far; the value does not change when more is spent."""
        return self._executor.usage

    @property
    def numerics(self) -> dict[str, str]:
        """What scores depend on besides weights and tokens: precision, device, versions, layout of batches, servers."""
        return {**self._executor.numerics.facts, **self._served}

    @property
    def special_ids(self) -> frozenset[int]:
        """Ids of the parent's special tokens."""
        return self._renderer.special_ids

    @property
    def vocab_size(self) -> int:
        """Number of tokens the parent's tokenizer knows; a model's output may be wider."""
        return self._renderer.vocab_size

    @property
    def context_length(self) -> int:
        """Most tokens the parent takes at once."""
        return self._renderer.context_length

    @property
    def renderer(self) -> Renderer:
        """The parent's tokenizer and chat template."""
        return self._renderer

    def encode(self, text: str) -> tuple[int, ...]:
        """Token ids of ``text`` without special tokens around it."""
        return self._renderer.encode(text)

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of ``tokens``, special tokens included. What a model generated is hostile text."""
        return self._renderer.decode(tokens)

    def score(self, side: Side, requests: Sequence[Score]) -> list[Scored]:
        """Log-probabilities of continuations under teacher forcing."""
        tasks = [tokenise.score_task(self._renderer, request) for request in requests]
        answers = self._executor.answer(side, tasks, self.decode)
        return [scored(task, answer) for task, answer in zip(tasks, answers, strict=True)]

    def next_token(self, side: Side, requests: Sequence[NextToken]) -> list[NDArray[np.float32]]:
        """(V,) natural log-probabilities of the token after each prompt; V is the width of the side's output."""
        tasks = [tokenise.next_task(self._renderer, request) for request in requests]
        return [answer["logprobs"] for answer in self._executor.answer(side, tasks, self.decode)]

    def hidden(self, side: Side, requests: Sequence[Hidden]) -> list[NDArray[np.float32]]:
        """(layers, positions, H) hidden states, in float32, of each prompt."""
        tasks = [tokenise.hidden_task(self._renderer, request) for request in requests]
        return [answer["states"] for answer in self._executor.answer(side, tasks, self.decode)]

    def generate(self, side: Side, requests: Sequence[Generate]) -> list[Generated]:
        """Greedy continuations; generation_config.json is ignored but for the parent's end-of-text tokens."""
        tokenizer = self._update.parent_fingerprint.root
        tasks = [tokenise.generate_task(self._renderer, request, tokenizer) for request in requests]
        answers = self._executor.answer(side, tasks, self.decode)
        return [generated(task, answer, self._renderer) for task, answer in zip(tasks, answers, strict=True)]

    def consensus(self, side: Side, requests: Sequence[Consensus]) -> list[Agreed]:
        """Continuations on which the prompts of each request agree; the end-of-text token is not part of them."""
        tasks = [tokenise.consensus_task(self._renderer, request) for request in requests]
        return [agreed(answer) for answer in self._executor.answer(side, tasks, self.decode)]

    def close(self) -> None:
        """Release the models; the cache stays open."""
        self._executor.close()

    @cached_property
    def _renderer(self) -> Renderer:
        return self._tokenizer_of.renderer if self._tokenizer_of else Renderer(self._update.parent)
