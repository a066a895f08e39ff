"""A history as a graph in the terminal, newest first, as `git log --graph` draws one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from weightgate.reports.visible import brief

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

STYLES: Mapping[str, str] = {
    "approve": "green",
    "block": "red",
    "review": "yellow",
    "unfinished": "yellow",
    "head": "bold cyan",
    "genesis": "cyan",
    "tainted": "bold red",
    "revoked": "bold red",
    "rolled back": "magenta",
}


@dataclass(frozen=True, slots=True)
class Commit:
    """One place in the graph."""

    id: str
    parent: str | None
    status: str
    marks: tuple[str, ...]
    title: str
    details: tuple[str, ...]


def render_history(commits: Sequence[Commit], console: Console) -> None:
    """Print the graph; ``commits`` come newest first, each before its parent."""
    from rich.text import Text

    for lanes, commit, line in graph(commits):
        text = Text(lanes, style="dim")
        if commit is None:
            console.print(text)
        else:
            console.print(text.append_text(_head(commit) if line == 0 else _detail(commit, line)), no_wrap=True)


def graph(commits: Sequence[Commit]) -> Iterator[tuple[str, Commit | None, int]]:
    """Each line of the graph: its lanes, and which line of which commit stands beside them, if one does."""
    lanes: list[str | None] = []
    for commit in commits:
        if commit.id not in lanes:
            lanes.append(commit.id)
        here = lanes.index(commit.id)
        for extra in reversed([at for at, lane in enumerate(lanes) if lane == commit.id and at != here]):
            yield _merge(lanes, here, extra), None, 0
            del lanes[extra]
        stars = "".join("* " if at == here else "| " for at in range(len(lanes)))
        yield stars, commit, 0
        lanes[here] = commit.parent
        bars = "".join("  " if lane is None else "| " for lane in lanes)
        for line in range(1, len(commit.details) + 1):
            yield bars, commit, line
        while lanes and lanes[-1] is None:
            lanes.pop()


def _merge(lanes: Sequence[str | None], here: int, extra: int) -> str:
    """The line on which a lane joins the one of its parent: lanes beyond it move up, underscores lead far."""
    cells = [" "] * (2 * len(lanes))
    for at, lane in enumerate(lanes):
        if at >= extra:
            cells[2 * at - 1] = "/" if lane is not None else " "
        elif lane is not None:
            cells[2 * at] = "|"
        if here <= at < extra - 1:
            cells[2 * at + 1] = "_"
    return "".join(cells).rstrip() + " "


def _head(commit: Commit) -> Text:
    from rich.text import Text

    text = Text(commit.id[:8], style="yellow")
    if commit.marks:
        text.append(" (", "dim")
        for at, mark in enumerate(commit.marks):
            text.append(", " if at else "", "dim").append(mark, STYLES.get(mark, ""))
        text.append(")", "dim")
    if commit.status:
        text.append(f" {commit.status}", STYLES.get(commit.status, ""))
    return text.append(f" {brief(commit.title, 200)}", "bold")


def _detail(commit: Commit, line: int) -> Text:
    from rich.text import Text

    return Text(f"  {brief(commit.details[line - 1], 400)}")
