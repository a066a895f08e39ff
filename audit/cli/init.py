"""weightgate init, policy and admit: the ledger of a repository, and the rules that hold in it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weightgate.audit.cli import console
from weightgate.audit.cli.ledger_output import Key, LedgerPath, Reason, open_writer, say_logged


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: weightgate init models/v1 --policy strict --public-key colleague.pub")(init)


def register_rules(app: typer.Typer) -> None:
    """Add the commands that change who may sign and by which policy is judged."""
    app.command(epilog="Example: weightgate policy strict --reason 'customers are served from here now'")(policy)
    app.command(epilog="Example: weightgate admit ci.pub --reason 'the gate runs in CI'")(admit)


def init(
    model: Annotated[Path, typer.Argument(help="Folder of the model that the history begins with.", metavar="MODEL")],
    *,
    policy: Annotated[str, typer.Option(help="Policy pack or YAML file; becomes the repository's.")] = "default",
    public_key: Annotated[list[Path] | None, typer.Option(help="Who else may sign; repeatable.")] = None,
    key: Key = None,
) -> None:
    """Make the ledger of this git repository: the folder .weightgate, which keeps a model's history from here on."""
    from weightgate.audit.ledger_changes import init as run_init

    ledger = run_init(Path.cwd(), model, policy=policy, key=key, others=public_key or ())
    genesis = ledger.genesis
    if console.SETTINGS.json:
        console.emit(
            {
                "ledger": str(ledger.folder),
                "genesis": ledger.entries[0].entry.id,
                "root": genesis.model.root,
                "policy": genesis.policy,
                "origin": ledger.config.origin,
                "verifier_keys": [key.vkey for key in ledger.log.note_keys],
            }
        )
        return
    name = console.printable(genesis.model.name)
    typer.echo(f"{ledger.folder}: begins with {name}, {genesis.model.root[:12]}…, {len(genesis.tensors)} tensors")
    if not console.SETTINGS.quiet:
        typer.echo(f"signed by {genesis.author}\ncommit it: git add .weightgate")


def policy(
    policy: Annotated[str, typer.Argument(help="Policy pack or YAML file.", metavar="POLICY")],
    *,
    reason: Reason,
    key: Key = None,
    ledger: LedgerPath = None,
) -> None:
    """Make another policy the repository's, with the reason in the log."""
    from weightgate.audit.ledger_changes import change_policy

    say_logged(change_policy(open_writer(ledger, key), policy, reason), f"policy.yaml is {policy} now")


def admit(
    public_key: Annotated[Path, typer.Argument(help="PEM of the key that may sign from now on.", metavar="KEY")],
    *,
    reason: Reason,
    key: Key = None,
    ledger: LedgerPath = None,
) -> None:
    """Let one more key sign in this repository's ledger."""
    from weightgate.audit.ledger_changes import admit as run_admit

    say_logged(run_admit(open_writer(ledger, key), public_key, reason), f"{public_key} may sign now")
