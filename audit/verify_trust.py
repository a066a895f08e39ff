"""Checks a run against a trust root: who signed it, who approved it, and when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from weightgate.audit.run_folder import CHANGESET, VERDICT
from weightgate.audit.times import trusted_times
from weightgate.audit.verify import Check, Verification, verify
from weightgate.lineage.canonical import sha256_hex
from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.signing.envelope import Envelope, read_envelope
from weightgate.lineage.signing.keys import VerifyingKey
from weightgate.lineage.signing.schemes import NAMES
from weightgate.lineage.signing.second import check_second
from weightgate.lineage.signing.timestamps import read_reply
from weightgate.lineage.trust.approval import Update
from weightgate.lineage.trust.document import SIGNER, TIME_FORMAT
from weightgate.lineage.trust.folder import load_trust
from weightgate.lineage.trust.root import TrustRoot
from weightgate.lineage.trust.tally import RoleTally, find_key, tally
from weightgate.reports.statement import read_verdict

APPROVALS = "approvals"
"""Folder of a run that holds its approvals, one file each."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A signed file whose signer the trust root knows."""

    path: Path
    kind: Literal["changeset", "verdict"]
    envelope: Envelope
    key: VerifyingKey


def verify_trusted(
    target: Path,
    trust: Path,
    *,
    model: Path | None = None,
    parent_changeset: Path | None = None,
    approvals: Path | None = None,
    tsa_roots: Sequence[Path] = (),
    now: datetime | None = None,
) -> Verification:
    """Verify a run folder or a changeset as `verify` does, and that the right people signed and approved it.

    Args:
        target: run folder, or a changeset file where the root has no roles that approve.
        trust: ``root.json``, its folder, or an older version to start from.
        model: the child's folder, to be hashed again.
        parent_changeset: changeset that made the parent.
        approvals: folder of the approvals, where it is not ``approvals`` in the run.
        tsa_roots: PEM files of the roots of timestamping authorities to believe.
        now: the present, by which the root must not have expired where nothing proves an earlier time.

    Raises:
        InputError: something cannot be read.
        IntegrityError: the first thing that does not check out; a threshold that is not met comes last.
    """
    root = load_trust(trust)
    signed = _signed(target, root)
    base = verify(
        target, [entry.key for entry in signed] + list(root.signers), model=model, parent_changeset=parent_changeset
    )
    seconds = {entry.path: _second(entry, root) for entry in signed}
    authors = {entry.key.key_id for entry in signed if entry.kind == "changeset"}
    authors |= {key.key_id for entry in signed if entry.kind == "changeset" and (key := seconds[entry.path])}
    files = read_approvals(approvals or _folder(target) / APPROVALS) if target.is_dir() else {}
    tallies: tuple[RoleTally, ...] = ()
    if target.is_dir():
        tallies = tally(root, {path.name: envelope for path, envelope in files.items()}, _update(signed), authors)
    elif root.approval_roles:
        raise InputError(f"{target}: roles approve a verdict, not a changeset alone", remedy="give the run folder")
    stamped = [entry.path for entry in signed] + list(files)
    times = trusted_times(stamped, tsa_roots)
    moment = max(times.values()) if len(times) == len(stamped) else now or datetime.now(UTC)
    check_expiry(root, moment)
    checks = [
        *base.checks,
        *(Check(f"{entry.kind} signer", _by(root, entry, seconds[entry.path])) for entry in signed),
        *_times(stamped, times, tsa_roots),
        *tally_checks(root, tallies),
    ]
    check_reached(tallies, target)
    return replace(base, checks=tuple(checks), roles=tallies)


def read_approvals(folder: Path) -> dict[Path, Envelope]:
    """The envelopes in a folder, unchecked; a folder that is not there holds none.

    Raises:
        InputError: it cannot be read.
        IntegrityError: a file in it that is neither an envelope nor a timestamp of one.
    """
    if not folder.exists():
        return {}
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder}: cannot be read: {error.strerror}", remedy="check the path") from error
    names = {path.name for path in paths}
    found = {}
    for path in paths:
        if path.name.removesuffix(".tsr") in names and path.suffix == ".tsr":
            continue
        found[path] = read_envelope(path)
    return found


def check_expiry(root: TrustRoot, moment: datetime) -> None:
    """The root was not expired at a moment.

    Raises:
        IntegrityError: it was.
    """
    if moment >= root.expires:
        raise IntegrityError(
            f"version {root.version} of the trust root expired at {root.expires.strftime(TIME_FORMAT)}",
            remedy="get a newer root; its keepers renew it with weightgate trust set --days",
        )


