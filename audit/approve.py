"""Approves an update: one person's signed statement beside the run, after everything in it was checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from weightgate.audit.run_folder import CHANGESET, VERDICT
from weightgate.audit.verify import verify
from weightgate.audit.verify_trust import APPROVALS, check_expiry, update_of
from weightgate.lineage.errors import InputError
from weightgate.lineage.signing.envelope import read_envelope, sign
from weightgate.lineage.signing.keys import SigningKey, VerifyingKey
from weightgate.lineage.signing.oms import write_atomically
from weightgate.lineage.trust.approval import Approval, Update, approval_statement
from weightgate.lineage.trust.document import ROOT, SIGNER, TIME_FORMAT
from weightgate.lineage.trust.folder import load_trust
from weightgate.lineage.trust.root import TrustRoot


@dataclass(frozen=True, slots=True)
class Approved:
    """What was written."""

    path: Path
    approval: Approval
    update: Update
    verdict: str


def approve(
    run: Path,
    key: SigningKey,
    *,
    role: str,
    reason: str = "",
    signers: Sequence[VerifyingKey] = (),
    trust: Path | None = None,
    out: Path | None = None,
    now: datetime | None = None,
) -> Approved:
    """Verify a run and sign an approval of it.

    Args:
        run: run folder, or the changeset in it.
        key: who approves.
        role: in which role.
        reason: why, in the approver's words; signed.
        signers: who may have signed the run, where there is no trust root.
        trust: trust root: names the signers, and whether the key has the role.
        out: file to write, where it is not one in the folder ``approvals`` of the run.
        now: the time that is stated.

    Raises:
        InputError: no such run, a key without the role or of an author, a blocked update, or a file that exists.
        IntegrityError: the run does not verify. Nothing is written.
    """
    moment = now or datetime.now(UTC)
    folder = run.parent if run.name == CHANGESET else run
    if not folder.is_dir():
        raise InputError(f"{run}: neither a run folder nor its {CHANGESET}", remedy="give what weightgate gate wrote")
    root = load_trust(trust) if trust is not None else None
    verified = verify(folder, root.signers if root else signers)
    envelope = read_envelope(folder / VERDICT)
    author = read_envelope(folder / CHANGESET).key_id
    update = update_of(envelope.payload)
    check_approver(root, key.key_id, role, author, moment)
    if verified.verdict == "block":
        raise InputError(f"{folder}: the policy blocked this update", remedy="change the update, or the policy")
    approval = approval_of(key.key_id, role, reason, update, moment)
    path = out or folder / APPROVALS / f"{role}-{key.key_id[7:19]}.json"
    _write(path, sign(approval_statement(approval, update), key).to_bytes())
    return Approved(path, approval, update, verified.verdict or "")


def approval_of(key_id: str, role: str, reason: str, update: Update, moment: datetime) -> Approval:
    """The approval to sign.

    Raises:
        InputError: a role or reason that cannot be written.
    """
    try:
        return Approval(
            approver=key_id,
            role=role,
            reason=reason,
            time=moment.astimezone(UTC).strftime(TIME_FORMAT),
            changeset=update.changeset,
            verdict=update.verdict,
        )
    except ValidationError as error:
        raise InputError(
            f"role {role[:40]!r} or the reason cannot be written", remedy="roles are lower-case words, such as safety"
        ) from error


def check_approver(root: TrustRoot | None, key_id: str, role: str, author: str, moment: datetime) -> None:
    """Whether a key may approve in a role.

    Raises:
        InputError: a role that does not approve, a key without it, or the author's.
        IntegrityError: the trust root has expired.
    """
    if role in (ROOT, SIGNER):
        raise InputError(f"{role} is no role that approves", remedy="name another role")
    if author == key_id or (root and root.holder(author) == root.holder(key_id)):
        raise InputError("the author of a changeset does not approve it", remedy="have another person approve it")
    if root is None:
        return
    check_expiry(root, moment)
    if role not in root.roles or not root.roles[role].has(key_id):
        raise InputError(f"{root.holder(key_id)} does not have the role {role}", remedy="see weightgate trust show")


def _write(path: Path, data: bytes) -> None:
    if path.exists() or path.is_symlink():
        raise InputError(f"{path}: exists and is not overwritten", remedy="it was approved already; or choose --out")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path.parent}: cannot be made: {error.strerror}", remedy="choose --out") from error
    write_atomically(path, data)
