"""What the formats for other tools share: how rules are named, numbers given, times told and JSON written."""

from __future__ import annotations

import json
import math
import re
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote

from weightgate.lineage.canonical import canonical, sha256_hex
from weightgate.lineage.errors import InputError
from weightgate.policies.decision import RuleOutcome, Verdict
from weightgate.probes.evidence import SEVERITIES, Finding, Measurement, ProbeResult
from weightgate.reports import summary
from weightgate.reports.record import AuditRecord
from weightgate.reports.visible import brief, inline

HOME = "https://weightgate.dev"
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, f"{HOME}/reports")
"""Identifiers in reports are UUIDs of version 5 in this namespace: the same record always gets the same ones."""
EVIDENCE = "evidence"
MOST_NAME = 160

T = TypeVar("T")
_MOMENT = re.compile(r"(19|20)\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def as_json(document: Any) -> str:
    """A document as indented JSON in ASCII: no terminal, code page or XML parser on the way can misread it."""
    return json.dumps(document, indent=2, ensure_ascii=True, allow_nan=False) + "\n"


def evidence_files(record: AuditRecord) -> dict[str, bytes]:
    """The evidence as files of the run folder, by path: canonical JSON, one a probe."""
    return {f"{EVIDENCE}/{result.probe}.json": canonical(result) for result in record.results}


def evidence_path(probe: str) -> str:
    """The evidence file of a probe as a relative URI, whatever the probe calls itself."""
    return f"{EVIDENCE}/{quote(brief(probe, MOST_NAME), safe='')}.json"


def place(record: AuditRecord, rule: RuleOutcome) -> str:
    """The file in the run folder that a rule is about, as a relative URI."""
    kind, _, name = rule.rule.partition(": ")
    probe = name if kind == "require" else (rule.metric or "").partition("/")[0]
    known = any(result.probe == probe for result in record.results)
    return evidence_path(probe) if known else "record.json"


def moment(record: AuditRecord) -> str:
    """When the audit was decided, as RFC 3339 in UTC.

    Raises:
        InputError: the record names no such time; a report with a made-up time would be worse than none.
    """
    try:
        if not _MOMENT.fullmatch(record.created):
            raise ValueError  # noqa: TRY301 - a wrong shape and a wrong date are one mistake
        datetime.fromisoformat(record.created)
    except ValueError as error:
        raise InputError(
            f"the record's time is not RFC 3339 in UTC (it says {record.created!r:.40})",
            remedy="audit the update again",
        ) from error
    return record.created


def sha256(value: str, what: str) -> str:
    """A digest as the formats want it.

    Raises:
        InputError: it is not a SHA-256 in lower-case hexadecimal.
    """
    if not re.fullmatch("[0-9a-f]{64}", value):
        raise InputError(f"{what} is not a SHA-256 (it says {value!r:.40})", remedy="audit the update again")
    return value


def identifier(text: str, limit: int = MOST_NAME) -> str:
    """A name that others key on: as it is where it is printable and short, else cut and told apart by its digest."""
    if text and text.isprintable() and text == text.strip() == inline(text, limit):
        return text
    words = " ".join(brief(text, limit - 13).split())
    return f"{words}-{_short(text)}"


def rule_name(rule: RuleOutcome) -> str:
    """The policy's name of a rule as one word: 'budget/alignment.refusal/margin_harmful'."""
    return identifier(rule.rule.replace(": ", "/", 1))


def named_rules(record: AuditRecord) -> tuple[tuple[str, RuleOutcome], ...]:
    """Every rule in the order of the policy, by a name no other has: a metric may have two budgets."""
    return tuple(_distinct([(rule_name(rule), rule) for rule in record.decision.rules]))


def found(record: AuditRecord) -> tuple[tuple[str, Finding], ...]:
    """Every finding with its probe, severest first."""
    pairs = [(result.probe, finding) for result in record.results for finding in result.findings]
    return tuple(sorted(pairs, key=lambda pair: -SEVERITIES.index(pair[1].severity)))


def judged(record: AuditRecord, finding: Finding) -> Verdict:
    """What the policy makes of a finding of this severity."""
    rules, rank = record.policy.findings, SEVERITIES.index(finding.severity)
    if rank >= SEVERITIES.index(rules.block_at):
        return "block"
    return "review" if rank >= SEVERITIES.index(rules.review_at) else "approve"


def numbers(rule: RuleOutcome, measured: Mapping[str, Measurement]) -> dict[str, Any]:
    """What a rule said and saw, unrounded and in the metric's own unit; what it did not see is left out."""
    m = measured.get(rule.metric or "")
    said: dict[str, Any] = {"outcome": rule.outcome, "verdict": rule.verdict, "metric": rule.metric}
    if rule.effect is not None:
        said["effect"] = _finite(rule.effect)
        if m is not None:
            said |= {"unit": brief(m.unit, 60), "before": m.before, "after": m.after, "n": m.n, "clusters": m.clusters}
    if rule.interval is not None:
        said |= {"low": rule.interval.low, "high": rule.interval.high, "level": rule.interval.level}
    said |= {"limit": _finite(rule.limit), "power": _finite(rule.power), "further_items": rule.further_items}
    if said["metric"] is not None:
        said["metric"] = identifier(said["metric"])
    return {key: value for key, value in said.items() if value is not None}


def told(rule: RuleOutcome) -> str:
    """A rule as one line of plain text: what became of it, and its sentence with the numbers."""
    return f"{summary.outcome_word(rule)}: {inline(rule.message, 600)}"


def identity(record: AuditRecord, *parts: str) -> str:
    """A UUID of version 5 for a part of the report of this record."""
    return str(uuid.uuid5(NAMESPACE, "\n".join((sha256_hex(canonical(record)), *parts))))


def summed_up(result: ProbeResult) -> str:
    """A probe's state in words."""
    return f"{result.status}. {inline(result.reason, 600)}" if result.reason else f"{result.status}."


def _distinct(pairs: Sequence[tuple[str, T]]) -> list[tuple[str, T]]:
    taken: set[str] = set()
    out = []
    for name, thing in pairs:
        unique, count = name, 1
        while unique in taken:
            count += 1
            unique = f"{name} ({count})"
        taken.add(unique)
        out.append((unique, thing))
    return out


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _short(text: str) -> str:
    return sha256_hex(text.encode("utf-8", "surrogatepass"))[:12]
