"""Key files: PKCS#8 and SubjectPublicKeyInfo as PEM, and where their passphrase comes from."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes

from weightgate.lineage.errors import InputError

PASSPHRASE = "WEIGHTGATE_KEY_PASSPHRASE"  # noqa: S105 -- the name of the variable, not its value
"""Environment variable with the passphrase of the private key."""
PASSPHRASE_FILE = "WEIGHTGATE_KEY_PASSPHRASE_FILE"  # noqa: S105 -- likewise
"""Environment variable with the path of a file whose first line is the passphrase."""

MAX_KEY_BYTES = 100_000
KEYGEN = "make a key with `weightgate keygen FILE`"
_NEWER = "pip install 'cryptography>=48' where this is an ML-DSA key"


def read_private(path: Path, passphrase: str | None = None) -> PrivateKeyTypes:
    """Read a private key (PEM) of any scheme.

    Raises:
        InputError: unreadable, not a PEM private key, or the passphrase missing or wrong.
    """
    data = read_key_file(path)
    if b"PRIVATE KEY-----" not in data:
        kind = "a public key" if b"PUBLIC KEY-----" in data else "not a PEM file"
        raise InputError(f"{path}: {kind} where a private key is needed", remedy=KEYGEN)
    encrypted = b"ENCRYPTED" in data
    secret = find_passphrase(passphrase) if encrypted else None
    if encrypted and secret is None:
        raise InputError(
            f"{path}: the key is encrypted and no passphrase was given", remedy=f"set {PASSPHRASE} or {PASSPHRASE_FILE}"
        )
    try:
        return serialization.load_pem_private_key(data, secret)
    except UnsupportedAlgorithm as error:
        raise InputError(f"{path}: a key of a kind that cannot be read here", remedy=_NEWER) from error
    except (ValueError, TypeError) as error:
        fault = "wrong passphrase, or damaged" if encrypted else "not a PKCS#8 PEM private key"
        raise InputError(f"{path}: {fault}", remedy=f"check {PASSPHRASE}" if encrypted else KEYGEN) from error


def read_public(path: Path) -> PublicKeyTypes:
    """Read a public key (PEM SubjectPublicKeyInfo) of any scheme.

    Raises:
        InputError: unreadable, or not a PEM public key (a private key is refused too).
    """
    return parse_public(read_key_file(path), str(path))


def parse_public(pem: bytes, what: str) -> PublicKeyTypes:
    """Parse a public key (PEM SubjectPublicKeyInfo) of any scheme.

    Raises:
        InputError: not a PEM public key (a private key is refused too); the message starts with ``what``.
    """
    if b"PRIVATE KEY-----" in pem:
        raise InputError(f"{what}: a private key where a public key is needed", remedy="give the .pub file beside it")
    try:
        return serialization.load_pem_public_key(pem)
    except UnsupportedAlgorithm as error:
        raise InputError(f"{what}: a key of a kind that cannot be read here", remedy=_NEWER) from error
    except ValueError as error:
        raise InputError(f"{what}: not a PEM public key", remedy="give the .pub file that keygen wrote") from error


def find_passphrase(given: str | None) -> bytes | None:
    """The passphrase that was given, or else that of the environment; an empty one counts as none.

    Raises:
        InputError: both variables are set, or the file cannot be read or is empty.
    """
    text, file = os.environ.get(PASSPHRASE), os.environ.get(PASSPHRASE_FILE)
    if given is not None or not file:
        text = text if given is None else given
        return text.encode() if text else None
    if text:
        raise InputError(f"both {PASSPHRASE} and {PASSPHRASE_FILE} are set", remedy="unset one of the two")
    secret = read_key_file(Path(file)).split(b"\n", 1)[0].removesuffix(b"\r")
    if not secret:
        raise InputError(
            f"{file}: its first line holds no passphrase", remedy=f"write it there, or unset {PASSPHRASE_FILE}"
        )
    return secret


def create_file(path: Path, data: bytes, mode: int) -> None:
    """Make a file that is not there yet, with these permissions from its first byte on.

    Raises:
        OSError: it exists, or cannot be made.
    """
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)


def read_key_file(path: Path) -> bytes:
    """The bytes of a small file.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAX_KEY_BYTES)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", remedy=KEYGEN) from error
