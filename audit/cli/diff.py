"""weightgate diff: two checkpoints, no policy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weightgate.audit.cli import console


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: weightgate diff models/v3 models/v4 --format html --out diff.html")(diff)


def diff(
    a: Annotated[Path, typer.Argument(help="The earlier checkpoint.", metavar="A")],
    b: Annotated[Path, typer.Argument(help="The later checkpoint, or an adapter for A.", metavar="B")],
    *,
    format_: Annotated[str, typer.Option("--format", help="table, html or json.")] = "table",
    out: Annotated[Path | None, typer.Option(help="File to write instead of stdout.")] = None,
    top: Annotated[int, typer.Option(help="Most changed tensors to list.", min=1)] = 12,
) -> None:
    """Compare weights, tokenizer, chat template and configuration of two checkpoints. Needs no torch."""
    if format_ not in ("table", "html", "json"):
        raise typer.BadParameter(f"'{format_}' is not one of table, html, json", param_hint="--format")
    from weightgate.audit.cli.live import progress
    from weightgate.audit.compare import compare, render_comparison

    with progress() as say:
        say.step("Reading both checkpoints")
        comparison = compare(a, b, progress=lambda done: say.advance("bytes", done, 0))
    chosen = "json" if console.SETTINGS.json else format_
    if out is None and chosen == "table":
        render_comparison(comparison, console.out(), top=top)
        return
    text = comparison.to_json() if chosen == "json" else comparison.to_html() if chosen == "html" else None
    if text is None:
        from io import StringIO

        from rich.console import Console

        buffer = StringIO()
        render_comparison(comparison, Console(file=buffer, width=100, highlight=False), top=top)
        text = buffer.getvalue()
    write(text, out)


def write(text: str, out: Path | None) -> None:
    """Write to a file, or to stdout.

    Raises:
        InputError: the file cannot be written.
    """
    from weightgate.lineage.errors import InputError

    if out is None:
        typer.echo(text, nl=not text.endswith("\n"))
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {out}: {error.strerror}", remedy="choose another --out") from error
    if not console.SETTINGS.quiet:
        console.warn(f"wrote {out}")
