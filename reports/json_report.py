"""The record as a file: canonical bytes out, and strictly the same bytes in."""

from __future__ import annotations

from pydantic import ValidationError

from weightgate.lineage.canonical import canonical
from weightgate.lineage.errors import InputError
from weightgate.lineage.strict_json import parse
from weightgate.reports.record import RECORD_VERSION, AuditRecord

MAX_RECORD_BYTES = 512 * 1024 * 1024


def record_bytes(record: AuditRecord) -> bytes:
    """The canonical form of a record (RFC 8785): what ``record.json`` holds and the verdict names by digest."""
    return canonical(record)


def read_record(data: bytes, what: str = "record.json") -> AuditRecord:
    """Read what `record_bytes` wrote.

    Raises:
        InputError: too large, not JSON, of another version, not a record, or not byte for byte in canonical form; the
            message starts with ``what``.
    """
    remedy = "take the file from the run folder as weightgate wrote it"
    if len(data) > MAX_RECORD_BYTES:
        raise InputError(f"{what} is larger than {MAX_RECORD_BYTES} bytes", remedy=remedy)
    document = parse(data, what)
    version = document.get("record_version") if isinstance(document, dict) else None
    if version != RECORD_VERSION:
        raise InputError(
            f"{what} is not an audit record of version {RECORD_VERSION} (it says {version!r:.40})",
            remedy="read it with the version of weightgate that wrote it" if version else remedy,
        )
    try:
        record = AuditRecord.model_validate_json(data)
    except ValidationError as error:
        raise InputError(f"{what} is not an audit record: {_first(error)}", remedy=remedy) from error
    if canonical(record) != data:
        raise InputError(f"{what} is an audit record, but not as weightgate writes it", remedy=remedy)
    return record


def _first(error: ValidationError) -> str:
    detail = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(step) for step in detail['loc'])}: {detail['msg']}"
