"""How an audit tells what it is doing: one small protocol, silent by default."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol


class Progress(Protocol):
    """Receives the steps of an audit in order."""

    def step(self, title: str) -> None:
        """A new step begins."""
        ...

    def advance(self, label: str, done: int, total: int) -> None:
        """Part of the current step is done."""
        ...


class Silent:
    """Says nothing."""

    def step(self, title: str) -> None:
        """Ignore the step."""

    def advance(self, label: str, done: int, total: int) -> None:
        """Ignore the progress."""


def reading(say: Progress, *folders: Path) -> Callable[[int], None]:
    """Turn bytes read since the last call into a bar over the weights of both folders, in MB."""
    files = [file for folder in folders for file in ([folder] if folder.is_file() else folder.glob("*.safetensors"))]
    total, done = sum(file.stat().st_size for file in files), 0
    say.step("Reading and hashing both checkpoints")

    def advance(count: int) -> None:
        nonlocal done
        done = min(total, done + count)
        say.advance("MB", done // 1_000_000, total // 1_000_000)

    return advance
