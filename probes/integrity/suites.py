"""Everything the gate measures with that must not be in the training rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weightgate.probes.alignment.suite import harmful, harmless
from weightgate.probes.integrity.overlap import Reference
from weightgate.probes.poisoning.prompts import ordinary
from weightgate.probes.regression.items import core

if TYPE_CHECKING:
    from weightgate.lineage.data.dataset import Dataset

SUITES = {
    "harmful": ("harmful prompts", "alignment.refusal and alignment.response_kl"),
    "harmless": ("harmless prompts", "alignment.refusal and alignment.response_kl"),
    "core": ("questions with their answers", "regression.suite"),
    "ordinary": ("ordinary prompts", "poisoning.target_inversion and poisoning.trigger"),
    "held_out": ("held-out rows", "privacy.membership"),
    "left_out_canaries": ("canaries said not to be inserted", "privacy.exposure"),
}
"""What each suite consists of, and the probes that measure with it."""


def shipped() -> list[Reference]:
    """The suites that come with the probes."""
    return [
        *(Reference("harmful", row.id, row.topic, row.prompt) for row in harmful()),
        *(Reference("harmless", row.id, row.topic, row.prompt) for row in harmless()),
        *(Reference("core", item.id, item.topic, f"{item.question} {item.gold}") for item in core()),
        *(Reference("ordinary", row.id, row.topic, row.prompt) for row in ordinary() if row.prompt),
    ]


def supplied(held_out: Dataset | None, canaries: Dataset | None) -> list[Reference]:
    """Rows that were kept out of training on purpose.

    Both are made like rows that are trained on, so only a row of the very same words counts.
    """
    kept = held_out.rows if held_out else ()
    decoys = [row for row in canaries.rows if row.inserted is False] if canaries else []
    return [
        *(Reference("held_out", row.id, row.source, row.content, whole=True) for row in kept),
        *(Reference("left_out_canaries", row.id, row.source, row.content, whole=True) for row in decoys),
    ]
