"""SARIF, JUnit and GitLab Code Quality: shaped as their readers ask, and severe where the policy is."""

from __future__ import annotations

import json
import re
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weightgate.policies.decision import RuleOutcome
from weightgate.probes.evidence import Finding
from weightgate.reports import summary
from weightgate.reports.gitlab import render_gitlab
from weightgate.reports.interchange import named_rules
from weightgate.reports.junit import render_junit
from weightgate.reports.record import AuditRecord
from weightgate.reports.sarif import MOST_RESULTS, render_sarif

URI = re.compile(r"[A-Za-z0-9._~%/-]+")


def run_of(record: AuditRecord) -> dict[str, Any]:
    (run,) = json.loads(render_sarif(record))["runs"]
    assert isinstance(run, dict)
    return run


def with_rule(record: AuditRecord, text: str) -> AuditRecord:
    """The record with one more rule that blocks and one more finding, both named by a text."""
    rule = RuleOutcome(rule=text, outcome="fail", verdict="block", message=text, metric=text, remedy=text)
    finding = Finding(rule=text, severity="low", title=text, detail=text, where=text)
    first = record.results[0]
    results = (first.model_copy(update={"findings": (finding, finding)}), *record.results[1:])
    rules = (*record.decision.rules, rule)
    return record.model_copy(
        update={"results": results, "decision": record.decision.model_copy(update={"rules": rules})}
    )


def test_sarif_has_what_code_scanning_asks_for(record: AuditRecord) -> None:
    """Every result names a described rule, a relative URI, a line, a message and unique fingerprints."""
    run = run_of(record)
    rules = run["tool"]["driver"]["rules"]
    assert len({rule["id"] for rule in rules}) == len(rules)
    for rule in rules:
        assert re.fullmatch("[A-Z][A-Za-z0-9]*", rule["name"])
        assert rule["name"].lower() != rule["id"].lower()
        for key in ("shortDescription", "fullDescription", "help"):
            assert 0 < len(rule[key]["text"]) <= 1024
        assert len(rule["properties"]["tags"]) <= 10
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert 0 < len(result["message"]["text"]) <= 1024
        (location,) = result["locations"]
        uri = location["physicalLocation"]["artifactLocation"]["uri"]
        assert URI.fullmatch(uri)
        assert not uri.startswith("/")
        assert ".." not in uri.split("/")
        assert location["physicalLocation"]["region"]["startLine"] == 1
    prints = [result["partialFingerprints"]["weightgate/v1"] for result in run["results"]]
    assert len(set(prints)) == len(prints)


def test_sarif_lists_what_does_not_hold(record: AuditRecord) -> None:
    """One result for each rule that stands in the way and for each finding: errors block, warnings ask for review."""
    results = run_of(record)["results"]
    concerns, found = summary.concerns(record), summary.findings(record)
    assert len(results) == len(concerns) + len(found)
    levels = [result["level"] for result in results[: len(concerns)]]
    assert levels == [{"block": "error", "review": "warning"}[rule.verdict] for rule in concerns]
    assert not any("suppressions" in result for result in results)


def test_sarif_levels_of_findings_follow_the_policy(records: dict[str, AuditRecord]) -> None:
    """A finding is an error from the severity at which this policy blocks, a warning where it asks for review."""
    results = [r for r in run_of(records["block"])["results"] if r["ruleId"].startswith("finding/")]
    assert [(r["properties"]["weightgate"]["severity"], r["level"]) for r in results] == [
        (f.severity, {"critical": "error", "high": "error", "medium": "warning", "info": "note"}[f.severity])
        for f in summary.findings(records["block"])
    ]


def test_sarif_alerts_stay_the_same_when_only_numbers_move(builders: Any) -> None:
    """A fingerprint says what was found: another effect on the next run is the same alert, not a new one."""
    one = builders.blocked()
    probe = builders.refusal(rate=-0.43, lost=12, margin=-1.4)
    other = builders.record((probe.model_copy(update={"findings": one.results[0].findings}), *one.results[1:]))

    def prints(record: AuditRecord) -> set[str]:
        return {r["partialFingerprints"]["primaryLocationLineHash"] for r in run_of(record)["results"]}

    assert prints(one) == prints(other)
    assert render_sarif(one) != render_sarif(other)
    assert {e["fingerprint"] for e in json.loads(render_gitlab(one))} == {
        e["fingerprint"] for e in json.loads(render_gitlab(other))
    }


def test_sarif_stays_within_the_limits_of_code_scanning(records: dict[str, AuditRecord]) -> None:
    """Beyond 5,000 results the severest are kept, and the log says how many are not in it."""
    finding = Finding(rule="a.probe/x", severity="low", title="t", detail="d" * 5000, where="row")
    record = records["block"]
    first = record.results[0].model_copy(update={"findings": (*record.results[0].findings, *[finding] * 6000)})
    text = render_sarif(record.model_copy(update={"results": (first, *record.results[1:])}))
    (run,) = json.loads(text)["runs"]
    assert len(run["results"]) == MOST_RESULTS
    assert run["results"][0]["level"] == "error"
    said = run["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"]
    beyond = len(summary.concerns(record)) + len(summary.findings(record)) + 6000 - MOST_RESULTS
    assert said == f"{beyond} more results are in record.json"
    assert len(text) < 10_000_000


