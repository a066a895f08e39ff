"""weightgate approve: one person's signed yes to an update, in a role."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weightgate.audit.cli import console

if TYPE_CHECKING:
    from weightgate.audit.approve import Approved
    from weightgate.lineage.signing.keys import SigningKey


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: weightgate approve weightgate-runs/v4 --role safety --key me.pem --trust trust/")(
        approve
    )


def approve(
    target: Annotated[str, typer.Argument(help="Run folder, or id of an update in the ledger.", metavar="RUN|ID")],
    *,
    role: Annotated[str, typer.Option(help="Role in which you approve, for example safety.")],
    key: Annotated[Path | None, typer.Option(help="Your key (see keygen); your own by default.")] = None,
    reason: Annotated[str, typer.Option(help="Why; signed with the approval.")] = "",
    trust: Annotated[Path | None, typer.Option(help="Trust root: who signed, and who has the role.")] = None,
    public_key: Annotated[list[Path] | None, typer.Option(help="Who signed the run, without a trust root.")] = None,
    out: Annotated[Path | None, typer.Option(help="File to write, if not one in RUN/approvals.")] = None,
    ledger: Annotated[Path | None, typer.Option(help="The ledger; by default that of the repository here.")] = None,
    log_key: Annotated[Path | None, typer.Option(help="Key that signs the log, if yours was not admitted.")] = None,
) -> None:
    """Verify a run, or the ledger, as a whole, and sign an approval. Authors do not approve their own changesets.

    Exits 0 when the approval is written, 2 on bad input, 4 where something does not check out.
    """
    from weightgate.lineage.signing.keys import default_key, load_private

    signer = load_private(key) if key else default_key()
    if Path(target).exists():
        _say(_run(Path(target), signer, role=role, reason=reason, trust=trust, public_keys=public_key, out=out), role)
        return
    from weightgate.audit.approve_ledger import approve_logged
    from weightgate.audit.ledger import require_ledger
    from weightgate.lineage.errors import InputError

    if public_key or out:
        raise InputError(f"{target}: no such run", remedy="give a run folder, or leave --public-key and --out out")
    folder, other = require_ledger(ledger), load_private(log_key) if log_key else None
    _say(approve_logged(folder, target, signer, role=role, reason=reason, trust=trust, log_key=other), role)


def _run(
    run: Path,
    signer: SigningKey,
    *,
    role: str,
    reason: str,
    trust: Path | None,
    public_keys: list[Path] | None,
    out: Path | None,
) -> Approved:
    from weightgate.audit.approve import approve as write
    from weightgate.lineage.errors import InputError
    from weightgate.lineage.signing.keys import load_public

    if (trust is None) == (not public_keys):
        raise InputError("who may have signed the run?", remedy="give either --trust or --public-key")
    keys = [load_public(path) for path in public_keys or ()]
    return write(run, signer, role=role, reason=reason, signers=keys, trust=trust, out=out)


def _say(made: Approved, role: str) -> None:
    if console.SETTINGS.json:
        console.emit({"approval": str(made.path), **made.approval.model_dump(mode="json"), "child": made.update.child})
        return
    about = f"changeset {made.update.changeset[:12]}…, verdict {made.verdict}"
    typer.echo(console.printable(f"{made.path}: {role} approves {about}"))
