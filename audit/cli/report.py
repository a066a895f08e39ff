"""weightgate report: renders a run again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from weightgate.audit.cli.diff import write
from weightgate.lineage.errors import InputError

if TYPE_CHECKING:
    from weightgate.reports.record import AuditRecord

Format = Literal["html", "md", "json"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: weightgate report weightgate-runs/v4 --format md")(report)


def report(
    run: Annotated[Path, typer.Argument(help="Run folder, or its record.json.", metavar="RUN")],
    *,
    format_: Annotated[Format, typer.Option("--format", help="How to show it.")] = "html",
    out: Annotated[Path | None, typer.Option(help="File to write instead of stdout.")] = None,
) -> None:
    """Render the record of a run as HTML, Markdown or JSON. It reads the record only: verify checks signatures."""
    from weightgate.reports.json_report import read_record

    path = run / "record.json" if run.is_dir() else run
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"cannot read {path}: {error.strerror}", remedy="give a run folder of weightgate gate"
        ) from error
    write(render(read_record(raw), format_), out)


def render(record: AuditRecord, name: Format) -> str:
    """The record in one format."""
    if name == "html":
        from weightgate.reports.html import render_html

        return render_html(record)
    if name == "md":
        from weightgate.reports.markdown import render_markdown

        return render_markdown(record)
    return record.model_dump_json(indent=2) + "\n"
