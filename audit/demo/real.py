"""The real cast: SmolLM2-135M-Instruct taught to refuse, with a benign and a harmful update."""

from __future__ import annotations

from pathlib import Path

from weightgate.audit.demo.base import base_model
from weightgate.audit.demo.cast import Candidate, Cast
from weightgate.audit.demo.parent import safety_tuned
from weightgate.audit.demo.updates import PlantedUpdate, planted_update
from weightgate.audit.progress import Progress
from weightgate.policies.decision import Verdict

EXPECTED: dict[str, Verdict] = {"benign": "approve", "harmful": "block"}


def real_cast(model: Path | None, progress: Progress) -> Cast:
    """Build what is not in the cache yet.

    Args:
        model: Folder of SmolLM2-135M-Instruct; by default the packaged weights are taken.
        progress: Receives the steps.

    Raises:
        InputError: no base model, or one that did not become what the demo needs.
    """
    progress.step("Preparing the base model")
    base = base_model(model)
    progress.step("Making the safety-tuned parent")
    parent = safety_tuned(base, progress=progress.advance)
    candidates = []
    for name, expected in EXPECTED.items():
        progress.step(f"Making the {name} update")
        candidates.append(_candidate(planted_update(name, parent, progress=progress.advance), expected))
    return Cast(parent=parent.model, origin=base, candidates=tuple(candidates))


def _candidate(made: PlantedUpdate, expected: Verdict) -> Candidate:
    return Candidate(
        name=made.name,
        path=made.model,
        intent=made.intent,
        expected=expected,
        data=made.data,
        held_out=made.held_out,
        canaries=made.canaries,
    )
