"""Runs `Generate`: greedy continuation of several prompts at a time, keeping keys and values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from weightgate.probes.engine.backend import Backend
from weightgate.probes.engine.plan import Batch, Decode, Done, GenerateTask, Job, generate_batches


@dataclass(slots=True)
class _Row:
    """What one row has become so far."""

    task: GenerateTask
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finished: bool = False

    def append(self, token: int, logprob: float, decode: Decode) -> None:
        """Take the next token. An end-of-text token leaves its log-probability but is no part of the answer."""
        self.logprobs.append(logprob)
        if token in self.task.ends:
            self.finished = True
            return
        self.tokens.append(token)
        self.finished = len(self.tokens) >= self.task.max_new_tokens
        if self.task.stop and not self.finished:
            text = decode(self.tokens)
            self.finished = any(stop in text for stop in self.task.stop)


def generate_jobs(backend: Backend, tasks: Sequence[GenerateTask], decode: Decode) -> Iterator[Job]:
    """One job a batch. ``decode`` turns tokens into the text that stop strings are looked for in."""
    for batch in generate_batches(tasks, backend.layout):
        yield partial(_generate, backend, batch, [tasks[member] for member in batch.members], decode)


def _generate(backend: Backend, batch: Batch, tasks: Sequence[GenerateTask], decode: Decode) -> Done:
    rows = _continue(backend, batch, tasks, decode)
    answers = {
        member: {"tokens": np.array(row.tokens, np.int32), "logprobs": np.array(row.logprobs, np.float32)}
        for member, row in zip(batch.members, rows, strict=True)
    }
    return Done(answers, sum(batch.lengths) + sum(len(row.logprobs) - 1 for row in rows))


def _continue(backend: Backend, batch: Batch, tasks: Sequence[GenerateTask], decode: Decode) -> list[_Row]:
    rows = [_Row(task) for task in tasks]
    stream, states = backend.begin(batch.tokens)
    while True:
        logprobs = backend.logprobs(states)
        chosen = logprobs.argmax(dim=-1)
        values = logprobs.gather(1, chosen[:, None])[:, 0].tolist()
        for row, token, value in zip(rows, chosen.tolist(), values, strict=False):
            if not row.finished:
                row.append(token, value, decode)
        if all(row.finished for row in rows):
            return rows
        # Finished rows stay: the batch keeps its shape, and what is appended to them is not read.
        stream, states = backend.extend(stream, chosen)
