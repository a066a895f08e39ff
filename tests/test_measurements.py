"""Published figures can be read by a machine and say where they come from."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

FILES = sorted((Path(__file__).parents[1] / "docs" / "measurements").glob("*.json"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_every_figure_names_its_machine_commit_command_and_date(path: Path) -> None:
    """A figure that cannot be reproduced is no figure."""
    figures = json.loads(path.read_text())
    assert {"machine", "commit", "command", "date"} <= set(figures)


def test_there_are_figures() -> None:
    """The folder is not empty."""
    assert FILES


def test_pages_show_the_current_figures() -> None:
    """`python -m benchmarks.figures` was run after the figures changed."""
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.figures", "--check"], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
