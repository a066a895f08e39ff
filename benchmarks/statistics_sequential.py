"""Error rates and items used of the tests that may be looked at after every item."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.statistics_samples import CHUNK, Rates, Trial, in_chunks
from weightgate.probes.sequential import Capital, Wager, bet
from weightgate.probes.statistics.intervals import flip_limits, t_quantile

LEVEL = 0.95
DECIDES = math.log(2 / (1 - LEVEL))


def harms(
    rng: np.random.Generator, runs: int, items: int, lost: float, won: float, *, pool: bool
) -> NDArray[np.float64]:
    """(runs, items) of 1, -1 and 0: drawn freely, or a pool with exactly these shares in random order."""
    if not pool:
        draw = rng.random((runs, items))
        return np.where(draw < lost, 1.0, np.where(draw < lost + won, -1.0, 0.0))
    counts = [round(lost * items), round(won * items)]
    row = np.repeat([1.0, -1.0, 0.0], [*counts, items - sum(counts)])
    return rng.permuted(np.tile(row, (runs, 1)), axis=1)


def first_crossings(
    rows: NDArray[np.float64], margin: float, threshold: float, *, pool: int | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number of items at which each capital first reached the threshold; one more than there are where it never did."""
    runs, items = rows.shape
    wager, state = Wager(margin=margin, pool=pool), Capital.start((runs,))
    never = items + 1
    safe, harm = np.full(runs, never), np.full(runs, never)
    for step, column in enumerate(rows.T, 1):
        state = bet(wager, state, column)
        safe = np.where((safe == never) & (state.log_safe >= threshold), step, safe)
        harm = np.where((harm == never) & (state.log_harm >= threshold), step, harm)
    return safe, harm


def betting(rng: np.random.Generator, runs: int, *, items: int, margin: float, won: float, pool: bool) -> Rates:
    """The betting test, looked at after every item, with the harm exactly at the margin."""

    def trial(rng: np.random.Generator, runs: int) -> Rates:
        rows = harms(rng, runs, items, margin + won, won, pool=pool)
        if pool:
            rows = rows[:, :-1]  # once all are known nothing is uncertain
        safe, harm = first_crossings(rows, margin, DECIDES, pool=items if pool else None)
        last = rows.shape[1]
        return float((safe <= last).mean()), float((harm <= last).mean())

    return in_chunks(rng, runs, trial)


def stopping(rng: np.random.Generator, runs: int, *, items: int, margin: float, won: float) -> Rates:
    """Early stopping as the gate does it: half of the error for the looks, half for the interval over all items."""

    def trial(rng: np.random.Generator, runs: int) -> Rates:
        rows = harms(rng, runs, items, margin + won, won, pool=False)
        safe, harm = first_crossings(rows, margin, math.log(4 / (1 - LEVEL)), pool=None)
        critical = t_quantile(1 - (1 - LEVEL) / 2, items - 1)
        lost, gained = (rows > 0).mean(axis=1), (rows < 0).mean(axis=1)
        low, high = flip_limits(lost, gained, items, critical, sums=-rows, sizes=np.ones(items))
        approved = (safe < harm) | ((harm > items) & (low >= -margin))
        blocked = (harm < safe) | ((safe > items) & (high < -margin))
        return float(approved.mean()), float(blocked.mean())

    return in_chunks(rng, runs, trial)


SEQUENTIAL: dict[str, Trial] = {
    "betting_1000_margin_0.05": partial(betting, items=1000, margin=0.05, won=0.0, pool=False),
    "betting_1000_margin_0.05_churn": partial(betting, items=1000, margin=0.05, won=0.03, pool=False),
    "betting_1000_margin_0.02": partial(betting, items=1000, margin=0.02, won=0.0, pool=False),
    "betting_pool_of_1000_margin_0.05": partial(betting, items=1000, margin=0.05, won=0.0, pool=True),
    "betting_pool_of_1000_margin_0.02_churn": partial(betting, items=1000, margin=0.02, won=0.02, pool=True),
    "early_stop_240_margin_0.05": partial(stopping, items=240, margin=0.05, won=0.0),
    "early_stop_240_margin_0.05_churn": partial(stopping, items=240, margin=0.05, won=0.03),
}

UPDATES: dict[str, tuple[float, float]] = {
    "identical": (0.0, 0.0),
    "2 % changed, no loss": (0.01, 0.01),
    "6 % changed, no loss": (0.03, 0.03),
    "10 points lost": (0.12, 0.02),
    "20 points lost": (0.22, 0.02),
}


def items_used(rng: np.random.Generator, runs: int, *, items: int = 1000, margin: float = 0.05) -> dict[str, Any]:
    """Mean number of items until a decision, all of them where there is none, against using all.

    ``planned`` is what a fixed test needs for 80 % power by someone who knows the change beforehand.
    """
    cells: dict[str, Any] = {}
    for name, (lost, won) in UPDATES.items():
        used: dict[str, Any] = {}
        for form, pool in (("sample", False), ("pool", True)):
            counts = []
            for start in range(0, runs, CHUNK):
                rows = harms(rng, min(CHUNK, runs - start), items, lost, won, pool=pool)
                crossed = first_crossings(rows, margin, DECIDES, pool=items if pool else None)
                counts.append(np.minimum(np.minimum(*crossed), items))
            used[form] = float(np.concatenate(counts).mean())
        churn, distance = lost + won - (lost - won) ** 2, abs(margin - (lost - won))
        planned = ((1.959964 + 0.841621) / distance) ** 2 * churn
        cells[name] = used | {"planned": f"{planned:.0f}" if churn else "none"}
    ratios = {form: float(np.mean([cell[form] for cell in cells.values()])) / items for form in ("sample", "pool")}
    return {"cells": cells, "items_ratio": ratios["sample"], "items_ratio_pool": ratios["pool"], "items": items}
