"""Runs tasks on the workers of Ray (Moritz et al., OSDI 2018): the cores of this machine, or a cluster.

An answer depends on its task and the model alone, so tasks may be cut into any parts and run anywhere, and again if a
worker dies: the bits are those of a run in one process. A worker opens the checkpoints itself and refuses to work where
they or the numerics are not the ones that were asked for. Scheduling, restarts and retries are Ray's.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weightgate.lineage.errors import InputError, IntegrityError, MissingExtraError, WeightgateError
from weightgate.probes.engine.errors import ModelRunError, UnsupportedError
from weightgate.probes.engine.numerics import Numerics, find_numerics
from weightgate.probes.engine.plan import (
    LAYOUTS,
    ConsensusTask,
    Decode,
    Done,
    GenerateTask,
    ScoreTask,
    Task,
    padded_length,
)
from weightgate.probes.engine.render import Renderer
from weightgate.probes.engine.requests import Side
from weightgate.probes.engine.runner import GoOn, LocalRunner

if TYPE_CHECKING:
    from weightgate.lineage.weights.update import Update

_RESTARTS = 3
_OBJECT_STORE = 256 << 20
_WAIT = 1.0
_BATCHES_A_PART = 8
_ERRORS: dict[str, type[WeightgateError]] = {
    error.__name__: error for error in (InputError, IntegrityError, ModelRunError, UnsupportedError)
}


@dataclass(frozen=True, slots=True)
class _Failure:
    """An error of a worker, as plain text: errors of other packages may not survive the way."""

    kind: str
    message: str
    remedy: str


class _Worker:
    """What runs in a worker's process: a `LocalRunner` over checkpoints that it checked."""

    def __init__(self, paths: tuple[str, str], roots: tuple[str, str], facts: dict[str, str]) -> None:
        self._asked = (paths, roots, facts)
        self._ready: tuple[LocalRunner, Renderer] | None = None

    def run(self, side: Side, tasks: list[Task]) -> list[Done] | _Failure:
        try:
            runner, renderer = self._open()
            return list(runner.run(side, tasks, renderer.decode, lambda: True))
        except WeightgateError as error:
            return _Failure(type(error).__name__, str(error), error.remedy)

    def process(self) -> int:
        return os.getpid()

    def _open(self) -> tuple[LocalRunner, Renderer]:
        if self._ready is None:
            from weightgate.lineage.weights.update import open_update

            paths, roots, facts = self._asked
            update = open_update(Path(paths[0]), Path(paths[1]))
            if (update.parent_fingerprint.root, update.child_fingerprint.root) != roots:
                raise IntegrityError(
                    "a Ray worker finds other models under the same paths",
                    remedy="put both models where every worker sees the same files",
                )
            numerics = find_numerics(update.parent.config)
            if differing := sorted(n for n, v in numerics.facts.items() if facts.get(n) != v):
                raise InputError(
                    f"a Ray worker would compute other last digits: it differs in {', '.join(differing)}",
                    remedy="use workers of one kind, with the same packages, as the machine that started the audit",
                )
            self._ready = LocalRunner(update, numerics), Renderer(update.parent)
        return self._ready