def _signed(target: Path, root: TrustRoot) -> list[Signed]:
    files: Mapping[str, Path] = (
        {"changeset": target / CHANGESET, "verdict": target / VERDICT} if target.is_dir() else {"changeset": target}
    )
    if not root.signers:
        raise IntegrityError(
            "the trust root names no signer of changesets", remedy=f"weightgate trust add-key FILE --role {SIGNER}"
        )
    found = []
    for kind, path in files.items():
        if target.is_dir() and not path.exists():
            continue  # `verify` says what a run has to hold
        envelope = read_envelope(path)
        key = find_key(root, envelope.key_id, path.name)
        if not root.roles[SIGNER].has(key.key_id):
            raise IntegrityError(
                f"{path.name}: signed by {root.holder(key.key_id)}, who is no {SIGNER} in the trust root",
                remedy="have it signed by one who is",
            )
        found.append(Signed(path, "changeset" if kind == "changeset" else "verdict", envelope, key))
    return found


def _second(entry: Signed, root: TrustRoot) -> VerifyingKey | None:
    kind = root.extension.second_signature.get(entry.kind)
    if kind is None:
        return None
    return check_second(entry.path, entry.envelope.payload, root.signers, kind, entry.key.key_id)


def _update(signed: Sequence[Signed]) -> Update:
    """What the approvals of a run have to be about; its files were verified before."""
    verdict = next(entry.envelope for entry in signed if entry.kind == "verdict")
    return update_of(verdict.payload)


def update_of(verdict_payload: bytes) -> Update:
    """What an approval of a verdict is about."""
    said = read_verdict(verdict_payload)
    return Update(
        name=said.name, child=said.child, changeset=said.changeset_digest, verdict=sha256_hex(verdict_payload)
    )


def tally_checks(root: TrustRoot, tallies: Sequence[RoleTally]) -> list[Check]:
    """How the roles stand, and under which root."""
    return [
        *(Check(f"approval by {tallied.role}", _said(tallied)) for tallied in tallies),
        Check("trust root", f"version {root.version}, expires {root.expires.strftime(TIME_FORMAT)}"),
    ]


def check_reached(tallies: Sequence[RoleTally], target: Path) -> None:
    """Every role reached its threshold.

    Raises:
        IntegrityError: one did not; the message says which did, and by whom.
    """
    short = [tallied for tallied in tallies if not tallied.reached]
    if short:
        counts = ", ".join(f"{tallied.role} {tallied.count} of {tallied.threshold}" for tallied in short)
        ignored = [
            f"{approver.holder} ({approver.note})"
            for tallied in short
            for approver in tallied.approvers
            if not approver.counts
        ]
        note = f"; not counted: {', '.join(ignored)}" if ignored else ""
        met = [f"{tallied.role} by {_who(tallied)}" for tallied in tallies if tallied.reached]
        note += f"; reached: {', '.join(met)}" if met else ""
        raise IntegrityError(
            f"{target}: not approved by enough: {counts}{note}",
            remedy=f"have it approved with weightgate approve {target} --role {short[0].role}",
        )


def _by(root: TrustRoot, entry: Signed, second: VerifyingKey | None) -> str:
    said = f"{root.holder(entry.key.key_id)}, {NAMES[entry.key.kind]}"
    return said + (f"; second signature {NAMES[second.kind]} by {root.holder(second.key_id)}" if second else "")


def _said(tallied: RoleTally) -> str:
    return f"{tallied.count} of {tallied.threshold}: {_who(tallied)}"


def _who(tallied: RoleTally) -> str:
    return " and ".join(approver.holder for approver in tallied.approvers if approver.counts) or "nobody"


def _times(stamped: Sequence[Path], times: Mapping[Path, datetime], tsa_roots: Sequence[Path]) -> list[Check]:
    if times:
        last = max(times.values()).strftime(TIME_FORMAT)
        return [Check("trusted time", f"{len(times)} of {len(stamped)} files stamped, the last at {last}")]
    if not tsa_roots and any(read_reply(path) is not None for path in stamped):
        return [Check("trusted time", "timestamps are there; give --tsa-root to check them")]
    return []


def _folder(target: Path) -> Path:
    return target if target.is_dir() else target.parent
