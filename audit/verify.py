"""Checks a run folder or a changeset against a public key, and says what it checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import weightgate
from weightgate.audit.report_files import check_reports
from weightgate.audit.row_index import read_index
from weightgate.audit.run_folder import CHANGESET, EVIDENCE, RECORD, REPLAY, REPORT_HTML, REPORT_MARKDOWN, VERDICT
from weightgate.lineage.canonical import canonical, sha256_hex
from weightgate.lineage.changeset import Changeset, read_changeset
from weightgate.lineage.data.row_proof import training_input
from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.replay import REPLAY_PREDICATE, Replay, read_replay
from weightgate.lineage.signing.envelope import read_envelope, signer_among
from weightgate.lineage.signing.envelope import verify as verify_envelope
from weightgate.lineage.signing.keys import VerifyingKey
from weightgate.lineage.strict_json import parse
from weightgate.policies.quantity import count
from weightgate.reports.json_report import read_record
from weightgate.reports.record import AuditRecord
from weightgate.reports.statement import VerdictStatement, read_verdict

if TYPE_CHECKING:
    from weightgate.lineage.trust.tally import RoleTally

MAX_FILE = 1 << 30


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was checked, and what was found."""

    name: str
    detail: str


@dataclass(frozen=True, slots=True)
class Verification:
    """A target that verified: every check held, or `verify` would have raised."""

    target: Path
    verdict: str | None
    changeset: str | None
    checks: tuple[Check, ...]
    roles: tuple[RoleTally, ...] = ()
    """How the approval roles of a trust root stand, where one was given."""


def verify(
    target: Path,
    public_key: VerifyingKey | Sequence[VerifyingKey],
    *,
    model: Path | None = None,
    parent_changeset: Path | None = None,
) -> Verification:
    """Verify a run folder, a signed changeset or a replay attestation.

    Args:
        target: Run folder, or a file with a changeset or a replay.
        public_key: The signer to believe, or the signers.
        model: The child's folder: hashed again and compared with the changeset.
        parent_changeset: Changeset that made the parent: the link to it is checked.

    Raises:
        InputError: the target is not there or is neither.
        IntegrityError: the first thing that does not check out.
    """
    keys = (public_key,) if isinstance(public_key, VerifyingKey) else tuple(public_key)
    if target.is_dir():
        return _verify_run(target, keys, model, parent_changeset)
    if replay := _replay_in(target, keys):
        return Verification(target=target, verdict=None, changeset=replay.changeset, checks=(_replayed(replay),))
    changeset, payload_digest, key = _changeset(target, keys)
    checks = [Check("changeset signature", f"{target.name}, by {key.key_id}")]
    checks += _beside(changeset, keys, model, parent_changeset)
    return Verification(target=target, verdict=None, changeset=payload_digest, checks=tuple(checks))


def _verify_run(
    folder: Path, keys: Sequence[VerifyingKey], model: Path | None, parent_changeset: Path | None
) -> Verification:
    if not (folder / VERDICT).exists():
        raise InputError(
            f"{folder} holds no {VERDICT}: not a run folder, or a run that did not finish",
            remedy="finish it with weightgate gate … --resume",
        )
    checks = []
    envelope = read_envelope(_read(folder / VERDICT))
    key = signer_among(envelope, keys, VERDICT)
    verdict = read_verdict(verify_envelope(envelope, key))
    checks.append(Check("verdict signature", f"{verdict.verdict}, by {key.key_id}"))

    raw_record = _read(folder / RECORD)
    _same(RECORD, sha256_hex(raw_record), verdict.record)
    record = read_record(raw_record)
    checks.append(Check("audit record", f"sha256 {verdict.record[:16]}…, the one that was signed"))

    changeset, payload_digest, _ = _changeset(folder / CHANGESET, keys)
    _same(CHANGESET, payload_digest, verdict.changeset_digest)
    _same("changeset in the record", canonical(record.changeset), canonical(changeset))
    checks.append(Check("changeset signature", f"{changeset.parent.root[:12]}… → {changeset.child.root[:12]}…"))
    checks.append(_bindings(record, verdict))
    checks.append(_evidence(folder, record, verdict))
    checks.append(_decision(record, verdict))
    checks += _reports(folder, record)
    checks += _row_index(folder, changeset)
    checks += _replay_beside(folder, changeset, payload_digest, keys)
    checks += _beside(changeset, keys, model, parent_changeset)
    return Verification(target=folder, verdict=verdict.verdict, changeset=payload_digest, checks=tuple(checks))


def _changeset(path: Path, keys: Sequence[VerifyingKey]) -> tuple[Changeset, str, VerifyingKey]:
    raw = _read(path)
    key = signer_among(read_envelope(raw), keys, path.name)
    return *read_changeset(raw, key), key


def _bindings(record: AuditRecord, verdict: VerdictStatement) -> Check:
    """The digests the verdict names are those of what the record holds."""
    _same("parent root", verdict.parent, record.changeset.parent.root)
    _same("child root", verdict.child, record.changeset.child.root)
    _same("policy", verdict.policy_digest, record.policy.digest)
    _same("probes", tuple(verdict.probes), tuple((r.probe, r.version) for r in record.results))
    return Check("bindings", f"parent, child, policy {record.policy.name}, {len(record.results)} probe versions")


