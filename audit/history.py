"""What a ledger's documents add up to: which updates were audited how often, what is in use, and what is tainted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from weightgate.lineage.canonical import sha256_hex
from weightgate.lineage.changeset import Changeset
from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.history.documents import Attempt, Revoke, Rollback, path_of, signer
from weightgate.lineage.history.ledger import Ledger, Logged
from weightgate.lineage.signing.envelope import read_envelope, verify
from weightgate.reports.statement import VerdictStatement, read_verdict

_REMEDY = "do not trust it; restore the ledger from git"


@dataclass(frozen=True, slots=True)
class Audited:
    """One attempt, and the verdict it came to."""

    id: str
    index: int
    attempt: Attempt
    own_policy: bool
    """Judged by the policy that was the repository's at that time; no other verdict puts a model into use."""
    verdict: VerdictStatement | None = None
    """None where the run did not finish."""
    verdict_id: str | None = None

    @property
    def outcome(self) -> str:
        """The verdict, or ``unfinished``."""
        return self.verdict.verdict if self.verdict else "unfinished"


@dataclass(frozen=True, slots=True)
class Node:
    """One update of the history."""

    id: str
    index: int
    changeset: Changeset
    parent: str | None
    """Id of the changeset that made the parent; None where that is the genesis."""
    attempts: tuple[Audited, ...]
    attempts_at_child: int
    """Attempts at the same child, under any changeset."""
    revoked: str | None
    """Why, where it was."""
    tainted: str | None
    """Through what, where it is."""
    rolled_back: str | None
    """Why, where it was."""

    @property
    def status(self) -> str:
        """The last verdict, or ``unfinished`` or ``proposed``."""
        finished = [audited.outcome for audited in self.attempts if audited.verdict]
        return finished[-1] if finished else "unfinished" if self.attempts else "proposed"


@dataclass(frozen=True, slots=True)
class Head:
    """The model in use."""

    root: str
    changeset: str | None
    """That made it; None for the genesis."""
    tainted: str | None


@dataclass(frozen=True, slots=True)
class History:
    """A ledger, understood."""

    ledger: Ledger
    nodes: Mapping[str, Node]
    head: Head


def read_history(ledger: Ledger) -> History:
    """Understand a ledger.

    Raises:
        IntegrityError: a verdict or a link between documents does not check out.
    """
    parents = _parents(ledger)
    audits = _audits(ledger)
    tainted = _taints(ledger, parents)
    revoked = {event.changeset: event.reason for event in ledger.of(Revoke).values()}
    (root, made), rolled_back = _head(ledger, audits, parents)
    nodes = {}
    for entry in ledger.of_type("changeset"):
        found = ledger.changesets[entry.entry.id]
        nodes[entry.entry.id] = Node(
            id=entry.entry.id,
            index=entry.index,
            changeset=found,
            parent=parents[entry.entry.id],
            attempts=tuple(a for a in audits.values() if a.attempt.changeset == entry.entry.id),
            attempts_at_child=sum(a.attempt.child == found.child.root for a in audits.values()),
            revoked=revoked.get(entry.entry.id),
            tainted=tainted.get(entry.entry.id),
            rolled_back=rolled_back.get(entry.entry.id),
        )
    return History(ledger, nodes, Head(root, made, tainted.get(made) if made else None))


def lineage_of(made: str | None, parents: Mapping[str, str | None]) -> list[str]:
    """A changeset and those that its parent came from, newest first."""
    line = []
    while made is not None and made not in line:
        line.append(made)
        made = parents[made]
    return line


def _parents(ledger: Ledger) -> dict[str, str | None]:
    """The changeset before each changeset; every one has to lead to the genesis through what was logged earlier."""
    made: dict[str, list[str]] = {}
    parents: dict[str, str | None] = {}
    for identity, changeset in ledger.changesets.items():
        root, link = changeset.parent.root, changeset.parent_changeset
        if link is not None and link not in made.get(root, ()):
            raise IntegrityError(
                f"changeset {identity[:12]}: its parent was not made by the changeset that it names", remedy=_REMEDY
            )
        if link is None and root in made:
            link = made[root][-1]
        if link is None and root != ledger.genesis.model.root:
            raise IntegrityError(f"changeset {identity[:12]} does not lead to the genesis", remedy=_REMEDY)
        parents[identity] = link
        made.setdefault(changeset.child.root, []).append(identity)
    return parents


def _audits(ledger: Ledger) -> dict[str, Audited]:
    """Every attempt by its id, with its verdict; a verdict without an attempt logged before it is refused."""
    audits: dict[str, Audited] = {}
    for entry in ledger.entries:
        if isinstance(entry.document, Attempt):
            audits[entry.entry.id] = _attempt(ledger, entry, entry.document, audits)
        elif entry.entry.type == "verdict":
            audited = audits.get(entry.entry.about or "")
            if audited is None or audited.verdict is not None:
                why = "belongs to no attempt logged before it" if audited is None else "is the second of one attempt"
                raise IntegrityError(f"verdict {entry.entry.id[:12]} {why}", remedy=_REMEDY)
            audits[audited.id] = _judged(ledger, entry, audited)
    return audits


