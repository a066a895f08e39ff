"""record.json: canonical out, and nothing but exactly that back in."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from weightgate.lineage.canonical import canonical
from weightgate.lineage.errors import InputError
from weightgate.probes.evidence import Item
from weightgate.reports.json_report import read_record, record_bytes
from weightgate.reports.record import AuditRecord


def test_a_record_round_trips(record: AuditRecord) -> None:
    """Reading what was written gives the same record, and writing it again the same bytes."""
    data = record_bytes(record)
    again = read_record(data)
    assert record_bytes(again) == data
    assert again.decision == record.decision


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_evidence_holds_finite_numbers_only(value: float) -> None:
    """What has no canonical form cannot get into a record: the probe that reports it fails instead."""
    with pytest.raises(ValidationError):
        Item(metric="a.probe/x", id="1", cluster="c", prompt="p", before=value, after=None)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff",
        b'{"record_version":"2"}',
        b'{"record_version":"1"}',
        b'{"record_version":"1","record_version":"1"}',
        b"[" * 100_000,
    ],
)
def test_what_is_not_a_record_is_refused(data: bytes) -> None:
    """Anything else is an input error that names the file."""
    with pytest.raises(InputError, match=r"record\.json"):
        read_record(data)


def test_only_the_canonical_form_is_read(records) -> None:
    """Pretty-printed, reordered or edited records are refused even where they say the same."""
    data = record_bytes(records["approve"])
    document = json.loads(data)
    for other in (
        json.dumps(document, indent=1).encode(),
        data + b"\n",
        json.dumps(dict(reversed(document.items())), separators=(",", ":"), ensure_ascii=False).encode(),
        canonical(document | {"extra": 1}),
        canonical({key: value for key, value in document.items() if key != "seed"}),
        canonical(document | {"seed": "0"}),
        canonical(document | {"seed": False}),
    ):
        with pytest.raises(InputError):
            read_record(other)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_no_flipped_byte_is_read_as_the_same_record(records, data: st.DataObject) -> None:
    """A record with one byte changed is refused, or reads as a different record: never as the same one."""
    original = record_bytes(records["approve"])
    at, value = data.draw(st.integers(0, len(original) - 1)), data.draw(st.integers(0, 255))
    changed = original[:at] + bytes([value]) + original[at + 1 :]
    try:
        read = read_record(changed)
    except InputError:
        return
    assert (record_bytes(read) == original) == (changed == original)
