"""weightgate keygen: a key to sign with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weightgate.audit.cli import console
from weightgate.lineage.signing.schemes import KeyKind


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: WEIGHTGATE_KEY_PASSPHRASE=… weightgate keygen team.pem --kind ecdsa-p256")(keygen)


def keygen(
    path: Annotated[Path, typer.Argument(help="Private key file to make; the public key goes beside it as .pub.")],
    *,
    kind: Annotated[KeyKind, typer.Option(help="Signature scheme.")] = "ed25519",
) -> None:
    """Make a signing key. Never overwrites a file.

    It is encrypted where WEIGHTGATE_KEY_PASSPHRASE or WEIGHTGATE_KEY_PASSPHRASE_FILE is set.
    """
    from weightgate.lineage.signing.keys import generate

    key = generate(path, kind)
    public = path.with_suffix(".pub")
    if console.SETTINGS.json:
        console.emit({"private": str(path), "public": str(public), "key_id": key.key_id, "kind": kind})
    else:
        typer.echo(f"{path} (keep it secret), {public}\nkey id {key.key_id}")
