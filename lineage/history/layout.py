"""Where things lie in a ledger, and the files of it that no document stands in: configuration and public keys."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from weightgate.lineage.canonical import Frozen
from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.history.files import read_file
from weightgate.lineage.signing.keys import VerifyingKey, parse_verifying_key
from weightgate.lineage.strict_yaml import parse_yaml

FOLDER = ".weightgate"
CONFIG, POLICY, LOG, KEYS, PENDING = "config.yaml", "policy.yaml", "log", "keys", "pending"
FIXED: Mapping[str, bytes] = {".gitattributes": b"* -text\nlog/** -merge\n", ".gitignore": b"/pending/\n.*.partial\n"}
"""Files that git needs: digests survive no conversion of line ends, and no merge makes one log of two."""

_REMEDY = "do not trust it; restore the ledger from git"


class Config(Frozen):
    """What config.yaml says; the genesis commits to the file, so that it never changes."""

    version: Literal[1]
    origin: str = Field(description="Name of the log.")


def key_file(key_id: str) -> str:
    """Path of a public key below the folder of the ledger."""
    return f"{KEYS}/{key_id.removeprefix('sha256:')}.pub"


def config_bytes(origin: str) -> bytes:
    """What config.yaml holds."""
    return (
        f"# Fixed when the ledger was made; its genesis commits to this file.\nversion: 1\norigin: {origin}\n".encode()
    )


def read_config(folder: Path) -> Config:
    """The configuration; the genesis commits to it.

    Raises:
        IntegrityError: missing or malformed.
    """
    path = folder / CONFIG
    try:
        return Config.model_validate(parse_yaml(read_file(path), str(path)).value)
    except (ValidationError, InputError) as error:
        raise IntegrityError(f"{path}: not the configuration of a ledger", remedy=_REMEDY) from error


def keys_in(folder: Path) -> dict[str, VerifyingKey]:
    """The public keys in the folder by id; lying there does not make them count.

    Raises:
        IntegrityError: a file that is not exactly the key that its name says.
    """
    found = {}
    for path in sorted((folder / KEYS).iterdir()) if (folder / KEYS).is_dir() else ():
        data = read_file(path)
        try:
            key = parse_verifying_key(data, str(path))
        except InputError as error:
            raise IntegrityError(f"{path}: not a public key", remedy=_REMEDY) from error
        if key.public_pem != data or path != folder / key_file(key.key_id):
            raise IntegrityError(f"{path}: not the key that its name says", remedy=_REMEDY)
        found[key.key_id] = key
    return found


def present_key(keys: Mapping[str, VerifyingKey], key_id: str) -> VerifyingKey:
    """The key of that id.

    Raises:
        IntegrityError: its file is not there.
    """
    if key_id not in keys:
        raise IntegrityError(f"{key_file(key_id)} is missing", remedy=_REMEDY)
    return keys[key_id]
