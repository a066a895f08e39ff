"""The result of verifying a ledger, for `weightgate verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from weightgate.audit.cli import console

if TYPE_CHECKING:
    from weightgate.audit.verify_ledger import LedgerVerification


def show_ledger(target: Path | None, public_keys: list[Path] | None, trust: Path | None = None) -> None:
    """Verify the ledger that ``target`` is or holds, or that of the repository here, and print what was checked.

    Raises:
        InputError: there is no ledger, or both a trust root and keys were given.
        IntegrityError: the first thing that does not check out.
    """
    from weightgate.audit.ledger import require_ledger
    from weightgate.audit.verify_ledger import verify_ledger
    from weightgate.audit.verify_trust_ledger import verify_trusted_ledger
    from weightgate.lineage.errors import InputError
    from weightgate.lineage.signing.keys import default_key_path, load_public

    if trust is not None and public_keys:
        raise InputError("a trust root names the signers", remedy="leave --public-key out")
    own = default_key_path().with_suffix(".pub")
    folder = require_ledger(target)
    if trust is not None:
        found = verify_trusted_ledger(folder, trust)
    else:
        keys = [load_public(path) for path in (public_keys or ([own] if own.exists() else []))]
        found = verify_ledger(folder, keys)
    if console.SETTINGS.json:
        console.emit(_document(found))
    elif console.SETTINGS.quiet:
        typer.echo("verified")
    else:
        _print(found)


def _document(found: LedgerVerification) -> dict[str, object]:
    history = found.history
    return {
        "verified": True,
        "target": str(history.ledger.folder),
        "genesis": history.ledger.entries[0].entry.id,
        "head": {"root": history.head.root, "changeset": history.head.changeset},
        "entries": history.ledger.log.checkpoint().size,
        "tainted": sorted(node.id for node in history.nodes.values() if node.tainted),
        "checks": [{"name": check.name, "detail": check.detail} for check in found.checks],
    }


def _print(found: LedgerVerification) -> None:
    from rich.text import Text

    out = console.out()
    for check in found.checks:
        line = Text.assemble(("  ok  ", "green"), (f"{check.name}: ", "bold"), console.printable(check.detail))
        out.print(line, soft_wrap=True)
    for node in found.history.nodes.values():
        if node.tainted:
            out.print(Text.assemble(("  !!  ", "yellow"), f"{node.id[:12]} is tainted: {node.tainted}"), soft_wrap=True)
    out.print(Text.assemble(("verified", "bold green"), " back to the genesis"), soft_wrap=True)
