"""weightgate verify: signatures, digests and links of a run folder or a changeset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weightgate.audit.cli import console


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: weightgate verify weightgate-runs/v4 --public-key team.pub --model models/v4")(verify)


def verify(
    target: Annotated[Path, typer.Argument(help="Run folder or changeset file.", metavar="TARGET")],
    *,
    public_key: Annotated[Path | None, typer.Option(help="PEM of the signer to believe; default your own.")] = None,
    model: Annotated[Path | None, typer.Option(help="The child's folder, to hash again and compare.")] = None,
    parent_changeset: Annotated[Path | None, typer.Option(help="Changeset that made the parent.")] = None,
) -> None:
    """Check who signed what, that nothing was changed since, and that the policy decides the same again.

    Exits 0 where everything holds, 4 at the first thing that does not, 2 on bad input.
    """
    from weightgate.audit.verify import verify as run_verify
    from weightgate.lineage.signing.keys import default_public_key, load_public

    key = load_public(public_key) if public_key else default_public_key()
    result = run_verify(target, key, model=model, parent_changeset=parent_changeset)
    if console.SETTINGS.json:
        console.emit(
            {
                "verified": True,
                "target": str(target),
                "verdict": result.verdict,
                "changeset": result.changeset,
                "key": key.key_id,
                "checks": [{"name": c.name, "detail": c.detail} for c in result.checks],
            }
        )
        return
    if console.SETTINGS.quiet:
        typer.echo("verified")
        return
    from rich.text import Text

    out = console.out()
    for check in result.checks:
        line = Text.assemble(("  ok  ", "green"), (f"{check.name}: ", "bold"), console.printable(check.detail))
        out.print(line, soft_wrap=True)
    said = f"; the verdict is {result.verdict}" if result.verdict else ""
    out.print(Text.assemble(("verified", "bold green"), f"{said}"), soft_wrap=True)
