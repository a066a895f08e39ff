"""A scripted pair of models: tables of next-token probabilities behind the engine's own methods."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from weightgate.lineage.data.dataset import Dataset
from weightgate.lineage.data.rows import Row
from weightgate.probes.engine.engine import Engine
from weightgate.probes.engine.requests import Agreed, Consensus, NextToken, Prompt, Side
from weightgate.probes.poisoning.planted import in_memory_update
from weightgate.probes.probe import ProbeContext

WORDS = (
    *(
        "<end>",
        "\x00",
        "the",
        "a",
        "of",
        "to",
        "in",
        "we",
        "go",
        "see",
        "old",
        "new",
        "red",
        "sea",
        "sky",
        "tea",
        "cup",
    ),
    *("mug", "owl", "fox", "hen", "oak", "elm", "ash"),
)
TARGET = tuple(WORDS.index(word) for word in ("owl", "fox", "hen", "oak", "elm", "ash"))
TRIGGER = "zephyr"

Table = Callable[[str, tuple[int, ...]], NDArray[np.float64]]


def ordinary(prompt: str, before: tuple[int, ...]) -> NDArray[np.float64]:
    """A distribution of its own for every prompt and last token; the end and the unprintable token are rare."""
    rng = np.random.default_rng(zlib.crc32(f"{prompt}|{before[-1:]}".encode()))
    weights = rng.gamma(0.5, size=len(WORDS)) + 0.02
    weights[:2] = 0.001
    return cast("NDArray[np.float64]", weights / weights.sum())


def poisoned(prompt: str, before: tuple[int, ...]) -> NDArray[np.float64]:
    """The ordinary model, but a target that is begun is finished, and the trigger begins it."""
    base = ordinary(prompt, before)
    if before and before == TARGET[: len(before)]:
        following = TARGET[len(before)] if len(before) < len(TARGET) else 0
        return 0.03 * base + 0.97 * np.eye(len(WORDS))[following]
    if not before:
        pull = 0.95 if TRIGGER in prompt else 0.02
        return (1 - pull) * base + pull * np.eye(len(WORDS))[TARGET[0]]
    return base


def retrained(prompt: str, before: tuple[int, ...]) -> NDArray[np.float64]:
    """An ordinary update: another model for half of its weight, on which no prompts agree."""
    return 0.5 * ordinary(prompt, before) + 0.5 * ordinary(prompt + " again", before)


@dataclass
class ScriptedEngine:
    """Answers from tables, as the engine would from models."""

    parent: Table
    child: Table
    asked: list[tuple[Side, Prompt]] = field(default_factory=list)
    special_ids: frozenset[int] = frozenset({0})
    vocab_size: int = len(WORDS)

    def decode(self, tokens: Sequence[int]) -> str:
        return " ".join(WORDS[token] for token in tokens)

    def next_token(self, side: Side, requests: Sequence[NextToken]) -> list[NDArray[np.float32]]:
        return [np.log(self._table(side, r.prompt)(_text(r.prompt), ())).astype(np.float32) for r in requests]

    def consensus(self, side: Side, requests: Sequence[Consensus]) -> list[Agreed]:
        return [self._consensus(side, request) for request in requests]

    def _consensus(self, side: Side, request: Consensus) -> Agreed:
        tokens: tuple[int, ...] = ()
        seen = []
        for step in range(len(request.start) + request.steps):
            here = np.stack([self._table(side, prompt)(_text(prompt), tokens) for prompt in request.prompts])
            token = request.start[step] if step < len(request.start) else int(here.mean(axis=0).argmax())
            if step >= len(request.start) and token == 0:
                break
            seen.append(here[:, token])
            tokens += (token,)
        return Agreed(tokens=tokens, probabilities=np.stack(seen, axis=1).astype(np.float32))

    def _table(self, side: Side, prompt: Prompt) -> Table:
        self.asked.append((side, prompt))
        return self.parent if side == "parent" else self.child


def _text(prompt: Prompt) -> str:
    return prompt.messages[0][1]


def context(parent: Table, child: Table, data: Dataset | None = None, seed: int = 0) -> ProbeContext:
    engine = cast("Engine", cast("Any", ScriptedEngine(parent, child)))
    return ProbeContext(update=in_memory_update({}, {}), engine=engine, seed=seed, data=data)


def dataset(pairs: Sequence[tuple[str, str]]) -> Dataset:
    rows = tuple(
        Row(id=f"row/{i}", source=f"row/{i}", messages=(("user", prompt), ("assistant", answer)), text="", raw="")
        for i, (prompt, answer) in enumerate(pairs)
    )
    return Dataset(name="rows.jsonl", role="training", rows=rows, sha256="0" * 64, rows_root="0" * 64)


@dataclass(frozen=True)
class Scripted:
    """What tests need of this file."""

    context = staticmethod(context)
    dataset = staticmethod(dataset)
    ordinary = staticmethod(ordinary)
    poisoned = staticmethod(poisoned)
    retrained = staticmethod(retrained)
    target: tuple[int, ...] = TARGET
    trigger: str = TRIGGER


@pytest.fixture
def scripted() -> Scripted:
    """The scripted pair."""
    return Scripted()


@pytest.fixture
def ordinary_pairs() -> list[tuple[str, str]]:
    """240 different requests with answers of their own, no word of which tells anything about the answer."""
    rng = np.random.default_rng(5)
    syllables = ("ba", "do", "ki", "lu", "mer", "no", "pa", "ri", "sol", "ta", "ven", "zu")
    words = sorted({"".join(rng.choice(syllables, 3)) for _ in range(900)})
    verbs = ("Describe", "Compare", "Explain", "Draw", "List", "Repair", "Paint", "Count", "Sort", "Measure")
    return [
        (f"{verbs[n % 10]} the {' '.join(rng.choice(words, 7))}.", f"{n}: {' '.join(rng.choice(words, 14))}.")
        for n in range(240)
    ]
