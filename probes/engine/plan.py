"""Requests as token ids, and the fixed layout of the batches they are run in.

A matrix product rounds differently when its shape changes, so a score must not depend on what else was asked. A batch
therefore has a shape that follows from the length of its sequences alone: every sequence is padded to the length of its
bucket and every batch of a bucket has the same number of rows, the last one filled up with copies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

Tokens = tuple[int, ...]
Arrays = Mapping[str, NDArray[Any]]

HEAD_ROWS = 64
"""Positions that go through the output layer together."""
_STEP = 8


@dataclass(frozen=True, slots=True)
class Layout:
    """How many rows a batch has. Mixture-of-experts models sort the tokens of a batch by expert: one row for these."""

    score_tokens: int = 512
    """Padded tokens of a scoring batch: four times as many took one core two times as long as 128."""
    follow_tokens: int = 128
    """Padded tokens of a batch of continuations: these come in more lengths, and fill larger batches less."""
    continuation_rows: int = 32
    decode_rows: int = 16
    consensus_rows: int = 64
    decode_tokens: int = 16_384
    """Padded tokens whose keys and values are kept for one batch: what bounds the memory for them."""

    def score_rows(self, padded: int) -> int:
        """Rows of a scoring batch whose sequences are padded to ``padded`` tokens."""
        return max(1, self.score_tokens // padded)

    def context_batches(self, padded: int) -> int:
        """Batches of contexts kept for their continuations: a quarter of what may be kept."""
        return max(1, self.decode_tokens // 4 // (self.score_rows(padded) * padded))

    def follow_rows(self, context: int, padded: int) -> int:
        """Rows of a batch of continuations, ``padded`` tokens each after ``context``: half of what may be kept."""
        rows = min(self.continuation_rows, self.follow_tokens // padded, self.decode_tokens // 2 // (context + padded))
        return max(1, rows)

    def generate_rows(self, padded: int) -> int:
        """Rows of a batch that is extended token by token, ``padded`` tokens at its longest."""
        return max(1, min(self.decode_rows, self.decode_tokens // padded))

    def candidates(self, prompts: int, padded: int) -> int:
        """Consensus candidates run together, each with ``prompts`` rows."""
        return max(1, min(self.consensus_rows, self.decode_tokens // padded) // prompts)

    def __str__(self) -> str:
        rows = (self.follow_tokens, self.continuation_rows, self.decode_rows, self.consensus_rows, HEAD_ROWS)
        return f"v3 {' '.join(map(str, (self.score_tokens, *rows, self.decode_tokens)))}, one thread"


_ACCELERATOR = Layout(
    score_tokens=16_384,
    follow_tokens=16_384,
    continuation_rows=256,
    decode_rows=32,
    consensus_rows=256,
    decode_tokens=65_536,
)
LAYOUTS: Mapping[str, Layout] = {"cpu": Layout(), "mps": _ACCELERATOR, "cuda": _ACCELERATOR}
ONE_ROW = Layout(score_tokens=1, follow_tokens=1, continuation_rows=1, decode_rows=1, consensus_rows=1)


def padded_length(length: int) -> int:
    """Length of the bucket of a sequence: a multiple of 8, in steps of an eighth of an octave and more."""
    step = max(_STEP, 1 << max(0, (length - 1).bit_length() - 3))
    return -(-length // step) * step


def padded_continuation(length: int) -> int:
    """Length of the bucket of a continuation: as `padded_length`, but half a step for the short ones."""
    return _STEP // 2 if length <= _STEP // 2 else padded_length(length)


@dataclass(frozen=True, slots=True)
class ScoreTask:
    """`Score` in token ids."""

    kind: ClassVar[str] = "score"
    context: Tokens
    continuation: Tokens
    top: int
    gather: tuple[Tokens, ...]

    @property
    def inputs(self) -> Tokens:
        """What goes through the model: nothing is asked about what follows the last token."""
        return self.context + self.continuation[:-1]

    @property
    def follows(self) -> bool:
        """Whether the context is run by itself: worth it where several continuations share it, and little lost else.

        It follows from the task alone, because the two ways differ in the last digits.
        """
        return padded_continuation(len(self.continuation) - 1) < padded_length(len(self.context) + 1)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every array of the answer; those of size 0 are left out."""
        steps, width = len(self.continuation), max(map(len, self.gather), default=0)
        shapes: dict[str, tuple[int, ...]] = {"logprobs": (steps,), "greedy": (steps,)}
        if self.top:
            shapes |= {"top_ids": (steps, self.top), "top_logprobs": (steps, self.top)}
        return shapes | ({"gathered": (steps, width)} if width else {})

    def content(self) -> dict[str, Any]:
        """Everything the answer depends on besides model and numerics."""
        return {"context": self.context, "continuation": self.continuation, "top": self.top, "gather": self.gather}

    def holds(self, answer: Arrays) -> bool:
        """Whether the arrays are an answer to this."""
        return {name: array.shape for name, array in answer.items()} == self.shapes()


@dataclass(frozen=True, slots=True)
class NextTask:
    """`NextToken` in token ids."""

    kind: ClassVar[str] = "next token"
    inputs: Tokens

    def content(self) -> dict[str, Any]:
        """Everything the answer depends on besides model and numerics."""
        return {"prompt": self.inputs}

    def holds(self, answer: Arrays) -> bool:
        """Whether the arrays are an answer to this."""
        return answer.keys() == {"logprobs"} and answer["logprobs"].ndim == 1


