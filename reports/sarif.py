"""The report as SARIF 2.1.0, for code scanning: each rule that does not hold and each finding is one result.

What GitHub asks of a SARIF file beyond the standard (descriptions and help of every rule, relative URIs, fingerprints,
its limits) is in https://docs.github.com/en/code-security/reference/code-scanning/sarif-files/sarif-support.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from weightgate.lineage.canonical import digest, sha256_hex
from weightgate.policies.decision import Verdict
from weightgate.probes.evidence import Finding, Severity
from weightgate.reports import summary
from weightgate.reports.interchange import (
    HOME,
    as_json,
    evidence_path,
    found,
    identifier,
    judged,
    moment,
    named_rules,
    numbers,
    place,
    rule_name,
    told,
)
from weightgate.reports.markdown import words
from weightgate.reports.record import AuditRecord
from weightgate.reports.visible import brief, inline

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
MOST_RESULTS = 5000
"""GitHub keeps the first 5,000 results of a run."""
MOST_TEXT = 1000
_LEVELS: dict[Verdict, str] = {"block": "error", "review": "warning", "approve": "note"}
_SECURITY: dict[Severity, str] = {"critical": "9.5", "high": "8.0", "medium": "5.5", "low": "2.0", "info": "0.1"}
"""Middles of the bands by which GitHub names a score."""
_ABOUT = {
    "evidence": "The evidence is complete, well formed and consistent.",
    "require": "The policy requires this probe: without it an update is not approved.",
    "budget": "The whole confidence interval of this change must lie inside the policy's limit.",
    "findings": "No finding may reach the severities at which the policy blocks or asks for review.",
}
_READ_AS_MARKUP = re.compile(r"(?<=\])(?=\()|(?<=\{)(?=\d)")


def render_sarif(record: AuditRecord) -> str:
    """The report as a SARIF log with one run; results in order of concern, at most `MOST_RESULTS`."""
    results = [*_rules(record), *_findings(record)]
    descriptors = _descriptors(record, results[:MOST_RESULTS])
    places = {descriptor["id"]: i for i, descriptor in enumerate(descriptors)}
    for result in results[:MOST_RESULTS]:
        result["ruleIndex"] = places[result["ruleId"]]
    run = {
        "tool": {"driver": _driver(record, descriptors)},
        "automationDetails": {"id": f"weightgate/{brief(record.policy.name, 60)}/"},
        "invocations": [_invocation(record, len(results))],
        "columnKind": "unicodeCodePoints",
        "results": results[:MOST_RESULTS],
        "properties": _properties(record),
    }
    return as_json({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]})


def _driver(record: AuditRecord, descriptors: list[dict[str, Any]]) -> dict[str, Any]:
    _, _, version = record.tool.rpartition(" ")
    driver = {"name": "weightgate", "version": brief(version, 60) or "unknown", "informationUri": HOME}
    return driver | {"rules": descriptors}


def _invocation(record: AuditRecord, results: int) -> dict[str, Any]:
    told_off = [
        f"{results - MOST_RESULTS} more results are in record.json" if results > MOST_RESULTS else "",
        *(f"{inline(r.probe, 100)}: {inline(r.reason, 400)}" for r in record.results if r.status == "failed"),
    ]
    notes = [{"level": "warning", "message": {"text": _plain(text)}} for text in told_off if text]
    return {
        "executionSuccessful": True,
        "endTimeUtc": moment(record),
        "exitCode": summary.EXIT_CODES[record.decision.verdict],
        "toolExecutionNotifications": notes[:MOST_RESULTS],
    }


def _properties(record: AuditRecord) -> dict[str, Any]:
    """What SARIF has no place for: the verdict, and the numbers of every rule, also of those that hold."""
    measured = summary.measurements(record)
    return {
        "weightgate": {
            "verdict": record.decision.verdict,
            "policy": identifier(record.policy.name),
            "policySha256": record.decision.policy_digest,
            "recordSha256": digest(record),
            "parent": record.changeset.parent.root,
            "child": record.changeset.child.root,
            "rules": {name: numbers(rule, measured) for name, rule in named_rules(record)},
        }
    }


def _rules(record: AuditRecord) -> list[dict[str, Any]]:
    measured, seen = summary.measurements(record), Counter[str]()
    out = []
    for rule in summary.concerns(record):
        name = rule_name(rule)
        seen[name] += 1
        text = f"{told(rule)}{f' To settle it: {inline(rule.remedy, 200)}.' if rule.remedy else ''}"
        spot = _place(place(record, rule), rule.metric or rule.rule)
        result = _result(name, rule.verdict, text, spot) | _fingerprints(name, str(seen[name]))
        out.append(result | {"properties": {"weightgate": numbers(rule, measured)}})
    return out


def _findings(record: AuditRecord) -> list[dict[str, Any]]:
    out, seen = [], Counter[str]()
    for probe, finding in found(record):
        key = f"{finding.rule}\n{finding.where}"
        seen[key] += 1
        text = f"{inline(finding.title, 200)}. {inline(finding.detail, 600)}"
        verdict, name = judged(record, finding), _finding_id(finding)
        result = _result(name, verdict, text, _place(evidence_path(probe), finding.where))
        result |= _fingerprints(name, f"{key}\n{seen[key]}")
        out.append(result | {"properties": {"weightgate": {"severity": finding.severity, "verdict": verdict}}})
    return out


def _result(name: str, verdict: Verdict, text: str, spot: dict[str, Any]) -> dict[str, Any]:
    return {"ruleId": name, "level": _LEVELS[verdict], "message": {"text": _plain(text)}, "locations": [spot]}


def _place(uri: str, where: str) -> dict[str, Any]:
    return {
        "physicalLocation": {"artifactLocation": {"uri": uri}, "region": {"startLine": 1}},
        "logicalLocations": [{"fullyQualifiedName": inline(where, 200) or "unknown"}],
    }


def _fingerprints(name: str, told_apart: str) -> dict[str, Any]:
    """GitHub matches alerts by the first; there are no lines here, so both say what was found, not where it stands."""
    fingerprint = sha256_hex(f"{name}\n{told_apart}".encode("utf-8", "surrogatepass"))
    return {"partialFingerprints": {"primaryLocationLineHash": f"{fingerprint[:16]}:1", "weightgate/v1": fingerprint}}


def _descriptors(record: AuditRecord, results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every rule of the policy, then the kinds of findings that were seen."""
    out: dict[str, dict[str, Any]] = {}
    why = {f"budget: {budget.metric}": budget.why for budget in record.policy.budgets}
    measured = summary.measurements(record)
    for rule in record.decision.rules:
        name, title = rule_name(rule), brief(summary.title(rule, measured.get(rule.metric or "")), 200)
        about = _ABOUT.get(rule.rule.partition(":")[0], "A rule of the policy.")
        reason = inline(why.get(rule.rule, ""), 600)
        out.setdefault(name, _descriptor(name, title, f"{about} {reason}".strip(), ["policy"]))
    worst: dict[str, Finding] = {}
    for _, finding in found(record):
        worst.setdefault(_finding_id(finding), finding)
    wanted = {result["ruleId"] for result in results}
    for name, finding in worst.items():
        if name in wanted and name not in out:
            about = f"Found by {identifier(finding.rule.partition('/')[0] or 'a probe')}; severity {finding.severity}."
            descriptor = _descriptor(name, brief(finding.rule, 200), about, ["finding", "security"])
            descriptor["properties"]["security-severity"] = _SECURITY[finding.severity]
            out[name] = descriptor
    return list(out.values())


