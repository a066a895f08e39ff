"""How an audit tells what it is doing: one small protocol, silent by default."""

from __future__ import annotations

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