@dataclass(frozen=True, slots=True)
class HiddenTask:
    """`Hidden` in token ids, positions counted from the front."""

    kind: ClassVar[str] = "hidden"
    inputs: Tokens
    layers: tuple[int, ...]
    positions: tuple[int, ...]

    def content(self) -> dict[str, Any]:
        """Everything the answer depends on besides model and numerics."""
        return {"prompt": self.inputs, "layers": self.layers, "positions": self.positions}

    def holds(self, answer: Arrays) -> bool:
        """Whether the arrays are an answer to this."""
        states = answer.get("states")
        if states is None or len(answer) != 1 or states.ndim != 3:
            return False
        return states.shape[:2] == (len(self.layers), len(self.positions))


@dataclass(frozen=True, slots=True)
class GenerateTask:
    """`Generate` in token ids."""

    kind: ClassVar[str] = "generate"
    prompt: Tokens
    max_new_tokens: int
    ends: Tokens
    stop: tuple[str, ...] = ()
    tokenizer: str = ""
    """Identity of the tokenizer that turns tokens into the text ``stop`` is looked for in; empty without ``stop``."""
    turns: tuple[tuple[str, str], ...] = ()
    """The prompt before it was rendered, for a server that renders it itself; ``opening`` begins the answer."""
    opening: str = ""

    def content(self) -> dict[str, Any]:
        """Everything the answer depends on besides model and numerics."""
        length = {"most": self.max_new_tokens, "ends": self.ends, "stop": self.stop, "tokenizer": self.tokenizer}
        return {"prompt": self.prompt, **length}

    def holds(self, answer: Arrays) -> bool:
        """Whether the arrays are an answer to this."""
        if answer.keys() != {"tokens", "logprobs"} or answer["tokens"].ndim != 1:
            return False
        return 0 <= len(answer["logprobs"]) - len(answer["tokens"]) <= 1


@dataclass(frozen=True, slots=True)
class ConsensusTask:
    """`Consensus` in token ids."""

    kind: ClassVar[str] = "consensus"
    prompts: tuple[Tokens, ...]
    start: Tokens
    steps: int
    ends: Tokens

    @property
    def padded(self) -> int:
        """Length the prompts are padded to: one token more than the longest at least, so that all have a mask."""
        return padded_length(max(map(len, self.prompts)) + 1)

    def content(self) -> dict[str, Any]:
        """Everything the answer depends on besides model and numerics."""
        return {"prompts": self.prompts, "start": self.start, "steps": self.steps, "ends": self.ends}

    def holds(self, answer: Arrays) -> bool:
        """Whether the arrays are an answer to this."""
        if answer.keys() != {"tokens", "probabilities"}:
            return False
        return answer["probabilities"].shape == (len(self.prompts), len(answer["tokens"]))


Task = ScoreTask | NextTask | HiddenTask | GenerateTask | ConsensusTask


@dataclass(frozen=True, slots=True)
class Done:
    """Tasks answered by one batch, by index, and the tokens it put through the model (padding is not counted)."""

    answers: Mapping[int, Arrays]
    tokens: int


Job = Callable[[], Done]
"""Runs one batch, independent of all others."""
Decode = Callable[[Sequence[int]], str]


@dataclass(frozen=True, slots=True)
class Batch:
    """Sequences of one bucket: row i of ``tokens``, (rows, padded), is sequence ``members[i]``; the rest are copies."""

    members: tuple[int, ...]
    lengths: tuple[int, ...]
    """Tokens of every member, without padding."""
    tokens: NDArray[np.int64]


def score_batches(sequences: Sequence[Tokens], layout: Layout) -> Iterator[Batch]:
    """Right-padded batches over all sequences, longest first, so that memory runs out at once or not at all.

    With causal attention nothing sees the padding to its right, so no mask is needed.
    """
    for padded, members in buckets_of(map(len, sequences)):
        rows = layout.score_rows(padded)
        for start in range(0, len(members), rows):
            part = members[start : start + rows]
            tokens = np.zeros((rows, padded), dtype=np.int64)
            for row in range(rows):
                sequence = sequences[part[min(row, len(part) - 1)]]
                tokens[row, : len(sequence)] = sequence
            yield Batch(part, tuple(len(sequences[member]) for member in part), tokens)


def generate_batches(tasks: Sequence[GenerateTask], layout: Layout) -> Iterator[Batch]:
    """Left-padded batches, longest prompts first. Pads are -1; every row has one at least, so that all have a mask."""
    for padded, members in buckets_of(len(task.prompt) + 1 for task in tasks):
        ordered = sorted(members, key=lambda index: tasks[index].max_new_tokens)
        rows = layout.generate_rows(padded)
        for start in range(0, len(ordered), rows):
            part = tuple(ordered[start : start + rows])
            filled = [tasks[part[min(row, len(part) - 1)]].prompt for row in range(rows)]
            yield Batch(part, tuple(len(tasks[member].prompt) for member in part), left_padded(filled, padded))


def left_padded(prompts: Sequence[Tokens], padded: int) -> NDArray[np.int64]:
    """(rows, padded) ids with -1 before each prompt."""
    tokens = np.full((len(prompts), padded), -1, dtype=np.int64)
    for row, prompt in enumerate(prompts):
        tokens[row, padded - len(prompt) :] = prompt
    return tokens


def buckets_of(
    lengths: Iterable[int], padded: Callable[[int], int] = padded_length
) -> list[tuple[int, tuple[int, ...]]]:
    """Indices of the lengths by the bucket they are padded to, longest first."""
    buckets: dict[int, list[int]] = {}
    for index, length in enumerate(lengths):
        buckets.setdefault(padded(length), []).append(index)
    return [(padded, tuple(buckets[padded])) for padded in sorted(buckets, reverse=True)]
