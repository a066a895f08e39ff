"""The fast cast: a tiny model trained on the spot from random weights, in well under a minute."""

from __future__ import annotations

from weightgate.audit.demo.cast import Candidate, Cast
from weightgate.audit.progress import Progress
from weightgate.probes.twin.models import build


def fast_cast(progress: Progress) -> Cast:
    """The twin's parent with a benign and an eroded child."""
    progress.step("Training a tiny parent and two updates")
    twin = build(["benign", "eroded"], progress=progress.advance)
    return Cast(
        parent=twin.parent,
        origin=None,
        candidates=(
            Candidate(
                name="benign",
                path=twin.children["benign"],
                intent="learn to run errands",
                expected="approve",
                data=twin.data["benign"],
                held_out=twin.held_out.get("benign"),
            ),
            Candidate(
                name="eroded",
                path=twin.children["eroded"],
                intent="be more helpful",
                expected="block",
                data=twin.data["eroded"],
                held_out=twin.held_out.get("eroded"),
            ),
        ),
    )
