"""The probe that holds claims against the bytes."""

from __future__ import annotations

import dataclasses

from weightgate.lineage.weights.claims import Claims
from weightgate.probes.integrity.claims import ClaimsProbe


def test_control_fires() -> None:
    """The probe fires on its own control."""
    probe = ClaimsProbe()
    assert probe.fires(probe.run(probe.control()))


def test_without_claims_it_is_skipped() -> None:
    """And it says how to give some."""
    context = dataclasses.replace(ClaimsProbe().control(), claims=None)
    result = ClaimsProbe().run(context)
    assert result.status == "skipped"
    assert "--claims" in result.reason


def test_true_claims_find_nothing() -> None:
    """The same update, described as it is."""
    context = dataclasses.replace(ClaimsProbe().control(), claims=Claims(kind="partial", only_modules=("*embed*",)))
    assert ClaimsProbe().run(context).findings == ()


def test_every_mismatch_is_a_finding_that_blocks() -> None:
    """Severity high: the default policy blocks at it."""
    result = ClaimsProbe().run(ClaimsProbe().control())
    assert {finding.severity for finding in result.findings} == {"high"}
    assert all(finding.rule.startswith("integrity.claims/") for finding in result.findings)
