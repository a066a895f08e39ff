"""The difference of two checkpoints as a table for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING

from weightgate.lineage.changeset import ModelVersion
from weightgate.lineage.weights.difference import Difference
from weightgate.lineage.weights.kinds.facts import Facts, UpdateKind
from weightgate.reports.kind_words import kind_lines, kind_title

if TYPE_CHECKING:
    from rich.console import Console

MARKS = {"changed": "~", "added": "+", "removed": "-", "reshaped": "!"}
MOST_LINES = 8


def render_difference_terminal(
    difference: Difference,
    a: ModelVersion,
    b: ModelVersion,
    console: Console,
    *,
    top: int = 12,
    kind: UpdateKind | None = None,
    facts: Facts | None = None,
) -> None:
    """Print what differs, the ``top`` most changed tensors first. Names are shown with control characters escaped."""
    from rich.text import Text

    def line(text: str, style: str = "") -> None:
        console.print(Text(_visible(text), style=style), soft_wrap=True)

    line(f"{a.name}  {a.root[:12]}…  {a.parameters:,} parameters")
    line(f"{b.name}  {b.root[:12]}…  {b.parameters:,} parameters")
    if a.root == b.root:
        line("identical: every tensor and every file that shapes behaviour", "bold green")
        return
    if kind is not None:
        line(f"kind       {kind_title(kind)}", "bold")
    for name, text in kind_lines(facts or Facts()):
        room = max(40, console.width - 11)
        for number, part in enumerate(textwrap.wrap(_visible(text), room, break_on_hyphens=False)):
            line(f"{'' if number else name:<10} {part}")
    _weights(difference, console, top)
    for change in difference.config:
        line(f"config     {change.file}: {change.key}: {change.before!r} → {change.after!r}")
    for template in difference.template:
        line(f"template   {template.name}: changed", "bold yellow")
        for text in template.lines[: MOST_LINES + 2]:
            line(f"           {text}", "green" if text.startswith("+") else "red" if text.startswith("-") else "")
    _tokenizer(difference, line)
    for change_kind in ("changed", "added", "removed"):
        names = getattr(difference.files, change_kind)
        if names:
            line(f"files      {change_kind}: {', '.join(names[:MOST_LINES])}{' …' if len(names) > MOST_LINES else ''}")
    if difference.files.code:
        line(f"code       {', '.join(difference.files.code)} (never run)", "bold yellow")


def _weights(difference: Difference, console: Console, top: int) -> None:
    from rich.table import Table
    from rich.text import Text

    weights = difference.weights
    share = weights.parameters_changed_fraction
    norm = "" if weights.relative_norm is None else f", relative norm {weights.relative_norm:.3g}"
    console.print(
        f"weights    {len(weights.tensors)} of {weights.tensors_total} tensors differ "
        f"({share:.1%} of parameters){norm}",
        soft_wrap=True,
    )
    if not weights.tensors:
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("", width=1)
    table.add_column("tensor", overflow="fold")
    for heading in ("relative norm", "max |Δ|", "elements"):
        table.add_column(heading, justify="right", no_wrap=True)
    ranked = sorted(weights.tensors, key=lambda t: (t.relative_norm is not None, -(t.relative_norm or 0.0), t.name))
    for tensor in ranked[:top]:
        table.add_row(
            MARKS[tensor.change],
            Text(_visible(tensor.name)),
            "" if tensor.relative_norm is None else f"{tensor.relative_norm:.3g}",
            "" if tensor.max_abs is None else f"{tensor.max_abs:.2g}",
            "" if tensor.changed_fraction is None else f"{tensor.changed_fraction:.1%}",
        )
    console.print(table)
    if len(ranked) > top:
        console.print(f"  … and {len(ranked) - top} more (--top, --json)")


def _tokenizer(difference: Difference, line: Callable[[str], None]) -> None:
    tokenizer = difference.tokenizer
    if tokenizer is None:
        return
    line(
        f"tokenizer  vocabulary {tokenizer.vocabulary_before} → {tokenizer.vocabulary_after}: "
        f"+{tokenizer.added_count} -{tokenizer.removed_count}, {tokenizer.renumbered_count} renumbered"
    )
    for change in tokenizer.changes[:MOST_LINES]:
        line(f"           {change.file}: {change.key}")


def _visible(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