def _evidence(folder: Path, record: AuditRecord, verdict: VerdictStatement) -> Check:
    expected = {f"{EVIDENCE}/{result.probe}.json": canonical(result) for result in record.results}
    present = {f"{EVIDENCE}/{file.name}" for file in (folder / EVIDENCE).iterdir()}
    if present != set(verdict.evidence) or present != set(expected):
        odd = sorted(present ^ set(verdict.evidence)) or sorted(present ^ set(expected))
        raise IntegrityError(f"evidence files were added or removed: {', '.join(odd)}", remedy="do not trust this run")
    for name, sha256 in verdict.evidence.items():
        data = _read(folder / name)
        _same(name, sha256_hex(data), sha256)
        _same(f"{name} against the record", data, expected[name])
    return Check("evidence", f"{count(len(expected), 'file')}, each the one that was signed")


def _decision(record: AuditRecord, verdict: VerdictStatement) -> Check:
    """Judging the same evidence by the same policy again gives the same verdict."""
    from weightgate.policies.decide import decide

    _same("verdict", verdict.verdict, record.decision.verdict)
    _same("decision", canonical(decide(record.policy, record.results)), canonical(record.decision))
    return Check("decision", "the policy, applied again to the evidence, decides the same")


def _reports(folder: Path, record: AuditRecord) -> Iterator[Check]:
    from weightgate.reports.html import render_html
    from weightgate.reports.markdown import render_markdown

    if record.tool != f"weightgate {weightgate.__version__}":
        yield Check("reports", f"made by {record.tool}: not compared; render them again with weightgate report")
        return
    for name, render in ((REPORT_HTML, render_html), (REPORT_MARKDOWN, render_markdown)):
        if (folder / name).exists():
            _same(name, _read(folder / name), render(record).encode())
            yield Check(name, "what the signed record renders to, byte for byte")
    for name in check_reports(folder, record):
        yield Check(name, "what the signed record renders to, byte for byte")


def _replay_beside(folder: Path, changeset: Changeset, payload: str, keys: Sequence[VerifyingKey]) -> Iterator[Check]:
    path = folder / REPLAY
    if not path.exists():
        return
    replay = _replay_in(path, keys)
    if replay is None:
        raise IntegrityError(f"{path}: not a replay attestation", remedy="do not trust it; run weightgate replay again")
    _same(f"{REPLAY}: its changeset", replay.changeset, payload)
    _same(f"{REPLAY}: its models", (replay.parent, replay.child), (changeset.parent.root, changeset.child.root))
    yield _replayed(replay)


def _replay_in(path: Path, keys: Sequence[VerifyingKey]) -> Replay | None:
    """The replay in a signed file; None where it holds a statement of another kind."""
    envelope = read_envelope(_read(path))
    key = signer_among(envelope, keys, path.name)
    payload = verify_envelope(envelope, key)
    try:
        document = parse(payload, str(path))
    except InputError:
        return None
    if not isinstance(document, dict) or document.get("predicateType") != REPLAY_PREDICATE:
        return None
    replay = read_replay(payload, str(path))
    _same(f"{path}: its replayer", replay.replayer, key.key_id)
    return replay


def _replayed(replay: Replay) -> Check:
    return Check("replay", f"{replay.outcome}, of changeset {replay.changeset[:12]}…, by {replay.replayer}")


def _row_index(folder: Path, changeset: Changeset) -> Iterator[Check]:
    """The digests of the training rows, where they were kept, lead to the root that was signed."""
    data = training_input(changeset)
    rows = read_index([folder], data.rows_set_root) if data and data.rows_set_root else None
    if rows:
        yield Check("row index", f"{len(rows.digests)} distinct training rows, the ones that were signed")


def _beside(
    changeset: Changeset, keys: Sequence[VerifyingKey], model: Path | None, parent_changeset: Path | None
) -> Iterator[Check]:
    if parent_changeset is not None:
        made, payload_digest, _ = _changeset(parent_changeset, keys)
        _same("link to the parent's changeset", payload_digest, changeset.parent_changeset)
        _same("model made by the parent's changeset", made.child.root, changeset.parent.root)
        yield Check("chain", f"parent made by changeset {payload_digest[:12]}…")
    elif changeset.parent_changeset is not None:
        yield Check(
            "chain", f"names parent changeset {changeset.parent_changeset[:12]}…; give --parent-changeset to check it"
        )
    if model is not None:
        yield _model(changeset, model)


def _model(changeset: Changeset, model: Path) -> Check:
    from weightgate.lineage.weights.checkpoint import Checkpoint
    from weightgate.lineage.weights.fingerprint import fingerprint

    checkpoint = Checkpoint.open(model)
    base = changeset.parent.root if checkpoint.kind == "adapter" else None
    second = changeset.child.tensor_root_blake3
    found = fingerprint(checkpoint, base_root=base, blake3=second is not None)
    _same(f"model {model}", (found.root, found.tensor_root_blake3), (changeset.child.root, second))
    return Check("model", f"{model.name} is the child of this changeset, every tensor and file")


def _same(what: str, seen: object, expected: object) -> None:
    if seen != expected:
        raise IntegrityError(f"{what} does not match what was signed", remedy="do not trust it; run the audit again")


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_FILE:
            raise InputError(f"{path} is larger than 1 GiB: not a file of a run", remedy="check the path")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise IntegrityError(f"{path} is missing", remedy="the folder is incomplete: run the audit again") from error
    except OSError as error:
        raise InputError(
            f"cannot read {path}: {error.strerror}", remedy="check the path and its permissions"
        ) from error
