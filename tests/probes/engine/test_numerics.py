"""Precision and device are chosen once, recorded, and can be overridden."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from weightgate.lineage.errors import InputError
from weightgate.probes.engine import numerics
from weightgate.probes.engine.numerics import find_numerics

X86 = "vendor_id : GenuineIntel\nflags : fpu avx2 avx512f {}\n\nvendor_id : GenuineIntel\nflags : fpu\n"


@pytest.fixture(autouse=True)
def _no_override(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WEIGHTGATE_DTYPE", raising=False)


@pytest.mark.parametrize(
    ("device", "extra", "stored", "expected"),
    [
        ("cpu", "", "bfloat16", "float32"),
        ("cpu", "avx512_bf16", "bfloat16", "bfloat16"),
        ("cpu", "avx512_bf16", "float32", "float32"),
        ("cuda", "", "torch.bfloat16", "bfloat16"),
        ("cuda", "", "torch.float32", "float32"),
    ],
)
def test_bfloat16_only_where_it_is_native_and_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, device: str, extra: str, stored: str, expected: str
) -> None:
    """bfloat16 on GPUs and processors that have it, float32 elsewhere and for models stored in float32."""
    monkeypatch.setattr(numerics, "_device", lambda: (device, ""))
    read = Path.read_text

    def of_this_processor(path: Path, *how: Any, **named: Any) -> str:
        return X86.format(extra) if path == Path("/proc/cpuinfo") else read(path, *how, **named)

    monkeypatch.setattr(Path, "read_text", of_this_processor)
    found = find_numerics({"dtype": stored})
    assert found.dtype == expected
    assert found.facts["dtype"] == expected
    if device == "cpu":
        assert found.facts["processor"].split()[1:] == sorted(["GenuineIntel", "avx2", "avx512f", *extra.split()])


def test_the_environment_overrides_the_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """WEIGHTGATE_DTYPE decides; a value that is no precision is an input error."""
    monkeypatch.setenv("WEIGHTGATE_DTYPE", "bfloat16")
    assert find_numerics({"dtype": "float32"}).dtype == "bfloat16"
    monkeypatch.setenv("WEIGHTGATE_DTYPE", "int8")
    with pytest.raises(InputError, match="WEIGHTGATE_DTYPE"):
        find_numerics({})


def test_kernel_switches_are_part_of_the_numerics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that make libraries choose other kernels are recorded; the number of threads is not."""
    plain = find_numerics({}).facts
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert find_numerics({}).facts == plain
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert find_numerics({}).facts["kernels"] == "ONEDNN_MAX_CPU_ISA=AVX2"
