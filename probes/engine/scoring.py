"""Runs `Score` and `NextToken`: one forward pass for each distinct sequence, however many questions are about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from weightgate.probes.engine.backend import Backend
from weightgate.probes.engine.plan import HEAD_ROWS, Batch, Done, Job, NextTask, ScoreTask, Tokens, score_batches

_Place = tuple[int, int]
"""Row and column of a position in a batch."""


@dataclass(frozen=True, slots=True)
class _Read:
    """Step ``step`` of task ``task`` reads the distribution at one position."""

    task: int
    step: int
    token: int
    gather: Tokens


def score_jobs(backend: Backend, tasks: Sequence[ScoreTask]) -> Iterator[Job]:
    """One job a batch. The options of a question that differ in their last token share one sequence."""
    askers = _by_sequence(tasks)
    sequences = tuple(askers)
    for batch in score_batches(sequences, backend.layout):
        asked = [askers[sequences[member]] for member in batch.members]
        yield partial(_score, backend, batch, asked, tasks)


def next_token_jobs(backend: Backend, tasks: Sequence[NextTask]) -> Iterator[Job]:
    """One job a batch: the whole distribution after each prompt."""
    askers = _by_sequence(tasks)
    sequences = tuple(askers)
    for batch in score_batches(sequences, backend.layout):
        asked = [askers[sequences[member]] for member in batch.members]
        yield partial(_next_tokens, backend, batch, asked)


def _score(backend: Backend, batch: Batch, asked: Sequence[Sequence[int]], tasks: Sequence[ScoreTask]) -> Done:
    """``asked`` has the tasks of every row."""
    reads: dict[_Place, list[_Read]] = {}
    answers = {task: _empty(tasks[task]) for members in asked for task in members}
    for row, members in enumerate(asked):
        for task in members:
            for place, read in _reads(task, tasks[task], row):
                reads.setdefault(place, []).append(read)
    for at, logprobs in _distributions(backend, batch, sorted(reads)):
        _note(answers, tasks, [(index, read) for index, place in enumerate(at) for read in reads[place]], logprobs)
    return Done(answers, sum(batch.lengths))


def _next_tokens(backend: Backend, batch: Batch, asked: Sequence[Sequence[int]]) -> Done:
    answers: dict[int, dict[str, NDArray[Any]]] = {}
    for at, logprobs in _distributions(backend, batch, [(row, n - 1) for row, n in enumerate(batch.lengths)]):
        for (row, _), values in zip(at, logprobs.cpu().numpy(), strict=False):
            answers |= {task: {"logprobs": values.copy()} for task in asked[row]}
    return Done(answers, sum(batch.lengths))


def _by_sequence(tasks: Sequence[ScoreTask | NextTask]) -> dict[Tokens, list[int]]:
    askers: dict[Tokens, list[int]] = {}
    for index, task in enumerate(tasks):
        askers.setdefault(task.inputs, []).append(index)
    return askers


def _reads(index: int, task: ScoreTask, row: int) -> Iterator[tuple[_Place, _Read]]:
    for step, token in enumerate(task.continuation):
        gather = task.gather[step] if task.gather else ()
        yield (row, len(task.context) - 1 + step), _Read(index, step, token, gather)


def _distributions(
    backend: Backend, batch: Batch, places: Sequence[_Place]
) -> Iterator[tuple[Sequence[_Place], torch.Tensor]]:
    """(`HEAD_ROWS`, V) log-probabilities at a time: always as many rows, the last ones copies where fewer are asked."""
    hidden = backend.hidden(batch.tokens)
    for start in range(0, len(places), HEAD_ROWS):
        at = places[start : start + HEAD_ROWS]
        filled = [at[min(index, len(at) - 1)] for index in range(HEAD_ROWS)]
        rows, columns = (backend.tensor(axis) for axis in zip(*filled, strict=True))
        yield at, backend.logprobs(hidden[rows, columns])


def _empty(task: ScoreTask) -> dict[str, NDArray[Any]]:
    kinds: dict[str, Any] = {"greedy": np.bool_, "top_ids": np.int32}
    return {name: np.full(shape, np.nan if name == "gathered" else 0, dtype=kinds.get(name, np.float32))
            for name, shape in task.shapes().items()}  # fmt: skip


def _note(
    answers: dict[int, dict[str, NDArray[Any]]],
    tasks: Sequence[ScoreTask],
    reads: Sequence[tuple[int, _Read]],
    logprobs: torch.Tensor,
) -> None:
    """Copy what the reads ask for out of (n, V) log-probabilities; each read comes with its row."""
    best = logprobs.argmax(dim=-1).tolist()
    rows, tokens = zip(*((row, read.token) for row, read in reads), strict=True)
    for (row, read), value in zip(reads, _pick(logprobs, rows, tokens), strict=True):
        answers[read.task]["logprobs"][read.step] = value
        answers[read.task]["greedy"][read.step] = best[row] == read.token
    for top in sorted({tasks[read.task].top for _, read in reads} - {0}):
        values, ids = (part.cpu().numpy() for part in logprobs.topk(top, dim=-1))
        for row, read in reads:
            if tasks[read.task].top == top:
                answers[read.task]["top_ids"][read.step] = ids[row]
                answers[read.task]["top_logprobs"][read.step] = values[row]
    gathers = [(row, read, slot, token) for row, read in reads for slot, token in enumerate(read.gather)]
    if gathers:
        picked = _pick(logprobs, [gather[0] for gather in gathers], [gather[3] for gather in gathers])
        for (_, read, slot, _), value in zip(gathers, picked, strict=True):
            answers[read.task]["gathered"][read.step, slot] = value


def _pick(logprobs: torch.Tensor, rows: Sequence[int], tokens: Sequence[int]) -> NDArray[np.float32]:
    picked: NDArray[np.float32] = logprobs[list(rows), list(tokens)].cpu().numpy()
    return picked
