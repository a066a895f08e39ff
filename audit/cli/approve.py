"""weightgate approve: one person's signed yes to an update, in a role."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weightgate.audit.cli import console


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: weightgate approve weightgate-runs/v4 --role safety --key me.pem --trust trust/")(
        approve
    )


def approve(
    run: Annotated[Path, typer.Argument(help="Run folder, or the changeset in it.", metavar="RUN")],
    *,
    role: Annotated[str, typer.Option(help="Role in which you approve, for example safety.")],
    key: Annotated[Path | None, typer.Option(help="Your key (see keygen); your own by default.")] = None,
    reason: Annotated[str, typer.Option(help="Why; signed with the approval.")] = "",
    trust: Annotated[Path | None, typer.Option(help="Trust root: who signed the run, and who has the role.")] = None,
    public_key: Annotated[list[Path] | None, typer.Option(help="Who signed the run, without a trust root.")] = None,
    out: Annotated[Path | None, typer.Option(help="File to write, if not one in RUN/approvals.")] = None,
) -> None:
    """Verify a run as a whole, and sign an approval of it. Authors do not approve their own changesets.

    Exits 0 when the approval is written, 2 on bad input, 4 where the run does not check out.
    """
    from weightgate.audit.approve import approve as write
    from weightgate.lineage.errors import InputError
    from weightgate.lineage.signing.keys import default_key, load_private, load_public

    if (trust is None) == (not public_key):
        raise InputError("who may have signed the run?", remedy="give either --trust or --public-key")
    signer = load_private(key) if key else default_key()
    made = write(
        run,
        signer,
        role=role,
        reason=reason,
        signers=[load_public(path) for path in public_key or ()],
        trust=trust,
        out=out,
    )
    if console.SETTINGS.json:
        console.emit({"approval": str(made.path), **made.approval.model_dump(mode="json"), "child": made.update.child})
        return
    about = f"changeset {made.update.changeset[:12]}…, verdict {made.verdict}"
    typer.echo(console.printable(f"{made.path}: {role} approves {about}"))
