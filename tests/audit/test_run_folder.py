"""A run folder is whole or not a result, and never overwritten."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from weightgate.audit import run_folder
from weightgate.audit.run_folder import PLAN, VERDICT, RunFolder, plan_of
from weightgate.lineage.errors import InputError

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PLAN_A = plan_of(parent="a", child="b", seed=0)


def create(path: Path | None, *, plan: dict[str, object] = PLAN_A, resume: bool = False) -> RunFolder:
    return RunFolder.create(path, plan=plan, name="child", now=NOW, resume=resume)


def test_without_a_verdict_there_is_no_result(tmp_path: Path) -> None:
    """The verdict is the last file; only with it the plan goes and the run counts as finished."""
    folder = create(tmp_path / "run")
    folder.write("record.json", b"{}")
    assert (tmp_path / "run" / PLAN).exists()
    assert not (tmp_path / "run" / VERDICT).exists()
    folder.finish(b"{}")
    assert not (tmp_path / "run" / PLAN).exists()
    assert (tmp_path / "run" / VERDICT).exists()


def test_a_finished_run_is_never_overwritten(tmp_path: Path) -> None:
    """Neither with nor without --resume."""
    create(tmp_path / "run").finish(b"{}")
    for resume in (False, True):
        with pytest.raises(InputError, match="finished run"):
            create(tmp_path / "run", resume=resume)


def test_a_folder_of_other_files_is_left_alone(tmp_path: Path) -> None:
    """A folder that was not made by a run is refused, its files stay."""
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="not empty"):
        create(tmp_path, resume=True)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_resume_wants_the_same_inputs(tmp_path: Path) -> None:
    """An unfinished run goes on only with --resume and only for the same plan; the message names what differs."""
    create(tmp_path / "run")
    with pytest.raises(InputError, match="unfinished run"):
        create(tmp_path / "run")
    with pytest.raises(InputError, match="seed"):
        create(tmp_path / "run", plan=plan_of(parent="a", child="b", seed=1), resume=True)
    assert create(tmp_path / "run", resume=True).path == tmp_path / "run"


def test_leftovers_of_a_kill_are_swept(tmp_path: Path) -> None:
    """A half-written file of a killed run is not taken for evidence."""
    create(tmp_path / "run")
    (tmp_path / "run" / "evidence" / ".x.json.1.partial").write_bytes(b"{")
    create(tmp_path / "run", resume=True)
    assert list((tmp_path / "run" / "evidence").iterdir()) == []


def test_resume_without_a_folder_finds_the_unfinished_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default runs lie under one root with a name of their own; --resume finds the one of the same plan."""
    monkeypatch.setattr(run_folder, "DEFAULT_ROOT", tmp_path / "runs")
    first = create(None)
    assert first.path.name == "child-20260102-030405"
    assert create(None, resume=True).path == first.path


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_folder_is_an_input_error_for_users(tmp_path: Path) -> None:
    """A folder without write permission gives one clear error."""
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="cannot write"):
        create(tmp_path / "run")


def test_an_unwritable_place_is_an_input_error(tmp_path: Path) -> None:
    """A path below a file cannot be made into a folder."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match=r"cannot write|is a file"):
        create(tmp_path / "file" / "run")
