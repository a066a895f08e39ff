"""The section of a Hugging Face model card: metadata the Hub reads (YAML), then the audit in words (Markdown)."""

from __future__ import annotations

import re
from typing import Any

from weightgate.policies.quantity import signed, unit_name
from weightgate.probes.evidence import Measurement
from weightgate.reports import summary
from weightgate.reports.interchange import identifier, named_rules, numbers
from weightgate.reports.markdown import code, words
from weightgate.reports.record import AuditRecord
from weightgate.reports.visible import brief

START, END = "<!-- weightgate:start -->", "<!-- weightgate:end -->"
"""What stands between them is replaced when a later version is audited; the rest of the card is its author's."""
MOST_ROWS = 200
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?")
_RELATIONS = {"adapter": "adapter", "quantised": "quantized", "merge": "merge"}


def render_model_card(record: AuditRecord) -> str:
    """A card with the metadata block and our section; names and texts of others are quoted, never markup."""
    import yaml

    metadata = yaml.safe_dump(_metadata(record), sort_keys=False, allow_unicode=False, width=1_000_000)
    return "\n".join(["---", metadata.rstrip("\n"), "---", "", START, *_section(record), END, ""])


def _metadata(record: AuditRecord) -> dict[str, Any]:
    changeset = record.changeset
    data: dict[str, Any] = {}
    if _REPOSITORY.fullmatch(changeset.parent.name):  # the Hub refuses a card whose base is no repository's name
        data["base_model"] = changeset.parent.name
        data["base_model_relation"] = _RELATIONS.get(changeset.delta.kind, "finetune")
    data["tags"] = ["weightgate"]
    results = [_result(m) for result in record.results for m in result.measurements]
    data["model-index"] = [{"name": identifier(changeset.child.name), "results": results}]
    data["weightgate"] = {
        "verdict": record.decision.verdict,
        "policy": identifier(record.policy.name),
        "policy_sha256": brief(record.decision.policy_digest, 64),
        "parent": brief(changeset.parent.root, 64),
        "child": brief(changeset.child.root, 64),
        "rules": {name: numbers(rule, summary.measurements(record)) for name, rule in named_rules(record)},
    }
    return data


def _result(m: Measurement) -> dict[str, Any]:
    """One measurement as the Hub knows results: a task, a data set, and metrics with their arguments."""
    name = identifier(m.metric)
    interval = {"low": m.interval.low, "high": m.interval.high, "level": m.interval.level}
    metric = {
        "type": name,
        "name": f"{brief(m.title, 120)}, change from the parent ({brief(unit_name(m.unit), 40)})",
        "value": m.effect,
        "args": {"unit": brief(m.unit, 60), "before": m.before, "after": m.after, "n": m.n} | interval,
    }
    return {
        "task": {"type": "text-generation"},
        "dataset": {"name": f"weightgate {name.partition('/')[0]}", "type": "weightgate"},
        "metrics": [metric],
    }


def _section(record: AuditRecord) -> list[str]:
    child, parent = code(record.changeset.child.name, 80), code(record.changeset.parent.name, 80)
    verdict, policy = summary.VERDICTS[record.decision.verdict], code(record.policy.name, 60)
    return [
        "## Update audit",
        "",
        f"**{verdict}**: {parent} to {child}, by policy {policy}.",
        "",
        words(summary.reason(record), 1200),
        "",
        *_table(record),
        "",
        f"Audited with {words(record.tool, 60)}. {summary.CAVEAT}",
    ]


def _table(record: AuditRecord) -> list[str]:
    measured, rules = summary.measurements(record), summary.by_concern(record.decision.rules)
    lines = ["| rule | outcome | change [interval] | limit |", "|---|---|---|---|"]
    for rule in rules[:MOST_ROWS]:
        m, seen, limit = measured.get(rule.metric or ""), "", ""
        if m is not None and rule.effect is not None:
            seen = f"{summary.change(m)} {words(unit_name(m.unit), 40)}".rstrip()
            limit = "" if rule.limit is None else signed(rule.limit, m.unit)
        lines.append(f"| {words(summary.title(rule, m), 120)} | {summary.outcome_word(rule)} | {seen} | {limit} |")
    return lines + ([f"| {len(rules) - MOST_ROWS} more in record.json | | | |"] if len(rules) > MOST_ROWS else [])
