"""Runs `Consensus`: the search of BAIT (Shen et al., S&P 2025), many candidates at a time over one copy of the prompts.

The prompts of a request go through the model once; their keys and values are shared by all requests with the same
prompts. Candidates are extended together, a fixed number of them, each on a row of its own for every prompt.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from weightgate.probes.engine.backend import Backend
from weightgate.probes.engine.plan import Arrays, ConsensusTask, Done, Job, left_padded
from weightgate.probes.engine.stream import Stream


@dataclass(frozen=True, slots=True)
class _Shared:
    """What requests with the same prompts have in common after these went through the model."""

    prompts: Stream
    opening: torch.Tensor
    """(P, V) probabilities of the first token under each prompt."""


def consensus_jobs(backend: Backend, tasks: Sequence[ConsensusTask]) -> Iterator[Job]:
    """One job a group of candidates; the prompts they share are run when its first job is asked for."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for index, task in enumerate(tasks):
        groups.setdefault((task.prompts, len(task.start), task.steps, task.ends), []).append(index)
    for members in groups.values():
        first = tasks[members[0]]
        stream, states = backend.begin(left_padded(first.prompts, first.padded))
        shared = _Shared(stream, backend.logprobs(states).exp())
        size = backend.layout.candidates(len(first.prompts), first.padded + len(first.start) + first.steps)
        tokens = sum(map(len, first.prompts))
        for start in range(0, len(members), size):
            part = {member: tasks[member] for member in members[start : start + size]}
            yield partial(_extend, backend, shared, part, size=size, tokens=0 if start else tokens)


def _extend(backend: Backend, shared: _Shared, tasks: Mapping[int, ConsensusTask], *, size: int, tokens: int) -> Done:
    """Answer up to ``size`` tasks by index; ``tokens`` were put through the model for them before."""
    asked = list(tasks.values())
    answers = _search(backend, shared, asked + [asked[-1]] * (size - len(asked)))
    extended = len(asked) * len(asked[0].prompts) * (len(asked[0].start) + asked[0].steps - 1)
    return Done(dict(zip(tasks, answers, strict=False)), tokens + extended)


def _search(backend: Backend, shared: _Shared, tasks: Sequence[ConsensusTask]) -> list[Arrays]:
    """Extend C candidates at once: ``current`` is (P, C, V), the probabilities of the token that comes next."""
    starts, length = [task.start for task in tasks], len(tasks[0].start) + tasks[0].steps
    stream = shared.prompts.repeated(len(tasks))
    current = shared.opening[:, None, :].expand(-1, len(tasks), -1)
    chosen: list[torch.Tensor] = []
    seen: list[torch.Tensor] = []
    for step in range(length):
        given = step < len(starts[0])
        token = backend.tensor([start[step] for start in starts]) if given else current.mean(dim=0).argmax(dim=-1)
        chosen.append(token)
        seen.append(current.gather(2, token[None, :, None].expand(len(current), -1, 1))[:, :, 0])
        if step + 1 < length:
            stream, states = backend.extend(stream, token.repeat(len(current)))
            current = backend.logprobs(states).exp().view(len(current), len(tasks), -1)
    tokens, probabilities = torch.stack(chosen, dim=1).cpu().numpy(), torch.stack(seen, dim=2).cpu().numpy()
    return [_until_end(task, tokens[index], probabilities[:, index]) for index, task in enumerate(tasks)]


def _until_end(task: ConsensusTask, tokens: NDArray[np.int64], probabilities: NDArray[np.float32]) -> Arrays:
    """Cut a candidate, (T,) tokens and (P, T) probabilities, before the end-of-text token it agreed on, if it did."""
    ended = np.flatnonzero(np.isin(tokens[len(task.start) :], task.ends))
    kept = len(task.start) + int(ended[0]) if len(ended) else len(tokens)
    return {"tokens": tokens[:kept].astype(np.int32), "probabilities": probabilities[:, :kept].copy()}
