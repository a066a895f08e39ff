"""Runs `Score` and `Generate` on an OpenAI-compatible endpoint: text and log-probabilities are all it shows.

Prompts are sent as the parent's token ids, which the interface of completions takes in place of text, so that both
sides see the tokens they would see here. Log-probabilities of a given continuation come from echoing it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from weightgate.probes.engine.endpoint import Client, Endpoint
from weightgate.probes.engine.errors import UnsupportedError
from weightgate.probes.engine.plan import Arrays, Decode, Done, GenerateTask, ScoreTask, Task
from weightgate.probes.engine.render import Renderer
from weightgate.probes.engine.requests import Side
from weightgate.probes.engine.runner import GoOn

if TYPE_CHECKING:
    from weightgate.lineage.weights.checkpoint import Checkpoint

_AT_ONCE = 8
_MOST_STOPS = 4  # the interface takes no more; further ones are cut off here
_ABOVE_ZERO = 1e-3
_ID = "token_id:"


class EndpointRunner:
    """One side behind an endpoint, asked a few requests at a time."""

    def __init__(self, endpoint: Endpoint, parent: Checkpoint, *, client: Client | None = None) -> None:
        self._endpoint = endpoint
        self._parent = parent
        self._client = client or Client(endpoint)

    def run(self, side: Side, tasks: Sequence[Task], decode: Decode, go_on: GoOn) -> Iterator[Done]:
        """As `Runner.run`, one request for each task."""
        for task in tasks:
            if reason := self._unsupported(task):
                raise UnsupportedError(f"the {side} is behind {self._endpoint}, which {reason}")
        waiting: list[tuple[int, Future[Done]]] = []
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            try:
                for index, task in itertools.takewhile(lambda _: go_on(), enumerate(tasks)):
                    waiting.append((index, pool.submit(self._ask, index, task, decode)))
                    if len(waiting) >= 2 * _AT_ONCE:
                        yield waiting.pop(0)[1].result()
                while waiting:
                    yield waiting.pop(0)[1].result()
            finally:
                for _, future in waiting:
                    future.cancel()

    def close(self) -> None:
        """Nothing is held."""

    @cached_property
    def _renderer(self) -> Renderer:
        return Renderer(self._parent)

    def _unsupported(self, task: Task) -> str:
        if isinstance(task, ScoreTask):
            if self._endpoint.chat:
                return "serves chat only: it does not say how likely a given text is"
            return "does not show the log-probabilities of tokens one names" if any(task.gather) else ""
        if isinstance(task, GenerateTask):
            if self._endpoint.chat and (not task.turns or task.opening):
                return "serves chat only: it takes turns, and no text to be continued"
            return ""
        return f"does not show what '{task.kind}' asks for: give the weights to run it here"

    def _ask(self, index: int, task: Task, decode: Decode) -> Done:
        if isinstance(task, ScoreTask):
            return Done({index: self._score(task, decode)}, len(task.context) + len(task.continuation))
        if not isinstance(task, GenerateTask):
            raise UnsupportedError(self._unsupported(task))
        text = self._chat(task) if self._endpoint.chat else self._generate(task)
        for stop in task.stop:
            text = text.split(stop, maxsplit=1)[0]
        tokens = self._renderer.encode(text)
        return Done({index: {"tokens": np.array(tokens, np.int32)}}, len(task.prompt) + len(tokens))

    def _score(self, task: ScoreTask, decode: Decode) -> Arrays:
        sent = task.context + task.continuation
        body: dict[str, Any] = {"prompt": list(sent), "echo": True, "max_tokens": 1, "temperature": 0}
        body["logprobs"] = max(1, task.top)
        if task.top:
            body["return_tokens_as_token_ids"] = True  # vLLM's, because text does not name a token
        choice = self._choice("completions", body)
        columns = _columns(choice.get("logprobs"))
        if columns is None or not len(sent) <= len(columns[0]) <= len(sent) + 1:
            raise self._client.refuse("completions", f"no log-probabilities for {len(sent)} echoed tokens")
        values, tops = (column[len(task.context) : len(sent)] for column in columns[1:])
        self._check_tokens(columns[0][: len(sent)], decode(sent))
        numbers = [self._logprob(value) for value in values]
        best = [max(map(self._logprob, top.values()), default=math.inf) if isinstance(top, dict) else math.inf
                for top in tops]  # fmt: skip
        if math.inf in best:
            raise self._client.refuse("completions", "no top_logprobs at a position")
        answer: dict[str, NDArray[Any]] = {
            "logprobs": np.array(numbers, np.float32),
            "greedy": np.array([own >= other for own, other in zip(numbers, best, strict=True)], np.bool_),
        }
        return answer | (self._tops(task, tops) if task.top else {})

    def _tops(self, task: ScoreTask, tops: Sequence[Mapping[str, Any]]) -> dict[str, NDArray[Any]]:
        ids = np.zeros((len(tops), task.top), np.int32)
        values = np.zeros((len(tops), task.top), np.float32)
        for step, top in enumerate(tops):
            if not all(name.startswith(_ID) and name[len(_ID) :].isdecimal() for name in top):
                raise UnsupportedError(
                    f"{self._endpoint} names likely tokens by their text, which is not unique",
                    remedy="use a server that knows return_tokens_as_token_ids, such as vLLM, or give the weights",
                )
            ranked = sorted(((-self._logprob(value), int(name[len(_ID) :])) for name, value in top.items()))
            if len(ranked) < task.top or ranked[-1][1] >= 1 << 31:
                raise self._client.refuse("completions", f"{len(ranked)} likely tokens, asked for {task.top}")
            ids[step] = [token for _, token in ranked[: task.top]]
            values[step] = [-value for value, _ in ranked[: task.top]]
        return {"top_ids": ids, "top_logprobs": values}

    def _generate(self, task: GenerateTask) -> str:
        return self._text("completions", self._choice("completions", {"prompt": list(task.prompt), **_length(task)}))

    def _chat(self, task: GenerateTask) -> str:
        turns = [{"role": role, "content": content} for role, content in task.turns]
        choice = self._choice("chat/completions", {"messages": turns, **_length(task)})
        message = choice.get("message")
        content = message.get("content") if isinstance(message, dict) else None
        return self._text("chat/completions", {"text": "" if content is None and message else content})

    def _choice(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        choices = self._client.post(path, body).get("choices")
        if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
            raise self._client.refuse(path, "not one choice")
        return choices[0]

    def _text(self, path: str, choice: Mapping[str, Any]) -> str:
        text = choice.get("text")
        if not isinstance(text, str):
            raise self._client.refuse(path, "no text")
        return text

    def _logprob(self, value: Any) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool) or not -math.inf < value <= _ABOVE_ZERO:
            raise self._client.refuse("completions", f"{str(value)[:40]!r} is no log-probability")
        return float(value)

    def _check_tokens(self, tokens: Sequence[Any], text: str) -> None:
        """Whether the server read the ids as the parent's tokenizer does; blanks are spelt in several ways."""
        said = "".join(token for token in tokens if isinstance(token, str))
        if said.startswith(_ID) or any(mark in said + text for mark in ("\ufffd", "bytes:")):
            return
        if "".join(said.split()) != "".join(text.split()):
            raise self._client.refuse("completions", f"the server reads the tokens as {said[:80]!r}, not {text[:80]!r}")


def _length(task: GenerateTask) -> dict[str, Any]:
    stops = {"stop": list(task.stop[:_MOST_STOPS])} if task.stop else {}
    return {"max_tokens": task.max_new_tokens, "temperature": 0, **stops}


def _columns(logprobs: Any) -> tuple[list[Any], list[Any], list[Any]] | None:
    """``tokens``, ``token_logprobs`` and ``top_logprobs`` of one length."""
    if not isinstance(logprobs, dict):
        return None
    tokens, values, tops = (logprobs.get(name) for name in ("tokens", "token_logprobs", "top_logprobs"))
    if not isinstance(tokens, list) or not isinstance(values, list) or not isinstance(tops, list):
        return None
    return (tokens, values, tops) if len(tokens) == len(values) == len(tops) else None
