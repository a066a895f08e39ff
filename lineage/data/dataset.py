"""Data sets: JSONL files read strictly, with one hash for the files and a Merkle root over the rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from weightgate.lineage.canonical import canonical, digest
from weightgate.lineage.changeset import DataInput, DataRole
from weightgate.lineage.data.rows import SHAPES, Row, canary_fields, label, row_content
from weightgate.lineage.errors import InputError
from weightgate.lineage.strict_json import parse
from weightgate.lineage.weights import merkle

MAX_ROW_BYTES = 4_000_000
MAX_ROWS = 5_000_000

__all__ = ["MAX_ROWS", "MAX_ROW_BYTES", "Dataset", "Row", "data_input", "load_dataset"]


@dataclass(frozen=True, slots=True)
class Dataset:
    """The rows of one or more files, in order."""

    name: str
    role: DataRole
    rows: tuple[Row, ...]
    sha256: str
    """Of one file: its SHA-256. Of several: the digest of the list of theirs."""
    rows_root: str
    """RFC 6962 Merkle root over the canonical JSON (RFC 8785) of the rows."""


def load_dataset(paths: Sequence[Path], role: DataRole) -> Dataset:
    """Read JSONL files as one data set.

    Rows are chat turns, prompt and completion, instruction and output, or plain text. Canaries say in addition which
    part of the row is the secret.

    Raises:
        InputError: no file, a file that cannot be read or has no rows, or a row that is malformed, too large, of no
            known shape or of an id seen before; the message names the file and the line.
    """
    if not paths:
        raise InputError(f"no files for the {role} data", remedy="give one or more JSONL files")
    rows: dict[str, Row] = {}
    entries: list[bytes] = []
    digests: list[str] = []
    names = [path.name for path in paths]
    for path in paths:
        hasher = hashlib.sha256()
        before = len(rows)
        name = path.name if names.count(path.name) == 1 else path.as_posix()
        for number, line in _lines(path, hasher):
            where = f"{path}:{number}"
            row, entry = _read_row(line, where, f"{name}:{number}", role)
            _check_new(row, rows, where)
            rows[row.id] = row
            entries.append(entry)
        if len(rows) == before:
            raise InputError(f"{path}: no rows", remedy=SHAPES)
        digests.append(hasher.hexdigest())
    return Dataset(
        name=", ".join(names),
        role=role,
        rows=tuple(rows.values()),
        sha256=digests[0] if len(digests) == 1 else digest(digests),
        rows_root=merkle.root(entries).hex(),
    )


def data_input(dataset: Dataset) -> DataInput:
    """A data set as the changeset names it."""
    return DataInput(
        name=dataset.name,
        role=dataset.role,
        sha256=dataset.sha256,
        rows=len(dataset.rows),
        rows_root=dataset.rows_root,
    )


def _lines(path: Path, hasher: hashlib._Hash) -> Iterator[tuple[int, bytes]]:
    """Number and bytes of each line that is not blank; everything read goes into ``hasher``."""
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(MAX_ROW_BYTES + 1):
                number += 1
                hasher.update(line)
                if len(line) > MAX_ROW_BYTES:
                    raise InputError(f"{path}:{number}: a row over {MAX_ROW_BYTES} bytes", remedy="split the row")
                if number == 1 and line.startswith(b"\xef\xbb\xbf"):
                    raise InputError(f"{path}:1: starts with a byte-order mark", remedy="save it as UTF-8 without one")
                if line.strip():
                    yield number, line
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", remedy="check the path and its rights") from error


def _check_new(row: Row, rows: Mapping[str, Row], where: str) -> None:
    if row.id in rows:
        raise InputError(f"{where}: the id {row.id[:80]!r} was given before", remedy="give each row an id of its own")
    if len(rows) >= MAX_ROWS:
        raise InputError(f"{where}: more than {MAX_ROWS} rows", remedy="audit a sample of the data")


def _read_row(line: bytes, where: str, name: str, role: DataRole) -> tuple[Row, bytes]:
    """A row, and its entry in the Merkle tree."""
    document = parse(line, where)
    if not isinstance(document, dict):
        raise InputError(f"{where}: not a JSON object", remedy=SHAPES)
    messages, text = row_content(document, where)
    secret, inserted = None, None
    if role == "canaries":
        secret, inserted = canary_fields(document, messages[-1][1] if messages else text, where)
    identity = label(document, "id", where) or name
    row = Row(
        id=identity,
        source=label(document, "source", where) or identity,
        messages=messages,
        text=text,
        raw=line.decode().rstrip("\r\n"),
        secret=secret,
        inserted=inserted,
    )
    return row, canonical(document)
