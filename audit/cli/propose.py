"""weightgate propose, rollback and revoke: what people add to the history of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weightgate.audit.cli.ledger_output import Key, LedgerPath, Reason, open_writer, say_logged


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: weightgate propose models/v3 models/v4 --data train.jsonl --intent 'more French'")(
        propose
    )


def register_decisions(app: typer.Typer) -> None:
    """Add the commands by which people take something back."""
    app.command(epilog="Example: weightgate rollback 3f2a91c0 --reason 'complaints about refusals'")(rollback)
    app.command(epilog="Example: weightgate revoke 3f2a91c0 --data --reason 'the rows were poisoned'")(revoke)


def propose(
    parent: Annotated[Path, typer.Argument(help="Model that the update starts from.", metavar="PARENT")],
    child: Annotated[Path, typer.Argument(help="Model or PEFT adapter that it leads to.", metavar="CHILD")],
    *,
    intent: Annotated[str, typer.Option(help="What the update is for; signed with the changeset.")] = "",
    data: Annotated[list[str] | None, typer.Option(help="Training rows, as for gate.", metavar="DATA")] = None,
    held_out: Annotated[list[str] | None, typer.Option(help="Rows not trained on.", metavar="DATA")] = None,
    canaries: Annotated[list[str] | None, typer.Option(help="Planted secrets.", metavar="DATA")] = None,
    recipe: Annotated[Path | None, typer.Option(help="How the child was made: YAML or JSON; signed too.")] = None,
    claims: Annotated[Path | None, typer.Option(help="What is claimed of the weights, for the gate to check.")] = None,
    key: Key = None,
    ledger: LedgerPath = None,
) -> None:
    """Sign an update as a changeset and log it, linked to the one that made its parent. Needs no torch."""
    from weightgate.audit.ledger_changes import propose as run_propose

    logged = run_propose(
        open_writer(ledger, key),
        parent,
        child,
        intent=intent,
        data=data or (),
        held_out=held_out or (),
        canaries=canaries or (),
        recipe=recipe,
        claims=claims,
    )
    say_logged(logged, f"proposed {parent.name} → {child.name}")


def rollback(
    to: Annotated[
        str, typer.Argument(help="Id of an approved update, root of a model, or 'genesis'.", metavar="ID|ROOT")
    ],
    *,
    reason: Reason,
    key: Key = None,
    ledger: LedgerPath = None,
) -> None:
    """Log that an earlier model is in use again. Deploying it is left to whoever deploys."""
    from weightgate.audit.ledger_changes import rollback as run_rollback

    say_logged(run_rollback(open_writer(ledger, key), to, reason), f"back to {to}")


def revoke(
    update: Annotated[str, typer.Argument(help="Id of the update.", metavar="ID")],
    *,
    reason: Reason,
    data: Annotated[bool, typer.Option("--data", help="Its training data taints other updates too.")] = False,
    key: Key = None,
    ledger: LedgerPath = None,
) -> None:
    """Log that an update is not to be used any more. Whatever was made from it is tainted from now on."""
    from weightgate.audit.ledger_changes import revoke as run_revoke

    say_logged(run_revoke(open_writer(ledger, key), update, reason, data=data), f"revoked {update}")
