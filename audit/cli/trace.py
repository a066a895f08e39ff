"""weightgate trace: which updates learned a row, and what was built on them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weightgate.audit.cli import console
from weightgate.audit.cli.rows import DATA, KEYS, ROW, believed, piped

if TYPE_CHECKING:
    from weightgate.audit.trace import Trace

STYLES = {"in its data": "bold red", "inherited": "red", "not in its data": "green", "unknown": "yellow"}
INCOMPLETE = 3


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="""Example: weightgate trace --row '{"text": "…"}' --runs weightgate-runs""")(trace)


def trace(
    *,
    row: Annotated[str, ROW],
    runs: Annotated[
        list[Path] | None, typer.Option(help="Run folders, a folder of them, or changesets; default weightgate-runs.")
    ] = None,
    ledger: Annotated[Path | None, typer.Option(help="A ledger to search, beside or instead of runs.")] = None,
    data: Annotated[list[str] | None, DATA] = None,
    public_key: Annotated[list[Path] | None, KEYS] = None,
) -> None:
    """List every update whose training data held a row, and every update that comes from one of these.

    Rows are told apart by what they say; ids and shapes do not count. Exits 0 where every update could be answered, 3
    where one could not, 2 on bad input, 4 where a signature or an index does not check out.
    """
    from weightgate.audit.run_folder import DEFAULT_ROOT
    from weightgate.audit.signed_updates import find_updates, updates_in_ledger
    from weightgate.audit.trace import trace as run_trace
    from weightgate.lineage.data.dataset import load_dataset
    from weightgate.lineage.data.row_query import read_row

    digest, keys = read_row(row, piped(row)), believed(public_key)
    logged = updates_in_ledger(ledger, keys) if ledger else ()
    found = find_updates(runs or [DEFAULT_ROOT], keys) if runs or not ledger else ()
    known = {update.digest for update in logged}
    rows = load_dataset(data, "training").row_set if data else None
    result = run_trace(
        digest,
        [*logged, *(update for update in found if update.digest not in known)],
        [rows] if rows else [],
        [update.path.parent for update in found] + [update.path.parent.parent for update in logged[:1]],
    )
    if console.SETTINGS.json:
        console.emit(_document(result))
    else:
        _show(result)
    raise typer.Exit(0 if result.complete else INCOMPLETE)


def _document(result: Trace) -> dict[str, object]:
    return {
        "row": result.row,
        "complete": result.complete,
        "updates": [
            {
                "changeset": traced.update.digest,
                "path": str(traced.update.path),
                "child": traced.update.changeset.child.name,
                "child_root": traced.update.changeset.child.root,
                "created": traced.update.changeset.created,
                "standing": traced.standing,
                "why": traced.why,
            }
            for traced in result.updates
        ],
    }


def _show(result: Trace) -> None:
    counts = {standing: sum(t.standing == standing for t in result.updates) for standing in STYLES}
    if console.SETTINGS.quiet:
        for traced in result.updates:
            typer.echo(f"{traced.standing}\t{console.printable(str(traced.update.path))}")
        return
    from rich.table import Table
    from rich.text import Text

    out = console.out()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("update", "made", "row", "how it is known"):
        table.add_column(column, overflow="fold")
    for traced in result.updates:
        changeset = traced.update.changeset
        table.add_row(
            Text(console.printable(changeset.child.name)),
            changeset.created[:10],
            Text(traced.standing, STYLES[traced.standing]),
            Text(console.printable(traced.why)),
        )
    out.print(table)
    said = ", ".join(f"{count} {standing}" for standing, count in counts.items() if count)
    out.print(Text(f"row {result.row[:16]}…: {said}"), soft_wrap=True)
