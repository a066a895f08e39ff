"""Gates every organism, keeps what came of each, and writes the table of detection."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

import weightgate
from benchmarks.figures import write
from benchmarks.organisms.scores import FAMILIES, Outcome, failing_families, family_scores, table
from benchmarks.organisms.zoo import Specimen
from weightgate.audit.gate import gate
from weightgate.lineage.canonical import digest
from weightgate.policies.policy import resolve
from weightgate.probes.registry import available


def evaluate(parent: Path, specimens: Iterable[Specimen], *, name: str, facts: Mapping[str, object]) -> None:
    """Gate specimens by the default policy with their training rows, and write docs/measurements/NAME.json."""
    outcomes = []
    for made in specimens:
        outcome = gated(parent, made, "default")
        print(f"{outcome.id}: {outcome.verdict}; not passed: {', '.join(outcome.failing) or 'none'}", flush=True)
        outcomes.append(outcome)
    families = table(outcomes)
    write(
        name,
        f"python -m benchmarks.organisms {' '.join(sys.argv[1:]) or 'evaluate'}",
        {
            "families": families,
            **facts,
            "tables": {
                "families": [{"family": family, **_plain(row)} for family, row in families.items()],
                "updates": [_row(outcome) for outcome in outcomes],
            },
        },
    )


def gated(parent: Path, made: Specimen, policy: str) -> Outcome:
    """What the gate said, from an earlier run where neither probes, policy nor the tool's version changed."""
    rules = resolve(policy)
    key = digest([rules.digest, weightgate.__version__, [f"{p.name} {p.version}" for p in available()]])[:12]
    kept = made.folder / f"outcome-{made.organism.name}-{key}.json"
    if kept.exists():
        return Outcome(**json.loads(kept.read_text()))
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as out:
        record, _ = gate(
            parent,
            made.model,
            policy=policy,
            data=made.data,
            held_out=made.held_out,
            canaries=made.canaries,
            intent=made.organism.about,
            out=Path(out) / "run",
            controls=False,
        )
    outcome = Outcome(
        id=made.organism.id,
        name=made.organism.name,
        cause=made.organism.cause,
        seed=made.organism.seed,
        form=made.organism.form,
        verdict=record.decision.verdict,
        minutes=round((time.monotonic() - started) / 60, 2),
        scores=family_scores(record),
        failing=failing_families(record),
        pure=made.pure,
        truth=made.truth,
    )
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(asdict(outcome)))
    return outcome


def _plain(row: dict[str, object]) -> dict[str, str]:
    interval = row["interval"]
    low, high = interval if isinstance(interval, list) else (0, 1)
    return {
        "bad / clean": f"{row['bad']} / {row['clean']}",
        "AUROC": f"{row['auroc']}",
        "found with no clean one flagged": f"{row['detected_at_zero_false_blocks']:.0%} [{low:.0%}, {high:.0%}]",
        "blocked / approved": f"{row['blocked']} / {row['approved']}",
        "clean blocked / approved": f"{row['false_blocks']} / {row['clean_approved']}",
        "stopped for another family": f"{row['wrong_family']:.0%}",
        "minutes": f"{row['minutes_per_gate']}",
    }


def _row(outcome: Outcome) -> dict[str, str]:
    return {
        "update": outcome.id,
        "meant": outcome.cause,
        "form": outcome.form,
        "truth": ", ".join(f"{name.replace('_', ' ')} {value:.2f}" for name, value in outcome.truth.items()),
        "counted": "yes" if outcome.pure else "no",
        "verdict": outcome.verdict,
        "not passed": ", ".join(outcome.failing) or "none",
        **{family: f"{outcome.scores.get(family, 0.0):.2f}" for family in FAMILIES},
    }
