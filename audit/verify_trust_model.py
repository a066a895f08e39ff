"""Checks a signed model against a trust root: its signature, the claims beside it, and who approved it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from weightgate.audit.claims import predicate_type
from weightgate.audit.verify import Check, Verification
from weightgate.audit.verify_model import CheckedModel, checked_model
from weightgate.audit.verify_trust import check_expiry, check_reached, tally_checks, update_of
from weightgate.lineage.errors import IntegrityError
from weightgate.lineage.signing.envelope import Envelope
from weightgate.lineage.signing.keys import VerifyingKey
from weightgate.lineage.signing.oms import SIGNATURE
from weightgate.lineage.signing.oms_bundle import read_bundle, read_file
from weightgate.lineage.signing.oms_keys import ModelVerifyingKey
from weightgate.lineage.signing.oms_verify import Believed
from weightgate.lineage.signing.schemes import NAMES, KeyKind
from weightgate.lineage.signing.second import check_second
from weightgate.lineage.trust.approval import APPROVAL_PREDICATE, read_approval
from weightgate.lineage.trust.document import Statement
from weightgate.lineage.trust.folder import load_trust
from weightgate.lineage.trust.root import TrustRoot
from weightgate.lineage.trust.tally import RoleTally, find_key, tally


def verify_trusted_model(
    model: Path,
    trust: Path,
    *,
    signature: Path | None = None,
    ignore_paths: Sequence[str] = (),
    ignore_unsigned_files: bool = False,
    tsa_roots: Sequence[Path] = (),
    now: datetime | None = None,
) -> Verification:
    """Verify a signed model whose signers and approvers a trust root names.

    The last verdict among its claims is the one that has to be approved, by the approvals among its claims.

    Args:
        model: the model.
        trust: ``root.json``, its folder, or an older version to start from.
        signature: the bundle, where it is not ``model.sig`` in the model.
        ignore_paths: unsigned files or folders to allow.
        ignore_unsigned_files: allow any unsigned file.
        tsa_roots: PEM files of the roots of timestamping authorities to believe.
        now: the present, by which the root must not have expired.

    Raises:
        InputError: something cannot be read.
        IntegrityError: the first thing that does not check out; a threshold that is not met comes last.
    """
    root, bundle = load_trust(trust), signature or model / SIGNATURE
    check_expiry(root, now or datetime.now(UTC))
    curves = [key.raw for key in root.signers if isinstance(key.raw, ec.EllipticCurvePublicKey)]
    found = checked_model(
        model,
        bundle,
        Believed(keys=tuple(ModelVerifyingKey.of(key, str(trust)) for key in curves), roots=(), identity=None),
        lambda envelope: _keys(root, envelope),
        ignore_paths=ignore_paths,
        ignore_unsigned_files=ignore_unsigned_files,
        tsa_roots=tsa_roots,
    )
    checks = [*found.verification.checks]
    if (kind := root.extension.second_signature.get("model")) is not None:
        payload = read_bundle(read_file(bundle), str(bundle)).payload
        second = check_second(bundle, payload, root.signers, kind, signer="")
        checks.append(Check("second model signature", f"{NAMES[kind]}, by {root.holder(second.key_id)}"))
    _check_seconds(root, found)
    tallies = _tally(root, found, model) if root.approval_roles else ()
    checks += tally_checks(root, tallies)
    check_reached(tallies, model)
    return replace(found.verification, checks=tuple(checks), roles=tallies)


def _keys(root: TrustRoot, envelope: Envelope) -> Sequence[VerifyingKey]:
    """Approvers are believed for approvals and for nothing else; a revoked key says why it is not."""
    if predicate_type(envelope) != APPROVAL_PREDICATE:
        return root.signers
    known = {key.key_id: key for role in root.approval_roles for key in role.keys}
    if envelope.key_id in root.revoked:
        find_key(root, envelope.key_id, "approval")
    return tuple(known.values())


def _check_seconds(root: TrustRoot, found: CheckedModel) -> None:
    """Every changeset and verdict among the claims has the second signature that the root asks for."""
    signed: dict[str, set[KeyKind]] = {}
    for _, claim in found.claims:
        signed.setdefault(claim.payload, set()).add(root.keys[claim.signer].kind)
    wanted: dict[str, Statement] = {"changeset": "changeset", "verdict": "verdict"}
    for _, claim in found.claims:
        kind = root.extension.second_signature.get(wanted[claim.kind]) if claim.kind in wanted else None
        if kind is not None and not (kind in signed[claim.payload] and len(signed[claim.payload]) > 1):
            raise IntegrityError(
                f"{claim.detail}: has no second signature, and the trust root asks for one by {NAMES[kind]}",
                remedy="add it with weightgate sign --append, with FILE.second.json beside the claim",
            )


def _tally(root: TrustRoot, found: CheckedModel, model: Path) -> tuple[RoleTally, ...]:
    verdicts = sorted(
        ((claim.decided, envelope.payload) for envelope, claim in found.claims if claim.kind == "verdict"),
    )
    if not verdicts:
        raise IntegrityError(
            f"{model}: carries no verdict that could have been approved", remedy="add it with weightgate sign --append"
        )
    update = update_of(verdicts[-1][1])
    about = {"changeset": update.changeset, "verdict": update.verdict}
    approvals = {
        f"{model.name}, claim {number}": envelope
        for number, (envelope, claim) in enumerate(found.claims, start=1)
        if claim.kind == "approval" and about == _about(envelope)
    }
    authors = {claim.signer for _, claim in found.claims if claim.payload == update.changeset}
    return tally(root, approvals, update, authors)


def _about(envelope: Envelope) -> dict[str, str]:
    approval, _ = read_approval(envelope.payload, "approval")
    return {"changeset": approval.changeset, "verdict": approval.verdict}
