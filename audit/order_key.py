"""The secret that the order of items follows from: a file beside the signing key, and a derived key for each update."""

from __future__ import annotations

import hmac
import os
import secrets
from pathlib import Path

from weightgate.lineage.canonical import digest
from weightgate.lineage.errors import InputError
from weightgate.lineage.signing.keys import default_key_path
from weightgate.lineage.weights.update import Update

SECRET_BYTES = 32
_PURPOSE = b"weightgate item order v1\x00"


def order_secret_path() -> Path:
    """Where the secret lies."""
    return default_key_path().with_name("order.secret")


def update_identity(update: Update) -> str:
    """SHA-256 of both fingerprints. A changeset also names its time; here a second audit must ask in the same order."""
    return digest({"parent": update.parent_fingerprint.root, "child": update.child_fingerprint.root})


def order_key(identity: str) -> bytes:
    """Key of the order for one update. It may be told once the verdict is out: the secret does not follow from it.

    Raises:
        InputError: the secret cannot be made or read, or is not one.
    """
    return hmac.digest(_secret(order_secret_path()), _PURPOSE + identity.encode(), "sha256")


def _secret(path: Path) -> bytes:
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(SECRET_BYTES))
            try:
                os.link(temporary, path)  # whole or not at all, and never over another process's
            except FileExistsError:
                pass
            finally:
                temporary.unlink()
        with path.open("rb") as file:
            data = file.read(SECRET_BYTES + 1)
    except OSError as error:
        raise InputError(
            f"cannot make or read the secret of the item order {path}: {error.strerror}", remedy="check its permissions"
        ) from error
    if len(data) != SECRET_BYTES:
        raise InputError(f"{path} does not hold {SECRET_BYTES} bytes", remedy="remove it; a new one is made")
    return data
