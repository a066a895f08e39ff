"""Checks the attestations beside a model: who signed them, and that they are about this very model.

A claim that an audit signed names the checkpoint by its root, over every tensor and every file that shapes behaviour.
That root is computed again here from the model's files, so the claim is bound to bytes and not to a name. A claim of
another kind has to name the model by the digests that its signature states.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weightgate.lineage.canonical import sha256_hex
from weightgate.lineage.changeset import CHANGESET_PREDICATE, read_changeset
from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.replay import REPLAY_PREDICATE, read_replay
from weightgate.lineage.signing.envelope import Envelope, verify
from weightgate.lineage.signing.keys import VerifyingKey
from weightgate.lineage.signing.oms_statement import STATEMENT_TYPE, Manifest
from weightgate.lineage.signing.schemes import NAMES
from weightgate.lineage.strict_json import parse
from weightgate.lineage.trust.approval import APPROVAL_PREDICATE, read_approval
from weightgate.reports.statement import VSA_PREDICATE, read_verdict

if TYPE_CHECKING:
    from weightgate.lineage.weights.checkpoint import Checkpoint
    from weightgate.lineage.weights.fingerprint import Fingerprint

TENSOR_ROOT, CHECKPOINT_ROOT = "tensorRoot", "checkpointRoot"
"""in-toto DigestSet keys: the Merkle root over the tensors, and the root of the checkpoint's fingerprint."""

_ONE_MODEL = (STATEMENT_TYPE, 1)
_REMEDY = "do not trust it; it belongs to another model, or one of the two was changed"


@dataclass(frozen=True, slots=True)
class Claim:
    """One attestation that checked out."""

    kind: str
    """``changeset``, ``verdict``, ``replay``, or the predicate type."""
    signer: str
    detail: str
    payload: str
    """SHA-256 of the signed payload."""
    changeset: str | None = None
    """SHA-256 of the payload of the changeset that it is or judges."""
    verdict: str | None = None
    decided: str = ""


@dataclass(frozen=True, slots=True)
class Identity:
    """The digests of a model's checkpoint, from its files; each is computed when it is first asked for."""

    model: Path
    _found: dict[str | None, Fingerprint] = field(default_factory=dict)

    def fingerprint(self, parent_root: str | None = None) -> Fingerprint:
        """The fingerprint; that of an adapter counts the model it is applied to, ``parent_root``, in.

        Raises:
            InputError: the folder is no checkpoint that can be read.
        """
        from weightgate.lineage.weights.fingerprint import fingerprint

        checkpoint = self._open()
        base = parent_root if checkpoint.kind == "adapter" else None
        if base not in self._found:
            self._found[base] = fingerprint(checkpoint, base_root=base)
        return self._found[base]

    def roots(self) -> frozenset[str]:
        """The roots that are known; an adapter's depends on its parent, which a changeset or verdict names first.

        Raises:
            InputError: the folder is no checkpoint that can be read.
        """
        if self._open().kind != "adapter":
            self.fingerprint()
        return frozenset(
            found.root for parent, found in self._found.items() if parent or self._open().kind != "adapter"
        )

    def digests(self) -> dict[str, str]:
        """What a signature states about the checkpoint; an adapter has no root without the model it is applied to.

        Raises:
            InputError: the folder is no checkpoint that can be read.
        """
        found = self.fingerprint()
        digests = {TENSOR_ROOT: found.tensor_root}
        return digests if self._open().kind == "adapter" else {**digests, CHECKPOINT_ROOT: found.root}

    def _open(self) -> Checkpoint:
        from weightgate.lineage.weights.checkpoint import Checkpoint

        return Checkpoint.open(self.model)


def check_claim(
    envelope: Envelope, what: str, keys: Sequence[VerifyingKey], identity: Identity, manifest: Manifest
) -> Claim:
    """Check one attestation; messages start with ``what``.

    Raises:
        InputError: the model is not a checkpoint, so that no audit can have been about it.
        IntegrityError: signed by none of ``keys``, malformed, or about another model.
    """
    key = _key(envelope, what, keys)
    envelope = replace(envelope, key_id=key.key_id)
    payload = verify(envelope, key)
    try:
        document = parse(payload, what)
        kind, digests = document["predicateType"], document["subject"][0]["digest"]
        _same(f"{what}: its type or number of subjects", (document["_type"], len(document["subject"])), _ONE_MODEL)
        if kind == CHANGESET_PREDICATE:
            return _changeset(envelope, what, key, identity)
        if kind == REPLAY_PREDICATE:
            return _replay(payload, what, key, identity)
        if kind == VSA_PREDICATE and "urn:weightgate:" in str(document["predicate"].get("resourceUri")):
            return _verdict(payload, what, key, identity)
        if kind == APPROVAL_PREDICATE:
            return _approval(payload, what, key, identity)
        _check_subject(digests, what, identity, manifest)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise IntegrityError(f"{what}: a malformed statement: {error}", remedy=_REMEDY) from error
    return Claim(kind, key.key_id, f"attestation of type {kind}, about this model", sha256_hex(payload))


