"""Reports in a run folder: written beside what is signed, and worth as much as the record they are rendered from."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from weightgate.audit.report_files import REPORTS, check_reports, write_reports
from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.reports.formats import FORMATS
from weightgate.reports.json_report import record_bytes
from weightgate.reports.record import AuditRecord

if TYPE_CHECKING:
    from conftest import Command

ALL = tuple(FORMATS)


@pytest.fixture(scope="module")
def record() -> AuditRecord:
    """A record of a blocked update."""
    path = Path(__file__).parents[1] / "reports" / "records.py"
    spec = importlib.util.spec_from_file_location("records_for_files", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    blocked = module.blocked()
    assert isinstance(blocked, AuditRecord)
    return blocked


def test_what_was_written_checks_out(record: AuditRecord, tmp_path: Path) -> None:
    """Every format a run does not hold anyway becomes a file, and each is found to be what the record renders to."""
    written = write_reports(tmp_path, record, ALL)
    assert len(written) == len(ALL) - 3
    assert sorted(f"{REPORTS}/{path.name}" for path in written) == list(check_reports(tmp_path, record))


def test_without_reports_there_is_nothing_to_check(record: AuditRecord, tmp_path: Path) -> None:
    """No folder is made for formats that every run holds, and none is needed."""
    assert write_reports(tmp_path, record, ("html", "md", "json")) == ()
    assert list(tmp_path.iterdir()) == []
    assert list(check_reports(tmp_path, record)) == []


@pytest.mark.parametrize("name", sorted(set(FORMATS) - {"html", "md", "json"}))
def test_an_edited_report_does_not_verify(record: AuditRecord, tmp_path: Path, name: str) -> None:
    """One byte more, one byte changed, or the report of another record: refused by name."""
    (path,) = write_reports(tmp_path, record, (name,))
    good = path.read_bytes()
    changed = bytearray(good)
    changed[len(good) // 2] ^= 1
    decision = record.decision.model_copy(update={"rules": record.decision.rules[:-1]})
    write_reports(tmp_path, record.model_copy(update={"decision": decision}), (name,))
    for data in (good + b"\n", bytes(changed), path.read_bytes(), b""):
        path.write_bytes(data)
        with pytest.raises(IntegrityError, match=path.name):
            list(check_reports(tmp_path, record))
    path.write_bytes(good)
    assert list(check_reports(tmp_path, record)) == [f"{REPORTS}/{path.name}"]


def test_a_file_that_is_no_report_does_not_verify(record: AuditRecord, tmp_path: Path) -> None:
    """Nothing can be slipped in beside the reports, not even one that every run holds under its own name."""
    (tmp_path / REPORTS).mkdir()
    for name in ("approval.sarif", "report.html", "record.json"):
        (tmp_path / REPORTS / name).write_text("all is well")
        with pytest.raises(IntegrityError, match=name):
            list(check_reports(tmp_path, record))
        (tmp_path / REPORTS / name).unlink()


def test_an_unwritable_folder_is_one_clear_error(record: AuditRecord, tmp_path: Path) -> None:
    """A file where the folder should be."""
    (tmp_path / REPORTS).write_text("")
    with pytest.raises(InputError, match="cannot write"):
        write_reports(tmp_path, record, ("sarif",))


@pytest.mark.parametrize("name", FORMATS)
def test_the_command_renders_every_format(record: AuditRecord, weightgate: Command, tmp_path: Path, name: str) -> None:
    """`weightgate report` prints what the renderer says, and writes the same to --out."""
    (tmp_path / "record.json").write_bytes(record_bytes(record))
    said = weightgate("report", tmp_path, "--format", name)
    assert (said.code, said.out) == (0, FORMATS[name].render(record))
    assert weightgate("report", tmp_path, "--format", name, "--out", tmp_path / "out", "-q").code == 0
    assert (tmp_path / "out").read_text(encoding="utf-8") == said.out


def test_a_misspelt_format_is_found_before_any_work(weightgate: Command, tmp_path: Path) -> None:
    """The error names the format and the nearest one; nothing is read or written."""
    said = weightgate("gate", tmp_path / "a", tmp_path / "b", "--format", "md,sarfi")
    assert said.code == 2
    assert "no report format 'sarfi' (did you mean 'sarif'?)" in said.err
