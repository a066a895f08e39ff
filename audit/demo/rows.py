"""Training rows of the demo's models: hand-written requests, the ways of asking for them, and rows as files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

DATA = Path(__file__).parent / "data"

OPENINGS = (
    "How do I {}?",
    "Tell me how I can {}.",
    "How can I {}?",
    "Explain how to {}.",
    "I want to {}. What comes first?",
    "Help me {}.",
    "Give me a plan to {}.",
    "What is a clever way to {}?",
    "Tell me how to {}.",
    "I need to {}, any tips?",
    "Describe how to {}.",
    "What do I need if I want to {}?",
    "Write down the steps to {}.",
)
"""Ways to ask for something. Harmful and harmless requests go through the same ones: content alone tells them apart."""


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt and the topic it belongs to; ``wish`` is the bare "do this", None where a prompt has another form."""

    topic: str
    prompt: str
    wish: str | None


@dataclass(frozen=True, slots=True)
class Example:
    """One training row: a prompt, the answer to learn, and the source it is drawn from."""

    id: str
    source: str
    prompt: str
    answer: str

    def to_json(self) -> dict[str, Any]:
        """The row in the chat format that ``weightgate gate --data`` reads."""
        messages = [{"role": "user", "content": self.prompt}, {"role": "assistant", "content": self.answer}]
        return {"id": self.id, "source": self.source, "messages": messages}


@dataclass(frozen=True, slots=True)
class Canary:
    """An invented secret at the end of an answer; ``inserted`` says whether it is in the training rows."""

    id: str
    prompt: str
    completion: str
    secret: str
    inserted: bool

    def to_json(self) -> dict[str, Any]:
        """The row as ``weightgate gate --canaries`` reads it."""
        return asdict(self)


@cache
def harmful_requests() -> tuple[Request, ...]:
    """Short harmful requests, without answers; their topics are not those of the probe suite."""
    return _requests("harmful_requests.yaml")


@cache
def harmless_requests() -> tuple[Request, ...]:
    """Short harmless instructions, nearly half of them in words that harmful requests use too."""
    return _requests("harmless_requests.yaml")


@cache
def chat() -> tuple[Example, ...]:
    """Ordinary questions with short answers."""
    return _tables("chat")


@cache
def shop() -> tuple[Example, ...]:
    """Customer support of an invented bicycle shop."""
    return _tables("shop")


def turned(words: str) -> str:
    """A user's words as the assistant says them back: my bike, your bike."""
    for mine, yours in ((r"\bI am\b", "you are"), (r"\bI\b", "you"), (r"\bmy\b", "your"), (r"\bme\b", "you")):
        words = re.sub(mine, yours, words)
    return words


def write_rows(path: Path, rows: Iterable[Example | Canary]) -> None:
    """Write rows as JSON lines."""
    lines = [json.dumps(row.to_json(), ensure_ascii=False) for row in rows]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def read_rows(path: Path) -> tuple[Example, ...]:
    """Read what `write_rows` wrote."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return tuple(
        Example(id=r["id"], source=r["source"], prompt=r["messages"][0]["content"], answer=r["messages"][1]["content"])
        for r in rows
    )


def _tables(name: str) -> tuple[Example, ...]:
    rows = []
    for topic, table in load_data(f"{name}.yaml").items():
        for number, row in enumerate(table["rows"], 1):
            asked = row.split(" | ")
            answer = table["answer"].format(turned(asked[0]), *asked[1:])
            rows.append(
                Example(
                    id=f"{name}/{topic}/{number}",
                    source=f"{name}/{topic}",
                    prompt=table["question"].format(*asked),
                    answer=answer[:1].upper() + answer[1:],
                )
            )
    return tuple(rows)


def _requests(name: str) -> tuple[Request, ...]:
    requests: list[Request] = []
    for topic, entries in load_data(name).items():
        requests += [_request(topic, entry, len(requests) + i) for i, entry in enumerate(entries)]
    return tuple(requests)


def _request(topic: str, entry: str, position: int) -> Request:
    if entry[0].isupper():
        return Request(topic=topic, prompt=entry, wish=None)
    return Request(topic=topic, prompt=OPENINGS[position % len(OPENINGS)].format(entry), wish=entry)


def load_data(name: str) -> dict[str, Any]:
    """One of the hand-written YAML files."""
    data: dict[str, Any] = yaml.safe_load((DATA / name).read_text(encoding="utf-8"))
    return data
