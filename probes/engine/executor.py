"""Gets tasks answered: from the cache, or by running the model of a side batch by batch.

Answers are cached batch by batch, so an audit that is stopped loses one batch at most.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from weightgate.lineage.canonical import digest
from weightgate.probes.engine.answers import is_finite
from weightgate.probes.engine.cache import ScoreCache
from weightgate.probes.engine.errors import NonFiniteError, TimeBudgetError
from weightgate.probes.engine.numerics import Numerics
from weightgate.probes.engine.plan import Arrays, Decode, Done, Task
from weightgate.probes.engine.requests import Side
from weightgate.probes.engine.runner import Runner

if TYPE_CHECKING:
    from weightgate.lineage.weights.update import Update

Progress = Callable[[str, int, int], None]


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

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.scored_tokens + other.scored_tokens, self.cached + other.cached, self.requests + other.requests
        )


class Answers(Protocol):
    """What an engine puts its tasks to."""

    @property
    def usage(self) -> Usage:
        """What was spent so far."""
        ...

    @property
    def numerics(self) -> Numerics:
        """What answers depend on besides model and task."""
        ...

    def answer(self, side: Side, tasks: Sequence[Task], decode: Decode) -> list[Arrays]:
        """One answer for each task; the tasks are of one kind."""
        ...

    def close(self) -> None:
        """Release the models."""
        ...


class Executor:
    """Runs tasks on the two sides of an update, within a deadline.

    ``kept`` names the sides whose answers go to the cache. Those of the other sides, behind an endpoint that may
    serve other weights tomorrow, are kept for this run only.
    """

    def __init__(
        self,
        update: Update,
        numerics: Numerics,
        runners: Mapping[Side, Runner],
        *,
        cache: ScoreCache | None,
        kept: Collection[Side] = ("parent", "child"),
        deadline: float | None,
        progress: Progress | None,
    ) -> None:
        self.usage = Usage()
        self.numerics = numerics
        self._update = update
        self._runners = runners
        self._cache = cache
        self._kept = kept
        self._this_run: dict[str, Arrays] = {}
        self._deadline = deadline
        self._progress = progress

    def answer(self, side: Side, tasks: Sequence[Task], decode: Decode) -> list[Arrays]:
        """One answer for each task; equal tasks are run once."""
        (answers,), _ = self.answer_together(side, [tasks], decode)
        return answers

    def answer_together(
        self, side: Side, groups: Sequence[Sequence[Task]], decode: Decode
    ) -> tuple[list[list[Arrays]], list[Usage]]:
        """Answers to several askers' tasks of one kind, planned as one, and what each of them spent.

        The tokens of a batch are shared out among those who first asked for its tasks.
        """
        tasks = [task for group in groups for task in group]
        askers = [number for number, group in enumerate(groups) for _ in group]
        keys = [self._key(side, task) for task in tasks]
        answers = self._cached(side, dict(zip(keys, tasks, strict=True)))
        spent = [
            Usage(
                requests=len(group), cached=sum(keys[at] in answers for at, who in enumerate(askers) if who == number)
            )
            for number, group in enumerate(groups)
        ]
        missing = {key: index for index, key in reversed(list(enumerate(keys))) if key not in answers}
        try:
            if missing:
                indices = sorted(missing.values())
                for done in self._run(side, [tasks[index] for index in indices], decode):
                    fresh = {indices[place]: answer for place, answer in done.answers.items()}
                    self._refuse_non_finite(side, fresh, tasks)
                    self._keep(side, {keys[index]: answer for index, answer in fresh.items()})
                    answers |= {keys[index]: answer for index, answer in fresh.items()}
                    for who, tokens in _shared_out(done.tokens, [askers[index] for index in fresh]).items():
                        spent[who] += Usage(scored_tokens=tokens)
        finally:
            for part in spent:
                self.usage += part
        given = iter([answers[key] for key in keys])
        return [[next(given) for _ in group] for group in groups], spent

    def identity(self, side: Side) -> tuple[str, ...]:
        """Digests of everything the model of a side is made from."""
        parent = self._update.parent_fingerprint.root
        if side == "parent":
            return (parent,)
        child = self._update.child_fingerprint.root
        return (child,) if self._update.child.kind == "model" else (parent, child)

    def close(self) -> None:
        """Release the models."""
        for runner in {id(runner): runner for runner in self._runners.values()}.values():
            runner.close()

    def _key(self, side: Side, task: Task) -> str:
        return digest(
            {
                "model": self.identity(side),
                "numerics": self.numerics.facts,
                "request": {"kind": task.kind, **task.content()},
            }
        )

    def _cached(self, side: Side, tasks: dict[str, Task]) -> dict[str, Arrays]:
        if side not in self._kept:
            return {key: self._this_run[key] for key in tasks if key in self._this_run}
        if self._cache is None:
            return {}
        found = self._cache.get_many(list(tasks))
        wrong = {key for key, answer in found.items() if not (tasks[key].holds(answer) and is_finite(answer))}
        self._cache.drop(list(wrong))
        return {key: answer for key, answer in found.items() if key not in wrong}

    def _keep(self, side: Side, answers: Mapping[str, Arrays]) -> None:
        if side not in self._kept:
            self._this_run |= answers
        elif self._cache is not None:
            self._cache.put_many(answers, model="+".join(self.identity(side)))

    def _run(self, side: Side, tasks: Sequence[Task], decode: Decode) -> Iterator[Done]:
        if self._is_late():
            raise _late()
        done = 0
        for batch in self._runners[side].run(side, tasks, decode, lambda: not self._is_late()):
            done += len(batch.answers)
            yield batch
            if self._progress is not None:
                self._progress(f"{side}: {tasks[0].kind}", done, len(tasks))
        if done < len(tasks):
            raise _late()

    def _is_late(self) -> bool:
        return self._deadline is not None and time.monotonic() > self._deadline

    def _refuse_non_finite(self, side: Side, answers: Mapping[int, Arrays], tasks: Sequence[Task]) -> None:
        for index, answer in answers.items():
            if not is_finite(answer):
                raise NonFiniteError(
                    f"the {side} gives NaN or infinite log-probabilities for request {index + 1} of {len(tasks)} "
                    f"({tasks[index].kind})",
                    remedy="the weights are broken, or overflow the precision: WEIGHTGATE_DTYPE=float32 tells which",
                )


def _late() -> TimeBudgetError:
    return TimeBudgetError("the time budget is used up", remedy="give more time: what was answered so far is kept")


def _shared_out(tokens: int, askers: Sequence[int]) -> dict[int, int]:
    """Tokens of a batch by asker, in proportion to their tasks in it; what does not divide goes to the first."""
    counts = Counter(askers)
    shares = {who: tokens * count // len(askers) for who, count in counts.items()}
    if shares:
        shares[next(iter(shares))] += tokens - sum(shares.values())
    return shares
