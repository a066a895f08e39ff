"""Arrays, as they are run and cached, to the answers probes see."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from weightgate.probes.engine.plan import Arrays, GenerateTask, ScoreTask
from weightgate.probes.engine.render import Renderer
from weightgate.probes.engine.requests import Agreed, Generated, Scored


def is_finite(answer: Arrays) -> bool:
    """Whether all log-probabilities and probabilities are finite; ``gathered`` is filled up with NaN on purpose."""
    return all(
        bool(np.isfinite(array).all())
        for name, array in answer.items()
        if name != "gathered" and array.dtype.kind == "f"
    )


def scored(task: ScoreTask, answer: Arrays) -> Scored:
    """The answer to a `ScoreTask`; arrays nobody asked for are there with size 0."""
    steps = len(task.continuation)
    return Scored(
        tokens=task.continuation,
        logprobs=answer["logprobs"],
        greedy=answer["greedy"],
        top_ids=answer.get("top_ids", np.empty((steps, 0), np.int32)),
        top_logprobs=answer.get("top_logprobs", np.empty((steps, 0), np.float32)),
        gathered=answer.get("gathered", np.empty((steps, 0), np.float32)),
    )


def generated(task: GenerateTask, answer: Arrays, renderer: Renderer) -> Generated:
    """The answer to a `GenerateTask`: its text ends before the first of the stop strings."""
    tokens = _ids(answer["tokens"])
    text = renderer.decode(tokens)
    return Generated(tokens, text[: min((text.find(stop) for stop in task.stop if stop in text), default=len(text))])


def agreed(answer: Arrays) -> Agreed:
    """The answer to a `ConsensusTask`."""
    return Agreed(_ids(answer["tokens"]), answer["probabilities"])


def _ids(tokens: NDArray[np.int32]) -> tuple[int, ...]:
    return tuple(int(token) for token in tokens)
