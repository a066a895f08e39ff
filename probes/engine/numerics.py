"""What the numbers depend on besides weights and tokens: device, precision, kernels. Found without importing torch."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from weightgate.lineage.errors import InputError
from weightgate.probes.engine.plan import LAYOUTS, Layout

ENGINE = "2"
"""Raised where the engine's answers to equal requests change, so that none kept from before is taken for a new one."""

Device = Literal["cpu", "cuda", "mps"]

DTYPE_VARIABLE = "WEIGHTGATE_DTYPE"
_DTYPES = ("bfloat16", "float16", "float32")
_GPU_DRIVERS = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/kfd", "/dev/dxg")
_NATIVE_BFLOAT16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
_VECTOR_FLAGS = (
    frozenset({"avx2", "fma", "avx512f", "avx512_vnni", "amx_tile", "asimd", "sve", "sve2"}) | _NATIVE_BFLOAT16
)
# These make the libraries underneath torch choose other kernels, and so other last digits.
_KERNEL_VARIABLES = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS")


@dataclass(frozen=True, slots=True)
class Numerics:
    """Where and how the models run; ``facts`` is what is recorded and what cached answers are keyed by."""

    device: Device
    dtype: str
    facts: Mapping[str, str]
    layout: Layout | None = None
    """Batches other than the device's usual ones; ``facts`` must say so."""


def find_numerics(config: Mapping[str, Any]) -> Numerics:
    """Choose device and precision for a parent with this config.json.

    Matrix products are done in bfloat16 on a GPU and on processors with instructions for it, and in float32 on other
    processors (where emulation was 4 times slower and less exact) and for models stored in float32, in which bfloat16
    would round a small update away. ``WEIGHTGATE_DTYPE`` overrides this. The number of threads does not matter.

    Raises:
        InputError: ``WEIGHTGATE_DTYPE`` names no precision.
    """
    device, name = _device()
    vendor, flags = _processor()
    dtype = _dtype(device, flags, str(config.get("dtype", config.get("torch_dtype", ""))))
    facts = {
        "device": f"{device}: {name}" if name else device,
        "dtype": dtype,
        "head": "float32",
        "engine": ENGINE,
        "batches": str(LAYOUTS[device]),
        **{package: _version(package) for package in ("torch", "transformers", "peft")},
    }
    if device == "cpu":
        facts["processor"] = " ".join((platform.machine(), vendor, *sorted(flags & _VECTOR_FLAGS)))
    if kernels := [f"{name}={os.environ[name]}" for name in _KERNEL_VARIABLES if name in os.environ]:
        facts["kernels"] = " ".join(kernels)
    return Numerics(device=device, dtype=dtype, facts=facts)


def _dtype(device: Device, flags: frozenset[str], stored: str) -> str:
    asked = os.environ.get(DTYPE_VARIABLE, "auto")
    if asked in _DTYPES:
        return asked
    if asked != "auto":
        raise InputError(
            f"{DTYPE_VARIABLE} is {asked[:40]!r}, which is no precision", remedy=f"use auto, {', '.join(_DTYPES)}"
        )
    native = device != "cpu" or not _NATIVE_BFLOAT16.isdisjoint(flags)
    return "bfloat16" if native and stored.removeprefix("torch.") != "float32" else "float32"


def _device() -> tuple[Device, str]:
    """The device torch would use and what it is called; torch is imported only where there may be a GPU."""
    version = _version("torch")
    no_driver = sys.platform == "linux" and not any(Path(driver).exists() for driver in _GPU_DRIVERS)
    if version == "absent" or version.endswith("+cpu") or no_driver:
        return "cpu", ""
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        return "cuda", f"{', '.join(names)}; {torch.version.cuda or torch.version.hip}"
    if torch.backends.mps.is_available():
        return "mps", platform.mac_ver()[0]
    return "cpu", ""


def _processor() -> tuple[str, frozenset[str]]:
    """Vendor and instruction-set flags, where the system tells them."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor(), frozenset()
    first: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        first.setdefault(key.strip(), value.strip())
    vendor = first.get("vendor_id", first.get("CPU implementer", ""))
    return vendor, frozenset(first.get("flags", first.get("Features", "")).split())


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"
