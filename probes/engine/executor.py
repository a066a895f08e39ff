"""Gets tasks answered: from the cache, or batch by batch by the model of a side, loaded when it is first needed.

Answers are cached batch by batch, so an audit that is stopped loses one batch at most. Nothing here imports torch
before a task misses the cache.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from weightgate.lineage.canonical import digest
from weightgate.lineage.errors import MissingExtraError
from weightgate.probes.engine.answers import is_finite
from weightgate.probes.engine.cache import ScoreCache
from weightgate.probes.engine.errors import NonFiniteError, TimeBudgetError
from weightgate.probes.engine.numerics import Numerics
from weightgate.probes.engine.plan import (
    Arrays,
    ConsensusTask,
    Decode,
    Done,
    GenerateTask,
    Job,
    NextTask,
    ScoreTask,
    Task,
)
from weightgate.probes.engine.requests import Side

if TYPE_CHECKING:
    from weightgate.lineage.weights.update import Update
    from weightgate.probes.engine.backend import Backend

Progress = Callable[[str, int, int], None]
_Task = TypeVar("_Task", ScoreTask, NextTask, GenerateTask, ConsensusTask)


@dataclass(frozen=True, slots=True)
class Usage:
    """What was spent so far; subtract an earlier value to get the cost of what lies between."""

    scored_tokens: int = 0
    """Tokens put through a model, both sides, without padding."""
    cached: int = 0
    """Requests answered from the cache."""
    requests: int = 0
    """Requests made."""

    def __sub__(self, earlier: Usage) -> Usage:
        return Usage(
            self.scored_tokens - earlier.scored_tokens, self.cached - earlier.cached, self.requests - earlier.requests
        )


class Executor:
    """Runs tasks on the two sides of an update, within a deadline."""

    def __init__(
        self,
        update: Update,
        numerics: Numerics,
        *,
        cache: ScoreCache | None,
        deadline: float | None,
        progress: Progress | None,
    ) -> None:
        self.usage = Usage()
        self.numerics = numerics
        self._update = update
        self._cache = cache
        self._deadline = deadline
        self._progress = progress
        self._backends: dict[tuple[str, ...], Backend] = {}

    def answer(self, side: Side, tasks: Sequence[_Task], decode: Decode) -> list[Arrays]:
        """One answer for each task; equal tasks are run once."""
        keys = [self._key(side, task) for task in tasks]
        answers = self._cached(dict(zip(keys, tasks, strict=True)))
        self.usage = replace(
            self.usage,
            requests=self.usage.requests + len(tasks),
            cached=self.usage.cached + sum(key in answers for key in keys),
        )
        missing = {key: index for index, key in reversed(list(enumerate(keys))) if key not in answers}
        if missing:
            indices = sorted(missing.values())
            for done in self._run(side, [tasks[index] for index in indices], decode):
                fresh = {keys[indices[place]]: answer for place, answer in done.answers.items()}
                self._refuse_non_finite(side, {indices[place]: answer for place, answer in done.answers.items()}, tasks)
                if self._cache is not None:
                    self._cache.put_many(fresh, model="+".join(self.identity(side)))
                answers |= fresh
        return [answers[key] for key in keys]

    def identity(self, side: Side) -> tuple[str, ...]:
        """Digests of everything the model of a side is made from."""
        parent = self._update.parent_fingerprint.root
        if side == "parent":
            return (parent,)
        child = self._update.child_fingerprint.root
        return (child,) if self._update.child.kind == "model" else (parent, child)

    def close(self) -> None:
        """Release the models."""
        self._backends.clear()

    def _key(self, side: Side, task: Task) -> str:
        return digest(
            {
                "model": self.identity(side),
                "numerics": self.numerics.facts,
                "request": {"kind": task.kind, **task.content()},
            }
        )

    def _cached(self, tasks: dict[str, _Task]) -> dict[str, Arrays]:
        if self._cache is None:
            return {}
        found = self._cache.get_many(list(tasks))
        wrong = [key for key, answer in found.items() if not (tasks[key].holds(answer) and is_finite(answer))]
        self._cache.drop(wrong)
        return {key: answer for key, answer in found.items() if key not in wrong}

    def _run(self, side: Side, tasks: Sequence[_Task], decode: Decode) -> Iterator[Done]:
        if self._is_late():
            raise _late()
        backend = self._backend(side)
        from weightgate.probes.engine.workers import run_in_order

        done = 0
        jobs = itertools.takewhile(lambda _: not self._is_late(), _jobs(backend, tasks, decode))
        for batch in run_in_order(jobs, beside=backend.shareable):
            done += len(batch.answers)
            self.usage = replace(self.usage, scored_tokens=self.usage.scored_tokens + batch.tokens)
            yield batch
            if self._progress is not None:
                self._progress(f"{side}: {tasks[0].kind}", done, len(tasks))
        if done < len(tasks):
            raise _late()

    def _backend(self, side: Side) -> Backend:
        identity = self.identity(side)
        if identity not in self._backends:
            try:
                from weightgate.probes.engine.backend import Backend
                from weightgate.probes.engine.loading import load_model
            except ImportError as error:
                raise MissingExtraError("asking a model", "probes") from error
            self._backends[identity] = Backend(load_model(self._update, side, self.numerics), side, self.numerics)
        return self._backends[identity]

    def _is_late(self) -> bool:
        return self._deadline is not None and time.monotonic() > self._deadline

    def _refuse_non_finite(self, side: Side, answers: dict[int, Arrays], tasks: Sequence[Task]) -> None:
        for index, answer in answers.items():
            if not is_finite(answer):
                raise NonFiniteError(
                    f"the {side} gives NaN or infinite log-probabilities for request {index + 1} of {len(tasks)} "
                    f"({tasks[index].kind})",
                    remedy="the weights are broken, or overflow the precision: WEIGHTGATE_DTYPE=float32 tells which",
                )


def _late() -> TimeBudgetError:
    return TimeBudgetError("the time budget is used up", remedy="give more time: what was answered so far is kept")


def _jobs(backend: Backend, tasks: Sequence[Any], decode: Decode) -> Iterator[Job]:
    from weightgate.probes.engine.consensus import consensus_jobs
    from weightgate.probes.engine.decoding import generate_jobs
    from weightgate.probes.engine.scoring import next_token_jobs, score_jobs

    match tasks[0]:
        case ScoreTask():
            return score_jobs(backend, tasks)
        case NextTask():
            return next_token_jobs(backend, tasks)
        case GenerateTask():
            return generate_jobs(backend, tasks, decode)
        case _:
            return consensus_jobs(backend, tasks)
