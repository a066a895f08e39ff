"""Small builders of evidence, shared by the tests of deciding."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from weightgate.probes.evidence import Interval, Measurement, ProbeResult


@pytest.fixture(scope="session")
def measure() -> Callable[..., Measurement]:
    """A measurement of the metric 'a.probe/x' whose interval is (low, high)."""

    def _measure(low: float, high: float, **changes: object) -> Measurement:
        values: dict[str, object] = {
            "metric": "a.probe/x",
            "title": "Refusal rate",
            "unit": "proportion",
            "worse": "lower",
            "before": None,
            "after": None,
            "effect": (low + high) / 2,
            "interval": Interval(low=low, high=high, level=0.95, method="test"),
            "n": 100,
            "clusters": 20,
            "p_value": None,
            "method": "test",
        }
        return Measurement.model_validate(values | changes)

    return _measure


@pytest.fixture(scope="session")
def result() -> Callable[..., ProbeResult]:
    """A result of the probe 'a.probe'."""

    def _result(*measurements: Measurement, **changes: object) -> ProbeResult:
        values: dict[str, object] = {
            "probe": "a.probe",
            "version": "1",
            "family": "alignment",
            "status": "measured",
            "measurements": measurements,
        }
        return ProbeResult.model_validate(values | changes)

    return _result
