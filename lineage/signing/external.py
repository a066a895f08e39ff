"""Keys that live elsewhere, in a KMS, an HSM or a token: a command of the user's own signs.

The command is named in a small YAML file, with the public key that its signatures have to verify under:

    command: [./kms-sign, --key-id, release]
    public_key: release.pub
    timeout_seconds: 30

It gets the bytes to be signed on standard input (for audits, the DSSE pre-authentication encoding), and writes the raw
signature to standard output. It is started as it is listed, never through a shell.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from pydantic import Field, ValidationError

from weightgate.lineage.canonical import Frozen
from weightgate.lineage.errors import InputError
from weightgate.lineage.signing.key_files import PASSPHRASE, PASSPHRASE_FILE, read_key_file, read_public
from weightgate.lineage.strict_yaml import parse_yaml

SUFFIXES = (".yaml", ".yml")
MAX_OUTPUT = 100_000
_CORRECT = "correct the command in the key file, or run it by hand to see what is wrong"
_FORM = "it needs `command` (a list of words), `public_key` (a file), and may have `timeout_seconds`"


class _File(Frozen):
    command: tuple[str, ...] = Field(min_length=1)
    public_key: str = Field(min_length=1)
    timeout_seconds: float = Field(default=60, gt=0, le=3600)


@dataclass(frozen=True, slots=True)
class ExternalSigner:
    """A command that signs, and the public key of its signatures. Nothing it says is believed unchecked."""

    command: tuple[str, ...]
    public_key: PublicKeyTypes
    timeout: float

    @property
    def name(self) -> str:
        """How errors name it."""
        return f"signing command {' '.join(self.command)}"

    def sign(self, data: bytes) -> bytes:
        """What the command answers to ``data``; the caller has to verify it.

        Raises:
            InputError: it cannot be started, fails, takes too long, or answers nothing or too much.
        """
        with tempfile.TemporaryFile() as answer, tempfile.TemporaryFile() as complaint:
            code = self._run(data, answer.fileno(), complaint.fileno())
            answer.seek(0)
            complaint.seek(0)
            signature, said = answer.read(MAX_OUTPUT + 1), complaint.read(2000).decode("utf-8", "replace").strip()
        if code != 0:
            raise InputError(f"{self.name}: ended with exit code {code}{': ' if said else ''}{said}", remedy=_CORRECT)
        if not signature or len(signature) > MAX_OUTPUT:
            fault = "wrote no signature" if not signature else f"wrote over {MAX_OUTPUT} bytes"
            raise InputError(f"{self.name}: {fault}", remedy="it has to write the raw signature to standard output")
        return signature

    def _run(self, data: bytes, out: int, err: int) -> int:
        # Its own session, so that what it started ends with it; without our passphrase, which is not for it.
        environment = {name: value for name, value in os.environ.items() if name not in (PASSPHRASE, PASSPHRASE_FILE)}
        try:
            process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=out, stderr=err, env=environment, start_new_session=True
            )
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise InputError(f"{self.name}: cannot be started: {why}", remedy=_CORRECT) from error
        try:
            process.communicate(data, timeout=self.timeout)
        except subprocess.TimeoutExpired as error:
            raise InputError(
                f"{self.name}: no answer within {self.timeout:g} s", remedy="raise timeout_seconds"
            ) from error
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        return process.returncode


def is_external(path: Path) -> bool:
    """Whether a key file names a command rather than holding a key."""
    return path.suffix.lower() in SUFFIXES


def load_external(path: Path) -> ExternalSigner:
    """Read the file that names a command. What it names with a slash is relative to the file's folder.

    Raises:
        InputError: unreadable, another form, or its public key cannot be read.
    """
    try:
        said = _File.model_validate(parse_yaml(read_key_file(path), str(path)).value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(step) for step in first["loc"]) or "document"
        raise InputError(f"{path}: {where}: {first['msg']}", remedy=_FORM) from error
    program, *arguments = said.command
    if "/" in program:
        program = str(path.parent.resolve() / program)
    return ExternalSigner((program, *arguments), read_public(path.parent / said.public_key), said.timeout_seconds)
