"""The digests of an update's training rows, kept beside its changeset, so that rows can be traced without the data."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from weightgate.lineage.data.row_set import SIZE, RowSet
from weightgate.lineage.errors import InputError, IntegrityError

FOLDER = "rows"
MAX_INDEX = 5_000_000 * SIZE


def index_name(root: str) -> str:
    """Where the index of a root is kept, relative to the changeset's folder."""
    return f"{FOLDER}/{root}.digests"


def read_index(folders: Iterable[Path], root: str) -> RowSet | None:
    """The index of a signed root from the first folder that has one; None where none has.

    Raises:
        InputError: it is there but cannot be read.
        IntegrityError: it is not the index of that root.
    """
    path = next((path for folder in folders if (path := folder / index_name(root)).exists()), None)
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            data = file.read(MAX_INDEX + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", remedy="check its rights") from error
    try:
        rows = RowSet.from_bytes(data)
    except IntegrityError as error:
        raise IntegrityError(f"{path}: {error}", remedy=error.remedy) from error
    if rows.root.hex() != root:
        raise IntegrityError(
            f"{path} is not the index that the changeset signs", remedy="delete it; give --data instead"
        )
    return rows
