"""What runs tasks on one side of an update. Nothing here imports torch before a task has to be run."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from weightgate.lineage.errors import MissingExtraError
from weightgate.probes.engine.numerics import Numerics
from weightgate.probes.engine.plan import Decode, Done, GenerateTask, HiddenTask, Job, NextTask, ScoreTask, Task
from weightgate.probes.engine.requests import Side

if TYPE_CHECKING:
    from weightgate.lineage.weights.update import Update
    from weightgate.probes.engine.backend import Backend
    from weightgate.probes.engine.loading import Loader

GoOn = Callable[[], bool]


class Runner(Protocol):
    """Runs tasks on the models of an update.

    A task's answer depends on the task, the model and the numerics only: not on the tasks beside it, nor on how
    often or where it is run.
    """

    def run(self, side: Side, tasks: Sequence[Any], decode: Decode, go_on: GoOn) -> Iterator[Done]:
        """Answers to tasks of one kind, batch by batch, by index; no further batch once ``go_on`` says no.

        Raises:
            UnsupportedError: this runner has no answer to tasks of this kind.
            ModelRunError: the model cannot be run.
        """
        ...

    def close(self) -> None:
        """Release the models."""
        ...


class LocalRunner:
    """The models of transformers in this process, each loaded when it is first needed."""

    def __init__(self, update: Update, numerics: Numerics) -> None:
        self._update = update
        self._numerics = numerics
        self._loader: Loader | None = None
        self._backends: dict[str, Backend] = {}

    def run(self, side: Side, tasks: Sequence[Task], decode: Decode, go_on: GoOn) -> Iterator[Done]:
        """As `Runner.run`; batches run beside each other, as many as torch was given threads."""
        backend = self._backend(side)
        from weightgate.probes.engine.workers import run_in_order

        jobs = itertools.takewhile(lambda _: go_on(), _jobs(backend, tasks, decode))
        return run_in_order(jobs, beside=backend.shareable)

    def close(self) -> None:
        """Release the models."""
        self._backends.clear()
        self._loader = None

    def _backend(self, side: Side) -> Backend:
        roots = (self._update.parent_fingerprint.root, self._update.child_fingerprint.root)
        key = "both" if self._update.child.kind == "model" and roots[0] == roots[1] else side
        if key not in self._backends:
            try:
                from weightgate.probes.engine.backend import Backend
                from weightgate.probes.engine.loading import Loader
            except ImportError as error:
                raise MissingExtraError("asking a model", "probes") from error
            self._loader = self._loader or Loader(self._update, self._numerics)
            self._backends[key] = Backend(self._loader.load(side), side, self._numerics)
        return self._backends[key]


def _jobs(backend: Backend, tasks: Sequence[Any], decode: Decode) -> Iterator[Job]:
    from weightgate.probes.engine.consensus import consensus_jobs
    from weightgate.probes.engine.decoding import generate_jobs
    from weightgate.probes.engine.scoring import hidden_jobs, next_token_jobs, score_jobs

    match tasks[0]:
        case ScoreTask():
            return score_jobs(backend, tasks)
        case NextTask():
            return next_token_jobs(backend, tasks)
        case HiddenTask():
            return hidden_jobs(backend, tasks)
        case GenerateTask():
            return generate_jobs(backend, tasks, decode)
        case _:
            return consensus_jobs(backend, tasks)