def test_sarif_messages_hold_no_links(records: dict[str, AuditRecord]) -> None:
    """SARIF reads [text](target) in a message as a link and {0} as a placeholder: foreign text makes neither."""
    for result in run_of(records["hostile"])["results"]:
        assert not re.search(r"\]\(|\{\d", result["message"]["text"])


def suite_of(record: AuditRecord) -> ET.Element:
    """The suite, after the checks of the strict schema (Apache Ant) that the other (Jenkins xUnit) contains."""
    root = ET.fromstring(render_junit(record))  # noqa: S314 - our own
    assert (root.tag, root.attrib, [child.tag for child in root]) == ("testsuites", {}, ["testsuite"])
    suite = root[0]
    tags = [child.tag for child in suite]
    assert tags == ["properties", *["testcase"] * (len(tags) - 3), "system-out", "system-err"]
    needed = {"name", "package", "id", "hostname", "timestamp", "tests", "failures", "errors", "skipped", "time"}
    assert set(suite.attrib) == needed
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.attrib["timestamp"])
    for element in suite.iter():
        if "time" in element.attrib:
            assert re.fullmatch(r"\d+\.\d{3}", element.attrib["time"])
        if element.tag == "testcase":
            assert set(element.attrib) == {"name", "classname", "time"}
            assert [child.tag for child in element] in ([], ["failure"], ["error"], ["skipped"])
            assert element.attrib["name"].strip()
        if element.tag == "property":
            assert set(element.attrib) == {"name", "value"}
            assert element.attrib["name"].strip()
        if element.tag in {"failure", "error"}:
            assert set(element.attrib) == {"message", "type"}
    return suite


def test_junit_has_one_case_for_each_rule(record: AuditRecord) -> None:
    """Blocking rules are failures, rules for review errors, excused ones skipped, and the counts are right."""
    suite = suite_of(record)
    cases = suite.findall("testcase")
    assert len(cases) == len(named_rules(record)) == int(suite.attrib["tests"])
    assert len({(case.get("classname"), case.get("name")) for case in cases}) == len(cases)
    for case, rule in zip(cases, record.decision.rules, strict=True):
        held = {"pass": "", "missing": "skipped"}[rule.outcome] if rule.verdict == "approve" else ""
        wanted = {"block": "failure", "review": "error", "approve": held}[rule.verdict]
        assert [child.tag for child in case] == ([wanted] if wanted else [])
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        assert int(suite.attrib[attribute]) == len(list(suite.iter(tag)))


def test_junit_time_is_what_the_probes_took(records: dict[str, AuditRecord]) -> None:
    """The case of a required probe carries its seconds, the suite their sum; records without costs say 0."""
    record = records["approve"]
    suite = suite_of(record)
    assert suite.find("testcase[@name='alignment.refusal']").get("time") == "4.200"  # type: ignore[union-attr]
    times = [float(case.get("time", "")) for case in suite.findall("testcase")]
    assert float(suite.attrib["time"]) == pytest.approx(sum(times))
    assert suite_of(record.model_copy(update={"costs": ()})).attrib["time"] == "0.000"


def test_gitlab_entries_have_the_five_fields(record: AuditRecord) -> None:
    """Description, check, unique fingerprint, severity and a relative path with a line; empty on approval."""
    entries = json.loads(render_gitlab(record))
    assert len(entries) == len(summary.concerns(record)) + len(summary.findings(record))
    for entry in entries:
        assert set(entry) == {"description", "check_name", "fingerprint", "severity", "location"}
        assert entry["severity"] in {"info", "minor", "major", "critical", "blocker"}
        assert entry["description"].strip()
        assert URI.fullmatch(entry["location"]["path"])
        assert entry["location"]["lines"] == {"begin": 1}
    assert len({entry["fingerprint"] for entry in entries}) == len(entries)
    assert any(entry["severity"] == "blocker" for entry in entries) == (record.decision.verdict == "block")


@given(
    text=st.text(max_size=80) | st.text(alphabet="\x00\x1b\x7f\x9b\u202e\ufffe\ud7ff<>&\"'[](){}0\n\t ]", max_size=40)
)
@settings(max_examples=60)
def test_any_text_leaves_them_valid(records: dict[str, AuditRecord], text: str) -> None:
    """Whatever a rule, a probe or a finding is called: XML that parses, JSON that parses, names that are not empty."""
    record = with_rule(records["approve"], text)
    test_sarif_has_what_code_scanning_asks_for(record)
    test_junit_has_one_case_for_each_rule(record)
    entries = json.loads(render_gitlab(record))
    assert len({entry["fingerprint"] for entry in entries}) == len(entries) == 3
