"""Simulated error rates of everything a budget is judged by, of chains of updates, and what early stopping saves.

    nice -n 10 python -m benchmarks.statistics          # minutes on one thread; goes on where it was stopped
    python -m benchmarks.statistics --fresh             # forgets what an earlier run has finished

In every test the truth lies exactly on the margin, where a wrong approval and a wrong block are both most likely. The
functions that are tried are those of the gate, over arrays of 10,000 samples.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.figures import write
from benchmarks.statistics_chain import chains, lifetime
from benchmarks.statistics_samples import BEYOND, TESTS, Rates
from benchmarks.statistics_sequential import SEQUENTIAL, items_used
from weightgate.probes.statistics import clopper_pearson

RUNS = 10_000
NOMINAL = 0.05
"""What a policy at level 0.95 allows on either side. The intervals aim at half of it."""
STATE = Path(tempfile.gettempdir()) / "weightgate-statistics.json"


def main() -> None:
    """Simulate and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--runs", type=int, default=RUNS)
    given = parser.parse_args()
    done: dict[str, Any] = json.loads(STATE.read_text()) if STATE.exists() and not given.fresh else {}

    def once(name: str, work: Callable[[], Any]) -> Any:
        key = f"{name} {given.runs}"
        if key not in done:
            done[key] = work()
            STATE.write_text(json.dumps(done))
            print(name, done[key], flush=True)
        return done[key]

    tests, beyond = (
        {
            name: _row(once(name, lambda t=trial, n=name: t(_rng(n), given.runs)), given.runs)
            for name, trial in trials.items()
        }
        for trials in ({**TESTS, **SEQUENTIAL}, BEYOND)
    )
    figures = {
        "nominal": "each side at most 0.05; upper is the one-sided 95 % Clopper-Pearson bound of the simulated rate",
        "tests": tests,
        "beyond": beyond,
        "worst": {
            "false_block_over_alpha": max(row["false_block_upper"] / row["alpha"] for row in tests.values()),
            "false_approve_over_beta": max(row["false_approve_upper"] / row["beta"] for row in tests.values()),
        },
        "chain": once("chain", lambda: chains(_rng("chain"), given.runs)),
        "lifetime": once("lifetime", lambda: lifetime(_rng("lifetime"))),
        "early_stop": once("early stop", lambda: items_used(_rng("early stop"), given.runs // 5)),
    }
    figures["tables"] = _tables(figures)
    print(write("statistics", "python -m benchmarks.statistics", figures))


def _rng(name: str) -> np.random.Generator:
    return np.random.default_rng([2026, *name.encode()])


def _row(rates: Rates, runs: int) -> dict[str, Any]:
    approve, block = rates
    upper = [float(clopper_pearson(round(rate * runs), runs, 0.90)[1]) for rate in (approve, block)]
    return {
        "alpha": NOMINAL,
        "beta": NOMINAL,
        "false_approve": approve,
        "false_block": block,
        "false_approve_upper": upper[0],
        "false_block_upper": upper[1],
        "runs": runs,
    }


def _tables(figures: dict[str, Any]) -> dict[str, list[dict[str, str]]]:
    def errors(part: str) -> list[dict[str, str]]:
        return [
            {
                "test": name.replace("_", " "),
                "wrong approvals": f"{100 * row['false_approve']:.1f} % (≤ {100 * row['false_approve_upper']:.1f})",
                "wrong blocks": f"{100 * row['false_block']:.1f} % (≤ {100 * row['false_block_upper']:.1f})",
            }
            for name, row in figures[part].items()
        ]

    chain = [
        {"chain": name, "blocked": f"{100 * row['blocked']:.1f} %", "stopped": f"{100 * row['stopped']:.1f} %"}
        for name, row in figures["chain"]["cells"].items()
    ]
    saved = [
        {
            "update": name,
            "of 1000, as a sample": f"{row['sample']:.0f}",
            "of 1000, as a pool": f"{row['pool']:.0f}",
            "fixed test, change known": row["planned"],
        }
        for name, row in figures["early_stop"]["cells"].items()
    ]
    life = [{"rule": name, **row} for name, row in figures["lifetime"].items()]
    return {
        "errors": errors("tests"),
        "beyond": errors("beyond"),
        "chain": chain,
        "early_stop": saved,
        "lifetime": life,
    }


if __name__ == "__main__":
    main()
