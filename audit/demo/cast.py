"""Who plays in the demo: a parent, how it was made, and the updates that are proposed to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from weightgate.policies.decision import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A proposed update of known truth."""

    name: str
    path: Path
    intent: str
    expected: Verdict
    data: Path
    held_out: Path | None = None
    canaries: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """The models of one demo. ``origin`` is the model the parent was made from, where there is one."""

    parent: Path
    origin: Path | None
    candidates: tuple[Candidate, ...]
