"""Writing to a ledger: who may, and how an audit is announced before it runs and judged afterwards."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import weightgate
from weightgate.lineage.changeset import Changeset, statement
from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.history.documents import Attempt, Document, signed
from weightgate.lineage.history.ledger import Ledger, Logged, attempts_at, find_ledger
from weightgate.lineage.signing.envelope import Envelope, sign
from weightgate.lineage.signing.keys import SigningKey
from weightgate.policies.policy import Policy


@dataclass(frozen=True, slots=True)
class Writer:
    """A ledger and the key of whoever writes to it."""

    ledger: Ledger
    key: SigningKey

    @classmethod
    def open(cls, folder: Path, key: SigningKey) -> Writer:
        """Open a ledger to write to it.

        Raises:
            InputError: there is none, or the key was not admitted to it.
            IntegrityError: it does not check out.
        """
        ledger = Ledger.open(folder)
        if key.key_id not in ledger.keys:
            raise InputError(
                f"{key.key_id} may not write to {ledger.folder}",
                remedy="have it admitted: weightgate admit KEY.pub --reason TEXT",
            )
        return cls(ledger, key)

    def link(self, parent: str, given: str | None) -> str | None:
        """Id of the changeset that made the model ``parent``; where one was ``given``, it has to be that.

        Raises:
            InputError: the ledger does not know the model.
            IntegrityError: another changeset was given.
        """
        made = self.ledger.changeset_of(parent)
        known = self.ledger.changesets.get(given or "")
        if given is not None and (known is None or known.child.root != parent):
            raise IntegrityError(f"{given[:12]} is not in the ledger", remedy="leave --parent-changeset out")
        return given or made

    def add(self, document: Document, **options: str | dict[str, bytes]) -> Logged:
        """Sign and append a document.

        Raises:
            InputError: it is there already, or cannot be written.
        """
        return self.ledger.append(document.kind, signed(document, self.key), self.key, **options)  # type: ignore[arg-type]

    def add_changeset(self, changeset: Changeset) -> Logged:
        """Sign and append a changeset; its parent has to be known here.

        Raises:
            InputError: the ledger does not know the parent, or has the changeset.
        """
        self.ledger.changeset_of(changeset.parent.root)
        return self.ledger.append("changeset", sign(statement(changeset), self.key).to_bytes(), self.key)


@dataclass(frozen=True, slots=True)
class Announced:
    """An attempt that was logged, before anything was measured."""

    writer: Writer
    changeset: Changeset
    envelope: bytes
    """The signed changeset."""
    id: str
    number: int

    def finish(self, verdict: Envelope) -> None:
        """Log the verdict that the attempt came to."""
        self.writer.ledger.append("verdict", verdict.to_bytes(), self.writer.key, about=self.id)


def announce(
    writer: Writer,
    changeset: Changeset,
    *,
    policy: Policy,
    probes: Sequence[tuple[str, str]],
    seed: int,
    plan: str,
    resume: bool,
) -> Announced:
    """Log what is about to be measured, and by which policy it will be judged.

    Continuing a run continues its attempt. Where its author proposed the same update before, that changeset is taken.

    Raises:
        InputError: the ledger does not know the parent, or cannot be written.
        IntegrityError: it does not check out.
    """
    ledger = writer.ledger
    with ledger.writing():
        judged = {entry.entry.about for entry in ledger.of_type("verdict")}
        for identity, said in reversed(ledger.of(Attempt).items()) if resume else ():
            if said.plan == plan and said.author == writer.key.key_id and identity not in judged:
                return _announced(writer, said.changeset, identity, said.number)
        made = proposed(ledger, changeset) or writer.add_changeset(changeset).entry.id
        number = 1 + len(attempts_at(ledger, changeset.child.root))
        attempt = Attempt(
            created=now(),
            author=writer.key.key_id,
            changeset=made,
            parent=changeset.parent.root,
            child=changeset.child.root,
            number=number,
            policy=policy.digest,
            policy_name=policy.name,
            probes=tuple(probes),
            seed=seed,
            tool=f"weightgate {weightgate.__version__}",
            plan=plan,
        )
        return _announced(writer, made, writer.add(attempt).entry.id, number)


def require_ledger(given: Path | None) -> Path:
    """The folder of the ledger that was named, or of the one around the working directory.

    Raises:
        InputError: there is none.
    """
    found = given or find_ledger(Path.cwd())
    if found is None:
        raise InputError("no ledger here", remedy="make one with weightgate init, or name one with --ledger")
    return found


def repository(start: Path) -> Path:
    """Top of the git repository around ``start``.

    Raises:
        InputError: there is none.
    """
    start = start.resolve()
    for folder in (start, *start.parents):
        if (folder / ".git").exists():
            return folder
    raise InputError(f"{start} is not in a git repository", remedy="make one with git init")


def git(folder: Path, *arguments: str) -> bytes | None:
    """Output of a git command; None where it fails or git is not there."""
    command = ["git", "-c", "core.fsmonitor=false", "-C", str(folder), *arguments]
    try:
        ended = subprocess.run(command, capture_output=True, check=False, timeout=120)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ended.stdout if ended.returncode == 0 else None


def now() -> str:
    """The time, as documents state it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _announced(writer: Writer, made: str, identity: str, number: int) -> Announced:
    entry = writer.ledger.find(made)
    if not isinstance(entry.document, Changeset):
        raise IntegrityError(f"{made[:12]} is no changeset", remedy="restore the ledger from git")
    return Announced(writer, entry.document, entry.data, identity, number)


def proposed(ledger: Ledger, wanted: Changeset) -> str | None:
    """The last changeset by the same author that says the same, but for labels, time and environment."""
    for identity, there in reversed(ledger.changesets.items()):
        if wanted.intent in ("", there.intent) and _matter(there) == _matter(wanted):
            return identity
    return None


def _matter(changeset: Changeset) -> dict[str, object]:
    matter = changeset.model_dump(exclude={"created", "environment", "intent"})
    for side in ("parent", "child"):
        del matter[side]["name"]
    return matter
