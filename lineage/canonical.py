"""One canonical form for everything that is hashed, signed or compared (RFC 8785, JSON Canonicalization Scheme)."""

from __future__ import annotations

import hashlib
from typing import Any

import rfc8785
from pydantic import BaseModel, ConfigDict

from weightgate.lineage.errors import InputError


class Frozen(BaseModel):
    """Base of every document: immutable, and unknown keys are refused rather than ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings", protected_namespaces=())


def canonical(document: Any) -> bytes:
    """Encode a JSON document, or a pydantic model, as canonical UTF-8 bytes.

    Raises:
        InputError: the document holds a NaN, an infinity, or an integer that JSON readers disagree on (RFC 8785
            §3.2.2.3), or is nested too deep.
    """
    plain = document.model_dump(mode="json") if isinstance(document, BaseModel) else document
    try:
        return rfc8785.dumps(plain)
    except rfc8785.CanonicalizationError as error:
        raise InputError(
            f"cannot encode a document for signing: {error}",
            remedy="numbers must be finite, integers below 2**53 and keys strings",
        ) from error
    except RecursionError as error:
        raise InputError("cannot encode a document for signing: it is nested too deep", remedy="flatten it") from error


def sha256_hex(data: bytes) -> str:
    """Lower-case hexadecimal SHA-256 of ``data``."""
    return hashlib.sha256(data).hexdigest()


def digest(document: Any) -> str:
    """SHA-256 of the canonical form, in lower-case hexadecimal."""
    return sha256_hex(canonical(document))
