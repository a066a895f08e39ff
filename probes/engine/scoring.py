"""Runs `Score`, `NextToken` and `Hidden`: one forward pass for each sequence, whatever is asked about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from numpy.typing import NDArray

from weightgate.probes.engine.backend import Backend
from weightgate.probes.engine.continuations import continuation_jobs
from weightgate.probes.engine.plan import Batch, Done, HiddenTask, Job, NextTask, ScoreTask, Tokens, score_batches
from weightgate.probes.engine.reading import Read, distributions, read_answers, reads


def score_jobs(backend: Backend, tasks: Sequence[ScoreTask]) -> Iterator[Job]:
    """Continuations after contexts that are run once, then sequences that are run whole."""
    apart = {index for index, task in enumerate(tasks) if backend.continues and task.follows}
    yield from continuation_jobs(backend, tasks, sorted(apart))
    askers = _by_sequence({index: task for index, task in enumerate(tasks) if index not in apart})
    sequences = tuple(askers)
    for batch in score_batches(sequences, backend.layout):
        asked = [askers[sequences[member]] for member in batch.members]
        yield partial(_score, backend, batch, asked, tasks)


def next_token_jobs(backend: Backend, tasks: Sequence[NextTask]) -> Iterator[Job]:
    """One job a batch: the whole distribution after each prompt."""
    askers = _by_sequence(dict(enumerate(tasks)))
    sequences = tuple(askers)
    for batch in score_batches(sequences, backend.layout):
        asked = [askers[sequences[member]] for member in batch.members]
        yield partial(_next_tokens, backend, batch, asked)


def hidden_jobs(backend: Backend, tasks: Sequence[HiddenTask]) -> Iterator[Job]:
    """One job a batch: the states of the layers that the tasks about its rows ask for."""
    askers = _by_sequence(dict(enumerate(tasks)))
    sequences = tuple(askers)
    for batch in score_batches(sequences, backend.layout):
        asked = [{index: tasks[index] for index in askers[sequences[member]]} for member in batch.members]
        yield partial(_hidden, backend, batch, asked)


def _hidden(backend: Backend, batch: Batch, asked: Sequence[dict[int, HiddenTask]]) -> Done:
    layers = sorted({layer for tasks in asked for task in tasks.values() for layer in task.layers})
    states = dict(zip(layers, backend.layers(batch.tokens, layers), strict=True))
    answers: dict[int, dict[str, NDArray[Any]]] = {}
    for row, tasks in enumerate(asked):
        for index, task in tasks.items():
            positions = backend.tensor(task.positions)
            picked = torch.stack([states[layer][row, positions].float() for layer in task.layers])
            answers[index] = {"states": picked.cpu().numpy()}
    return Done(answers, sum(batch.lengths))


def _score(backend: Backend, batch: Batch, asked: Sequence[Sequence[int]], tasks: Sequence[ScoreTask]) -> Done:
    """``asked`` has the tasks of every row: options that differ in their last token share one."""
    places: dict[tuple[int, int], list[Read]] = {}
    for row, members in enumerate(asked):
        for index in members:
            for read in reads(index, tasks[index]):
                places.setdefault((row, len(tasks[index].context) - 1 + read.step), []).append(read)
    rows, columns = (backend.tensor(axis) for axis in zip(*places, strict=True))
    states = backend.hidden(batch.tokens)[rows, columns]
    return Done(read_answers(backend, states, tuple(places.values()), tasks), sum(batch.lengths))


def _next_tokens(backend: Backend, batch: Batch, asked: Sequence[Sequence[int]]) -> Done:
    answers: dict[int, dict[str, NDArray[Any]]] = {}
    last = backend.tensor([length - 1 for length in batch.lengths])
    states = backend.hidden(batch.tokens)[backend.tensor(range(len(last))), last]
    for start, logprobs in distributions(backend, states):
        for members, values in zip(asked[start:], logprobs.cpu().numpy(), strict=False):
            answers |= {task: {"logprobs": values.copy()} for task in members}
    return Done(answers, sum(batch.lengths))


def _by_sequence(tasks: Mapping[int, ScoreTask | NextTask | HiddenTask]) -> dict[Tokens, list[int]]:
    askers: dict[Tokens, list[int]] = {}
    for index, task in tasks.items():
        askers.setdefault(task.inputs, []).append(index)
    return askers
