"""weightgate blame: which update last changed a tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from weightgate.audit.cli import console
from weightgate.audit.cli.ledger_output import LedgerPath

if TYPE_CHECKING:
    from weightgate.audit.blame import Blamed
    from weightgate.audit.history import History


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: weightgate blame 'model.layers.0.*' --at 3f2a91c0")(blame)


def blame(
    tensors: Annotated[
        list[str] | None, typer.Argument(help="Names or patterns; all without any.", metavar="[TENSOR]...")
    ] = None,
    *,
    at: Annotated[str | None, typer.Option(help="Update to look from; by default the model in use.")] = None,
    ledger: LedgerPath = None,
) -> None:
    """Show for each tensor which update last changed it, walking from the model in use back to the genesis."""
    from weightgate.audit.blame import blame as run_blame
    from weightgate.audit.history import read_history
    from weightgate.audit.ledger import require_ledger
    from weightgate.lineage.errors import InputError
    from weightgate.lineage.history.ledger import Ledger

    opened = Ledger.open(require_ledger(ledger))
    history = read_history(opened)
    start = opened.find(at).entry.id if at else None
    if start is not None and start not in history.nodes:
        raise InputError(f"{at} is not an update", remedy="weightgate log lists the updates")
    found = run_blame(history, tensors or (), start)
    if console.SETTINGS.json:
        names = ("tensor", "changeset", "change", "relative_norm")
        console.emit({"tensors": [{name: getattr(blamed, name) for name in names} for blamed in found]})
    else:
        _print(found, history)


def _print(found: tuple[Blamed, ...], history: History) -> None:
    from rich.table import Table
    from rich.text import Text

    from weightgate.reports.visible import brief

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", expand=True)
    table.add_column("update", no_wrap=True)
    table.add_column("to", no_wrap=True, max_width=20, overflow="ellipsis")
    table.add_column("change", no_wrap=True)
    table.add_column("norm", justify="right", no_wrap=True)
    table.add_column("tensor", ratio=1, no_wrap=True, overflow="ellipsis")
    for blamed in found:
        node = history.nodes[blamed.changeset] if blamed.changeset else None
        name = node.changeset.child.name if node else history.ledger.genesis.model.name
        cells = (
            Text(blamed.changeset[:8] if blamed.changeset else "genesis", style="yellow" if node else "dim"),
            Text(brief(name, 20)),
            Text(blamed.change if node else ""),
            Text("" if blamed.relative_norm is None else f"{blamed.relative_norm:.2g}"),
            Text(brief(blamed.tensor, 200)),
        )
        table.add_row(*cells)
    console.out().print(table)
