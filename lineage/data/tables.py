"""Rows as JSON objects out of JSONL, CSV and Parquet files, with the digest of the very bytes they were read from."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weightgate.lineage.data.rows import SHAPES
from weightgate.lineage.errors import InputError
from weightgate.lineage.strict_json import parse

MAX_ROW_BYTES = 4_000_000


@dataclass(slots=True)
class Digest:
    """SHA-256 and size of what was read; complete once the last row was taken."""

    hasher: hashlib._Hash = field(default_factory=hashlib.sha256)
    size: int = 0

    def update(self, data: bytes) -> None:
        """Take in the next bytes of the file."""
        self.hasher.update(data)
        self.size += len(data)


@dataclass(frozen=True, slots=True)
class RawRow:
    """One row before its shape is known."""

    number: int
    """Line in the file; row, from 1, in Parquet."""
    document: dict[str, Any]
    text: str | None
    """The line as it stands in the file; None where rows are not lines."""


def read_table(path: Path, digest: Digest) -> Iterator[RawRow]:
    """The rows of a file: Parquet or CSV by its suffix, JSON lines otherwise.

    Raises:
        MissingExtraError: Parquet without pyarrow.
        InputError: unreadable, malformed, or a value without a JSON form; the message names file and row.
    """
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        from weightgate.lineage.data.parquet import read_parquet

        return read_parquet(path, digest)
    return _read_csv(path, digest) if suffix == ".csv" else _read_jsonl(path, digest)


def without_nulls(value: Any) -> Any:
    """The same document without the members that are null.

    A column of a table is there in every row, a member of an object need not be: without this the same rows would
    differ between formats. Nulls within lists stay, since they hold a place.
    """
    if isinstance(value, dict):
        return {key: without_nulls(member) for key, member in value.items() if member is not None}
    if isinstance(value, list):
        return [without_nulls(member) for member in value]
    return value


def _read_jsonl(path: Path, digest: Digest) -> Iterator[RawRow]:
    for number, line in _lines(path, digest):
        if not line.strip():
            continue
        document = parse(line, f"{path}:{number}")
        if not isinstance(document, dict):
            raise InputError(f"{path}:{number}: not a JSON object", remedy=SHAPES)
        yield RawRow(number, document, line.decode().rstrip("\r\n"))


def _read_csv(path: Path, digest: Digest) -> Iterator[RawRow]:
    """RFC 4180, comma-separated, with a header. Every cell is text; an empty one is as good as absent."""
    csv.field_size_limit(MAX_ROW_BYTES)
    reader = csv.reader(_text(path, digest), strict=True)
    try:
        header = next(reader, [])
        if not header or len(set(header)) < len(header) or "" in header:
            raise InputError(f"{path}:1: the header lacks a name or gives one twice", remedy=SHAPES)
        for cells in reader:
            number = reader.line_num
            if not cells:
                continue
            if len(cells) != len(header):
                raise InputError(
                    f"{path}:{number}: {len(cells)} cells under a header of {len(header)}", remedy="quote such cells"
                )
            if sum(map(len, cells)) > MAX_ROW_BYTES:
                raise InputError(f"{path}:{number}: a row over {MAX_ROW_BYTES} bytes", remedy="split the row")
            yield RawRow(number, {key: cell for key, cell in zip(header, cells, strict=True) if cell}, None)
    except csv.Error as error:
        raise InputError(
            f"{path}:{reader.line_num}: not CSV: {error}", remedy="quote cells that hold commas, quotes or line ends"
        ) from error


def _text(path: Path, digest: Digest) -> Iterator[str]:
    for number, line in _lines(path, digest):
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            raise InputError(f"{path}:{number}: not UTF-8 text: {error}", remedy="save it as UTF-8") from error
        if "\x00" in text:
            raise InputError(f"{path}:{number}: holds a NUL character", remedy="save it as plain text")
        yield text


def _lines(path: Path, digest: Digest) -> Iterator[tuple[int, bytes]]:
    """Number and bytes of each line, with its end; everything read goes into ``digest``."""
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(MAX_ROW_BYTES + 1):
                number += 1
                digest.update(line)
                if len(line) > MAX_ROW_BYTES:
                    raise InputError(f"{path}:{number}: a row over {MAX_ROW_BYTES} bytes", remedy="split the row")
                if number == 1 and line.startswith(b"\xef\xbb\xbf"):
                    raise InputError(f"{path}:1: starts with a byte-order mark", remedy="save it as UTF-8 without one")
                yield number, line
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", remedy="check the path and its rights") from error
