"""The report as JUnit XML: one suite, one test case a rule of the policy, for CI servers that show test results.

Written to satisfy both schemas in common use: the strict one of the Apache Ant tasks and the one of Jenkins' xUnit
plugin. A rule that blocks is a failure. A rule that asks for review is an error, JUnit's word for a test that could not
be decided, since no server has a third colour: both turn the build red. An excused rule is skipped.
"""

from __future__ import annotations

import math
from typing import Any
from xml.etree import ElementTree as ET

from weightgate.lineage.canonical import digest
from weightgate.policies.decision import RuleOutcome
from weightgate.reports import summary
from weightgate.reports.interchange import moment, named_rules, numbers, told
from weightgate.reports.record import AuditRecord
from weightgate.reports.visible import block, brief, inline

_ELEMENTS = {"block": "failure", "review": "error", "approve": "skipped"}


def render_junit(record: AuditRecord) -> str:
    """The report as one ``testsuites`` document; the numbers of every rule are properties of the suite."""
    rules = named_rules(record)
    seconds = {f"require: {cost.probe}": cost.seconds for cost in record.costs if math.isfinite(cost.seconds)}
    states = [_state(rule) for _, rule in rules]
    root = ET.Element("testsuites")
    suite = ET.SubElement(
        root,
        "testsuite",
        {
            "name": f"weightgate {brief(record.policy.name, 60)}",
            "package": "weightgate",
            "id": "0",
            "hostname": "localhost",  # the schema's word for a host that is not told; a record names none
            "timestamp": moment(record).removesuffix("Z"),
            "tests": str(len(rules)),
            "failures": str(states.count("failure")),
            "errors": str(states.count("error")),
            "skipped": str(states.count("skipped")),
            "time": _seconds(sum(seconds.get(rule.rule, 0.0) for _, rule in rules)),
        },
    )
    properties = ET.SubElement(suite, "properties")
    for name, value in _properties(record, rules):
        ET.SubElement(properties, "property", {"name": name, "value": value})
    for (name, rule), state in zip(rules, states, strict=True):
        suite.append(_case(record, name, rule, state, seconds.get(rule.rule, 0.0)))
    ET.SubElement(suite, "system-out").text = block(summary.reason(record), 4000)
    ET.SubElement(suite, "system-err").text = ""
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _state(rule: RuleOutcome) -> str:
    return "" if rule.outcome == "pass" and rule.verdict == "approve" else _ELEMENTS[rule.verdict]


def _case(record: AuditRecord, name: str, rule: RuleOutcome, state: str, seconds: float) -> ET.Element:
    kind, _, rest = name.partition("/")
    attributes = {"name": rest or kind, "classname": f"weightgate.{kind}", "time": _seconds(seconds)}
    case = ET.Element("testcase", attributes)
    if not state:
        return case
    text = told(rule)
    child = ET.SubElement(case, state, {"message": brief(text, 400)})
    if state != "skipped":
        child.set("type", f"{rule.verdict}.{rule.outcome}")
        lines = [f"{key}: {_text(value)}" for key, value in numbers(rule, summary.measurements(record)).items()]
        advice = [f"To settle it: {inline(rule.remedy, 300)}."] if rule.remedy else []
        child.text = "\n".join([text, *lines, *advice])
    return case


def _properties(record: AuditRecord, rules: tuple[tuple[str, RuleOutcome], ...]) -> list[tuple[str, str]]:
    measured = summary.measurements(record)
    head = [
        ("weightgate:verdict", record.decision.verdict),
        ("weightgate:policy", brief(record.policy.name, 60)),
        ("weightgate:policySha256", brief(record.decision.policy_digest, 64)),
        ("weightgate:recordSha256", digest(record)),
        ("weightgate:parent", brief(record.changeset.parent.root, 64)),
        ("weightgate:child", brief(record.changeset.child.root, 64)),
    ]
    told_all = [
        (f"{name}:{key}", _text(value)) for name, rule in rules for key, value in numbers(rule, measured).items()
    ]
    return head + told_all


def _text(value: Any) -> str:
    """A number so that reading it gives the same number."""
    return repr(value) if isinstance(value, float) else str(value)


def _seconds(value: float) -> str:
    return f"{value:.3f}"
