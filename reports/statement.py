"""The verdict as an in-toto statement, and its strict inverse.

The predicate is SLSA's Verification Summary Attestation (https://slsa.dev/spec/v1.1/verification_summary), so that
admission controllers which know nothing of models can act on it. What SLSA has no field for goes into one extension
object, named by a URI as its parsing rules ask.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, ValidationError

from weightgate.lineage.canonical import Frozen, canonical
from weightgate.lineage.errors import InputError
from weightgate.lineage.strict_json import parse
from weightgate.policies.decision import Verdict
from weightgate.reports.record import AuditRecord

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
VSA_PREDICATE = "https://slsa.dev/verification_summary/v1"
EXTENSION = "https://weightgate.dev/attestation/verdict/v1"
VERIFIER = "https://weightgate.dev/verifier"
PASSED_LEVEL = "WEIGHTGATE_POLICY_APPROVED"
"""A custom level, which SLSA allows where its name does not start with SLSA_: the gate knows nothing of builds."""
SLSA_VERSION = "1.1"

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class VerdictStatement(Frozen):
    """What a verdict statement says. Digests are SHA-256 in lower-case hexadecimal."""

    verdict: Verdict
    verifier: str = Field(description="Name of the auditing tool.")
    verifier_version: str
    decided: str = Field(description="RFC 3339 UTC time.")
    name: str = Field(description="Label of the child; never trusted.")
    parent: Sha256 = Field(description="Root of the parent's fingerprint.")
    child: Sha256 = Field(description="Root of the child's fingerprint.")
    policy: str
    policy_digest: Sha256
    changeset_digest: Sha256 = Field(description="Of the signed payload of the changeset.")
    probes: tuple[tuple[str, str], ...] = Field(description="Name and version of each probe that was asked.")
    evidence: dict[str, Sha256] = Field(description="Digest of each evidence file by its path in the run folder.")
    record: Sha256 = Field(description="Of record.json.")


def verdict_statement(record: AuditRecord, evidence_digests: Mapping[str, str], record_sha256: str) -> bytes:
    """Canonical bytes of the statement to sign: the verdict over one update, binding all its evidence by digest.

    ``PASSED`` stands for approve alone: block and review both are ``FAILED``, and the extension tells them apart.

    Raises:
        InputError: a digest is not a SHA-256 in lower-case hexadecimal.
    """
    tool, _, version = record.tool.rpartition(" ")
    try:
        said = VerdictStatement(
            verdict=record.decision.verdict,
            verifier=tool or version,
            verifier_version=version if tool else "",
            decided=record.created,
            name=record.changeset.child.name,
            parent=record.changeset.parent.root,
            child=record.changeset.child.root,
            policy=record.policy.name,
            policy_digest=record.decision.policy_digest,
            changeset_digest=record.changeset_digest,
            probes=tuple((result.probe, result.version) for result in record.results),
            evidence=dict(evidence_digests),
            record=record_sha256,
        )
    except ValidationError as error:
        raise InputError(f"cannot state the verdict: {error}", remedy="hash each file with SHA-256") from error
    return canonical(_document(said))


def read_verdict(payload: bytes, what: str = "verdict.json") -> VerdictStatement:
    """Read the payload of a signed verdict; only exactly what `verdict_statement` writes is accepted.

    Raises:
        InputError: anything else, with the first field that differs; the message starts with ``what``.
    """
    document = parse(payload, what)
    try:
        said = _said(document)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise InputError(f"{what} is not a weightgate verdict: {_brief(error)}", remedy=_REMEDY) from error
    if canonical(_document(said)) != payload:
        raise InputError(
            f"{what} is not a weightgate verdict: {_difference(document, _document(said)) or 'not in canonical form'}",
            remedy=_REMEDY,
        )
    return said


_REMEDY = "take the file from the run folder as weightgate wrote it"


def _document(said: VerdictStatement) -> dict[str, Any]:
    passed = said.verdict == "approve"
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": said.name, "digest": {"sha256": said.child}}],
        "predicateType": VSA_PREDICATE,
        "predicate": {
            "verifier": {"id": VERIFIER, "version": {said.verifier: said.verifier_version}},
            "timeVerified": said.decided,
            "resourceUri": _urn("checkpoint", said.child),
            "policy": {"uri": _urn("policy", said.policy_digest), "digest": {"sha256": said.policy_digest}},
            "inputAttestations": [
                {"uri": _urn("changeset", said.changeset_digest), "digest": {"sha256": said.changeset_digest}}
            ],
            "verificationResult": "PASSED" if passed else "FAILED",
            "verifiedLevels": [PASSED_LEVEL if passed else "FAILED"],
            "slsaVersion": SLSA_VERSION,
            EXTENSION: {
                "verdict": said.verdict,
                "parent": said.parent,
                "child": said.child,
                "policy": said.policy,
                "policyDigest": said.policy_digest,
                "changesetDigest": said.changeset_digest,
                "probes": [{"name": name, "version": version} for name, version in said.probes],
                "evidence": said.evidence,
                "record": said.record,
            },
        },
    }


def _said(document: Any) -> VerdictStatement:
    """The fields of a statement, without judging the rest: the caller writes them again and compares."""
    predicate = document["predicate"]
    extension = predicate[EXTENSION]
    ((verifier, version),) = predicate["verifier"]["version"].items()
    return VerdictStatement.model_validate(
        {
            "verdict": extension["verdict"],
            "verifier": verifier,
            "verifier_version": version,
            "decided": predicate["timeVerified"],
            "name": document["subject"][0]["name"],
            "parent": extension["parent"],
            "child": extension["child"],
            "policy": extension["policy"],
            "policy_digest": extension["policyDigest"],
            "changeset_digest": extension["changesetDigest"],
            "probes": tuple((probe["name"], probe["version"]) for probe in extension["probes"]),
            "evidence": extension["evidence"],
            "record": extension["record"],
        }
    )


def _urn(kind: str, sha256: str) -> str:
    return f"urn:weightgate:{kind}:sha256:{sha256}"


def _difference(found: Any, expected: Any, path: str = "") -> str:
    """Path of the first field that is missing, added or has another value."""
    if isinstance(found, dict) and isinstance(expected, dict):
        for key in sorted({*found, *expected}):
            if (key in found) != (key in expected):
                return f"{path}.{key} {'is unknown' if key in found else 'is missing'}".lstrip(".")
            said = _difference(found[key], expected[key], f"{path}.{key}")
            if said:
                return said
        return ""
    return "" if found == expected else f"{path} is not what its other fields imply".lstrip(".")


def _brief(error: Exception) -> str:
    if isinstance(error, ValidationError):
        detail = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(str(step) for step in detail['loc'])}: {detail['msg']}"
    return f"{error} is missing" if isinstance(error, KeyError) else "a field is missing or has another type"
