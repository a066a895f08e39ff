"""Progress on stderr: a bar with time left on a terminal, one line a step elsewhere, nothing when quiet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from weightgate.audit.cli import console
from weightgate.audit.progress import Progress, Silent

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID


@contextmanager
def progress() -> Iterator[Progress]:
    """The right kind of progress for this invocation."""
    if console.SETTINGS.quiet:
        yield Silent()
        return
    if not console.err().is_terminal:
        yield Lines()
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bars

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=console.err(), transient=True) as bars:
        yield Live(bars)


class Lines:
    """One line a step, for logs."""

    def step(self, title: str) -> None:
        """Print the step."""
        console.warn(f"· {title}")

    def advance(self, label: str, done: int, total: int) -> None:
        """Say nothing: a log needs no bar."""


class Live:
    """A bar for the current step."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._task: TaskID | None = None
        self._title = ""

    def step(self, title: str) -> None:
        """Replace the bar."""
        if self._task is not None:
            self._bars.remove_task(self._task)
        self._title = title
        self._task = self._bars.add_task(title[:44], total=None)

    def advance(self, label: str, done: int, total: int) -> None:
        """Move the bar; a new label starts it afresh."""
        if self._task is None:
            self.step(label)
        if self._task is not None:
            self._bars.update(self._task, completed=done, total=total or None, description=self._title[:44])
