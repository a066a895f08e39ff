"""Rows of Parquet files, for the types that have one JSON form."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weightgate.lineage.data.tables import Digest, RawRow
from weightgate.lineage.errors import InputError, MissingExtraError
from weightgate.lineage.strict_json import MAX_DEPTH

if TYPE_CHECKING:
    import pyarrow as pa

MAX_FILE_BYTES = 8 << 30
MAX_UNPACKED_BYTES = 32 << 30
"""What a file may say that it unpacks to: a small file can claim any number of rows."""
_BATCH = 1024
_REMEDY = "columns hold text, true or false, numbers, and lists or structs of these; write others as text"


def read_parquet(path: Path, digest: Digest) -> Iterator[RawRow]:
    """The rows of a Parquet file, read from the bytes that are hashed.

    Raises:
        MissingExtraError: pyarrow is not installed.
        InputError: unreadable, malformed, too large, two columns of one name, or a type without a JSON form (times,
            decimals, bytes, maps).
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError("reading Parquet", "parquet") from error
    data = _bytes(path, digest)
    try:
        file = parquet.ParquetFile(pa.BufferReader(data))
        unpacked = sum(file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
        if unpacked > MAX_UNPACKED_BYTES:
            raise InputError(f"{path}: unpacks to {unpacked} bytes", remedy="split the file")
        _check_fields(list(file.schema_arrow), str(path), 0)
        number = 0
        for batch in file.iter_batches(batch_size=_BATCH):
            for document in batch.to_pylist():
                number += 1
                yield RawRow(number, document, None)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: not a readable Parquet file: {str(error)[:200]}", remedy="write the file again"
        ) from error


def _bytes(path: Path, digest: Digest) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", remedy="check the path and its rights") from error
    if len(data) > MAX_FILE_BYTES:
        raise InputError(f"{path}: more than {MAX_FILE_BYTES} bytes", remedy="split the file")
    digest.update(data)
    return data


def _check_fields(fields: list[Any], where: str, depth: int) -> None:
    names = [field.name for field in fields]
    if len(set(names)) < len(names):
        raise InputError(f"{where}: two columns or members of one name", remedy="keep one of them")
    for field in fields:
        _check_type(field.type, f"{where}: column {field.name[:80]!r}", depth)


def _check_type(kind: pa.DataType, where: str, depth: int) -> None:
    import pyarrow as pa

    types = pa.types
    if depth > MAX_DEPTH // 2:
        raise InputError(f"{where} is nested too deep", remedy=_REMEDY)
    lists = (types.is_dictionary, types.is_list, types.is_large_list, types.is_fixed_size_list)
    if any(check(kind) for check in lists):
        _check_type(kind.value_type, where, depth + 1)
    elif types.is_struct(kind):
        _check_fields(list(kind), where, depth + 1)
    elif not any(
        check(kind)
        for check in (
            types.is_string,
            types.is_large_string,
            types.is_string_view,
            types.is_boolean,
            types.is_integer,
            types.is_floating,
            types.is_null,
        )
    ):
        raise InputError(f"{where} is of type {kind}, which has no JSON form", remedy=_REMEDY)
