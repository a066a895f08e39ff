"""The report as OSCAL assessment results (NIST, version 1.2.1), for governance tools.

Each measurement and each finding of a probe is an observation; each rule of the policy is a finding whose objective is
satisfied or not. A rule that stayed open is not satisfied, for the reason "other". Every identifier is a UUID of
version 5 made from the record, so that the same audit always gives the same document.
"""

from __future__ import annotations

import re
from typing import Any

from weightgate.lineage.canonical import digest, sha256_hex
from weightgate.policies.decision import RuleOutcome
from weightgate.probes.evidence import Measurement
from weightgate.reports import summary
from weightgate.reports.interchange import (
    HOME,
    as_json,
    evidence_path,
    found,
    identifier,
    identity,
    moment,
    named_rules,
    numbers,
    told,
)
from weightgate.reports.record import AuditRecord
from weightgate.reports.visible import brief, inline

OSCAL_VERSION = "1.2.1"
_TOKEN = re.compile(r"[A-Za-z_][A-Za-z0-9._-]*")
_STATES = {"pass": "pass", "fail": "fail", "inconclusive": "other", "missing": "other"}


def render_oscal(record: AuditRecord) -> str:
    """The report as one ``assessment-results`` document with one result."""
    when = moment(record)
    document = {
        "uuid": identity(record, "oscal"),
        "metadata": {
            "title": _line(f"Audit of the update to {brief(record.changeset.child.name, 100)}"),
            "last-modified": when,
            "version": digest(record)[:16],
            "oscal-version": OSCAL_VERSION,
            "remarks": summary.CAVEAT,
        },
        "import-ap": {"href": "record.json", "remarks": "The policy in the record is the plan of this assessment."},
        "results": [_result(record, when)],
    }
    return as_json({"assessment-results": document})


def _result(record: AuditRecord, when: str) -> dict[str, Any]:
    observations = [*_measurements(record, when), *_findings(record, when)]
    result: dict[str, Any] = {
        "uuid": identity(record, "oscal", "result"),
        "title": summary.VERDICTS[record.decision.verdict],
        "description": summary.reason(record),
        "start": when,
        "props": _properties(
            {
                "verdict": record.decision.verdict,
                "policy": identifier(record.policy.name),
                "policy-sha256": brief(record.decision.policy_digest, 64),
                "record-sha256": digest(record),
                "parent": brief(record.changeset.parent.root, 64),
                "child": brief(record.changeset.child.root, 64),
            }
        ),
        "reviewed-controls": {"control-selections": [{"include-all": {}}]},
        "findings": [_rule(record, name, rule) for name, rule in named_rules(record)],
    }
    return result | ({"observations": observations} if observations else {})


def _measurements(record: AuditRecord, when: str) -> list[dict[str, Any]]:
    out = []
    for result in record.results:
        for m in result.measurements:
            seen = {
                "effect": m.effect,
                "low": m.interval.low,
                "high": m.interval.high,
                "level": m.interval.level,
                "before": m.before,
                "after": m.after,
                "n": m.n,
                "unit": brief(m.unit, 60),
            }
            text = f"{inline(m.title, 200)}: {summary.change(m)} {inline(m.unit, 60)}"
            out.append(_observation(record, _key(m), result.probe, text, when) | {"props": _properties(seen)})
    return out


def _findings(record: AuditRecord, when: str) -> list[dict[str, Any]]:
    out = []
    for number, (probe, finding) in enumerate(found(record)):
        text = f"{inline(finding.title, 200)}. Seen in {inline(finding.where, 120)}. {inline(finding.detail, 600)}"
        seen = {"severity": finding.severity, "rule": identifier(finding.rule)}
        out.append(_observation(record, f"finding {number}", probe, text, when) | {"props": _properties(seen)})
    return out


def _observation(record: AuditRecord, key: str, probe: str, text: str, when: str) -> dict[str, Any]:
    return {
        "uuid": identity(record, "oscal", "observation", key),
        "description": text,
        "methods": ["TEST"],
        "relevant-evidence": [{"href": evidence_path(probe), "description": f"What {identifier(probe)} recorded."}],
        "collected": when,
    }


def _rule(record: AuditRecord, name: str, rule: RuleOutcome) -> dict[str, Any]:
    measured = summary.measurements(record)
    satisfied = rule.verdict == "approve"
    m = measured.get(rule.metric or "")
    finding: dict[str, Any] = {
        "uuid": identity(record, "oscal", "finding", name),
        "title": _line(brief(summary.title(rule, m), 200)),
        "description": told(rule),
        "props": _properties({"rule": name} | numbers(rule, measured)),
        "target": {
            "type": "objective-id",
            "target-id": token(name),
            "status": {
                "state": "satisfied" if satisfied else "not-satisfied",
                "reason": "pass" if satisfied and rule.outcome == "pass" else _STATES[rule.outcome],
            },
        },
    }
    if m is not None:
        finding["related-observations"] = [{"observation-uuid": identity(record, "oscal", "observation", _key(m))}]
    return finding


def token(name: str) -> str:
    """A name as OSCAL's token: letters, digits, '.', '-' and '_'; names that need more changes are told apart."""
    plain = name.replace("/", ".")
    if _TOKEN.fullmatch(plain):
        return plain
    return f"rule-{sha256_hex(name.encode('utf-8', 'surrogatepass'))[:16]}"


def _key(m: Measurement) -> str:
    return f"measurement {m.metric}"


def _properties(values: dict[str, Any]) -> list[dict[str, str]]:
    """OSCAL values are lines of text without blanks around them; numbers are written so that they read back equal."""
    return [
        {
            "name": key.replace("_", "-"),
            "ns": f"{HOME}/ns/oscal",
            "value": repr(v) if isinstance(v, float) else _line(str(v)),
        }
        for key, v in values.items()
        if v is not None
    ]


def _line(text: str) -> str:
    return " ".join(text.split()) or "none"