def _descriptor(name: str, title: str, about: str, tags: list[str]) -> dict[str, Any]:
    advice = "See report.html of the run for what was measured, and docs/probes.md for what the probe cannot see."
    return {
        "id": name,
        "name": _pascal(name),
        "shortDescription": {"text": _plain(title) or "A rule of the policy"},
        "fullDescription": {"text": _plain(about)},
        "help": {"text": _plain(f"{about} {advice}"), "markdown": f"{words(about, MOST_TEXT)} {advice}"},
        "defaultConfiguration": {"level": "error"},
        "properties": {"tags": tags, "precision": "high"},
    }


def _finding_id(finding: Finding) -> str:
    """Findings are named apart from the policy's rules whatever their probe calls them."""
    return f"finding/{identifier(finding.rule)}"


def _pascal(name: str) -> str:
    parts = re.split("[^A-Za-z0-9]+", name)
    joined = "".join(part[:1].upper() + part[1:] for part in parts)[:200]
    if not joined[:1].isalpha():
        return f"Rule{joined}"
    return joined if joined.lower() != name.lower() else f"{joined}Rule"  # SARIF wants a name to add to the identifier


def _plain(text: str) -> str:
    """A message in which no link and no placeholder can be read; hidden characters were made visible before."""
    kept = text if len(text) <= MOST_TEXT else f"{text[: MOST_TEXT - 1]}…"
    return _READ_AS_MARKUP.sub("\N{WORD JOINER}", kept)
