"""The terminal report: the verdict, the reason and what needs attention, on one screen of 80 columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from weightgate.policies.decision import Verdict
from weightgate.policies.quantity import MINUS, count, signed, unit_name
from weightgate.reports import summary
from weightgate.reports.record import AuditRecord
from weightgate.reports.visible import brief

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

MOST_ROWS = 9
_STYLES: dict[Verdict, str] = {"approve": "green", "block": "red", "review": "yellow"}
_MARKS: dict[Verdict, str] = {"approve": "✓", "block": "✕", "review": "?"}
_PLAIN = str.maketrans({"✓": "+", "✕": "x", "→": ">", MINUS: "-", "“": '"', "”": '"', "…": ".", "·": "-", "⏎": " "})


def render_terminal(record: AuditRecord, console: Console) -> None:
    """Print the audit; text from models and data is shown with its control sequences spelled out."""
    from rich.text import Text

    def say(text: str, style: str = "") -> Text:
        return Text(_fit(text, console), style=style)

    verdict = record.decision.verdict
    names = f"{brief(record.changeset.parent.name, 28)} → {brief(record.changeset.child.name, 28)}"
    heading = say(f"{_MARKS[verdict]} {summary.VERDICTS[verdict]}", f"bold {_STYLES[verdict]}")
    console.print(heading.append_text(say(f"  {names}", "default not bold")), no_wrap=True, overflow=_overflow(console))
    console.print(say(brief(summary.reason(record), 560)))
    concerns, held = summary.concerns(record), summary.held(record)
    if concerns:
        console.print()
        console.print(_concerns(record, console))
    console.print()
    excused = sum(rule.outcome == "missing" for rule in held)
    rules, findings = len(record.decision.rules), len(summary.findings(record))
    counts = [f"{len(held) - excused} of {count(rules, 'rule')} {'hold' if rules != 1 else 'holds'}"]
    counts += [f"{excused} excused"] if excused else []
    measured = sum(result.status == "measured" for result in record.results)
    counts.append(f"{measured} of {count(len(record.results), 'probe')} measured")
    counts.append(count(findings, "finding"))
    counts.append(f"policy {brief(record.policy.name, 20)} v{record.policy.version}")
    counts += [f"attempt {record.attempt.number} of this child"] if record.attempt else []
    console.print(say(" · ".join(counts), "dim"))
    remedy = next((rule.remedy for rule in concerns if rule.remedy), "")
    if remedy:
        console.print(say(f"Next: {brief(remedy, 220)}."))


def _concerns(record: AuditRecord, console: Console) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", expand=True)
    table.add_column("", width=1)
    table.add_column("", ratio=1, no_wrap=True, overflow=_overflow(console))
    table.add_column(Text("change [interval]"), justify="right", no_wrap=True)
    table.add_column("limit", justify="right", no_wrap=True)
    measured = summary.measurements(record)
    rules = summary.concerns(record)
    for rule in rules[:MOST_ROWS]:
        m = measured.get(rule.metric or "")
        seen, limit = summary.outcome_word(rule).lower(), ""
        if m is not None and rule.effect is not None and rule.limit is not None:
            seen = brief(f"{summary.change(m)} {unit_name(m.unit)}".rstrip(), 36)
            limit = brief(signed(rule.limit, m.unit), 8)
        cells = (_MARKS[rule.verdict], brief(summary.title(rule, m), 80), seen, limit)
        table.add_row(
            *(Text(_fit(cell, console), style=_STYLES[rule.verdict] if i == 0 else "") for i, cell in enumerate(cells))
        )
    if len(rules) > MOST_ROWS:
        table.add_row("", Text(_fit(f"… {len(rules) - MOST_ROWS} more in the report", console), style="dim"), "", "")
    return table


def _overflow(console: Console) -> Literal["ellipsis", "crop"]:
    return "ellipsis" if _fit("…", console) == "…" else "crop"


def _fit(text: str, console: Console) -> str:
    """The text in characters that the terminal's encoding has."""
    try:
        text.encode(console.encoding)
    except UnicodeEncodeError:
        return text.translate(_PLAIN).encode(console.encoding, "replace").decode(console.encoding)
    return text
