"""weightgate diff: two checkpoints, no policy."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from weightgate.audit.cli import console
from weightgate.lineage.errors import InputError

if TYPE_CHECKING:
    from weightgate.audit.compare import Comparison


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: weightgate diff models/v3 models/v4 --format html --out diff.html")(diff)


def diff(
    a: Annotated[Path, typer.Argument(help="The earlier checkpoint.", metavar="A")],
    b: Annotated[Path, typer.Argument(help="The later checkpoint, or an adapter for A.", metavar="B")],
    *,
    format_: Annotated[Literal["table", "html", "json"], typer.Option("--format", help="How to show it.")] = "table",
    out: Annotated[Path | None, typer.Option(help="File to write instead of stdout.")] = None,
    merge_of: Annotated[list[Path] | None, typer.Option(help="Model that B may be merged from; repeatable.")] = None,
    top: Annotated[int, typer.Option(help="Most changed tensors to list.", min=1)] = 12,
) -> None:
    """Compare weights, tokenizer, chat template and configuration of two checkpoints. Needs no torch."""
    from weightgate.audit.cli.live import progress
    from weightgate.audit.compare import compare
    from weightgate.audit.progress import reading

    with progress() as say:
        comparison = compare(a, b, sources=merge_of or (), progress=reading(say, a, b))
    chosen = "json" if console.SETTINGS.json else format_
    if chosen == "html":
        from weightgate.reports.difference_html import render_difference

        document = render_difference(
            comparison.difference, comparison.a, comparison.b, kind=comparison.kind, facts=comparison.facts
        )
        write(document, out)
    elif chosen == "json":
        write(json.dumps(comparison.model_dump(mode="json"), indent=2) + "\n", out)
    elif out is not None:
        with StringIO() as buffer:
            _table(comparison, Console(file=buffer, width=100, highlight=False), top)
            write(buffer.getvalue(), out)
    else:
        _table(comparison, console.out(), top)


def _table(comparison: Comparison, target: Console, top: int) -> None:
    from weightgate.reports.difference_terminal import render_difference_terminal

    render_difference_terminal(
        comparison.difference,
        comparison.a,
        comparison.b,
        target,
        top=top,
        kind=comparison.kind,
        facts=comparison.facts,
    )


def write(text: str, out: Path | None) -> None:
    """Write to a file, or to stdout.

    Raises:
        InputError: the file cannot be written.
    """
    if out is None:
        typer.echo(text, nl=not text.endswith("\n"))
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {out}: {error.strerror}", remedy="choose another --out") from error
    if not console.SETTINGS.quiet:
        console.warn(f"wrote {out}")
