"""Compares parent and child again and holds the result against a signed changeset, its claims included. Offline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from weightgate.audit.run_folder import CHANGESET
from weightgate.audit.verify import Check, Verification
from weightgate.lineage.canonical import sha256_hex
from weightgate.lineage.changeset import Changeset, Delta
from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.signing.envelope import read_envelope
from weightgate.lineage.strict_json import parse
from weightgate.lineage.weights.claims_check import check_claims
from weightgate.lineage.weights.tensor_proof import check_proof, check_tensor, read_proof
from weightgate.lineage.weights.update import model_version, open_update

_REMEDY = "do not trust it; the changeset does not describe these weights"


def verify_update(result: Verification, parent: Path, child: Path, sources: Sequence[Path] = ()) -> Verification:
    """What was verified, and that both models differ as was signed and every claim about them holds.

    Args:
        result: a verified run folder or changeset.
        parent: the parent's folder.
        child: the child's folder.
        sources: models that the child was merged from, where that is claimed.

    Raises:
        InputError: a checkpoint cannot be read.
        IntegrityError: another model, another difference, or a claim that does not hold.
    """
    return replace(result, checks=(*result.checks, *_check(verified_changeset(result), parent, child, sources)))


def verify_tensor(result: Verification, proof: Path, name: str | None, model: Path | None) -> Verification:
    """What was verified, and that a proof is of a tensor of its child; with ``model``, that it is there unchanged.

    Raises:
        InputError: no proof, of another tensor than ``name``, or the tensor's file is not there.
        IntegrityError: the tensor is not one of the signed model.
    """
    found = read_proof(proof)
    if name is not None and name != found.tensor.name:
        raise InputError(f"{proof} is of tensor {found.tensor.name!r}, not of {name!r}", remedy="give its own proof")
    check_proof(found, verified_changeset(result).child.tensor_root)
    detail = f"{found.tensor.name}: number {found.index} of {found.size} tensors of the signed child"
    if model is not None:
        detail += f"; {check_tensor(found, model):,} bytes read, the ones that were signed"
    return replace(result, checks=(*result.checks, Check("tensor", detail)))


def verified_changeset(result: Verification) -> Changeset:
    """The changeset whose signature was checked.

    Raises:
        InputError: what was verified is no changeset.
        IntegrityError: the file was changed since.
    """
    path = result.target / CHANGESET if result.target.is_dir() else result.target
    payload = read_envelope(path.read_bytes()).payload
    document = parse(payload, str(path))
    if not isinstance(document, dict) or "delta" not in document.get("predicate", {}):
        raise InputError(f"{path} is no changeset", remedy="give a run folder or a changeset")
    if sha256_hex(payload) != result.changeset:
        raise IntegrityError(f"{path} was changed while it was verified", remedy="verify it again")
    return Changeset.model_validate(document["predicate"])


def _check(changeset: Changeset, parent: Path, child: Path, sources: Sequence[Path]) -> Iterator[Check]:
    update = open_update(parent, child, sources=sources)
    sides = model_version("parent", update.parent_fingerprint), model_version("child", update.child_fingerprint)
    for side, signed, path in zip(sides, (changeset.parent, changeset.child), (parent, child), strict=True):
        if side.root != signed.root:
            raise IntegrityError(f"{path} is not the model that was signed", remedy=_REMEDY)
    if _exact(update.delta) != _exact(changeset.delta):
        raise IntegrityError("parent and child do not differ as the changeset says", remedy=_REMEDY)
    yield Check(
        "difference", f"{update.delta.kind}: {len(update.delta.changed)} tensors changed, those that were signed"
    )
    if changeset.claims is None:
        yield Check("claims", "none were made about the weights")
        return
    claims = changeset.claims
    unchecked = claims.merge is not None and not sources
    if unchecked:
        claims = claims.model_copy(update={"merge": None})
    mismatches = check_claims(claims, update.delta, sides, tensors=update.parent.tensors.keys())
    if mismatches:
        first = mismatches[0]
        raise IntegrityError(f"claim {first.claim!r} does not hold: {first.title}: {first.detail}", remedy=_REMEDY)
    made = sorted(changeset.claims.model_dump(exclude_defaults=True))
    later = "; the merge was not checked, give its models with --merge-of" if unchecked else ""
    yield Check("claims", f"{', '.join(made)}: held against the bytes{later}")


def _exact(delta: Delta) -> object:
    """What another machine finds too: names, counts and digests, not sums of floats."""
    sparse = delta.facts.sparse
    return (
        delta.tensors_total,
        delta.files,
        tuple((change.name, change.change, change.elements_changed) for change in delta.changed),
        sparse.positions if sparse else None,
    )
