"""weightgate show: one document of the ledger, and the proof that it was logged."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from weightgate.audit.cli import console
from weightgate.audit.cli.ledger_output import LedgerPath

if TYPE_CHECKING:
    from weightgate.audit.history import History
    from weightgate.lineage.history.ledger import Logged


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: weightgate show 3f2a91c0 --proof v4.tlog-proof")(show)


def show(
    identity: Annotated[str, typer.Argument(help="Id of a document, or the beginning of one.", metavar="ID")],
    *,
    proof: Annotated[Path | None, typer.Option(help="Write a C2SP tlog-proof that it is in the log.")] = None,
    ledger: LedgerPath = None,
) -> None:
    """Show an update, an attempt, a verdict or an event of the ledger."""
    from weightgate.audit.history import read_history
    from weightgate.audit.ledger import require_ledger
    from weightgate.lineage.history.files import write_file
    from weightgate.lineage.history.ledger import Ledger

    opened = Ledger.open(require_ledger(ledger))
    found, history = opened.find(identity), read_history(opened)
    if proof is not None:
        write_file(proof, opened.log.prove(found.index).to_bytes())
    if console.SETTINGS.json:
        console.emit(_document(history, found))
        return
    if console.SETTINGS.quiet:
        typer.echo(found.entry.id)
        return
    out = console.out()
    for name, value in _lines(history, found):
        from rich.text import Text

        out.print(Text.assemble((f"{name:<12}", "dim"), console.printable(value)), soft_wrap=True)
    if proof is not None:
        console.warn(f"wrote {proof}")


def _document(history: History, found: Logged) -> dict[str, Any]:
    from weightgate.audit.cli.log import node_document

    node = history.nodes.get(found.entry.id)
    return {
        "id": found.entry.id,
        "type": found.entry.type,
        "index": found.index,
        "about": found.entry.about,
        "file": found.entry.path,
        "payload": _payload(found),
        "update": node_document(node) if node else None,
    }


def _payload(found: Logged) -> Any:
    from weightgate.lineage.signing.envelope import read_envelope
    from weightgate.lineage.strict_json import parse

    data = found.data if found.entry.path.startswith("trust/") else read_envelope(found.data).payload
    return parse(data, found.entry.path)


def _lines(history: History, found: Logged) -> list[tuple[str, str]]:
    lines = [("type", found.entry.type), ("id", found.entry.id), ("log entry", str(found.index))]
    node = history.nodes.get(found.entry.id)
    if node is None:
        payload = _payload(found)
        predicate = payload.get("predicate", payload)
        lines += [(key, _short(value)) for key, value in predicate.items() if value not in (None, "", [], {})]
        return lines + ([("about", found.entry.about)] if found.entry.about else [])
    from weightgate.audit.cli.log import attempts_text, marks_of

    changeset, delta = node.changeset, node.changeset.delta
    lines += [
        ("status", ", ".join((node.status, *marks_of(history, node)))),
        ("parent", f"{changeset.parent.root}  {changeset.parent.name}"),
        ("child", f"{changeset.child.root}  {changeset.child.name}"),
        ("made by", node.parent or "the genesis"),
        ("author", changeset.author),
        ("created", changeset.created),
        ("intent", changeset.intent or "none given"),
        ("changed", f"{delta.kind}: {delta.tensors_changed} of {delta.tensors_total} tensors; weightgate blame"),
    ]
    lines += [(data.role, f"{data.rows} rows, {data.sha256[:16]}…  {data.name}") for data in changeset.inputs]
    lines.append(("attempts", attempts_text(node)))
    for audited in node.attempts:
        said = audited.attempt
        verdict = f", verdict {audited.verdict_id[:12]}" if audited.verdict_id else ""
        lines.append((f"  {said.number}", f"{audited.id[:12]} {audited.outcome}, policy {said.policy_name}{verdict}"))
    why = {"revoked": node.revoked, "tainted": node.tainted, "rolled back": node.rolled_back}
    return lines + [(name, text) for name, text in why.items() if text]


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 300 else f"{text[:299]}…"
