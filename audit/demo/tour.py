"""The demo: two updates of one parent through the gate, each with the verdict it should get."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from weightgate.audit.demo.cast import Candidate, Cast
from weightgate.audit.environment import describe_environment
from weightgate.audit.gate import gate
from weightgate.audit.progress import Progress, reading
from weightgate.lineage.changeset import build_changeset, statement
from weightgate.lineage.errors import InputError
from weightgate.lineage.signing.envelope import sign
from weightgate.lineage.signing.keys import SigningKey, generate, load_private
from weightgate.lineage.weights.update import open_update
from weightgate.reports.record import AuditRecord

KEY, PARENT_CHANGESET, MARK = "demo.pem", "parent-changeset.json", ".weightgate-demo"


@dataclass(frozen=True, slots=True)
class Stop:
    """One candidate after the gate."""

    candidate: Candidate
    record: AuditRecord
    folder: Path

    @property
    def as_expected(self) -> bool:
        """Whether the planted truth got its verdict."""
        return self.record.decision.verdict == self.candidate.expected


def tour(cast: Cast, out: Path, *, progress: Progress) -> tuple[Stop, ...]:
    """Gate every candidate of the cast; runs go to one folder each under ``out``, replacing those of an earlier demo.

    Raises:
        InputError: ``out`` holds something that no demo put there, or cannot be written.
    """
    key = _open(out)
    chain = _parent_changeset(cast.origin, cast.parent, out, load_private(key), progress) if cast.origin else None
    return tuple(_gate(cast, candidate, out, key=key, chain=chain, progress=progress) for candidate in cast.candidates)


def _gate(cast: Cast, who: Candidate, out: Path, *, key: Path, chain: Path | None, progress: Progress) -> Stop:
    folder = out / who.name
    if folder.exists():
        shutil.rmtree(folder)
    progress.step(f"gate {who.name}")
    record, folder = gate(
        cast.parent,
        who.path,
        data=[who.data],
        held_out=[who.held_out] if who.held_out else (),
        canaries=[who.canaries] if who.canaries else (),
        intent=who.intent,
        names=("parent", who.name),
        parent_changeset=chain,
        key=key,
        out=folder,
        progress=progress,
    )
    return Stop(who, record, folder)


def _open(out: Path) -> Path:
    """Make the demo's folder and key, or find them; the mark tells the demo's own folders from a user's."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()) and not (out / MARK).exists():
            raise InputError(f"{out} is not empty and not of an earlier demo", remedy="choose another --out")
        (out / MARK).touch()
    except OSError as error:
        raise InputError(f"cannot write {out}: {error.strerror}", remedy="choose another --out") from error
    key = out / KEY
    if not key.exists():
        generate(key)
    return key


def _parent_changeset(origin: Path, parent: Path, out: Path, signer: SigningKey, progress: Progress) -> Path:
    """Sign the changeset that made the parent, so that the updates are links of a chain."""
    progress.step("sign the changeset that made the parent")
    update = open_update(origin, parent, progress=reading(progress, origin, parent))
    changeset = build_changeset(
        update,
        author=signer.key_id,
        intent="teach the model to refuse harmful requests",
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        inputs=(),
        parent_changeset=None,
        environment=describe_environment(),
        parent_name="base",
        child_name="parent",
    )
    path = out / PARENT_CHANGESET
    path.write_bytes(sign(statement(changeset), signer).to_bytes())
    return path
