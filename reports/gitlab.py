"""The report as a GitLab Code Quality artifact: one entry for each rule that does not hold and for each finding.

The fields are those of https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format. GitLab shows what
is new against the target branch, by fingerprint, so a fingerprint says what was found and holds no measured number.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from weightgate.lineage.canonical import sha256_hex
from weightgate.policies.decision import Verdict
from weightgate.probes.evidence import Severity
from weightgate.reports import summary
from weightgate.reports.interchange import as_json, evidence_path, found, identifier, place, rule_name, told
from weightgate.reports.record import AuditRecord
from weightgate.reports.visible import inline

_RULES: dict[Verdict, str] = {"block": "blocker", "review": "major", "approve": "info"}
_FINDINGS: dict[Severity, str] = {
    "critical": "blocker",
    "high": "critical",
    "medium": "major",
    "low": "minor",
    "info": "info",
}


def render_gitlab(record: AuditRecord) -> str:
    """The report as a JSON list of degradations, worst first; empty where nothing is the matter."""
    entries = [*_rules(record), *_findings(record)]
    seen: Counter[str] = Counter()
    for entry in entries:
        seen[entry["fingerprint"]] += 1
        alike = f"{entry['fingerprint']} {seen[entry['fingerprint']]}"
        entry["fingerprint"] = sha256_hex(alike.encode())  # GitLab drops all but the first of equal fingerprints
    return as_json(entries)


def _rules(record: AuditRecord) -> list[dict[str, Any]]:
    return [
        _entry(rule_name(rule), rule.metric or "", _RULES[rule.verdict], told(rule), place(record, rule))
        for rule in summary.concerns(record)
    ]


def _findings(record: AuditRecord) -> list[dict[str, Any]]:
    out = []
    for probe, finding in found(record):
        text = f"{inline(finding.title, 200)}. Seen in {inline(finding.where, 120)}. {inline(finding.detail, 400)}"
        name = f"finding/{identifier(finding.rule)}"
        out.append(_entry(name, finding.where, _FINDINGS[finding.severity], text, evidence_path(probe)))
    return out


def _entry(name: str, where: str, severity: str, text: str, path: str) -> dict[str, Any]:
    return {
        "description": text,
        "check_name": name,
        "fingerprint": sha256_hex(f"{name}\n{where}".encode("utf-8", "surrogatepass")),
        "severity": severity,
        "location": {"path": path, "lines": {"begin": 1}},
    }
