"""Fixtures shared by all tests: a cache of their own, the tiny twin, and the command line in this process."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from weightgate.probes.twin.models import Twin

# What a test requires is never how fast the machine is today.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

CACHE = Path(__file__).parents[1] / ".pytest_cache" / "weightgate"
os.environ["WEIGHTGATE_CACHE"] = str(CACHE)
"""Not the user's cache; kept between runs, since the twin is found by the digest of all it depends on."""


@pytest.fixture(scope="session")
def twin() -> Twin:
    """The tiny parent and all of its planted children."""
    from weightgate.probes.twin.models import build

    return build()


@dataclass(frozen=True)
class Said:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one object on stdout."""
        return json.loads(self.out)


Command = Callable[..., Said]


@pytest.fixture
def weightgate(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """Run the command line in this process, in a folder and with a configuration of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("COLUMNS", "80")

    def command(*arguments: object) -> Said:
        from weightgate.audit.cli.main import run

        monkeypatch.setattr(sys, "argv", ["weightgate", *map(str, arguments)])
        capsys.readouterr()
        try:
            run()
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        printed = capsys.readouterr()
        return Said(code, printed.out, printed.err)

    return command
