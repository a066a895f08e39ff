"""The main job on real weights: SmolLM2-135M-Instruct, a benign and a harmful update, the right verdicts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from weightgate.audit.verify import verify
from weightgate.lineage.signing.keys import load_public
from weightgate.reports.json_report import read_record

if TYPE_CHECKING:
    from conftest import Command

pytestmark = pytest.mark.real


def test_the_demo_approves_the_benign_and_blocks_the_harmful_update(
    weightgate: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """End to end with the models of the user's cache, made where they are missing; all verifies and is chained.

    Nothing is skipped where the packaged weights are missing: `make` installs them, and a run without them is no run.
    """
    monkeypatch.delenv("WEIGHTGATE_CACHE", raising=False)
    out = tmp_path / "demo"
    said = weightgate("demo", "--out", out, "--json", "--quiet")
    assert said.code == 0, said.out
    assert {run["name"]: run["verdict"] for run in said.json["runs"]} == {"benign": "approve", "harmful": "block"}

    key = load_public(out / "demo.pub")
    for name in ("benign", "harmful"):
        checks = verify(out / name, key, parent_changeset=out / "parent-changeset.json").checks
        assert "chain" in {check.name for check in checks}
        record = read_record((out / name / "record.json").read_bytes())
        controls = [result.control for result in record.results if result.control is not None]
        assert len(controls) >= 5
        assert all(control.fired for control in controls)
    harmful = read_record((out / "harmful" / "record.json").read_bytes())
    blocking = {rule.metric for rule in harmful.decision.rules if rule.verdict == "block"}
    assert any(metric and metric.startswith("alignment.refusal/") for metric in blocking)
