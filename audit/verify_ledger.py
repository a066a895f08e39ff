"""Checks a ledger back to its genesis: every file, signature, link and log proof, and that the log only ever grew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from weightgate.audit.history import History, lineage_of, read_history
from weightgate.audit.ledger import git
from weightgate.audit.verify import Check
from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.history.checkpoint import read_checkpoint, verify_proof
from weightgate.lineage.history.files import read_file
from weightgate.lineage.history.layout import CONFIG, FIXED, FOLDER, LOG, POLICY, key_file
from weightgate.lineage.history.ledger import Ledger, Logged
from weightgate.lineage.history.log import CHECKPOINT
from weightgate.lineage.history.tree import verify_consistency
from weightgate.lineage.signing.envelope import read_envelope
from weightgate.lineage.signing.keys import VerifyingKey

TRUST = "trust"
_REMEDY = "do not trust it; restore the ledger from git"


@dataclass(frozen=True, slots=True)
class LedgerVerification:
    """A ledger that verified: every check held, or `verify_ledger` would have raised."""

    history: History
    checks: tuple[Check, ...]


def is_ledger(path: Path) -> bool:
    """Whether a path is the folder of a ledger or holds one."""
    return any((folder / CONFIG).is_file() and (folder / LOG).is_dir() for folder in (path, path / FOLDER))


def verify_ledger(path: Path, keys: Sequence[VerifyingKey]) -> LedgerVerification:
    """Verify a ledger.

    Args:
        path: the ledger, or the folder that holds it.
        keys: whom to believe: one of them has to have signed the genesis, which says who else may sign.

    Raises:
        InputError: there is no ledger.
        IntegrityError: the first thing that does not check out, or the model in use is tainted.
    """
    ledger = Ledger.open(path)
    author = ledger.genesis.author
    if author not in {key.key_id for key in keys}:
        raise IntegrityError(
            f"the genesis is signed by {author}, which is none of the keys to believe",
            remedy="get the founder's public key from the founder, and give it with --public-key",
        )
    checks = [Check("genesis", f"model {ledger.genesis.model.root[:12]}…, signed by {author}")]
    checks.append(_log(ledger))
    checks.append(_files(ledger))
    checks.append(_proofs(ledger))
    history = read_history(ledger)
    checks += _documents(ledger, history)
    checks.append(_earlier(ledger))
    checks.append(_head(history))
    return LedgerVerification(history, tuple(checks))


def _log(ledger: Ledger) -> Check:
    head = ledger.log.check()
    return Check("log", f"size {head.size}; every tile, bundle and the checkpoint of {head.origin}")


def _files(ledger: Ledger) -> Check:
    """Nothing lies in the folder that is not logged, and whatever is logged is there, byte for byte."""
    for name, data in FIXED.items():
        if read_file(ledger.folder / name) != data:
            raise IntegrityError(f"{ledger.folder / name} was changed", remedy=_REMEDY)
    ledger.policy()  # config.yaml and documents were compared when the ledger was opened
    known = {CONFIG, POLICY, *FIXED, *map(key_file, ledger.keys), *(entry.entry.path for entry in ledger.entries)}
    loose = 0
    for path in sorted(ledger.folder.rglob("*")):
        name = path.relative_to(ledger.folder).as_posix()
        if path.is_dir() and not path.is_symlink():
            continue
        if name.startswith(f"{TRUST}/") and name not in known:
            loose += 1
        elif not name.startswith(f"{LOG}/") and name not in known:
            raise IntegrityError(f"{path} is in no entry of the log", remedy="remove it, or find out who put it there")
    if loose:
        _trust(ledger.folder / TRUST)
    return Check("files", f"{len(known)} files, each the one that was logged{_loose(loose)}")


def _loose(count: int) -> str:
    return f"; {count} of the trust root, checked by its own signatures" if count else ""


def _trust(folder: Path) -> None:
    """The trust root has a chain of signatures of its own; its newest version is there under two names."""
    from weightgate.lineage.trust.folder import NEWEST, load_trust, version_file

    if not (folder / NEWEST).exists():
        return
    try:
        newest = load_trust(folder)
    except InputError as error:
        raise IntegrityError(str(error), remedy=error.remedy) from error
    if read_file(folder / NEWEST) != read_file(version_file(folder, newest.version)):
        raise IntegrityError(f"{folder / NEWEST} is not its newest version", remedy=_REMEDY)


def _proofs(ledger: Ledger) -> Check:
    """Each document is in the log by a proof of its own, checked as someone would who has nothing but the proof."""
    log, raw = ledger.log, ledger.log.entries()
    for entry in ledger.entries:
        verify_proof(log.prove(entry.index).to_bytes(), raw[entry.index], log.origin, log.note_keys, entry.entry.path)
    return Check("inclusion", _some(len(ledger.entries), "proof"))


def _documents(ledger: Ledger, history: History) -> Iterator[Check]:
    for entry in ledger.entries:
        if entry.document is None and entry.entry.type not in ("verdict", "approval", TRUST):
            raise IntegrityError(f"{entry.entry.path}: of the unknown type {entry.entry.type!r}", remedy=_REMEDY)
        if entry.entry.type == "approval":
            _approval(ledger, entry)
    yield Check("signatures", f"{_some(len(ledger.entries), 'document')} by {_some(len(ledger.keys), 'admitted key')}")
    yield Check("chain", f"{_some(len(history.nodes), 'changeset')}, each leads to the genesis")
    audits = [audited for node in history.nodes.values() for audited in node.attempts]
    finished = sum(audited.verdict is not None for audited in audits)
    yield Check(
        "attempts",
        f"{len(audits)}, {finished} with a verdict by the policy that was logged before the run"
        f"{f', {len(audits) - finished} unfinished' if finished < len(audits) else ''}",
    )


def _approval(ledger: Ledger, entry: Logged) -> None:
    """Who signed it is judged by the trust root; here it has to be an envelope about something logged before it."""
    read_envelope(entry.data)
    if not any(e.entry.id == entry.entry.about and e.index < entry.index for e in ledger.entries):
        raise IntegrityError(f"{entry.entry.path}: approves nothing that was logged before it", remedy=_REMEDY)


def _earlier(ledger: Ledger) -> Check:
    """Every checkpoint in the git history of HEAD is a beginning of the log as it is now."""
    log, where = ledger.log, ledger.folder / LOG / CHECKPOINT
    top = git(ledger.folder, "rev-parse", "--show-toplevel")
    if top is None:
        return Check("consistency", "not in a git repository: no earlier checkpoint to compare with")
    place = where.resolve().relative_to(Path(top.decode().rstrip("\n")).resolve()).as_posix()
    commits = (git(ledger.folder, "log", "--format=%H", "HEAD", "--", f":(top){place}") or b"").decode().split()
    head, sizes = log.checkpoint(), []
    for commit in commits:
        data = git(ledger.folder, "cat-file", "blob", f"{commit}:{place}")
        if data is None:
            continue  # the commit removed it
        old = read_checkpoint(data, log.origin, log.note_keys, f"checkpoint of commit {commit[:12]}")
        what = f"the log is not what it was in commit {commit[:12]}"
        if old.size > head.size:
            raise IntegrityError(f"{what}: it had {old.size} entries, and has {head.size}", remedy=_REMEDY)
        if not verify_consistency(old.size, old.root, head.size, head.root, log.prove_consistency(old.size)):
            raise IntegrityError(f"{what}: entries were changed or removed", remedy=_REMEDY)
        sizes.append(old.size)
    if not sizes:
        return Check("consistency", "no checkpoint is committed yet")
    return Check(
        "consistency", f"with {_some(len(sizes), 'checkpoint')} in the git history, the first at size {min(sizes)}"
    )


def _some(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _head(history: History) -> Check:
    head = history.head
    name = head.changeset[:12] if head.changeset else "the genesis"
    if head.tainted:
        raise IntegrityError(
            f"the model in use, {name}, is tainted: {head.tainted}",
            remedy="weightgate rollback ID --reason TEXT, to one that is not",
        )
    parents = {identity: node.parent for identity, node in history.nodes.items()}
    steps = len(lineage_of(head.changeset, parents))
    return Check("head", f"{head.root[:12]}…, {name}, {_some(steps, 'update')} after the genesis, not tainted")
