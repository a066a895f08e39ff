"""The update as a CycloneDX bill of materials for machine learning: child, parent, data, measurements, verdict.

The child is the component the document is about, the parent its pedigree's ancestor, each data set a component that the
model card refers to, each measurement a performance metric with its confidence interval.
"""

from __future__ import annotations

from typing import Any

from weightgate.lineage.canonical import digest
from weightgate.lineage.changeset import DataInput, ModelVersion
from weightgate.probes.evidence import Measurement
from weightgate.reports import summary
from weightgate.reports.interchange import as_json, identifier, identity, moment, named_rules, numbers, sha256
from weightgate.reports.record import AuditRecord
from weightgate.reports.visible import brief, inline

Property = dict[str, str]


def render_cyclonedx(record: AuditRecord) -> str:
    """The bill of materials as JSON, version 1.6."""
    return _render(record, "1.6")


def render_cyclonedx_17(record: AuditRecord) -> str:
    """The same as version 1.7."""
    return _render(record, "1.7")


def _render(record: AuditRecord, version: str) -> str:
    tool, _, tool_version = record.tool.rpartition(" ")
    data = [_data(i, described) for i, described in enumerate(record.changeset.inputs)]
    child = f"model:{sha256(record.changeset.child.root, 'the root of the child')}"
    document = {
        "$schema": f"http://cyclonedx.org/schema/bom-{version}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": version,
        "serialNumber": f"urn:uuid:{identity(record, 'cyclonedx')}",
        "version": 1,
        "metadata": {
            "timestamp": moment(record),
            "tools": {
                "components": [
                    {
                        "type": "application",
                        "name": brief(tool, 100) or "weightgate",
                        "version": brief(tool_version, 60) or "unknown",
                    }
                ]
            },
            "component": _child(record, [component["bom-ref"] for component in data]),
        },
        "components": data,
        "dependencies": [{"ref": child, "dependsOn": [component["bom-ref"] for component in data]}],
    }
    return as_json(document)


def _model(model: ModelVersion) -> dict[str, Any]:
    """A version of the model. Its root is a Merkle root, not the hash of a file, so it stands among the properties."""
    root = sha256(model.root, "the root of a model")
    return {
        "type": "machine-learning-model",
        "bom-ref": f"model:{root}",
        "name": identifier(model.name),
        "version": root,
        "properties": [
            _property("root", root),
            _property("tensorRoot", brief(model.tensor_root, 64)),
            _property("parameters", str(model.parameters)),
        ],
    }


def _child(record: AuditRecord, data: list[str]) -> dict[str, Any]:
    child = _model(record.changeset.child)
    child["description"] = inline(record.changeset.intent, 600)
    child["properties"] += [
        _property("verdict", record.decision.verdict),
        _property("policy", identifier(record.policy.name)),
        _property("policySha256", brief(record.decision.policy_digest, 64)),
        _property("changesetSha256", brief(record.changeset_digest, 64)),
        _property("recordSha256", digest(record)),
        _property("update", record.changeset.delta.kind),
        _property("signer", brief(record.changeset.author, 100)),
        *_rules(record),
    ]
    parent = _model(record.changeset.parent)
    parent["bom-ref"] = f"parent:{record.changeset.parent.root}"  # an update that changes nothing has the same root
    child["pedigree"] = {"ancestors": [parent], "notes": summary.CAVEAT}
    child["modelCard"] = {
        "modelParameters": {"datasets": [{"ref": ref} for ref in data]},
        "quantitativeAnalysis": {"performanceMetrics": _metrics(record)},
        "considerations": {"technicalLimitations": _limits(record)},
    }
    return child


def _rules(record: AuditRecord) -> list[Property]:
    """The numbers of every rule: the model card has metrics, but no limits and no verdicts."""
    measured = summary.measurements(record)
    return [
        _property(f"rule:{name}:{key}", _text(value))
        for name, rule in named_rules(record)
        for key, value in numbers(rule, measured).items()
    ]


def _metrics(record: AuditRecord) -> list[dict[str, Any]]:
    return [metric for result in record.results for m in result.measurements for metric in _metric(m)]


def _metric(m: Measurement) -> list[dict[str, Any]]:
    kind = f"{identifier(m.metric)} ({brief(m.unit, 60)})"
    interval = {"lowerBound": repr(m.interval.low), "upperBound": repr(m.interval.high)}
    change = f"change from parent to child, {m.n} items, {100 * m.interval.level:g} % interval"
    sides = [("parent", m.before), ("child", m.after)]
    return [
        {"type": kind, "value": repr(m.effect), "slice": change, "confidenceInterval": interval},
        *({"type": kind, "value": repr(value), "slice": side} for side, value in sides if value is not None),
    ]


def _limits(record: AuditRecord) -> list[str]:
    return [
        f"{brief(result.probe, 100)} ({result.status}): {inline(limit, 400)}"
        for result in record.results
        for limit in result.limits[:10]
    ]


def _data(number: int, described: DataInput) -> dict[str, Any]:
    return {
        "type": "data",
        "bom-ref": f"data:{number}:{sha256(described.sha256, 'the digest of a data set')}",
        "name": identifier(described.name),
        "hashes": [{"alg": "SHA-256", "content": described.sha256}],
        "data": [{"type": "dataset", "name": identifier(described.name), "description": f"{described.role} data"}],
        "properties": [
            _property("role", described.role),
            _property("rows", str(described.rows)),
            _property("rowsRoot", brief(described.rows_root, 64)),
            *(_property(f"source:{source.kind}", inline(source.uri, 300)) for source in described.sources),
        ],
    }


def _property(name: str, value: str) -> Property:
    return {"name": f"weightgate:{name}", "value": value}


def _text(value: Any) -> str:
    return repr(value) if isinstance(value, float) else str(value)
