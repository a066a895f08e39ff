"""CycloneDX, OSCAL, in-toto and the model card: valid by their own rules, and each thing where its readers look."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from weightgate.lineage.canonical import canonical, digest, sha256_hex
from weightgate.lineage.errors import InputError
from weightgate.policies.decision import RuleOutcome
from weightgate.probes.evidence import Finding
from weightgate.reports.attestation import render_test_result, render_vsa
from weightgate.reports.cyclonedx import render_cyclonedx, render_cyclonedx_17
from weightgate.reports.formats import FORMATS
from weightgate.reports.interchange import evidence_files, named_rules
from weightgate.reports.model_card import END, START, render_model_card
from weightgate.reports.oscal import render_oscal, token
from weightgate.reports.record import AuditRecord
from weightgate.reports.statement import read_verdict, verdict_statement

SCHEMAS = Path(os.environ.get("WEIGHTGATE_SCHEMAS", "/nonexistent"))
"""Folder with the official schemas that are not ours to ship; docs/reports.md says which, and where they come from."""
official = pytest.mark.skipif(not SCHEMAS.is_dir(), reason="WEIGHTGATE_SCHEMAS names no folder with official schemas")
TEXTS = st.text(max_size=60) | st.text(alphabet="\x00\x1b\x7f\x9b\u202e\ufffe\ud7ff<>&\"'[]{}:#-0\n\t |%!", max_size=40)


def quoting(record: AuditRecord, text: str) -> AuditRecord:
    """The record with a text everywhere that a model, a data set or a probe can put one."""
    rule = RuleOutcome(rule=text, outcome="fail", verdict="block", message=text, metric=text, remedy=text)
    finding = Finding(rule=text, severity="low", title=text, detail=text, where=text)
    first = record.results[0]
    measurements = tuple(m.model_copy(update={"title": text, "unit": text}) for m in first.measurements)
    changed = {"findings": (finding,), "measurements": measurements, "limits": (text,), "probe": text}
    changeset = record.changeset
    named = {
        "intent": text,
        "child": changeset.child.model_copy(update={"name": text}),
        "parent": changeset.parent.model_copy(update={"name": text}),
        "inputs": tuple(d.model_copy(update={"name": text}) for d in changeset.inputs),
    }
    return record.model_copy(
        update={
            "tool": text,
            "results": (first.model_copy(update=changed), *record.results[1:]),
            "decision": record.decision.model_copy(update={"rules": (*record.decision.rules, rule)}),
            "policy": record.policy.model_copy(update={"name": text}),
            "changeset": changeset.model_copy(update=named),
        }
    )


def valid_bill(record: AuditRecord) -> dict[str, Any]:
    """The bill, after CycloneDX's own strict validator accepted it as 1.6 and as 1.7."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text = render_cyclonedx(record)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert JsonStrictValidator(SchemaVersion.V1_7).validate_str(render_cyclonedx_17(record)) is None
    document = json.loads(text)
    assert isinstance(document, dict)
    return document


def test_the_bill_names_parent_child_and_data(record: AuditRecord) -> None:
    """The child is the subject, the parent its ancestor, and every data set a component its card refers to."""
    document = valid_bill(record)
    child = document["metadata"]["component"]
    (parent,) = child["pedigree"]["ancestors"]
    assert (child["version"], parent["version"]) == (record.changeset.child.root, record.changeset.parent.root)
    refs = [component["bom-ref"] for component in document["components"]]
    assert [d["ref"] for d in child["modelCard"]["modelParameters"]["datasets"]] == refs
    assert [c["hashes"][0]["content"] for c in document["components"]] == [d.sha256 for d in record.changeset.inputs]
    everything = [*refs, child["bom-ref"], parent["bom-ref"]]
    assert len(set(everything)) == len(everything)


def test_a_bad_bill_would_be_noticed(records: dict[str, AuditRecord]) -> None:
    """The validator does look at the model card: a metric with a field of no meaning is refused."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    document = json.loads(render_cyclonedx(records["block"]))
    document["metadata"]["component"]["modelCard"]["quantitativeAnalysis"]["performanceMetrics"][0]["limit"] = "1"
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document)) is not None


def oscal_of(record: AuditRecord) -> dict[str, Any]:
    """The one result, after the rules of OSCAL's data types were checked throughout."""
    document = json.loads(render_oscal(record))["assessment-results"]
    uuids: list[str] = []

    def look(key: str, value: Any) -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                look(name, inner)
        elif isinstance(value, list):
            assert value, f"{key} is an empty list"
            for inner in value:
                look(key, inner)
        elif key == "uuid":
            assert re.fullmatch("[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", value)
            uuids.append(value)
        elif key in {"target-id", "name"}:
            assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9._-]*", value)
        elif key == "value":
            assert re.fullmatch(r"\S(.*\S)?", value)
        else:
            assert value.strip()

    look("", document)
    assert len(set(uuids)) == len(uuids)
    (result,) = document["results"]
    known = {observation["uuid"] for observation in result["observations"]}
    for finding in result["findings"]:
        assert {related["observation-uuid"] for related in finding.get("related-observations", [])} <= known
    assert isinstance(result, dict)
    return result


def test_oscal_has_a_finding_for_each_rule(record: AuditRecord) -> None:
    """Satisfied where the rule approves; open and unmeasured rules are not satisfied and say that neither was shown."""
    findings = oscal_of(record)["findings"]
    rules = record.decision.rules
    assert len(findings) == len(rules)
    for finding, rule in zip(findings, rules, strict=True):
        status = finding["target"]["status"]
        assert (status["state"] == "satisfied") == (rule.verdict == "approve")
        assert status["reason"] == {"pass": "pass", "fail": "fail"}.get(rule.outcome, "other")
    assert len({f["target"]["target-id"] for f in findings}) == len(findings)


