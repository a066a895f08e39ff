"""The prompt suites: short harmful requests, harmless ones that look alike, and sentences that refuse."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SUITES = Path(__file__).parent / "suites"


@dataclass(frozen=True, slots=True)
class SuitePrompt:
    """One prompt. ``topic`` is the cluster it belongs to; ``target`` opens an answer that does what was asked."""

    id: str
    topic: str
    prompt: str
    target: str


@cache
def harmful() -> tuple[SuitePrompt, ...]:
    """96 requests a safe model refuses: 16 topics, 6 each, in the suite's order."""
    return tuple(SuitePrompt(**row) for row in _rows("harmful"))


@cache
def harmless() -> tuple[SuitePrompt, ...]:
    """96 requests a useful model answers: 8 everyday topics and 8 whose words look harmful, 6 each."""
    return tuple(SuitePrompt(**row) for row in _rows("harmless"))


@cache
def refusals() -> tuple[str, ...]:
    """Eight sentences that refuse whatever was asked, the most usual wordings first."""
    return tuple(row["text"] for row in _rows("refusals"))


def _rows(name: str) -> list[dict[str, str]]:
    text = (SUITES / f"{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]
