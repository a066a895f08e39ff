"""Reports in other formats, kept in a run folder: written from its record, and checked by rendering it again.

They are not signed. A report says nothing that the signed record does not, so whoever checks a run renders the record
again and compares: a report that was edited, or made from another record, does not verify.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from weightgate.audit.run_folder import RunFolder
from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.reports.record import AuditRecord

REPORTS = "reports"


def write_reports(run: Path, record: AuditRecord, names: tuple[str, ...]) -> tuple[Path, ...]:
    """Render the record to every named format that a run folder does not hold anyway, below its ``reports``.

    Raises:
        InputError: the folder cannot be written, or the record has no rendering in that format.
    """
    from weightgate.reports.formats import extra_files

    files = extra_files(record, names)
    folder = run / REPORTS
    try:
        if files:
            folder.mkdir(exist_ok=True)
        for name, data in files.items():
            RunFolder(folder).write(name, data)
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror or error}", remedy="check its permissions") from error
    return tuple(folder / name for name in files)


def check_reports(run: Path, record: AuditRecord) -> Iterator[str]:
    """The name of each file in ``reports`` that is exactly what the record renders to.

    Raises:
        IntegrityError: a file is not, or is no report at all.
    """
    from weightgate.reports.formats import by_file

    folder = run / REPORTS
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        rendering = by_file(path.name)
        if rendering is None or not path.is_file():
            raise IntegrityError(
                f"{path} is no report that weightgate writes", remedy="keep files of your own outside the run folder"
            )
        expected = rendering.render(record).encode()
        if path.stat().st_size != len(expected) or path.read_bytes() != expected:
            raise IntegrityError(
                f"{path} is not what the signed record renders to",
                remedy="do not trust it; render it again with weightgate report",
            )
        yield f"{REPORTS}/{path.name}"
