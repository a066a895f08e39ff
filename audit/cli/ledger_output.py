"""What the commands on a ledger share: opening it to write, and saying what was logged."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weightgate.audit.cli import console

if TYPE_CHECKING:
    from weightgate.audit.ledger import Writer
    from weightgate.lineage.history.ledger import Logged

Key = Annotated[Path | None, typer.Option(help="Signing key, PKCS#8 PEM (see keygen); your own by default.")]
LedgerPath = Annotated[Path | None, typer.Option(help="The ledger; by default that of the repository here.")]
Reason = Annotated[str, typer.Option(help="Why; signed, and kept for good.")]


def open_writer(ledger: Path | None, key: Path | None) -> Writer:
    """The ledger to write to, with the key of whoever writes.

    Raises:
        InputError: there is none, or the key may not write to it.
        IntegrityError: it does not check out.
    """
    from weightgate.audit.ledger import Writer, require_ledger
    from weightgate.lineage.signing.keys import default_key, load_private

    return Writer.open(require_ledger(ledger), load_private(key) if key else default_key())


def say_logged(logged: Logged, what: str) -> None:
    """Print what was done and under which id."""
    if console.SETTINGS.json:
        console.emit(
            {"id": logged.entry.id, "type": logged.entry.type, "index": logged.index, "file": logged.entry.path}
        )
    elif console.SETTINGS.quiet:
        typer.echo(logged.entry.id)
    else:
        typer.echo(console.printable(f"{what}\n{logged.entry.type} {logged.entry.id}, entry {logged.index} of the log"))
