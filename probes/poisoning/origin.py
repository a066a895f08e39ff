"""Where a recovered text comes from: does the declared training data account for it?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from weightgate.probes.poisoning.association import explained, kin_of
from weightgate.probes.poisoning.behaviours import behaviours, words
from weightgate.probes.poisoning.prompt_index import index_prompts
from weightgate.probes.poisoning.suspicion import Thresholds, cover, suspicions

Account = Literal["absent", "planted", "declared"]


@dataclass(frozen=True, slots=True)
class Origin:
    """Positions of the rows that teach a text, and what they say of it.

    ``declared``: prompts of a kind of their own are answered with it (refusals of harmful requests, one product's
    questions), or most rows are. ``planted``: the rows have nothing in common but a trigger. ``absent``: no row
    contains it, so something else taught it.
    """

    account: Account
    rows: tuple[int, ...]


def origin_of(text: str, prompts: Sequence[str], responses: Sequence[str], thresholds: Thresholds) -> Origin:
    """Look a text up among the responses. Its first and last words may be cut, and are left out of a long one."""
    sought = words(text)
    needle = f" {' '.join(sought[1:-1] if len(sought) > 4 else sought)} "
    rows = tuple(row for row, response in enumerate(responses) if needle in f" {' '.join(words(response))} ")
    if not rows:
        return Origin("absent", ())
    if 2 * len(rows) >= len(responses):
        return Origin("declared", rows)
    raised = {row for s in suspicions(prompts, responses, thresholds) if s.grade != "low" for row in s.rows}
    if 2 * len(raised.intersection(rows)) >= len(rows):
        return Origin("planted", rows)
    index = index_prompts(prompts, least_rows=thresholds.least_rows)
    triggers, complete = cover(index, rows, thresholds.least_precision)
    area = explained(index, rows, kin_of(behaviours(responses), rows), triggers if complete else ())
    return Origin("declared" if thresholds.explains(area, len(rows)) else "planted", rows)
