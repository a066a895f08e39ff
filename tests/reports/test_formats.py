"""All formats: the same numbers in each, the same bytes on every run, and valid whatever the record quotes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args
from xml.etree import ElementTree as ET

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from weightgate.audit.cli.report import Format
from weightgate.lineage.errors import InputError
from weightgate.policies.quantity import signed
from weightgate.reports import summary
from weightgate.reports.formats import FORMATS, render
from weightgate.reports.interchange import identifier, named_rules
from weightgate.reports.json_report import read_record, record_bytes
from weightgate.reports.record import AuditRecord

ROOT = Path(__file__).parents[2]
Said = dict[str, dict[str, Any]]
KEYS = ("outcome", "verdict", "effect", "low", "high", "level", "limit")


def expected(record: AuditRecord) -> Said:
    """What record.json says of every rule."""
    rules = json.loads(record_bytes(record))["decision"]["rules"]
    out = {}
    for (name, _), rule in zip(named_rules(record), rules, strict=True):
        flat = rule | (rule["interval"] or {})
        out[name] = {key: flat[key] for key in KEYS if flat.get(key) is not None}
    return out


def from_json(text: str) -> tuple[str, Said]:
    record = AuditRecord.model_validate_json(text)
    return record.decision.verdict, expected(record)


def from_sarif(text: str) -> tuple[str, Said]:
    said = json.loads(text)["runs"][0]["properties"]["weightgate"]
    return said["verdict"], said["rules"]


def from_junit(text: str) -> tuple[str, Said]:
    verdict, rules = "", {}
    for prop in ET.fromstring(text).iter("property"):  # noqa: S314 - our own
        name, _, key = prop.get("name", "").rpartition(":")
        value = prop.get("value", "")
        if (name, key) == ("weightgate", "verdict"):
            verdict = value
        elif name != "weightgate":
            rules.setdefault(name, {})[key] = value if key in {"outcome", "verdict", "metric", "unit"} else float(value)
    return verdict, rules


def from_test_result(text: str) -> tuple[str, Said]:
    statement = json.loads(text)
    said = statement["subject"][0]["annotations"]["weightgate"]
    for verdict, key in (("approve", "passedTests"), ("review", "warnedTests"), ("block", "failedTests")):
        assert statement["predicate"][key] == [n for n, rule in said["rules"].items() if rule["verdict"] == verdict]
    return said["verdict"], said["rules"]


def typed(key: str, value: str) -> Any:
    return value if key in {"outcome", "verdict", "metric", "unit"} else float(value)


def from_cyclonedx(text: str) -> tuple[str, Said]:
    component = json.loads(text)["metadata"]["component"]
    values = {p["name"]: p["value"] for p in component["properties"]}
    rules: Said = {}
    for name, value in values.items():
        if name.startswith("weightgate:rule:"):
            rule, _, key = name.removeprefix("weightgate:rule:").rpartition(":")
            rules.setdefault(rule, {})[key] = typed(key, value)
    metrics = [m for m in component["modelCard"]["quantitativeAnalysis"]["performanceMetrics"] if len(m) == 4]
    seen = {m["type"].rpartition(" (")[0]: m for m in metrics}
    for rule in rules.values():
        if "effect" in rule:
            interval = seen[rule["metric"]]["confidenceInterval"]
            assert float(seen[rule["metric"]]["value"]) == rule["effect"]
            assert (float(interval["lowerBound"]), float(interval["upperBound"])) == (rule["low"], rule["high"])
    return values["weightgate:verdict"], rules


def from_oscal(text: str) -> tuple[str, Said]:
    (result,) = json.loads(text)["assessment-results"]["results"]
    rules: Said = {}
    observations = {o["uuid"]: {p["name"]: p["value"] for p in o["props"]} for o in result["observations"]}
    for finding in result["findings"]:
        values = {p["name"]: p["value"] for p in finding["props"]}
        name = values.pop("rule")
        rules[name] = {key: typed(key, value) for key, value in values.items()}
        assert (finding["target"]["status"]["state"] == "satisfied") == (values["verdict"] == "approve")
        for related in finding.get("related-observations", []):
            seen = observations[related["observation-uuid"]]
            assert [seen[key] for key in ("effect", "low", "high")] == [
                values[key] for key in ("effect", "low", "high")
            ]
    return next(p["value"] for p in result["props"] if p["name"] == "verdict"), rules


def from_model_card(text: str) -> tuple[str, Said]:
    data = yaml.safe_load(text.split("---\n")[1])
    metrics = {r["metrics"][0]["type"]: r["metrics"][0] for r in data["model-index"][0]["results"]}
    for rule in data["weightgate"]["rules"].values():
        if "effect" in rule:
            metric = metrics[rule["metric"]]
            said = (metric["value"], metric["args"]["low"], metric["args"]["high"])
            assert said == (rule["effect"], rule["low"], rule["high"])
    return data["weightgate"]["verdict"], data["weightgate"]["rules"]


EXTRACT: dict[str, Callable[[str], tuple[str, Said]]] = {
    "json": from_json,
    "sarif": from_sarif,
    "junit": from_junit,
    "cyclonedx": from_cyclonedx,
    "cyclonedx-1.7": from_cyclonedx,
    "oscal": from_oscal,
    "test-result": from_test_result,
    "modelcard": from_model_card,
}
WITHOUT_NUMBERS = {"vsa"}
WITHOUT_TIME = {"gitlab", "test-result", "modelcard"}
FOR_PEOPLE = {"html", "md", "gitlab"}
"""Formats that give numbers as people read them, rounded."""


def test_every_format_is_covered_here_and_on_the_command_line() -> None:
    """A format that is added is in the cross-check of numbers, and `--format` takes it."""
    assert set(FORMATS) == set(EXTRACT) | FOR_PEOPLE | WITHOUT_NUMBERS
    assert set(get_args(Format)) == set(FORMATS)
    assert len({f.file for f in FORMATS.values()}) == len(FORMATS)


@pytest.mark.parametrize("name", EXTRACT)
def test_every_format_says_the_numbers_of_the_record(record: AuditRecord, name: str) -> None:
    """Verdict, and of every rule outcome, effect, interval, level and limit: equal, not just close."""
    verdict, rules = EXTRACT[name](render(record, name))
    assert verdict == record.decision.verdict
    wanted = expected(record)
    assert set(rules) == set(wanted)
    for rule, said in wanted.items():
        assert {key: rules[rule][key] for key in KEYS if key in rules[rule]} == said, rule


@pytest.mark.parametrize("name", sorted(FOR_PEOPLE))
@pytest.mark.parametrize("of", ["approve", "block", "review"])
def test_formats_for_people_round_the_same_numbers(records: dict[str, AuditRecord], of: str, name: str) -> None:
    """The change with its interval, and the limit, in the digits that every report rounds to."""
    record = records[of]
    text = re.sub(r"<[^>]+>|&#?\w+;", " ", render(record, name)) if name != "gitlab" else None
    measured = summary.measurements(record)
    for rule in record.decision.rules:
        if rule.effect is None or rule.limit is None:
            continue
        m = measured[rule.metric or ""]
        if text is not None:
            parts = re.findall(r"[^\s\[\],]+", summary.change(m)) if name == "html" else [summary.change(m)]
            assert all(part in text for part in parts), rule.rule
            assert signed(rule.limit, m.unit) in text
        elif rule.verdict != "approve":
            said = [entry["description"] for entry in json.loads(render(record, name))]
            assert any(rule.message in one and signed(rule.limit, m.unit) in one for one in said)


@pytest.mark.parametrize("name", FORMATS)
def test_a_record_renders_to_the_same_bytes(record: AuditRecord, name: str) -> None:
    """Also after it was written and read."""
    assert render(read_record(record_bytes(record)), name) == render(record, name)


def test_nothing_depends_on_the_process(records: dict[str, AuditRecord], tmp_path: Path) -> None:
    """Another process, with another hash seed, time zone and locale, writes the same bytes."""
    (tmp_path / "record.json").write_bytes(record_bytes(records["block"]))
    program = (
        "import sys, hashlib; from pathlib import Path; from weightgate.reports.json_report import read_record;"
        "from weightgate.reports.formats import FORMATS; r = read_record(Path(sys.argv[1]).read_bytes());"
        "[print(n, hashlib.sha256(f.render(r).encode()).hexdigest()) for n, f in FORMATS.items()]"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", program, tmp_path / "record.json"],
            env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "PYTHONHASHSEED": seed, "TZ": zone, "LC_ALL": "C"},
            check=True,
            capture_output=True,
        ).stdout
        for seed, zone in (("1", "Asia/Tokyo"), ("2", "America/Lima"))
    }
    assert len(said) == 1
    assert len(said.pop().splitlines()) == len(FORMATS)


@pytest.mark.parametrize("name", sorted(set(FORMATS) - {"json"}))
def test_no_control_character_is_left(record: AuditRecord, name: str) -> None:
    """What is printed to a terminal or parsed as XML holds no escape sequence, override or private character."""
    text = render(record, name)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200b\ufeff\ue000-\uf8ff]", text)


@pytest.mark.parametrize("name", sorted(set(FORMATS) - {"html", "md", "json"}))
@pytest.mark.parametrize("created", ["", "yesterday", "2026-13-01T00:00:00Z", "2026-11-20T09:21:07+01:00", "\x1b[0m"])
def test_a_record_without_a_time_is_refused(records: dict[str, AuditRecord], name: str, created: str) -> None:
    """No report makes a time up: one that says when the audit was refuses, and the others do not need it."""
    broken = records["approve"].model_copy(update={"created": created})
    if name in WITHOUT_TIME:
        assert created == "" or created not in render(broken, name)
        return
    with pytest.raises(InputError, match="RFC 3339"):
        render(broken, name)


@given(st.lists(st.text(max_size=300), min_size=2, max_size=6, unique=True))
@settings(max_examples=200)
def test_names_stay_apart(texts: list[str]) -> None:
    """Two names never become one, however long or odd; plain short ones stay as they are."""
    names = [identifier(text) for text in texts]
    assert len(set(names)) == len(texts)
    assert all(name.isprintable() and 0 < len(name) <= 160 for name in names)
    assert identifier("budget/alignment.refusal/margin_harmful") == "budget/alignment.refusal/margin_harmful"


def test_two_budgets_of_one_metric_are_told_apart(records: dict[str, AuditRecord]) -> None:
    """A metric may be bounded from both sides; no format loses one of the two rules."""
    record = records["block"]
    rules = record.decision.rules
    twice = record.model_copy(update={"decision": record.decision.model_copy(update={"rules": (*rules, *rules)})})
    for name, extract in EXTRACT.items():
        assert len(extract(render(twice, name))[1]) == 2 * len(rules), name