def predicate_type(envelope: Envelope) -> str:
    """What kind of statement an envelope says it holds; nothing is checked."""
    try:
        return str(parse(envelope.payload, "claim")["predicateType"])
    except (InputError, KeyError, TypeError):
        return ""


def _changeset(envelope: Envelope, what: str, key: VerifyingKey, identity: Identity) -> Claim:
    changeset, digest = read_changeset(envelope.to_bytes(), key)
    _same(what, identity.fingerprint(changeset.parent.root).root, changeset.child.root)
    detail = f"changeset {digest[:12]}…: {changeset.parent.root[:12]}… → {changeset.child.root[:12]}…, this model"
    return Claim("changeset", key.key_id, detail, digest, changeset=digest)


def _verdict(payload: bytes, what: str, key: VerifyingKey, identity: Identity) -> Claim:
    try:
        verdict = read_verdict(payload, what)
    except InputError as error:
        raise IntegrityError(str(error), remedy=_REMEDY) from error
    _same(what, identity.fingerprint(verdict.parent).root, verdict.child)
    detail = f"verdict {verdict.verdict} by policy {verdict.policy}, on changeset {verdict.changeset_digest[:12]}…"
    return Claim(
        "verdict",
        key.key_id,
        detail,
        sha256_hex(payload),
        changeset=verdict.changeset_digest,
        verdict=verdict.verdict,
        decided=verdict.decided,
    )


def _replay(payload: bytes, what: str, key: VerifyingKey, identity: Identity) -> Claim:
    replay = read_replay(payload, what)
    found = identity.fingerprint(replay.parent)
    _same(what, (found.root, found.tensor_root), (replay.child, replay.tensor_root))
    if replay.replayer != key.key_id:
        raise IntegrityError(f"{what}: names {replay.replayer} as its signer, but {key.key_id} signed", remedy=_REMEDY)
    detail = f"replay of changeset {replay.changeset[:12]}…: {replay.outcome}"
    return Claim("replay", key.key_id, detail, sha256_hex(payload), changeset=replay.changeset)


def _approval(payload: bytes, what: str, key: VerifyingKey, identity: Identity) -> Claim:
    approval, update = read_approval(payload, what)
    _same(f"{what}: its approver", approval.approver, key.key_id)
    if update.child not in identity.roots():
        raise IntegrityError(f"{what}: approves another model, not this one", remedy=_REMEDY)
    detail = f"approval as {approval.role}, of changeset {update.changeset[:12]}…"
    return Claim("approval", key.key_id, detail, sha256_hex(payload), changeset=update.changeset)


def second_claim(envelope: Envelope, what: str, keys: Sequence[VerifyingKey], first: Claim) -> Claim:
    """A further signature over the payload of a claim that was checked, by another key.

    Raises:
        IntegrityError: signed by none of ``keys``.
    """
    key = _key(envelope, what, keys)
    verify(replace(envelope, key_id=key.key_id), key)
    return Claim("signature", key.key_id, f"{NAMES[key.kind]} signature over the same {first.kind}", first.payload)


def _check_subject(digests: dict[str, Any], what: str, identity: Identity, manifest: Manifest) -> None:
    """Every digest that can be compared has to be equal, and one of them has to bind the names of the files."""
    expected = {**manifest.digests, "sha256": manifest.root}
    if TENSOR_ROOT in expected or CHECKPOINT_ROOT in expected:
        expected |= identity.digests()
    shared = expected.keys() & digests.keys()
    for name in sorted(shared):
        _same(what, digests[name], expected[name])
    if not shared - {"sha256"}:
        raise IntegrityError(
            f"{what}: names the model by no digest that binds its file names",
            remedy=f"its subject needs one of {', '.join(sorted(expected.keys() - {'sha256'}))}",
        )


def _key(envelope: Envelope, what: str, keys: Sequence[VerifyingKey]) -> VerifyingKey:
    for key in keys:
        if envelope.key_id in (key.key_id, sha256_hex(key.public_pem)):
            return key
    raise IntegrityError(
        f"{what}: signed by {envelope.key_id}, which is none of the keys to believe",
        remedy="give the signer's key with --public-key, which may be given more than once",
    )


def _same(what: str, seen: object, expected: object) -> None:
    if seen != expected:
        raise IntegrityError(f"{what}: about another model, not about this one", remedy=_REMEDY)
