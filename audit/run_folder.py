"""The folder of one audit run: written atomically, never overwritten, complete only once the verdict is there."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from weightgate.lineage.canonical import canonical, digest
from weightgate.lineage.errors import InputError

CHANGESET, RECORD, VERDICT, EVIDENCE = "changeset.json", "record.json", "verdict.json", "evidence"
REPORT_HTML, REPORT_MARKDOWN = "report.html", "report.md"
REPLAY = "replay.json"
"""Written later, by `weightgate replay`."""
PLAN = ".plan.json"
DEFAULT_ROOT = Path("weightgate-runs")


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A run folder that is being filled. ``verdict.json`` is written last: without it there is no result."""

    path: Path

    @classmethod
    def create(
        cls, path: Path | None, *, plan: Mapping[str, object], name: str, now: datetime, resume: bool
    ) -> RunFolder:
        """Open a new folder for ``plan`` (the digests of everything the result depends on), or an unfinished one.

        Raises:
            InputError: the folder holds a finished run, a run of something else, other files, or cannot be written.
        """
        if path is None:
            path = _unfinished(plan) if resume else None
            path = path or DEFAULT_ROOT / f"{_safe(name)}-{now:%Y%m%d-%H%M%S}"
        folder = cls(path)
        folder._check(plan, resume=resume)
        try:
            (path / EVIDENCE).mkdir(parents=True, exist_ok=True)
            folder.write(PLAN, canonical(dict(plan)))
        except OSError as error:
            raise InputError(
                f"cannot write the run folder {path}: {error.strerror or error}",
                remedy="choose a folder you may write to with --out",
            ) from error
        return folder

    def write(self, name: str, data: bytes) -> None:
        """Write one file so that it is either whole or absent, whatever happens meanwhile."""
        target = self.path / name
        target.parent.mkdir(exist_ok=True)
        temporary = target.with_name(f".{target.name}.{os.getpid()}.partial")
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)

    def finish(self, verdict: bytes) -> None:
        """Write the verdict, which makes the run complete, and forget the plan."""
        self.write(VERDICT, verdict)
        (self.path / PLAN).unlink(missing_ok=True)

    def _check(self, plan: Mapping[str, object], *, resume: bool) -> None:
        path = self.path
        if path.exists() and not path.is_dir():
            raise InputError(f"{path} is a file, not a folder", remedy="choose another --out")
        if not path.exists() or not any(path.iterdir()):
            return
        if (path / VERDICT).exists():
            raise InputError(f"{path} already holds a finished run", remedy="choose another --out, or delete it")
        if not (path / PLAN).exists():
            raise InputError(f"{path} is not empty and not an unfinished run", remedy="choose another --out")
        if not resume:
            raise InputError(
                f"{path} holds an unfinished run", remedy="continue it with --resume, or choose another --out"
            )
        if (path / PLAN).read_bytes() != canonical(dict(plan)):
            raise InputError(
                f"the unfinished run in {path} is of other models, data, policy or seed ({_difference(path, plan)})",
                remedy="give the same inputs as before, or choose another --out",
            )
        for leftover in path.rglob("*.partial"):
            leftover.unlink()


def plan_of(**parts: object) -> dict[str, object]:
    """The plan of a run, with its own digest."""
    return {**parts, "digest": digest(parts)}


def _unfinished(plan: Mapping[str, object]) -> Path | None:
    wanted = canonical(dict(plan))
    found = [file.parent for file in DEFAULT_ROOT.glob(f"*/{PLAN}") if file.read_bytes() == wanted]
    return max(found, default=None)


def _difference(path: Path, plan: Mapping[str, object]) -> str:
    try:
        old = json.loads((path / PLAN).read_bytes())
    except ValueError:
        return "its plan is unreadable"
    return ", ".join(sorted(key for key in plan if key != "digest" and old.get(key) != plan[key])) or "another plan"


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")[:60] or "run"
