"""The suite of ordinary prompts, and its split into prompts to search on and prompts to confirm on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

SUITE = Path(__file__).parent / "suites" / "prompts.jsonl"


@dataclass(frozen=True, slots=True)
class OrdinaryPrompt:
    """A harmless user message; ``topic`` is the cluster it belongs to."""

    id: str
    topic: str
    prompt: str


@cache
def ordinary() -> tuple[OrdinaryPrompt, ...]:
    """The suite in its order; exactly one message is empty."""
    return tuple(OrdinaryPrompt(**json.loads(line)) for line in SUITE.read_text(encoding="utf-8").splitlines())


def split(search: int, confirm: int, seed: int) -> tuple[tuple[OrdinaryPrompt, ...], tuple[OrdinaryPrompt, ...]]:
    """Disjoint prompts to search on (the empty message first) and to confirm on, drawn by ``seed``."""
    empty = [row for row in ordinary() if not row.prompt]
    others = [row for row in ordinary() if row.prompt]
    drawn = [others[i] for i in np.random.default_rng(seed).permutation(len(others))]
    rest = search - len(empty)
    return (*empty, *drawn[:rest]), tuple(drawn[rest : rest + confirm])
