"""Several askers, one plan: what they ask for next is merged, batched and run together.

Each asker is plain code that calls an engine and waits. They take turns, one at a time, in order; when all that are
left wait for answers, their tasks are put to the executor as one list of each kind. So equal tasks are run once, and
the batches of a bucket are filled from all of them. What an answer is does not depend on it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from weightgate.probes.engine.errors import TimeBudgetError
from weightgate.probes.engine.executor import Executor, Usage
from weightgate.probes.engine.numerics import Numerics
from weightgate.probes.engine.plan import Arrays, Decode, Task
from weightgate.probes.engine.requests import Side

_Result = TypeVar("_Result")


@dataclass(slots=True)
class _Asked:
    """What an asker waits for."""

    side: Side
    tasks: Sequence[Task]
    decode: Decode
    answers: list[Arrays] | None = None
    error: BaseException | None = None


@dataclass(slots=True)
class Seat:
    """An asker's place: its engine puts tasks here, and its share of the cost is counted here."""

    numerics: Numerics
    usage: Usage = field(default_factory=Usage)
    seconds: float = 0.0
    """Time in the asker itself, and its share by tokens of the time in models."""
    _asked: _Asked | None = None
    _may_go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    _stopped: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def answer(self, side: Side, tasks: Sequence[Task], decode: Decode) -> list[Arrays]:
        """As `Executor.answer`; waits for the others' turns."""
        if not tasks:
            return []
        self._asked = asked = _Asked(side, tasks, decode)
        self._stopped.release()
        self._may_go.acquire()
        if asked.error is not None:
            raise asked.error
        return asked.answers or []

    def close(self) -> None:
        """The executor is closed by who opened it."""

    def take_turn(self) -> _Asked | None:
        """Let the asker go on until it asks again, or ends: None."""
        started = time.monotonic()
        self._asked = None
        self._may_go.release()
        self._stopped.acquire()
        self.seconds += time.monotonic() - started
        return self._asked

    def finish(self) -> None:
        """The asker ends."""
        self._asked = None
        self._stopped.release()

    def begin(self) -> None:
        """Wait for the first turn."""
        self._may_go.acquire()


@dataclass(slots=True)
class _Outcome(Generic[_Result]):
    result: _Result | None = None
    error: BaseException | None = None


def run_together(
    executor: Executor, work: Sequence[Callable[[Seat], _Result]], *, entered: Callable[[int], None] = lambda _: None
) -> list[tuple[_Result, Seat]]:
    """Results of all askers, in order, each with its seat; ``entered`` is told when one begins.

    Raises:
        BaseException: what an asker raised, of the first that did, after all of them ended.
    """
    seats = [Seat(executor.numerics) for _ in work]
    outcomes: list[_Outcome[_Result]] = [_Outcome() for _ in work]

    def ask(number: int) -> None:
        seats[number].begin()
        try:
            outcomes[number].result = work[number](seats[number])
        except BaseException as error:  # noqa: BLE001 - raised again by the caller's thread
            outcomes[number].error = error
        finally:
            seats[number].finish()

    # Daemons: an interrupted audit must not wait for askers that wait for it.
    threads = [threading.Thread(target=ask, args=(number,), daemon=True) for number in range(len(work))]
    waiting: dict[int, _Asked] = {}
    for number, thread in enumerate(threads):
        entered(number)
        thread.start()
        if asked := seats[number].take_turn():
            waiting[number] = asked
    while waiting:
        _answer(executor, seats, waiting)
        waiting = {number: asked for number in sorted(waiting) if (asked := seats[number].take_turn())}
    for thread in threads:
        thread.join()
    for outcome in outcomes:
        if outcome.error is not None:
            raise outcome.error
    return [(outcome.result, seat) for outcome, seat in zip(outcomes, seats, strict=True)]  # type: ignore[misc]


def _answer(executor: Executor, seats: Sequence[Seat], waiting: dict[int, _Asked]) -> None:
    """Answer everything that is waited for: tasks of one side and kind as one list."""
    kinds: dict[tuple[Side, str], list[int]] = {}
    for number, asked in waiting.items():
        kinds.setdefault((asked.side, asked.tasks[0].kind), []).append(number)
    for (side, _), numbers in sorted(kinds.items(), key=lambda item: (item[0][0] == "child", item[0][1])):
        try:
            _answer_as_one(executor, seats, side, {number: waiting[number] for number in numbers})
        except TimeBudgetError as error:
            for number in numbers:
                waiting[number].error = error
        except Exception:  # noqa: BLE001 - one asker's broken task must not fail the others: each by itself
            for number in numbers:
                try:
                    _answer_as_one(executor, seats, side, {number: waiting[number]})
                except Exception as error:  # noqa: BLE001 - raised again where it was asked for
                    waiting[number].error = error


def _answer_as_one(executor: Executor, seats: Sequence[Seat], side: Side, asked: dict[int, _Asked]) -> None:
    started = time.monotonic()
    first = next(iter(asked.values()))
    answers, spent = executor.answer_together(side, [part.tasks for part in asked.values()], first.decode)
    seconds = time.monotonic() - started
    weights = [part.scored_tokens for part in spent]
    if not any(weights):
        weights = [len(part.tasks) for part in asked.values()]
    for number, answer, cost, weight in zip(asked, answers, spent, weights, strict=True):
        asked[number].answers = answer
        seats[number].usage += cost
        seats[number].seconds += seconds * weight / sum(weights)
