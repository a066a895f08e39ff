"""A second signature over the same statement, by another scheme, that a trust root may ask for.

It is a plain DSSE envelope of its own over the identical payload, in a file beside the first: a Sigstore bundle has
exactly one signature, and its readers refuse two. An attacker then has to break both schemes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.signing.envelope import Envelope, read_envelope, sign, verify
from weightgate.lineage.signing.keys import SigningKey, VerifyingKey
from weightgate.lineage.signing.schemes import NAMES, KeyKind


def second_file(first: Path) -> Path:
    """``changeset.second.json`` beside ``changeset.json``; ``model.second.json`` beside ``model.sig``."""
    return first.with_name(f"{first.stem}.second.json")


def check_second_key(first: KeyKind, second: VerifyingKey) -> None:
    """Two signatures have to be by two schemes: else the second adds nothing.

    Raises:
        InputError: they are not.
    """
    if first == second.kind:
        raise InputError(
            f"both keys are {NAMES[second.kind]}", remedy="make one with weightgate keygen FILE --kind ml-dsa-65"
        )


def countersign(payload: bytes, key: SigningKey) -> bytes:
    """The file of a second signature over an in-toto statement."""
    return sign(payload, key).to_bytes()


def check_second(first: Path, payload: bytes, keys: Sequence[VerifyingKey], kind: KeyKind, signer: str) -> VerifyingKey:
    """Check the second signature beside ``first``, and say whose it is.

    Args:
        first: file of the first signature.
        payload: what was signed there.
        keys: who may sign.
        kind: the scheme that is asked for.
        signer: key id of the first signature; the second has to be by another key.

    Raises:
        IntegrityError: it is missing, over another payload, or not by such a key.
    """
    path = second_file(first)
    if not path.exists():
        raise IntegrityError(
            f"{first} has no second signature, and the trust root asks for one by {NAMES[kind]}",
            remedy="have it signed again with --second-key",
        )
    envelope: Envelope = read_envelope(path)
    if envelope.payload != payload:
        raise IntegrityError(f"{path}: signs something else than {first.name}", remedy="do not trust it")
    for key in keys:
        if key.key_id == envelope.key_id and key.kind == kind and key.key_id != signer:
            verify(envelope, key)
            return key
    raise IntegrityError(
        f"{path}: signed by {envelope.key_id}, which is no {NAMES[kind]} key of a signer in the trust root",
        remedy="add the key with weightgate trust add-key --role signer, or sign with one that is there",
    )
