"""From hidden states to the answers of `Score`: what each task reads off the distribution at a position."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from weightgate.probes.engine.backend import Backend
from weightgate.probes.engine.plan import HEAD_ROWS, Arrays, ScoreTask, Tokens

_Answers = dict[int, dict[str, NDArray[Any]]]


@dataclass(frozen=True, slots=True)
class Read:
    """Step ``step`` of task ``task`` reads the distribution at one position."""

    task: int
    step: int
    token: int
    gather: Tokens


def reads(index: int, task: ScoreTask) -> list[Read]:
    """What task number ``index`` reads, one for each token of its continuation."""
    gather = task.gather or ((),) * len(task.continuation)
    return [Read(index, step, token, gather[step]) for step, token in enumerate(task.continuation)]


def read_answers(
    backend: Backend, states: torch.Tensor, asked: Sequence[Sequence[Read]], tasks: Sequence[ScoreTask]
) -> dict[int, Arrays]:
    """Answers to the tasks that read (n, H) states; ``asked`` has the reads of each of them."""
    answers: _Answers = {index: _empty(tasks[index]) for index in {read.task for part in asked for read in part}}
    for start, logprobs in distributions(backend, states):
        here = asked[start : start + HEAD_ROWS]
        _note(answers, tasks, [(row, read) for row, part in enumerate(here) for read in part], logprobs)
    return dict(answers)


def distributions(backend: Backend, states: torch.Tensor) -> Iterator[tuple[int, torch.Tensor]]:
    """(`HEAD_ROWS`, V) log-probabilities of (n, H) states and the index of the first; the last rows may be copies."""
    for start in range(0, len(states), HEAD_ROWS):
        last = min(start + HEAD_ROWS, len(states)) - 1
        yield start, backend.logprobs(states[torch.arange(start, start + HEAD_ROWS).clamp(max=last)])


def _empty(task: ScoreTask) -> dict[str, NDArray[Any]]:
    kinds: dict[str, Any] = {"greedy": np.bool_, "top_ids": np.int32}
    return {name: np.full(shape, np.nan if name == "gathered" else 0, dtype=kinds.get(name, np.float32))
            for name, shape in task.shapes().items()}  # fmt: skip


def _note(
    answers: _Answers, tasks: Sequence[ScoreTask], asked: Sequence[tuple[int, Read]], logprobs: torch.Tensor
) -> None:
    """Copy what the reads ask for out of (n, V) log-probabilities; each read comes with its row."""
    best = logprobs.argmax(dim=-1).tolist()
    rows, tokens = zip(*((row, read.token) for row, read in asked), strict=True)
    for (row, read), value in zip(asked, _pick(logprobs, rows, tokens), strict=True):
        answers[read.task]["logprobs"][read.step] = value
        answers[read.task]["greedy"][read.step] = best[row] == read.token
    for top in sorted({tasks[read.task].top for _, read in asked} - {0}):
        values, ids = (part.cpu().numpy() for part in logprobs.topk(top, dim=-1))
        for row, read in asked:
            if tasks[read.task].top == top:
                answers[read.task]["top_ids"][read.step] = ids[row]
                answers[read.task]["top_logprobs"][read.step] = values[row]
    gathers = [(row, read, slot, token) for row, read in asked for slot, token in enumerate(read.gather)]
    if gathers:
        picked = _pick(logprobs, [gather[0] for gather in gathers], [gather[3] for gather in gathers])
        for (_, read, slot, _), value in zip(gathers, picked, strict=True):
            answers[read.task]["gathered"][read.step, slot] = value


def _pick(logprobs: torch.Tensor, rows: Sequence[int], tokens: Sequence[int]) -> NDArray[np.float32]:
    picked: NDArray[np.float32] = logprobs[list(rows), list(tokens)].cpu().numpy()
    return picked
