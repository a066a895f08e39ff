"""The verdict statement: a valid SLSA verification summary that binds everything, and its strict inverse."""

from __future__ import annotations

import copy
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weightgate.lineage.canonical import canonical, sha256_hex
from weightgate.lineage.errors import InputError
from weightgate.reports.json_report import record_bytes
from weightgate.reports.record import AuditRecord
from weightgate.reports.statement import EXTENSION, read_verdict, verdict_statement


def evidence(record: AuditRecord) -> dict[str, str]:
    return {f"evidence/{i}.json": sha256_hex(canonical(result)) for i, result in enumerate(record.results)}


def stated(record: AuditRecord) -> bytes:
    return verdict_statement(record, evidence(record), sha256_hex(record_bytes(record)))


def test_the_statement_is_a_verification_summary(record: AuditRecord) -> None:
    """All fields that SLSA 1.1 requires are there with the types it asks for; only approve is PASSED."""
    document = json.loads(stated(record))
    predicate = document["predicate"]
    assert document["_type"] == "https://in-toto.io/Statement/v1"
    assert document["predicateType"] == "https://slsa.dev/verification_summary/v1"
    assert document["subject"] == [
        {"name": record.changeset.child.name, "digest": {"sha256": record.changeset.child.root}}
    ]
    for uri in (predicate["verifier"]["id"], predicate["resourceUri"], predicate["policy"]["uri"], EXTENSION):
        assert re.match(r"^[a-z]+:[^\s]+$", uri)
    assert all(isinstance(value, str) for value in predicate["verifier"]["version"].values())
    assert predicate["timeVerified"] == record.created
    assert predicate["policy"]["digest"] == {"sha256": record.policy.digest}
    assert [a["digest"] for a in predicate["inputAttestations"]] == [{"sha256": record.changeset_digest}]
    passed = record.decision.verdict == "approve"
    assert predicate["verificationResult"] == ("PASSED" if passed else "FAILED")
    assert len(predicate["verifiedLevels"]) == 1
    assert (predicate["verifiedLevels"] == ["FAILED"]) is not passed
    assert not predicate["verifiedLevels"][0].startswith("SLSA_")


def test_the_statement_reads_back(record: AuditRecord) -> None:
    """Everything it binds can be read from it."""
    said = read_verdict(stated(record))
    assert (said.verdict, said.decided) == (record.decision.verdict, record.created)
    assert (said.parent, said.child) == (record.changeset.parent.root, record.changeset.child.root)
    assert (said.policy_digest, said.changeset_digest) == (record.policy.digest, record.changeset_digest)
    assert said.probes == tuple((result.probe, result.version) for result in record.results)
    assert said.evidence == evidence(record)
    assert said.record == sha256_hex(record_bytes(record))


def test_the_statement_is_deterministic(record: AuditRecord) -> None:
    """The order in which evidence files are handed over does not matter."""
    backwards = dict(reversed(evidence(record).items()))
    assert verdict_statement(record, backwards, sha256_hex(record_bytes(record))) == stated(record)


def test_only_digests_are_bound(records) -> None:
    """A digest that is none is refused before anything is signed."""
    record = records["approve"]
    for bad in ("", "A" * 64, "a" * 63, "a" * 64 + "\n"):
        with pytest.raises(InputError):
            verdict_statement(record, {"evidence/x.json": bad}, "a" * 64)
        with pytest.raises(InputError):
            verdict_statement(record, {}, bad)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("_type",), "https://in-toto.io/Statement/v0.1"),
        (("predicateType",), "https://slsa.dev/verification_summary/v0.2"),
        (("subject", 0, "digest", "sha256"), "0" * 64),
        (("predicate", "verificationResult"), "PASSED"),
        (("predicate", "verifiedLevels"), ["WEIGHTGATE_POLICY_APPROVED"]),
        (("predicate", "verifiedLevels"), ["FAILED", "SLSA_BUILD_LEVEL_3"]),
        (("predicate", "policy", "digest", "sha256"), "0" * 64),
        (("predicate", "inputAttestations"), []),
        (("predicate", "slsaVersion"), "1.0"),
        (("predicate", "verifier", "id"), "https://example.com"),
        (("predicate", "verifier", "version"), {}),
        (("predicate", EXTENSION, "verdict"), "approve"),
        (("predicate", EXTENSION, "verdict"), "perhaps"),
        (("predicate", EXTENSION, "child"), "0" * 64),
        (("predicate", EXTENSION, "record"), "0"),
        (("predicate", EXTENSION, "extra"), 1),
        (("predicate", "extra"), 1),
        (("extra",), 1),
    ],
)
def test_statements_that_contradict_themselves_are_refused(records, path: tuple[str | int, ...], value: object) -> None:
    """Each fact is stated in one way only: a statement with one field changed or added does not read."""
    document = json.loads(stated(records["block"]))
    target = document
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    with pytest.raises(InputError, match=r"verdict\.json"):
        read_verdict(canonical(document))


def test_no_field_may_be_missing(records) -> None:
    """A statement without any one of its fields does not read."""
    document = json.loads(stated(records["block"]))

    def without(node: dict, trail: tuple[str, ...]) -> None:
        for key, value in node.items():
            if isinstance(value, dict) and value:
                without(value, (*trail, key))
            lacking = copy.deepcopy(document)
            parent = lacking
            for step in trail:
                parent = parent[step]
            del parent[key]
            if trail[-1:] != ("evidence",):  # any set of files is a set of files
                with pytest.raises(InputError):
                    read_verdict(canonical(lacking))

    without(document, ())


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"{}", b'{"predicate":null}', b'{"predicate":[]}', b"\xff"])
def test_what_is_not_a_statement_is_refused(data: bytes) -> None:
    """Other documents give an input error, never another exception."""
    with pytest.raises(InputError):
        read_verdict(data)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_every_byte_counts(records, data: st.DataObject) -> None:
    """With one byte changed the statement is refused, or says something else."""
    payload = stated(records["approve"])
    at, value = data.draw(st.integers(0, len(payload) - 1)), data.draw(st.integers(0, 255))
    changed = payload[:at] + bytes([value]) + payload[at + 1 :]
    try:
        said = read_verdict(changed)
    except InputError:
        return
    assert (said == read_verdict(payload)) == (changed == payload)
