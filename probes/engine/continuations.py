"""Runs `Score` in two stages: each context once, then what may follow it on the context's keys and values.

The answers to a multiple-choice question share its context, which is most of the tokens. The distribution of the first
token of a continuation is that after the context; the others come from batches of continuations, whose rows may follow
different contexts of one bucket. The shapes of both batches follow from the lengths of a task's own tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from weightgate.probes.engine.backend import Backend
from weightgate.probes.engine.plan import (
    Done,
    Job,
    Layout,
    ScoreTask,
    Tokens,
    buckets_of,
    left_padded,
    padded_continuation,
)
from weightgate.probes.engine.reading import Read, read_answers, reads
from weightgate.probes.engine.stream import Stream

_Follower = tuple[int, Tokens]
"""Row of the context, and the tokens that go through the model after it."""


@dataclass(slots=True)
class _Positions:
    """States read so far, (n, H) in parts, and what is read off each of them."""

    states: list[torch.Tensor]
    asked: list[list[Read]]


def continuation_jobs(backend: Backend, tasks: Sequence[ScoreTask], chosen: Sequence[int]) -> Iterator[Job]:
    """One job for a few batches of contexts of one bucket, longest first, and all that follows them."""
    askers: dict[Tokens, list[int]] = {}
    for index in chosen:
        askers.setdefault(tasks[index].context, []).append(index)
    contexts = tuple(askers)
    # One token more: every row then has a pad and so a mask, and takes the same kernels.
    for padded, members in buckets_of(len(context) + 1 for context in contexts):
        size = backend.layout.score_rows(padded) * backend.layout.context_batches(padded)
        for start in range(0, len(members), size):
            part = {contexts[member]: askers[contexts[member]] for member in members[start : start + size]}
            yield partial(_score, backend, part, tasks, padded)


def _score(backend: Backend, askers: Mapping[Tokens, Sequence[int]], tasks: Sequence[ScoreTask], padded: int) -> Done:
    """``askers`` has the tasks about every context."""
    first: list[list[Read]] = []
    followers: dict[_Follower, list[list[Read]]] = {}
    for row, members in enumerate(askers.values()):
        first.append([])
        for index in members:
            here, *later = reads(index, tasks[index])
            first[-1].append(here)
            if later:
                steps = followers.setdefault((row, tasks[index].continuation[:-1]), [[] for _ in later])
                for step, read in zip(steps, later, strict=True):
                    step.append(read)
    stream, last = _contexts(backend, tuple(askers), padded, keep=bool(followers))
    found = _Positions([last], first)
    if stream is not None:
        _follow(backend, stream, followers, found)
    tokens = sum(map(len, askers)) + sum(len(sequence) for _, sequence in followers)
    return Done(read_answers(backend, torch.cat(found.states), found.asked, tasks), tokens)


def _contexts(
    backend: Backend, contexts: Sequence[Tokens], padded: int, *, keep: bool
) -> tuple[Stream | None, torch.Tensor]:
    """Contexts in order, one a row (copies at the end), if they are to be kept, and the (n, H) states after them."""
    rows = backend.layout.score_rows(padded)
    streams, states = [], []
    for start in range(0, len(contexts), rows):
        part = contexts[start : start + rows]
        stream, last = backend.begin(left_padded([*part, *[part[-1]] * (rows - len(part))], padded))
        states.append(last)
        if keep:
            streams.append(stream)
    return Stream.joined(streams) if keep else None, torch.cat(states)[: len(contexts)]


def _follow(backend: Backend, stream: Stream, followers: dict[_Follower, list[list[Read]]], found: _Positions) -> None:
    """Run what follows the rows of the stream, and add its states to ``found``."""
    for part, tokens in _batches(tuple(followers), stream.tokens.shape[1], backend.layout):
        filled = [row for row, _ in part] + [part[-1][0]] * (len(tokens) - len(part))
        states = backend.follow(stream.selected(backend.tensor(filled)), tokens)
        for row, follower in enumerate(part):
            found.states.append(states[row, : len(follower[1])])
            found.asked.extend(followers[follower])


def _batches(
    followers: Sequence[_Follower], context: int, layout: Layout
) -> Iterator[tuple[Sequence[_Follower], NDArray[np.int64]]]:
    """Right-padded batches of a fixed number of rows, the last ones copies. Pads are -1."""
    for padded, members in buckets_of((len(sequence) for _, sequence in followers), padded_continuation):
        rows = layout.follow_rows(context, padded)
        for start in range(0, len(members), rows):
            part = [followers[member] for member in members[start : start + rows]]
            tokens = np.full((rows, padded), -1, dtype=np.int64)
            for row in range(rows):
                sequence = part[min(row, len(part) - 1)][1]
                tokens[row, : len(sequence)] = sequence
            yield part, tokens
