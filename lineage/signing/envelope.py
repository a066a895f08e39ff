"""Signed statements: DSSE 1.0.2 envelopes with one signature, in one byte-exact form.

DSSE lets a reader accept any JSON spacing and two base64 alphabets. Here the file must be byte for byte the form that
`Envelope.to_bytes` writes, so that no byte of it can change unnoticed; any DSSE reader can read it.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from weightgate.lineage.canonical import canonical
from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.signing.keys import SigningKey, VerifyingKey
from weightgate.lineage.strict_json import parse

IN_TOTO = "application/vnd.in-toto+json"
MAX_ENVELOPE_BYTES = 256_000_000

_REMEDY = "get the file again from whoever signed it"


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload, what it is, and who signed it. Holding one says nothing: only `verify` does."""

    payload: bytes
    payload_type: str
    key_id: str
    signature: bytes

    def to_bytes(self) -> bytes:
        """The file form: canonical JSON (RFC 8785) with standard base64, and a newline."""
        document = {
            "payload": base64.b64encode(self.payload).decode(),
            "payloadType": self.payload_type,
            "signatures": [{"keyid": self.key_id, "sig": base64.b64encode(self.signature).decode()}],
        }
        return canonical(document) + b"\n"


def pae(payload_type: str, payload: bytes) -> bytes:
    """DSSE pre-authentication encoding: the bytes that are signed. It binds the type and both lengths."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def sign(statement: bytes, key: SigningKey) -> Envelope:
    """Sign an in-toto statement."""
    return Envelope(statement, IN_TOTO, key.key_id, key.sign(pae(IN_TOTO, statement)))


def read_envelope(source: bytes | Path) -> Envelope:
    """Read an envelope from its bytes or its file.

    Raises:
        InputError: the file cannot be read.
        IntegrityError: not byte for byte the form that `Envelope.to_bytes` writes.
    """
    data, what = (source, "envelope") if isinstance(source, bytes) else (_read(source), str(source))
    try:
        document = parse(data, what)
        (signature,) = document["signatures"]
        envelope = Envelope(
            payload=base64.b64decode(document["payload"], validate=True),
            payload_type=document["payloadType"],
            key_id=signature["keyid"],
            signature=base64.b64decode(signature["sig"], validate=True),
        )
        exact = envelope.to_bytes() == data
    except (InputError, KeyError, TypeError, AttributeError, ValueError, binascii.Error) as error:
        raise IntegrityError(f"{what}: not a DSSE envelope with one signature", remedy=_REMEDY) from error
    if not exact:
        raise IntegrityError(f"{what}: not in the exact form in which envelopes are written", remedy=_REMEDY)
    return envelope


def verify(envelope: Envelope, public_key: VerifyingKey) -> bytes:
    """The payload, once its signature was checked.

    Raises:
        IntegrityError: another payload type, another key, or a signature that does not belong to the payload.
    """
    if envelope.payload_type != IN_TOTO:
        raise IntegrityError(f"payload type {envelope.payload_type!r} is not {IN_TOTO}", remedy=_REMEDY)
    if envelope.key_id != public_key.key_id:
        raise IntegrityError(
            f"signed by {envelope.key_id}, not by {public_key.key_id}", remedy="give the public key of the signer"
        )
    public_key.verify(envelope.signature, pae(envelope.payload_type, envelope.payload))
    return envelope.payload


def signer_among(envelope: Envelope, keys: Sequence[VerifyingKey], what: str) -> VerifyingKey:
    """The key that an envelope says it was signed with; the signature is not checked.

    Raises:
        IntegrityError: it is none of ``keys``; the message starts with ``what``.
    """
    for key in keys:
        if key.key_id == envelope.key_id:
            return key
    only = f"not by {keys[0].key_id}" if len(keys) == 1 else "none of the keys to believe"
    raise IntegrityError(f"{what}: signed by {envelope.key_id}, {only}", remedy="give the public key of the signer")


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_ENVELOPE_BYTES:
                raise IntegrityError(f"{path}: over {MAX_ENVELOPE_BYTES} bytes", remedy=_REMEDY)
            return file.read(size)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", remedy="check the path") from error
