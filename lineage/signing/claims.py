"""Attestations that lie beside a model, in ``claims.jsonl``: one Sigstore bundle a line, each signed by itself.

The layout is that proposed for OMS in sigstore/model-transparency#587. Payload and signature are those of the envelope
that was signed; nothing is signed anew. Lines can be added at any time and their order says nothing; that a line was
deleted cannot be seen from the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from weightgate.lineage.errors import IntegrityError
from weightgate.lineage.signing.envelope import Envelope
from weightgate.lineage.signing.oms import write_atomically
from weightgate.lineage.signing.oms_bundle import Bundle, read_bundle, read_file

MAX_CLAIMS = 10_000


def claim_line(envelope: Envelope) -> bytes:
    """The line of an envelope, without a newline."""
    return Bundle(envelope.payload, envelope.payload_type, envelope.signature, hint=envelope.key_id).to_bytes()


def read_claims(path: Path) -> tuple[Envelope, ...]:
    """The envelopes of a file, in the order of its lines. Their signatures are not checked.

    Raises:
        InputError: it cannot be read.
        IntegrityError: a line that is no bundle, or that does not name a key.
    """
    lines = read_file(path).split(b"\n")
    if lines.pop() != b"":
        raise IntegrityError(f"{path}: its last line is cut off", remedy="get the file again")
    if len(lines) > MAX_CLAIMS:
        raise IntegrityError(f"{path}: over {MAX_CLAIMS} lines", remedy="get the file again")
    return tuple(_envelope(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1))


def append_claims(path: Path, envelopes: Sequence[Envelope]) -> int:
    """Add envelopes that are not there yet; how many were added comes back. Lines that are there stay as they are.

    Raises:
        InputError: the file cannot be read or written.
        IntegrityError: what is there is not a file of claims.
    """
    there = read_claims(path) if path.exists() else ()
    new = [envelope for envelope in dict.fromkeys(envelopes) if envelope not in there]
    if new:
        old = read_file(path) if path.exists() else b""
        write_atomically(path, old + b"".join(claim_line(envelope) + b"\n" for envelope in new))
    return len(new)


def _envelope(line: bytes, what: str) -> Envelope:
    bundle = read_bundle(line, what)
    if bundle.hint is None:
        raise IntegrityError(f"{what}: does not name the key that signed it", remedy="claims are signed with keys")
    return Envelope(bundle.payload, bundle.payload_type, bundle.hint, bundle.signature)
