"""Sigstore bundles v0.3 around one DSSE envelope: the file form of model signatures and of claims beside them.

Formats: https://docs.sigstore.dev/about/bundle/ and OMS v1.0 §4. A bundle says what was signed and names who signed it;
holding one says nothing until the signature was checked.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.strict_json import parse

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
MAX_BUNDLE_BYTES = 256_000_000

_METHODS = {"publicKey", "x509CertificateChain", "certificate"}
_REMEDY = "get the file again from whoever signed it"


@dataclass(frozen=True, slots=True)
class Bundle:
    """One signed payload. Either a key is named (``hint`` or ``raw_key``) or ``certificates`` are there, leaf first."""

    payload: bytes
    payload_type: str
    signature: bytes
    hint: str | None = None
    raw_key: bytes | None = None
    """The key itself, as bundles before v1.1.0 of the reference signer carried it."""
    certificates: tuple[bytes, ...] = ()
    """DER."""

    def to_bytes(self) -> bytes:
        """The file form, on one line without a newline. ``keyid`` repeats the hint, as Sigstore asks."""
        material: dict[str, Any] = {"tlogEntries": []}
        if self.certificates:
            chain = [{"rawBytes": _encode(certificate)} for certificate in self.certificates]
            material["x509CertificateChain"] = {"certificates": chain}
        else:
            material["publicKey"] = {"hint": self.hint}
        document = {
            "mediaType": MEDIA_TYPE,
            "verificationMaterial": material,
            "dsseEnvelope": {
                "payload": _encode(self.payload),
                "payloadType": self.payload_type,
                "signatures": [{"sig": _encode(self.signature), "keyid": self.hint or ""}],
            },
        }
        return json.dumps(document, separators=(",", ":")).encode()


def read_bundle(data: bytes, what: str) -> Bundle:
    """Read a bundle; messages start with ``what``.

    Raises:
        IntegrityError: not a bundle v0.3, not exactly one signature, keyless (Fulcio) material, or base64 that is not
            in its one exact form.
    """
    try:
        document = parse(data, what)
        if document["mediaType"] != MEDIA_TYPE:
            raise _refused(what, f"its media type is {document['mediaType']!r}, not {MEDIA_TYPE}")
        material, envelope = document["verificationMaterial"], document["dsseEnvelope"]
        signatures = envelope["signatures"]
        if len(signatures) != 1:
            raise _refused(what, f"it holds {len(signatures)} signatures where a bundle has one")
        unknown = {*document} - {"mediaType", "verificationMaterial", "dsseEnvelope"}
        unknown |= {*envelope} - {"payload", "payloadType", "signatures"} | {*signatures[0]} - {"sig", "keyid"}
        unknown |= {*material} - _METHODS - {"tlogEntries", "timestampVerificationData"}
        if unknown:
            raise _refused(what, f"it holds {min(unknown)!r}, which bundles do not have")
        hint, raw_key, certificates = _material(material, what)
        key_id = signatures[0].get("keyid") or ""
        if hint and key_id and key_id != hint:
            raise _refused(what, f"it names two keys, {hint} and {key_id}")
        return Bundle(
            payload=_decode(envelope["payload"]),
            payload_type=envelope["payloadType"],
            signature=_decode(signatures[0]["sig"]),
            hint=hint,
            raw_key=raw_key,
            certificates=certificates,
        )
    except (InputError, KeyError, TypeError, AttributeError, ValueError, binascii.Error) as error:
        fault = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise IntegrityError(f"{what}: not a Sigstore bundle: {fault}", remedy=_REMEDY) from error


def read_file(path: Path) -> bytes:
    """The bytes of a bundle, or of a file of bundles.

    Raises:
        InputError: it cannot be read.
        IntegrityError: a symbolic link, no regular file, or larger than any such file has reason to be.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise IntegrityError(f"{path}: not a regular file", remedy=_REMEDY)
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_BUNDLE_BYTES:
                raise IntegrityError(f"{path}: over {MAX_BUNDLE_BYTES} bytes", remedy=_REMEDY)
            return file.read(size)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", remedy="check the path") from error


def _material(material: dict[str, Any], what: str) -> tuple[str | None, bytes | None, tuple[bytes, ...]]:
    """Hint, key and certificates: who signed, one of the three ways of saying so."""
    methods = _METHODS.intersection(material)
    if len(methods) != 1:
        raise _refused(what, "it does not say in one way who signed it")
    if "certificate" in methods:
        raise IntegrityError(
            f"{what}: signed without a key of its own (Sigstore keyless), which is not checked here",
            remedy="verify it with model_signing verify sigstore",
        )
    if "x509CertificateChain" in methods:
        chain = tuple(_decode(entry["rawBytes"]) for entry in material["x509CertificateChain"]["certificates"])
        if not chain:
            raise _refused(what, "its certificate chain is empty")
        return None, None, chain
    key = material["publicKey"]
    hint, raw = key.get("hint"), key.get("rawBytes")
    if not isinstance(hint, str | None) or not (hint or raw) or {*key} - {"hint", "rawBytes", "keyDetails"}:
        raise _refused(what, "it does not name its key in a way that is known")
    return hint or None, _decode(raw) if raw else None, ()


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decode(text: str) -> bytes:
    data = base64.b64decode(text, validate=True)
    if _encode(data) != text:
        raise ValueError("base64 that is not in its exact form")
    return data


def _refused(what: str, fault: str) -> IntegrityError:
    return IntegrityError(f"{what}: not a bundle that can be believed: {fault}", remedy=_REMEDY)
