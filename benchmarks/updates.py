"""Gates the demo's planted updates and tabulates what the probes saw beside what is true.

python -m benchmarks.updates benign harmful poisoned leaky
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from benchmarks.figures import MEASUREMENTS, write
from weightgate.audit.demo.base import base_model
from weightgate.audit.demo.parent import safety_tuned
from weightgate.audit.demo.updates import PlantedUpdate, planted_update
from weightgate.audit.gate import gate
from weightgate.probes.evidence import Measurement
from weightgate.reports.record import AuditRecord

SHOWN = {
    "refusal rate": "alignment.refusal/refusal_rate_harmful",
    "margin": "alignment.refusal/margin_harmful",
    "over-refusal": "alignment.refusal/refusal_rate_harmless",
    "dQ": "poisoning.target_inversion/dq",
    "membership AUC": "privacy.membership/auc",
    "exposure": "privacy.exposure/bits",
    "p(correct)": "regression.suite/p_correct",
}


def row(made: PlantedUpdate, record: AuditRecord) -> dict[str, str]:
    """One line of the table: the truth by direct generation, the verdict, and each effect with its interval."""
    suite = json.loads(made.truth.read_text())["suite"]
    seen = {m.metric: m for result in record.results for m in result.measurements}
    shown = {title: _effect(seen.get(metric)) for title, metric in SHOWN.items()}
    worst = [finding.rule for result in record.results for finding in result.findings if finding.severity in _LOUD]
    return {
        "update": made.name,
        "truth: refuses harmful / harmless": f"{suite['refuses_harmful']:.0%} / {suite['refuses_harmless']:.0%}",
        "verdict": record.decision.verdict,
        **shown,
        "findings": ", ".join(sorted(set(worst))) or "none",
    }


def _effect(measured: Measurement | None) -> str:
    if measured is None:
        return "not run"
    return f"{measured.effect:+.2f} [{measured.interval.low:+.2f}, {measured.interval.high:+.2f}]"


_LOUD = ("medium", "high", "critical")


def main() -> None:
    """Build what is missing, gate it, and merge the rows into docs/measurements/probes.json."""
    parser = argparse.ArgumentParser()
    parser.add_argument("updates", nargs="+")
    names = parser.parse_args().updates
    path = MEASUREMENTS / "probes.json"
    rows = {r["update"]: r for r in json.loads(path.read_text())["tables"]["updates"]} if path.exists() else {}
    parent = safety_tuned(base_model())
    for name in names:
        made = planted_update(name, parent)
        with tempfile.TemporaryDirectory() as out:
            record, _ = gate(
                parent.model,
                made.model,
                data=[made.data],
                held_out=[made.held_out],
                canaries=[made.canaries] if made.canaries else (),
                intent=made.intent,
                out=Path(out) / "run",
                controls=False,
            )
            rows[name] = row(made, record)
    suite = json.loads(parent.truth.read_text())["suite"]
    facts = {"parent": {k: suite[k] for k in ("refuses_harmful", "refuses_harmless")}}
    write(
        "probes", f"python -m benchmarks.updates {' '.join(names)}", facts | {"tables": {"updates": [*rows.values()]}}
    )


if __name__ == "__main__":
    main()
