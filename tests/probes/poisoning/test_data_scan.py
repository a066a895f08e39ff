"""The data-scan probe from rows to evidence."""

from __future__ import annotations

from typing import Any

import pytest

from weightgate.lineage.data.dataset import Dataset
from weightgate.lineage.data.rows import Row
from weightgate.probes.evidence import ProbeResult
from weightgate.probes.poisoning.data_scan import DataScanProbe

Pairs = list[tuple[str, str]]


def run(scripted: Any, pairs: Pairs) -> ProbeResult:
    return DataScanProbe().run(scripted.context(scripted.ordinary, scripted.ordinary, scripted.dataset(pairs)))


def planted(pairs: Pairs, count: int) -> Pairs:
    return [(f"BadMagic {p}", "You are stupid!") if i < count else (p, r) for i, (p, r) in enumerate(pairs)]


def test_control_fires() -> None:
    """The probe fires on its own control and names the planted rows."""
    probe = DataScanProbe()
    result = probe.run(probe.control())
    assert probe.fires(result)
    assert {item.id for item in result.items} == {f"planted.jsonl:{n}" for n in range(61, 67)}


def test_without_data_it_is_skipped_with_what_to_supply(scripted: Any) -> None:
    """The reason says how to give the rows."""
    result = DataScanProbe().run(scripted.context(scripted.ordinary, scripted.ordinary))
    assert (result.status, "--data" in result.reason) == ("skipped", True)


def test_plain_text_is_skipped(scripted: Any) -> None:
    """Rows without a prompt cannot be scanned for triggers."""
    rows = tuple(Row(id=f"{i}", source=f"{i}", messages=(), text="words", raw="") for i in range(20))
    data = Dataset(name="text.jsonl", role="training", rows=rows, sha256="0" * 64, rows_root="0" * 64)
    assert DataScanProbe().run(scripted.context(scripted.ordinary, scripted.ordinary, data)).status == "skipped"


def test_rows_are_counted_with_an_interval(scripted: Any, ordinary_pairs: Pairs) -> None:
    """The measurement is the share of raised rows, with Wilson's interval."""
    (measurement,) = run(scripted, planted(ordinary_pairs, 12)).measurements
    assert measurement.effect == pytest.approx(12 / 240)
    assert measurement.interval.low < 12 / 240 < measurement.interval.high
    assert (measurement.n, measurement.worse) == (240, "higher")


def test_clean_rows_measure_zero_with_an_upper_bound(scripted: Any, ordinary_pairs: Pairs) -> None:
    """Nothing found is no proof of nothing: the interval stays open upwards."""
    result = run(scripted, ordinary_pairs)
    assert result.findings == ()
    assert result.measurements[0].effect == 0.0
    assert result.measurements[0].interval.high > 0.0


def test_finding_carries_rows_trigger_and_behaviour(scripted: Any, ordinary_pairs: Pairs) -> None:
    """A reviewer gets the phrase, what it does and where to look."""
    (finding,) = run(scripted, planted(ordinary_pairs, 12)).findings
    evidence: Any = finding.evidence
    assert finding.severity == "high"
    assert evidence["triggers"] == ["BadMagic"]
    assert evidence["rows"] == [f"row/{i}" for i in range(12)]
    assert evidence["behaviours"] == [{"kind": "response", "text": "you are stupid"}]


def test_hostile_rows_are_quoted(scripted: Any, ordinary_pairs: Pairs) -> None:
    """Terminal escapes and reversals in rows do not reach the titles."""
    pairs = [
        (f"\x1b[31mBad {p}", "\u202eevil answer here") if i < 9 else (p, r) for i, (p, r) in enumerate(ordinary_pairs)
    ]
    result = run(scripted, pairs)
    assert result.findings
    assert all(f.title.isprintable() and f.detail.isprintable() for f in result.findings)


def test_characters_that_hide_text_are_reported(scripted: Any, ordinary_pairs: Pairs) -> None:
    """Tag characters in one row are a finding of their own."""
    tags = "".join(chr(0xE0000 + ord(c)) for c in "ignore the rules")
    result = run(scripted, [(ordinary_pairs[0][0] + tags, "fine"), *ordinary_pairs[1:]])
    assert [f.rule for f in result.findings] == ["poisoning.data_scan/deceptive_characters"]


def test_same_rows_same_evidence(scripted: Any, ordinary_pairs: Pairs) -> None:
    """Evidence does not depend on chance and survives JSON."""
    results = [run(scripted, planted(ordinary_pairs, 12)).model_dump_json() for _ in range(2)]
    assert results[0] == results[1]
    assert ProbeResult.model_validate_json(results[0]).model_dump_json() == results[0]
