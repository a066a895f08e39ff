"""weightgate log: the history of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from weightgate.audit.cli import console
from weightgate.audit.cli.ledger_output import LedgerPath

if TYPE_CHECKING:
    from weightgate.audit.history import Audited, History, Node
    from weightgate.reports.history_terminal import Commit


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: weightgate log --json | jq .head")(log)


def log(*, ledger: LedgerPath = None) -> None:
    """Show every update of the model, newest first, with its verdicts, attempts and what became of it."""
    from weightgate.audit.history import read_history
    from weightgate.audit.ledger import require_ledger
    from weightgate.lineage.history.ledger import Ledger
    from weightgate.reports.history_terminal import render_history

    history = read_history(Ledger.open(require_ledger(ledger)))
    if console.SETTINGS.json:
        console.emit(document(history))
        return
    commits = [_commit(history, node) for node in reversed(list(history.nodes.values()))]
    render_history([*commits, _genesis(history)], console.out())
    if history.head.tainted:
        console.warn(f"the model in use is tainted ({history.head.tainted}): weightgate rollback ID --reason TEXT")


def document(history: History) -> dict[str, object]:
    """The history as one JSON object."""
    ledger = history.ledger
    return {
        "ledger": str(ledger.folder),
        "genesis": {"id": ledger.entries[0].entry.id, "root": ledger.genesis.model.root},
        "head": {"root": history.head.root, "changeset": history.head.changeset, "tainted": history.head.tainted},
        "updates": [node_document(node) for node in history.nodes.values()],
        "events": [
            {"id": entry.entry.id, "type": entry.entry.type, "index": entry.index}
            | entry.document.model_dump(mode="json", exclude={"version"})
            for entry in ledger.entries
            if entry.document is not None and entry.entry.path.startswith("events/")
        ],
    }


def node_document(node: Node) -> dict[str, object]:
    """One update as a JSON object."""
    changeset = node.changeset
    return {
        "id": node.id,
        "index": node.index,
        "parent_changeset": node.parent,
        "parent": changeset.parent.root,
        "child": changeset.child.root,
        "name": changeset.child.name,
        "kind": changeset.delta.kind,
        "intent": changeset.intent,
        "author": changeset.author,
        "created": changeset.created,
        "status": node.status,
        "attempts": [_attempt(audited) for audited in node.attempts],
        "attempts_at_child": node.attempts_at_child,
        "revoked": node.revoked,
        "tainted": node.tainted,
        "rolled_back": node.rolled_back,
    }


def _attempt(audited: Audited) -> dict[str, object]:
    said = audited.attempt
    return {
        "id": audited.id,
        "number": said.number,
        "outcome": audited.outcome,
        "policy": said.policy_name,
        "policy_digest": said.policy,
        "repository_policy": audited.own_policy,
        "verdict": audited.verdict_id,
    }


def marks_of(history: History, node: Node) -> tuple[str, ...]:
    """What became of an update, in words."""
    tainted = node.tainted is not None and node.revoked is None
    marks = {
        "head": history.head.changeset == node.id,
        "revoked": node.revoked is not None,
        "tainted": tainted,
        "rolled back": node.rolled_back is not None,
    }
    return tuple(mark for mark, holds in marks.items() if holds)


def attempts_text(node: Node) -> str:
    """How often the child was audited, and what came of it under this changeset."""
    outcomes = ", ".join(
        audited.outcome if audited.own_policy else f"{audited.outcome} by policy {audited.attempt.policy_name}"
        for audited in node.attempts
    )
    count = node.attempts_at_child
    if not count:
        return "not audited"
    return f"{count} attempt{'s' if count > 1 else ''}: {outcomes or 'under another changeset'}"


def _commit(history: History, node: Node) -> Commit:
    from weightgate.reports.history_terminal import Commit

    changeset, delta = node.changeset, node.changeset.delta
    details = [
        f"{delta.kind}, {delta.tensors_changed} of {delta.tensors_total} tensors · {attempts_text(node)}",
        f"{changeset.created[:10]}{f' · {changeset.intent}' if changeset.intent else ''}",
    ]
    why = (("revoked", node.revoked), ("tainted", None if node.revoked else node.tainted))
    details += [f"{name}: {text}" for name, text in (*why, ("rolled back", node.rolled_back)) if text]
    return Commit(
        id=node.id,
        parent=node.parent or history.ledger.entries[0].entry.id,
        status=node.status,
        marks=marks_of(history, node),
        title=f"{changeset.parent.name} → {changeset.child.name}",
        details=tuple(details),
    )


def _genesis(history: History) -> Commit:
    from weightgate.reports.history_terminal import Commit

    genesis = history.ledger.genesis
    marks = ("head", "genesis") if history.head.changeset is None else ("genesis",)
    details = (f"{genesis.created[:10]} · model {genesis.model.root[:12]}… · {len(genesis.tensors)} tensors",)
    return Commit(history.ledger.entries[0].entry.id, None, "", marks, genesis.model.name, details)
