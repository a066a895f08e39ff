"""The published JSON Schemas: current, valid, and true of what is written."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from weightgate.policies.policy import pack, packs
from weightgate.reports.json_report import record_bytes
from weightgate.reports.record import AuditRecord
from weightgate.reports.schema import schemas, write_schemas

PUBLISHED = Path(__file__).parents[2] / "docs" / "schemas"


def test_the_published_schemas_are_current() -> None:
    """`python -m weightgate.reports.schema docs/schemas` has been run since the models last changed."""
    published = {path.name: path.read_text(encoding="utf-8") for path in PUBLISHED.glob("*.json")}
    assert published == schemas()


def test_writing_writes_all(tmp_path: Path) -> None:
    """Each schema becomes a file."""
    write_schemas(tmp_path / "schemas")
    assert {path.name for path in (tmp_path / "schemas").iterdir()} == set(schemas())


@pytest.mark.parametrize("name", sorted(schemas()))
def test_each_schema_is_a_valid_schema(name: str) -> None:
    """The schemas themselves follow the dialect they name."""
    jsonschema.Draft202012Validator.check_schema(json.loads(schemas()[name]))


def test_records_and_changesets_follow_their_schemas(record: AuditRecord) -> None:
    """What is written validates, and an unknown field does not."""
    for name, document in (
        ("audit-record", json.loads(record_bytes(record))),
        ("changeset", json.loads(record_bytes(record))["changeset"]),
    ):
        validator = jsonschema.Draft202012Validator(json.loads(schemas()[f"{name}.schema.json"]))
        validator.validate(document)
        assert not validator.is_valid(document | {"unknown": 1})


@pytest.mark.parametrize("name", packs())
def test_policies_follow_their_schema(name: str) -> None:
    """The shipped policies validate as people write them: without the fields that have defaults."""
    validator = jsonschema.Draft202012Validator(json.loads(schemas()["policy.schema.json"]))
    validator.validate(pack(name).model_dump(mode="json", exclude_defaults=True))