def _attempt(ledger: Ledger, entry: Logged, said: Attempt, before: Mapping[str, Audited]) -> Audited:
    changeset = ledger.changesets.get(said.changeset)
    number = 1 + sum(audited.attempt.child == said.child for audited in before.values())
    known = changeset is not None and any(
        e.entry.id == said.changeset and e.index < entry.index for e in ledger.of_type("changeset")
    )
    if (
        changeset is None
        or not known
        or (changeset.parent.root, changeset.child.root, number) != (said.parent, said.child, said.number)
    ):
        raise IntegrityError(
            f"attempt {entry.entry.id[:12]} is not attempt {number} at a changeset logged before it", remedy=_REMEDY
        )
    return Audited(entry.entry.id, entry.index, said, said.policy == ledger.policy_at(entry.index))


def _judged(ledger: Ledger, entry: Logged, audited: Audited) -> Audited:
    envelope, what = read_envelope(entry.data), f"verdict {entry.entry.id[:12]}"
    payload = verify(envelope, signer(what, envelope.key_id, ledger.keys))
    try:
        verdict = read_verdict(payload, what)
    except InputError as error:
        raise IntegrityError(str(error), remedy=_REMEDY) from error
    said = audited.attempt
    promised = (said.changeset, said.parent, said.child, said.policy, said.probes)
    kept = (verdict.changeset_digest, verdict.parent, verdict.child, verdict.policy_digest, verdict.probes)
    if promised != kept:
        raise IntegrityError(f"{what} judges by something else than its attempt announced", remedy=_REMEDY)
    if sha256_hex(payload) != entry.entry.id or entry.entry.path != path_of("verdict", entry.entry.id):
        raise IntegrityError(f"{what} is not the one that was logged", remedy=_REMEDY)
    return Audited(audited.id, audited.index, said, audited.own_policy, verdict, entry.entry.id)


def _head(
    ledger: Ledger, audits: Mapping[str, Audited], parents: Mapping[str, str | None]
) -> tuple[tuple[str, str | None], dict[str, str]]:
    """The model in use: the last approved one that was neither blocked again since nor rolled back."""
    in_use: list[tuple[str, str | None]] = [(ledger.genesis.model.root, None)]
    rolled_back: dict[str, str] = {}
    for entry in ledger.entries:
        audited = audits.get(entry.entry.about or "") if entry.entry.type == "verdict" else None
        if audited is not None and (audited.own_policy or audited.outcome != "approve"):
            made = audited.attempt.changeset
            in_use = [place for place in in_use if place[1] != made]
            if audited.outcome == "approve":
                in_use.append((audited.attempt.child, made))
                rolled_back.pop(made, None)
        elif isinstance(entry.document, Rollback):
            to = entry.document
            left = set(lineage_of(in_use[-1][1], parents)) - set(lineage_of(to.changeset, parents))
            rolled_back |= dict.fromkeys(left, to.reason)
            rolled_back.pop(to.changeset or "", None)
            in_use = [place for place in in_use if place[1] not in left]
            in_use.append((to.root, to.changeset))
    return in_use[-1], rolled_back


def _taints(ledger: Ledger, parents: Mapping[str, str | None]) -> dict[str, str]:
    """What each tainted changeset is tainted through: itself, the same model, its data, or what it was made from."""
    changesets, why = ledger.changesets, dict[str, str]()
    roots: dict[str, str] = {}
    for event in ledger.of(Revoke).values():
        if event.changeset not in changesets:
            raise IntegrityError(f"changeset {event.changeset[:12]} is revoked, but not there", remedy=_REMEDY)
        why.setdefault(event.changeset, "revoked")
        for identity, changeset in changesets.items():
            if data_digests(changeset) & set(event.data):
                why.setdefault(identity, f"trained on data of {event.changeset[:8]}")
    roots = {changesets[identity].child.root: identity for identity in why}
    for identity, changeset in changesets.items():  # parents come before their children
        before = parents[identity]
        if before in why:
            why.setdefault(identity, f"made from {before[:8]}")
        elif changeset.parent.root in roots:
            why.setdefault(identity, f"made from the model of {roots[changeset.parent.root][:8]}")
        elif changeset.child.root in roots:
            why.setdefault(identity, f"the same model as {roots[changeset.child.root][:8]}")
        if identity in why:
            roots.setdefault(changeset.child.root, identity)
    return why


def data_digests(changeset: Changeset) -> set[str]:
    """Every digest by which the training data of an update can be known again."""
    training = [data for data in changeset.inputs if data.role == "training"]
    digests = {digest for data in training for digest in (data.sha256, data.rows_root, data.rows_set_root)}
    return {digest for digest in digests if digest is not None}
