"""Signed notes (https://c2sp.org/signed-note): text with signatures that name their keys.

Ed25519 keys have signature type 0x01 and ECDSA keys 0x02, as assigned there. ML-DSA-65 keys have none; they use 0xff
and a name, as the specification asks for types that it does not assign.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.signing.keys import SigningKey, VerifyingKey

MAX_NOTE_BYTES = 1_000_000
MAX_SIGNATURES = 64
ED25519, ECDSA, ML_DSA_65 = b"\x01", b"\x02", b"\xffweightgate.dev/ml-dsa-65\n"

_MARK = "\u2014 "  # em dash
_REMEDY = "do not trust it; get it again from its source"
_TYPES = {"ed25519": ED25519, "ecdsa-p256": ECDSA, "ml-dsa-65": ML_DSA_65}


@dataclass(frozen=True, slots=True)
class NoteKey:
    """A public key and the name under which it signs notes."""

    name: str
    key: VerifyingKey

    def __post_init__(self) -> None:
        if not self.name or "+" in self.name or any(c.isspace() or not c.isprintable() for c in self.name):
            raise InputError(f"{self.name!r} is no name of a key", remedy="no spaces, and no plus sign")

    @property
    def material(self) -> bytes:
        """Signature type and public key."""
        return _TYPES[self.key.kind] + _public_bytes(self.key)

    @property
    def key_id(self) -> bytes:
        """Four bytes that tell keys of one name apart."""
        hashed = _public_bytes(self.key) if self.key.kind == "ecdsa-p256" else self._named()
        return hashlib.sha256(hashed).digest()[:4]

    @property
    def vkey(self) -> str:
        """The key as one line of text."""
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(self.material).decode()}"

    def _named(self) -> bytes:
        return self.name.encode() + b"\n" + self.material


@dataclass(frozen=True, slots=True)
class Note:
    """A text of which at least one signature was checked."""

    text: str
    signers: tuple[NoteKey, ...]
    """Known keys whose signatures hold."""


def parse_vkey(text: str) -> NoteKey:
    """Read a key from its line.

    Raises:
        InputError: malformed, of another type, or its name and id do not belong together.
    """
    remedy = "give a line NAME+ID+KEY as it was published"
    try:
        name, key_id, encoded = text.strip().split("+", 2)
        material = _decode(encoded)
        key = NoteKey(name, VerifyingKey.of(_load_public(material), "vkey"))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InputError(f"{text[:80]!r} is no verifier key", remedy=remedy) from error
    if key.material != material or key.key_id.hex() != key_id:
        raise InputError(f"{text[:80]!r}: its id is not that of its key and name", remedy=remedy)
    return key


def sign_note(text: str, name: str, key: SigningKey) -> bytes:
    """Sign ``text`` under ``name``.

    Raises:
        InputError: a text that notes cannot have, or a name that keys cannot have.
    """
    signer = NoteKey(name, key.public)
    if not text.endswith("\n") or any(ord(c) < 0x20 and c != "\n" for c in text):
        raise InputError("a note ends with a newline and has no other control characters", remedy="change the text")
    signature = base64.b64encode(signer.key_id + key.sign(text.encode())).decode()
    return f"{text}\n{_MARK}{name} {signature}\n".encode()


def open_note(data: bytes, keys: Sequence[NoteKey], what: str = "note") -> Note:
    """Check a note; signatures by keys that are not among ``keys`` are passed over, as the specification asks.

    Raises:
        IntegrityError: malformed, no signature by one of ``keys``, or one that does not hold.
    """
    text, lines = _split(data, what)
    signers = []
    for line in lines:
        name, key_id, signature = _signature(line, what)
        for key in keys:
            if (key.name, key.key_id) == (name, key_id):
                try:
                    key.key.verify(signature, text.encode())
                except IntegrityError as error:
                    raise IntegrityError(f"{what}: {error}", remedy=_REMEDY) from error
                signers.append(key)
    if not signers:
        raise IntegrityError(f"{what}: signed by none of the keys to believe", remedy="give the signer's public key")
    return Note(text, tuple(signers))


def _split(data: bytes, what: str) -> tuple[str, list[str]]:
    try:
        whole = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise IntegrityError(f"{what}: not UTF-8 text", remedy=_REMEDY) from error
    text, blank, signatures = whole.rpartition("\n\n")
    lines = signatures.split("\n")
    control = any(ord(c) < 0x20 and c != "\n" for c in whole)
    if not blank or control or lines[-1] or not 1 < len(lines) <= MAX_SIGNATURES + 1 or len(data) > MAX_NOTE_BYTES:
        raise IntegrityError(f"{what}: not a signed note", remedy=_REMEDY)
    return text + "\n", lines[:-1]


def _signature(line: str, what: str) -> tuple[str, bytes, bytes]:
    parts = line.removeprefix(_MARK).split(" ")
    try:
        name, encoded = parts
        raw = _decode(encoded)
    except ValueError as error:
        raise IntegrityError(f"{what}: a malformed signature line", remedy=_REMEDY) from error
    if not line.startswith(_MARK) or len(raw) < 5 or not name:
        raise IntegrityError(f"{what}: a malformed signature line", remedy=_REMEDY)
    return name, raw[:4], raw[4:]


def _decode(text: str) -> bytes:
    """Base64 in its one form: the bits that padding leaves over have to be zero."""
    raw = base64.b64decode(text, validate=True)
    if base64.b64encode(raw).decode() != text:
        raise binascii.Error("not in the one form of base64")
    return raw


def _public_bytes(key: VerifyingKey) -> bytes:
    if key.kind == "ed25519":
        return key.raw.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return key.raw.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _load_public(material: bytes) -> object:
    for prefix in (ML_DSA_65, ECDSA):
        if material.startswith(prefix):
            return serialization.load_der_public_key(material.removeprefix(prefix))
    if not material.startswith(ED25519):
        raise ValueError("another signature type")
    return Ed25519PublicKey.from_public_bytes(material[1:])
