"""Approves an update that is in a ledger: the approval is logged, so that nobody can take it away unseen."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from weightgate.audit.approve import Approved, approval_of, check_approver
from weightgate.audit.history import Audited, History, Node, read_history
from weightgate.audit.ledger import Writer
from weightgate.audit.verify_trust import update_of
from weightgate.lineage.errors import InputError
from weightgate.lineage.history.ledger import Ledger, Logged
from weightgate.lineage.signing.envelope import read_envelope, sign
from weightgate.lineage.signing.keys import SigningKey
from weightgate.lineage.trust.approval import approval_statement
from weightgate.lineage.trust.folder import NEWEST, load_trust

APPROVAL = "approval"


def approve_logged(
    folder: Path,
    identity: str,
    key: SigningKey,
    *,
    role: str,
    reason: str = "",
    trust: Path | None = None,
    log_key: SigningKey | None = None,
    now: datetime | None = None,
) -> Approved:
    """Sign an approval of the last verdict on an update and append it to the log.

    Args:
        folder: the ledger; all of it is checked first.
        identity: beginning of the id of the changeset or of its verdict.
        key: who approves.
        role: in which role.
        reason: why, in the approver's words; signed.
        trust: trust root, where it is not ``trust`` in the ledger.
        log_key: signs the new head of the log, where the approver was not admitted to the ledger.
        now: the time that is stated.

    Raises:
        InputError: no such update, no verdict on it yet, a blocked one, or a key without the role or of an author.
        IntegrityError: the ledger does not check out. Nothing is written.
    """
    moment = now or datetime.now(UTC)
    writer = Writer.open(folder, log_key or key)
    history = read_history(writer.ledger)
    node, audited = _judged(history, writer.ledger.find(identity))
    inside = writer.ledger.folder / "trust"
    given = trust or (inside if (inside / NEWEST).exists() else None)
    check_approver(load_trust(given) if given else None, key.key_id, role, node.changeset.author, moment)
    if audited.outcome == "block":
        raise InputError(f"{node.id[:12]}: the policy blocked this update", remedy="change the update, or the policy")
    update = update_of(read_envelope(verdict_entry(writer.ledger, audited).data).payload)
    approval = approval_of(key.key_id, role, reason, update, moment)
    envelope = sign(approval_statement(approval, update), key).to_bytes()
    logged = writer.ledger.append(APPROVAL, envelope, writer.key, about=audited.verdict_id)
    return Approved(writer.ledger.folder / logged.entry.path, approval, update, audited.outcome)


def verdict_entry(ledger: Ledger, audited: Audited) -> Logged:
    """The logged verdict of an attempt.

    Raises:
        InputError: it has none.
    """
    for entry in ledger.of_type("verdict"):
        if entry.entry.id == audited.verdict_id:
            return entry
    raise InputError(f"attempt {audited.id[:12]} has no verdict yet", remedy="finish it with weightgate gate --resume")


def _judged(history: History, named: Logged) -> tuple[Node, Audited]:
    """The update that is meant, and the verdict on it that counts."""
    for node in history.nodes.values():
        finished = [audited for audited in node.attempts if audited.verdict and audited.own_policy]
        if named.entry.id == node.id:
            if not finished:
                raise InputError(f"{node.id[:12]} has no verdict yet", remedy="audit it with weightgate gate")
            return node, finished[-1]
        for audited in finished:
            if named.entry.id == audited.verdict_id:
                return node, audited
    raise InputError(
        f"{named.entry.id[:12]} is no changeset and no verdict by the repository's policy",
        remedy="give the id of one of them; weightgate log lists them",
    )
