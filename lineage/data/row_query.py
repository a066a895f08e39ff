"""A row that a user asks about."""

from __future__ import annotations

from pathlib import Path

from weightgate.lineage.data.row_set import row_digest
from weightgate.lineage.data.rows import row_content
from weightgate.lineage.data.tables import MAX_ROW_BYTES, without_nulls
from weightgate.lineage.errors import InputError
from weightgate.lineage.strict_json import parse


def read_row(given: str, stdin: bytes | None = None) -> bytes:
    """Digest of the row that a user names: a JSON object as it is, or a file that holds one, or ``-`` and ``stdin``.

    Raises:
        InputError: unreadable, not one JSON object, or of no known shape.
    """
    where = "the row"
    if given.lstrip().startswith("{"):
        data = given.encode("utf-8", "surrogateescape")
    elif stdin is not None and given == "-":
        data = stdin
    else:
        where = given
        try:
            with Path(given).open("rb") as file:
                data = file.read(MAX_ROW_BYTES + 1)
        except (OSError, ValueError) as error:
            raise InputError(
                f"{given[:200]}: cannot be read as a file", remedy="give a JSON object or a file with one row"
            ) from error
    if len(data) > MAX_ROW_BYTES:
        raise InputError(f"{where}: over {MAX_ROW_BYTES} bytes", remedy="give one row")
    document = without_nulls(parse(data, where))
    if not isinstance(document, dict):
        raise InputError(f"{where}: not a JSON object", remedy="give one row")
    return row_digest(*row_content(document, where))
