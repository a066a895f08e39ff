"""weightgate report: renders a run again."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal, get_args

import typer

from weightgate.audit.cli.diff import write
from weightgate.lineage.errors import InputError

Format = Literal[
    "html",
    "md",
    "json",
    "sarif",
    "junit",
    "gitlab",
    "cyclonedx",
    "cyclonedx-1.7",
    "oscal",
    "vsa",
    "test-result",
    "modelcard",
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: weightgate report weightgate-runs/v4 --format md")(report)


def report(
    run: Annotated[Path, typer.Argument(help="Run folder, or its record.json.", metavar="RUN")],
    *,
    format_: Annotated[Format, typer.Option("--format", help="How to show it.")] = "html",
    out: Annotated[Path | None, typer.Option(help="File to write instead of stdout.")] = None,
) -> None:
    """Render the record of a run in another format. It reads the record only: verify checks signatures.

    For people: html, md, modelcard. For CI: sarif, junit, gitlab.

    For supply chain and governance: cyclonedx, oscal, vsa, test-result.
    """
    from weightgate.reports.formats import render
    from weightgate.reports.json_report import read_record

    path = run / "record.json" if run.is_dir() else run
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"cannot read {path}: {error.strerror}", remedy="give a run folder of weightgate gate"
        ) from error
    write(render(read_record(raw), format_), out)


def formats(text: str) -> tuple[str, ...]:
    """The formats in a comma-separated list, each once.

    Raises:
        InputError: there is no format of that name.
    """
    known = get_args(Format)
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    for name in names:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            guess = f" (did you mean '{close[0]}'?)" if close else ""
            raise InputError(f"no report format '{name}'{guess}", remedy=f"choose from {', '.join(known)}")
    return names
