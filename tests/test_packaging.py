"""The wheel holds every module of the five folders and nothing outside the package."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("audit", "lineage", "policies", "probes", "reports")
DATA_SUFFIXES = {".jsonl", ".yaml", ".j2", ".css"}


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = out.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def test_every_module_and_data_file_is_in_the_wheel(wheel_names: set[str]) -> None:
    """A module or data file that exists in the checkout is there after installation too."""
    wanted = {
        f"weightgate/{path.relative_to(ROOT).as_posix()}"
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if (path.suffix == ".py" or path.suffix in DATA_SUFFIXES) and "__pycache__" not in path.parts
    }
    assert wanted - wheel_names == set()
    assert len(wanted) > 50


def test_nothing_lies_outside_the_package(wheel_names: set[str]) -> None:
    """Generic names such as audit/ or reports/ would overwrite other people's packages."""
    assert {name.split("/")[0] for name in wheel_names} <= {"weightgate", "weightgate-0.1.0.dist-info"}


def test_links_point_at_the_five_folders() -> None:
    """The package is the folders themselves, not copies of them."""
    for folder in FOLDERS:
        assert (ROOT / "src" / "weightgate" / folder).resolve() == ROOT / folder
