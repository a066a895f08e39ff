"""Checkpoints (https://c2sp.org/tlog-checkpoint) and proofs that travel with an artifact (tlog-proof@v1)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass

from weightgate.lineage.errors import IntegrityError
from weightgate.lineage.history.note import NoteKey, open_note, sign_note
from weightgate.lineage.signing.keys import SigningKey
from weightgate.lineage.weights.merkle import verify_inclusion

PROOF_HEADER = "c2sp.org/tlog-proof@v1"
PROOF_SUFFIX = ".tlog-proof"
MAX_PROOF_HASHES = 64
MAX_SIZE = 2**63 - 1

_REMEDY = "do not trust it; get it again from the log"
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log commits to: how many entries it has, and the one hash over them in their order."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The text that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    def sign(self, key: SigningKey) -> bytes:
        """The checkpoint as a signed note; the key is named by the origin."""
        return sign_note(self.text, self.origin, key)


@dataclass(frozen=True, slots=True)
class Proof:
    """An entry is at ``index`` of the log that ``checkpoint`` (a signed note) commits to."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes

    def to_bytes(self) -> bytes:
        """The file form."""
        lines = [PROOF_HEADER, f"index {self.index}", *(base64.b64encode(node).decode() for node in self.hashes)]
        return "\n".join(lines).encode() + b"\n\n" + self.checkpoint


def read_checkpoint(data: bytes, origin: str, keys: Sequence[NoteKey], what: str = "checkpoint") -> Checkpoint:
    """Check a checkpoint of the log called ``origin``; extension lines are refused, since nobody audits them.

    Raises:
        IntegrityError: malformed, of another log, or without a signature of one of ``keys`` that holds.
    """
    text = open_note(data, keys, what).text
    lines = text.split("\n")
    if len(lines) != 4 or _NUMBER.fullmatch(lines[1]) is None or int(lines[1]) > MAX_SIZE:
        raise IntegrityError(f"{what}: not a checkpoint", remedy=_REMEDY)
    if lines[0] != origin:
        raise IntegrityError(f"{what}: of the log {lines[0]!r}, not of {origin!r}", remedy=_REMEDY)
    found = Checkpoint(lines[0], int(lines[1]), _hash(lines[2], what))
    if found.text != text:
        raise IntegrityError(f"{what}: not in the exact form of checkpoints", remedy=_REMEDY)
    return found


def read_proof(data: bytes, what: str = "proof") -> Proof:
    """Parse a proof; only `verify_proof` says that it holds. Extra data is refused: it is not authenticated.

    Raises:
        IntegrityError: malformed.
    """
    head, blank, checkpoint = data.partition(b"\n\n")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise IntegrityError(f"{what}: not text", remedy=_REMEDY) from error
    number = lines[1].removeprefix("index ") if len(lines) > 1 and lines[1].startswith("index ") else ""
    if not blank or lines[0] != PROOF_HEADER or _NUMBER.fullmatch(number) is None:
        raise IntegrityError(f"{what}: not a {PROOF_HEADER} without extra data", remedy=_REMEDY)
    if len(lines) > MAX_PROOF_HASHES + 2:
        raise IntegrityError(f"{what}: over {MAX_PROOF_HASHES} hashes", remedy=_REMEDY)
    return Proof(int(number), tuple(_hash(line, what) for line in lines[2:]), checkpoint)


def verify_proof(proof: bytes, entry: bytes, origin: str, keys: Sequence[NoteKey], what: str = "proof") -> Checkpoint:
    """The checkpoint that commits to ``entry``, after checking its signature and the path to it; needs nothing else.

    Raises:
        IntegrityError: anything does not hold.
    """
    parsed = read_proof(proof, what)
    found = read_checkpoint(parsed.checkpoint, origin, keys, what)
    if not verify_inclusion(found.root, entry, parsed.index, found.size, parsed.hashes):
        raise IntegrityError(f"{what}: does not show this entry in the log", remedy=_REMEDY)
    return found


def _hash(text: str, what: str) -> bytes:
    try:
        node = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        node = b""
    if len(node) != 32 or base64.b64encode(node).decode() != text:
        raise IntegrityError(f"{what}: {text[:60]!r} is no hash", remedy=_REMEDY)
    return node
