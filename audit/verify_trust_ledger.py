"""Checks a ledger against a trust root: who founded and signed it, and who approved the model in use."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from weightgate.audit.approve_ledger import APPROVAL, verdict_entry
from weightgate.audit.history import History
from weightgate.audit.verify import Check
from weightgate.audit.verify_ledger import LedgerVerification, verify_ledger
from weightgate.audit.verify_trust import check_expiry, check_reached, tally_checks, update_of
from weightgate.lineage.errors import IntegrityError
from weightgate.lineage.history.ledger import Logged
from weightgate.lineage.signing.envelope import read_envelope
from weightgate.lineage.trust.document import SIGNER
from weightgate.lineage.trust.folder import load_trust
from weightgate.lineage.trust.root import TrustRoot
from weightgate.lineage.trust.tally import RoleTally, find_key, tally


def verify_trusted_ledger(path: Path, trust: Path, *, now: datetime | None = None) -> LedgerVerification:
    """Verify a ledger whose founder, signers and approvers a trust root names.

    The update that made the model in use has to be signed by signers and approved by every role. Those before it were
    signed and approved under the root of their time, and are checked as the ledger checks them.

    Args:
        path: the ledger, or the folder that holds it.
        trust: ``root.json``, its folder, or an older version to start from.
        now: the present, by which the root must not have expired.

    Raises:
        InputError: something cannot be read.
        IntegrityError: the first thing that does not check out; a threshold that is not met comes last.
    """
    root = load_trust(trust)
    check_expiry(root, now or datetime.now(UTC))
    found = verify_ledger(path, root.signers)
    tallies = _tallies(root, found.history)
    checks = [*found.checks, *tally_checks(root, tallies)]
    if not tallies and found.history.head.changeset is None:
        checks.append(Check("approvals", "the model in use is the genesis: nothing to approve"))
    check_reached(tallies, found.history.ledger.folder)
    return replace(found, checks=tuple(checks))


def _tallies(root: TrustRoot, history: History) -> tuple[RoleTally, ...]:
    ledger, made = history.ledger, history.head.changeset
    if made is None:
        return ()
    node = history.nodes[made]
    audited = [a for a in node.attempts if a.own_policy and a.outcome == "approve"][-1]
    verdict = verdict_entry(ledger, audited)
    for entry in (ledger.entries[node.index], verdict):
        _check_signer(root, entry)
    about = {
        entry.entry.path: read_envelope(entry.data)
        for entry in ledger.of_type(APPROVAL)
        if entry.entry.about == verdict.entry.id
    }
    return tally(root, about, update_of(read_envelope(verdict.data).payload), {node.changeset.author})


def _check_signer(root: TrustRoot, entry: Logged) -> None:
    key = find_key(root, read_envelope(entry.data).key_id, entry.entry.path)
    if SIGNER not in root.roles or not root.roles[SIGNER].has(key.key_id):
        raise IntegrityError(
            f"{entry.entry.path}: signed by {root.holder(key.key_id)}, who is no {SIGNER} in the trust root",
            remedy="have the update audited again by one who is",
        )
