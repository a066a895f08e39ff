"""The record builders, and each record by name."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from weightgate.reports.record import AuditRecord

NAMES = ("approve", "block", "review", "hostile")


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("report_records", Path(__file__).with_name("records.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def builders() -> ModuleType:
    """The module that builds records."""
    return _load()


@pytest.fixture(scope="session")
def records(builders: ModuleType) -> dict[str, AuditRecord]:
    """Each record once."""
    return {name: build() for name, build in builders.RECORDS.items()}


@pytest.fixture(params=NAMES)
def record(request: pytest.FixtureRequest, records: dict[str, AuditRecord]) -> AuditRecord:
    """Every record in turn."""
    return records[request.param]
