"""Data sets: files read strictly, with one hash for the files and Merkle roots over the rows."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weightgate.lineage.canonical import canonical, digest
from weightgate.lineage.changeset import DataInput, DataRole
from weightgate.lineage.data.location import FORMS
from weightgate.lineage.data.origin import resolve
from weightgate.lineage.data.resolved import LocalFile, Resolved
from weightgate.lineage.data.row_set import RowSet, row_digest
from weightgate.lineage.data.rows import SHAPES, Row, canary_fields, label, row_content
from weightgate.lineage.data.source import DataFile, DataSource, bounded, dir_hash
from weightgate.lineage.data.tables import MAX_ROW_BYTES, Digest, RawRow, read_table, without_nulls
from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.weights import merkle

MAX_ROWS = 5_000_000

__all__ = ["MAX_ROWS", "Dataset", "Row", "data_input", "load_dataset"]


@dataclass(frozen=True, slots=True)
class Dataset:
    """The rows of one or more files, in order."""

    name: str
    role: DataRole
    rows: tuple[Row, ...]
    sha256: str
    """Of one file: its SHA-256. Of several: the digest of the list of theirs."""
    rows_root: str
    """RFC 6962 Merkle root over the canonical rows in their order."""
    row_set: RowSet | None = None
    """Digests of what the rows say, sorted; None for rows that were not read from files."""
    sources: tuple[DataSource, ...] = ()


def load_dataset(given: Sequence[Path | str], role: DataRole) -> Dataset:
    """Read files, and data that git, DVC, MLflow or a hub name, as one data set.

    Rows are chat turns, prompt and completion, instruction and output, or plain text. Canaries say in addition which
    part of the row is the secret. The same rows have the same roots in JSONL, CSV and Parquet.

    Raises:
        InputError: no file, a file that cannot be read or has no rows, or a row that is malformed, too large, of no
            known shape or of an id seen before; the message names the file and the line.
        IntegrityError: the bytes are not the ones that DVC or MLflow recorded.
    """
    if not given:
        raise InputError(f"no files for the {role} data", remedy=FORMS)
    with tempfile.TemporaryDirectory(prefix="weightgate-data-") as workspace:
        resolved = [resolve(location, Path(workspace) / str(i)) for i, location in enumerate(given)]
        return _Reading(role, [file for source in resolved for file in source.files]).read(resolved)


def data_input(dataset: Dataset) -> DataInput:
    """A data set as the changeset names it."""
    return DataInput(
        name=dataset.name,
        role=dataset.role,
        sha256=dataset.sha256,
        rows=len(dataset.rows),
        rows_root=dataset.rows_root,
        rows_set_root=dataset.row_set.root.hex() if dataset.row_set else None,
        sources=dataset.sources,
    )


class _Reading:
    """The rows and digests collected so far."""

    def __init__(self, role: DataRole, files: Sequence[LocalFile]) -> None:
        self.role = role
        self.names = [Path(file.name).name for file in files]
        self.rows: dict[str, Row] = {}
        self.entries: list[bytes] = []

    def read(self, resolved: Sequence[Resolved]) -> Dataset:
        sources = tuple(self._source(source) for source in resolved)
        digests = [file.sha256 for source in sources for file in source.files]
        return Dataset(
            name=", ".join(self.names),
            role=self.role,
            rows=tuple(self.rows.values()),
            sha256=digests[0] if len(digests) == 1 else digest(digests),
            rows_root=merkle.root(self.entries).hex(),
            row_set=RowSet.of(row_digest(row.messages, row.text) for row in self.rows.values()),
            sources=sources,
        )

    def _source(self, source: Resolved) -> DataSource:
        files = tuple(self._file(file, source) for file in source.files)
        return DataSource(
            kind=source.kind,
            uri=source.uri,
            revision=source.revision,
            files=files,
            dir_hash=dir_hash(files),
            annotations=bounded(source.annotations),
        )

    def _file(self, file: LocalFile, source: Resolved) -> DataFile:
        shown = file.path if source.kind == "file" else Path(file.name)
        base = Path(file.name).name
        name = base if self.names.count(base) == 1 else shown.as_posix()
        before, read = len(self.rows), Digest()
        for raw in self._table(file.path, shown, read):
            self._add(raw, f"{shown}:{raw.number}", f"{name}:{raw.number}")
        if len(self.rows) == before:
            raise InputError(f"{shown}: no rows", remedy=SHAPES)
        found, wanted = read.hasher.hexdigest(), source.expected.get(file.name)
        if wanted is not None and wanted != found:
            raise IntegrityError(
                f"{source.uri}: {file.name} has SHA-256 {found[:12]}…, not {wanted[:12]}… as recorded there",
                remedy="find out which of the two was changed",
            )
        return DataFile(name=file.name, sha256=found, bytes=read.size)

    def _table(self, path: Path, shown: Path, read: Digest) -> Iterator[RawRow]:
        """Messages name the file as the user knows it, not the copy it was read from."""
        try:
            yield from read_table(path, read)
        except InputError as error:
            if path == shown or not str(error).startswith(str(path)):
                raise
            raise type(error)(f"{shown}{str(error)[len(str(path)) :]}", remedy=error.remedy) from error

    def _add(self, raw: RawRow, where: str, name: str) -> None:
        document = without_nulls(raw.document)
        try:
            entry = canonical(document)
        except InputError as error:
            raise InputError(f"{where}: {error}", remedy=error.remedy) from error
        if len(entry) > MAX_ROW_BYTES:
            raise InputError(f"{where}: a row over {MAX_ROW_BYTES} bytes", remedy="split the row")
        row = _read_row(document, raw.text if raw.text is not None else entry.decode(), where, name, self.role)
        _check_new(row, self.rows, where)
        self.rows[row.id] = row
        self.entries.append(entry)


def _check_new(row: Row, rows: Mapping[str, Row], where: str) -> None:
    if row.id in rows:
        raise InputError(f"{where}: the id {row.id[:80]!r} was given before", remedy="give each row an id of its own")
    if len(rows) >= MAX_ROWS:
        raise InputError(f"{where}: more than {MAX_ROWS} rows", remedy="audit a sample of the data")


def _read_row(document: Mapping[str, Any], text: str, where: str, name: str, role: DataRole) -> Row:
    messages, plain = row_content(document, where)
    secret, inserted = None, None
    if role == "canaries":
        secret, inserted = canary_fields(document, messages[-1][1] if messages else plain, where)
    identity = label(document, "id", where) or name
    return Row(
        id=identity,
        source=label(document, "source", where) or identity,
        messages=messages,
        text=plain,
        raw=text,
        secret=secret,
        inserted=inserted,
    )