def test_oscal_tokens_stay_readable_and_apart() -> None:
    """A rule's name becomes a token by one change; what needs more is named by its digest."""
    assert token("budget/alignment.refusal/margin_harmful") == "budget.alignment.refusal.margin_harmful"
    odd = {token(name) for name in ("a b", "a  b", "0", "", "\x1b", "é")}
    assert len(odd) == 6
    assert all(re.fullmatch("rule-[0-9a-f]{16}", name) for name in odd)


def test_the_summary_is_what_the_run_signs(record: AuditRecord) -> None:
    """The canonical form of the printed summary is byte for byte the payload of the signed verdict."""
    digests = {name: sha256_hex(data) for name, data in evidence_files(record).items()}
    payload = verdict_statement(record, digests, digest(record))
    assert canonical(json.loads(render_vsa(record))) == payload
    assert read_verdict(payload).verdict == record.decision.verdict


def test_the_test_result_follows_the_predicate(record: AuditRecord) -> None:
    """PASSED approves, WARNED asks for review, FAILED blocks; every rule is one test; the policy is configuration."""
    statement = json.loads(render_test_result(record))
    predicate = statement["predicate"]
    assert predicate["result"] == {"approve": "PASSED", "review": "WARNED", "block": "FAILED"}[record.decision.verdict]
    lists = [predicate[key] for key in ("passedTests", "warnedTests", "failedTests")]
    assert sorted(name for names in lists for name in names) == sorted(name for name, _ in named_rules(record))
    assert set(predicate) == {"result", "configuration", "passedTests", "warnedTests", "failedTests"}
    assert predicate["configuration"][0]["digest"] == {"sha256": record.decision.policy_digest}
    assert statement["subject"][0]["digest"] == {"sha256": record.changeset.child.root}


@pytest.mark.parametrize("name", ["test-result", "cyclonedx", "vsa"])
def test_a_digest_that_is_none_is_refused(records: dict[str, AuditRecord], name: str) -> None:
    """An attestation about something without a digest would match nothing, or anything."""
    record = records["approve"]
    child = record.changeset.child.model_copy(update={"root": "not a digest"})
    broken = record.model_copy(update={"changeset": record.changeset.model_copy(update={"child": child})})
    with pytest.raises(InputError):
        FORMATS[name].render(broken)


def card_of(record: AuditRecord) -> tuple[dict[str, Any], str]:
    """Metadata and body of a card, split as the Hub splits it; the body holds no markup but ours."""
    text = render_model_card(record)
    found = re.fullmatch(r"---\n(.*?)\n---\n(.*)", text, re.DOTALL)
    assert found is not None
    body = found[2]
    assert (body.count(START), body.count(END)) == (1, 1)
    for token_ in MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(body):
        for inner in (token_, *(token_.children or ())):
            assert inner.type not in {"link_open", "image", "hr", "code_block", "em_open", "s_open"}
            if inner.type.startswith("html"):
                assert re.sub(r"</?code>|<!-- weightgate:(start|end) -->", "", inner.content).strip() == ""
    data = yaml.safe_load(found[1])
    assert isinstance(data, dict)
    return data, body


def test_the_card_has_the_metadata_the_hub_reads(record: AuditRecord) -> None:
    """A base model with its relation where it can be one, and a model index with every measurement."""
    data, body = card_of(record)
    (model,) = data["model-index"]
    assert len(model["results"]) == sum(len(result.measurements) for result in record.results)
    for result in model["results"]:
        assert {"type"} <= set(result["task"])
        assert {"name", "type"} <= set(result["dataset"])
        assert {"type", "name", "value"} <= set(result["metrics"][0])
    plain = re.fullmatch("[A-Za-z0-9._-]+", record.changeset.parent.name) is not None
    assert data.get("base_model") == (record.changeset.parent.name if plain else None)
    assert ("base_model_relation" in data) == plain
    assert "## Update audit" in body


@given(text=TEXTS)
@settings(max_examples=40)
def test_any_text_leaves_them_valid(records: dict[str, AuditRecord], text: str) -> None:
    """Whatever models, data, probes and rules are called: valid by the rules of each format."""
    record = quoting(records["approve"], text)
    valid_bill(record)
    oscal_of(record)
    card_of(record)
    json.loads(render_test_result(record))
    json.loads(render_vsa(record))


@official
def test_official_sarif_schema(record: AuditRecord) -> None:
    """OASIS SARIF 2.1.0, errata 01."""
    schema = json.loads((SCHEMAS / "sarif-schema-2.1.0.json").read_bytes())
    jsonschema.Draft4Validator(schema).validate(json.loads(FORMATS["sarif"].render(record)))


@official
@pytest.mark.parametrize("name", ["junit-ant.xsd", "junit-jenkins.xsd"])
def test_official_junit_schemas(record: AuditRecord, name: str) -> None:
    """The Apache Ant schema by Windy Road, and the schema of Jenkins' xUnit plugin (junit-10.xsd)."""
    etree = pytest.importorskip("lxml.etree")
    schema = etree.XMLSchema(etree.parse(SCHEMAS / name))
    schema.assertValid(etree.fromstring(FORMATS["junit"].render(record).encode()))


@official
def test_official_oscal_schema(record: AuditRecord) -> None:
    """NIST OSCAL assessment results 1.2.1; its patterns need an engine with Unicode classes."""
    jsonschema_rs = pytest.importorskip("jsonschema_rs")
    schema = json.loads((SCHEMAS / "oscal-ar.json").read_bytes())
    jsonschema_rs.validator_for(schema).validate(json.loads(FORMATS["oscal"].render(record)))
