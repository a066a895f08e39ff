"""The verdict for admission controllers, unsigned: the SLSA summary that a run signs, and an in-toto test result."""

from __future__ import annotations

import json
from typing import Any

from weightgate.lineage.canonical import digest, sha256_hex
from weightgate.policies.decision import Verdict
from weightgate.reports import summary
from weightgate.reports.interchange import as_json, evidence_files, identifier, moment, named_rules, numbers, sha256
from weightgate.reports.record import AuditRecord
from weightgate.reports.statement import STATEMENT_TYPE, verdict_statement

TEST_RESULT_PREDICATE = "https://in-toto.io/attestation/test-result/v0.1"
_RESULTS: dict[Verdict, str] = {"approve": "PASSED", "review": "WARNED", "block": "FAILED"}


def render_vsa(record: AuditRecord) -> str:
    """The verdict statement, indented: its canonical form is the payload of the run's signed ``verdict.json``."""
    moment(record)
    digests = {name: sha256_hex(data) for name, data in evidence_files(record).items()}
    return as_json(json.loads(verdict_statement(record, digests, digest(record))))


def render_test_result(record: AuditRecord) -> str:
    """An in-toto test-result v0.1 statement about the child: each rule of the policy is a test.

    The predicate has no field for numbers, so they are annotations of the subject, which in-toto allows on any
    resource descriptor and matches nothing by.
    """
    measured, rules = summary.measurements(record), named_rules(record)
    names: dict[Verdict, list[str]] = {"approve": [], "review": [], "block": []}
    for name, rule in rules:
        names[rule.verdict].append(name)
    policy = sha256(record.decision.policy_digest, "the policy's digest")
    subject = {
        "name": identifier(record.changeset.child.name),
        "digest": {"sha256": sha256(record.changeset.child.root, "the child's root")},
        "annotations": _annotations(record, {name: numbers(rule, measured) for name, rule in rules}),
    }
    predicate = {
        "result": _RESULTS[record.decision.verdict],
        "configuration": [{"name": identifier(record.policy.name), "digest": {"sha256": policy}}],
        "passedTests": names["approve"],
        "warnedTests": names["review"],
        "failedTests": names["block"],
    }
    return as_json(
        {
            "_type": STATEMENT_TYPE,
            "subject": [subject],
            "predicateType": TEST_RESULT_PREDICATE,
            "predicate": predicate,
        }
    )


def _annotations(record: AuditRecord, rules: dict[str, Any]) -> dict[str, Any]:
    verdict, parent = record.decision.verdict, record.changeset.parent.root
    return {"weightgate": {"verdict": verdict, "record": digest(record), "parent": parent, "rules": rules}}
