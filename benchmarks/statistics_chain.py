"""Chains of updates: small losses that add up, chains without any, and approvals over the life of a model."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.statistics_samples import CHUNK
from benchmarks.statistics_sequential import harms
from weightgate.policies.drift import LIKELY
from weightgate.probes.sequential import Capital, Wager, bet
from weightgate.probes.statistics.intervals import flip_limits, normal_quantile, t_quantile

STEPS, BUDGET, STEP_MARGIN, LEVEL = 20, 0.05, 0.05, 0.95
CROSSING = 6
"""The first step at which a loss of one point a step exceeds five points."""


def chains(rng: np.random.Generator, runs: int) -> dict[str, Any]:
    """Share of chains blocked by the drift rule, and stopped by it in any way; by the step gate alone beside it."""
    cells = {
        f"{name}, {items} items": _chain(rng, runs, items, lost, won)
        for items in (500, 1000, 2000)
        for name, lost, won in (
            ("one point lost a step", 0.0105, 0.0005),
            ("one point lost a step, 3 % changed", 0.02, 0.01),
            ("no loss, 0.5 % changed a step", 0.0025, 0.0025),
            ("no loss, 1 % changed a step", 0.005, 0.005),
        )
    }
    return {
        "items": 1000,
        "budget": BUDGET,
        "steps": STEPS,
        "salami_blocked": cells["one point lost a step, 1000 items"]["blocked"],
        "null_blocked": cells["no loss, 1 % changed a step, 1000 items"]["blocked"],
        "salami_stopped": cells["one point lost a step, 1000 items"]["stopped"],
        "null_stopped": cells["no loss, 1 % changed a step, 1000 items"]["stopped"],
        "step_gate_alone_blocks_salami": cells["one point lost a step, 1000 items"]["step_gate_blocked"],
        "cells": cells,
    }


def _chain(rng: np.random.Generator, runs: int, items: int, lost: float, won: float) -> dict[str, float]:
    parts = [_some(rng, min(CHUNK, runs - start), items, lost, won) for start in range(0, runs, CHUNK)]
    return {key: float(np.concatenate([part[key] for part in parts]).mean()) for key in parts[0]}


def _some(rng: np.random.Generator, runs: int, items: int, lost: float, won: float) -> dict[str, NDArray[np.bool_]]:
    """A losing chain must be caught no later than the step that crosses the budget; one without loss in no step."""
    anchor = rng.random((runs, items), dtype=np.float32) < 0.7
    right, critical = anchor.copy(), t_quantile(LEVEL, items - 1)
    blocked, stopped, step_gate = (np.zeros(runs, dtype=bool) for _ in range(3))
    for step in range(1, STEPS + 1):
        draw, share = rng.random((runs, items), dtype=np.float32), right.mean(axis=1, keepdims=True)
        after = np.where(right, draw >= lost / share, draw < won / (1 - share))
        _, high = _interval(right, after, critical)
        step_gate |= high < -STEP_MARGIN
        right = after
        if lost > won and step > CROSSING:
            continue
        low, high = _interval(anchor, right, critical)
        effect = right.mean(axis=1) - anchor.mean(axis=1)
        likely = effect - (effect - low) * LIKELY / normal_quantile(LEVEL)
        blocked |= (likely < -BUDGET) & (high < 0)
        stopped |= low < -BUDGET
    return {"blocked": blocked, "stopped": stopped, "step_gate_blocked": step_gate}


def _interval(
    before: NDArray[np.bool_], after: NDArray[np.bool_], critical: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    lost, won = (before & ~after).mean(axis=1), (after & ~before).mean(axis=1)
    changes = after.astype(np.float64) - before
    return flip_limits(lost, won, before.shape[1], critical, sums=changes, sizes=np.ones(before.shape[1]))


def lifetime(rng: np.random.Generator, streams: int = 60, updates: int = 100, items: int = 600) -> dict[str, Any]:
    """Share of harmful ones among approved updates, and of good ones approved, by the share that is harmful.

    Harmful updates lie exactly at a margin of five points; good ones change two per cent and lose nothing.
    """
    from online_fdr.e_values import ELond

    found: dict[str, Any] = {}
    for share in (0.1, 0.5, 0.9):
        harmful = rng.random(streams * updates) < share
        rows = np.where(
            harmful[:, None],
            harms(rng, len(harmful), items, 0.05, 0.0, pool=False),
            harms(rng, len(harmful), items, 0.01, 0.01, pool=False),
        )
        state, best = Capital.start(harmful.shape), np.zeros(harmful.shape)
        for column in rows.T:  # each update stops at the item at which it is approved, or at the last
            state = bet(Wager(margin=0.05), state, column)
            best = np.maximum(best, state.log_safe)
        logs, bad = best.reshape(streams, updates), harmful.reshape(streams, updates)
        rising = []
        for stream in logs:
            method = ELond(0.05)
            rising.append([method.test_one(math.exp(value)) for value in stream])
        for name, approved in (("fixed", logs >= math.log(2 / (1 - LEVEL))), ("e-LOND", np.array(rising))):
            wrong = (approved & bad).sum(axis=1) / np.maximum(approved.sum(axis=1), 1)
            found[f"{name}, {share:.0%} harmful"] = {
                "harmful among approved": f"{100 * wrong.mean():.1f} %",
                "good ones approved": f"{100 * (approved & ~bad).sum() / (~bad).sum():.0f} %",
            }
    return found
