"""Counts approvals: which roles reached their threshold, and by whom."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from weightgate.lineage.errors import IntegrityError
from weightgate.lineage.signing.envelope import Envelope, verify
from weightgate.lineage.signing.keys import VerifyingKey
from weightgate.lineage.trust.approval import Approval, Update, read_approval
from weightgate.lineage.trust.root import TrustRoot

_REMEDY = "do not trust it; have the update approved again with weightgate approve"


@dataclass(frozen=True, slots=True)
class Approver:
    """One approval that checked out."""

    file: str
    holder: str
    approval: Approval
    counts: bool
    """False for an author of the changeset, and for a second approval by one holder."""
    note: str = ""
    """Why it does not count."""


@dataclass(frozen=True, slots=True)
class RoleTally:
    """How a role stands."""

    role: str
    threshold: int
    approvers: tuple[Approver, ...]

    @property
    def count(self) -> int:
        """How many holders approved."""
        return sum(approver.counts for approver in self.approvers)

    @property
    def reached(self) -> bool:
        """Whether the threshold is met."""
        return self.count >= self.threshold


def tally(
    root: TrustRoot, approvals: Mapping[str, Envelope], update: Update, authors: Collection[str]
) -> tuple[RoleTally, ...]:
    """Check every approval and count them by role.

    Args:
        root: who may approve; its own signatures were checked before.
        approvals: envelopes by the name of their file.
        update: what they have to be about.
        authors: key ids of those who signed the changeset: they never count, under any key that they hold.

    Raises:
        IntegrityError: an approval by a key that is revoked, unknown or without the role, one that was changed, or one
            that is about another update.
    """
    holders = {root.holder(key_id) for key_id in authors} | set(authors)
    found = sorted(
        ((file, *_check(root, envelope, file, update)) for file, envelope in approvals.items()),
        key=lambda entry: (entry[1].time, entry[0]),
    )
    tallies = []
    for role in root.approval_roles:
        seen: set[str] = set()
        approvers = []
        for file, approval, key in found:
            if approval.role != role.name:
                continue
            holder = root.holder(key.key_id)
            note = "the author of the changeset" if holder in holders else "counted already" if holder in seen else ""
            approvers.append(Approver(file, holder, approval, counts=not note, note=note))
            seen.add(holder)
        tallies.append(RoleTally(role.name, role.threshold, tuple(approvers)))
    return tuple(tallies)


def find_key(root: TrustRoot, key_id: str, what: str) -> VerifyingKey:
    """The key of that id.

    Raises:
        IntegrityError: the root revoked it, or does not know it.
    """
    if key_id in root.revoked:
        revoked = root.revoked[key_id]
        raise IntegrityError(
            f"{what}: signed by {key_id}, which was revoked at {revoked.time} ({revoked.reason or 'no reason given'})",
            remedy=_REMEDY,
        )
    if key_id not in root.keys:
        raise IntegrityError(
            f"{what}: signed by {key_id}, a key that version {root.version} of the trust root does not have",
            remedy="add the key with weightgate trust add-key, or have it signed by a key that is there",
        )
    return root.keys[key_id]


def _check(root: TrustRoot, envelope: Envelope, what: str, update: Update) -> tuple[Approval, VerifyingKey]:
    key = find_key(root, envelope.key_id, what)
    approval, about = read_approval(verify(envelope, key), what)
    if approval.approver != key.key_id:
        raise IntegrityError(f"{what}: names {approval.approver}, but {key.key_id} signed it", remedy=_REMEDY)
    role = root.roles.get(approval.role)
    if role is None or role not in root.approval_roles or not role.has(key.key_id):
        raise IntegrityError(
            f"{what}: approves as {approval.role}, a role that {root.holder(key.key_id)} does not have", remedy=_REMEDY
        )
    for field in ("child", "changeset", "verdict"):
        if getattr(about, field) != getattr(update, field):
            raise IntegrityError(f"{what}: approves another update: its {field} is not this one", remedy=_REMEDY)
    return approval, key