class RayRunner:
    """Both sides on as many workers as Ray has free cores, or GPUs where models run on these.

    ``address`` is ``ray`` (start it here), ``ray:auto`` (a cluster this machine is part of) or ``ray://HOST:PORT``.
    """

    def __init__(self, update: Update, numerics: Numerics, address: str) -> None:
        if find_spec("ray") is None:
            raise MissingExtraError("--executor ray", "ray")
        self._update = update
        self._numerics = numerics
        self._address = address
        self._connected = False
        self._workers: list[Any] = []

    def run(self, side: Side, tasks: Sequence[Task], decode: Decode, go_on: GoOn) -> Iterator[Done]:  # noqa: ARG002 - workers have their own
        """As `Runner.run`; every worker is given one part of the tasks at a time and one in advance."""
        import ray

        workers = self._workers or self._start()
        parts = itertools.takewhile(lambda _: go_on(), split(tasks, self._part_tokens()))
        running: dict[Any, tuple[Any, tuple[int, ...]]] = {}
        free = [worker for worker in workers for _ in range(2)]
        try:
            while True:
                while free and (part := next(parts, None)):
                    worker = free.pop(0)
                    running[worker.run.remote(side, [tasks[index] for index in part])] = (worker, part)
                if not running:
                    return
                for reference in ray.wait(list(running), num_returns=1, timeout=_WAIT)[0]:
                    worker, part = running.pop(reference)
                    free.append(worker)
                    for done in self._result(side, reference):
                        yield Done({part[place]: answer for place, answer in done.answers.items()}, done.tokens)
        finally:
            for reference in running:
                ray.cancel(reference)

    def close(self) -> None:
        """Release the workers, and Ray itself where it was started here."""
        if not self._workers:
            return
        import ray

        for worker in self._workers:
            ray.kill(worker)
        self._workers = []
        if self._connected:
            ray.shutdown()
            self._connected = False

    def _start(self) -> list[Any]:
        import ray

        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
        try:
            if not ray.is_initialized():
                if self._address == "ray":
                    ray.init("local", include_dashboard=False, object_store_memory=_OBJECT_STORE, **quiet)
                else:
                    ray.init("auto" if self._address == "ray:auto" else self._address, **quiet)
                self._connected = True
            gpus = int(ray.cluster_resources().get("GPU", 0)) if self._numerics.device == "cuda" else 0
            count = gpus or int(ray.cluster_resources().get("CPU", 1))
        except Exception as error:  # connections fail in many ways, some with errors of grpc
            raise InputError(
                f"Ray cannot be used ({self._address}): {type(error).__name__}: {str(error)[:300]}",
                remedy="check the address and that it runs the same versions of Ray and Python",
            ) from error
        actor: Any = ray.remote(
            num_cpus=1, num_gpus=1 if gpus else 0, max_restarts=_RESTARTS, max_task_retries=_RESTARTS
        )(_Worker)
        update = self._update
        paths = (str(update.parent.path.absolute()), str(update.child.path.absolute()))
        roots = (update.parent_fingerprint.root, update.child_fingerprint.root)
        self._workers = [actor.remote(paths, roots, dict(self._numerics.facts)) for _ in range(max(1, count))]
        return self._workers

    def _result(self, side: Side, reference: Any) -> list[Done]:
        import ray

        try:
            result: list[Done] | _Failure = ray.get(reference)
        except ray.exceptions.RayError as error:
            raise ModelRunError(
                f"the {side} cannot be run on Ray: {type(error).__name__}: {str(error)[:300]}",
                remedy=f"a worker died more than {_RESTARTS} times: is there enough memory for a model in each?",
            ) from error
        if isinstance(result, _Failure):
            raise _ERRORS.get(result.kind, ModelRunError)(result.message, remedy=result.remedy)
        return result

    def _part_tokens(self) -> int:
        return LAYOUTS[self._numerics.device].score_tokens * _BATCHES_A_PART


def split(tasks: Sequence[Task], tokens: int) -> Iterator[tuple[int, ...]]:
    """Indices in parts of about ``tokens`` tokens, longest first; tasks that share what runs once stay together."""
    families: dict[object, list[int]] = {}
    for index, task in enumerate(tasks):
        families.setdefault(_shared(task), []).append(index)
    part: list[int] = []
    size = 0
    for members in sorted(families.values(), key=lambda members: -padded_length(_length(tasks[members[0]]))):
        part += members
        size += _cost([tasks[member] for member in members])
        if size >= tokens:
            yield tuple(part)
            part, size = [], 0
    if part:
        yield tuple(part)


def _shared(task: Task) -> object:
    match task:
        case ScoreTask():
            return task.context if task.follows else task.inputs
        case GenerateTask():
            return task.prompt
        case ConsensusTask():
            return task.prompts
        case _:
            return task.inputs


def _length(task: Task) -> int:
    match task:
        case ScoreTask():
            return len(task.context) + 1 if task.follows else len(task.inputs)
        case GenerateTask():
            return len(task.prompt) + 1
        case ConsensusTask():
            return task.padded
        case _:
            return len(task.inputs)


def _cost(tasks: Sequence[Task]) -> int:
    first, later = tasks[0], 0
    for task in tasks:
        match task:
            case ScoreTask():
                later += len(task.continuation)
            case GenerateTask():
                later += 4 * task.max_new_tokens
            case ConsensusTask():
                later += len(task.prompts) * (len(task.start) + task.steps)
            case _:
                pass
    return _length(first) + later
