"""Which optional packages are there, and the versions that a result may depend on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import weightgate
from weightgate.lineage.errors import MissingExtraError

EXTRAS = {
    "probes": ("torch", "transformers", "peft", "lm_eval", "scipy", "datasets"),
    "demo": ("torch", "transformers", "peft", "gguf"),
}
VECTOR = ("amx", "avx", "asimd", "bf16", "fma", "sse4", "sve")
RECORDED = ("torch", "transformers", "peft", "lm_eval", "safetensors", "numpy")


def require_extra(extra: str, what: str) -> None:
    """Check that every package of an extra can be imported, without importing it.

    Raises:
        MissingExtraError: one is not installed; the remedy says which extra to install.
    """
    if any(find_spec(module) is None for module in EXTRAS[extra]):
        raise MissingExtraError(what, extra)


def describe_environment() -> dict[str, str]:
    """Versions of Python, the platform, this tool and the libraries that numbers can depend on."""
    described = {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "weightgate": weightgate.__version__,
    }
    for name in RECORDED:
        try:
            described[name] = version(name)
        except PackageNotFoundError:
            continue
    return described


def describe_processor() -> dict[str, str]:
    """Its name, cores and vector instructions: numeric libraries choose their code, and so their rounding, by them."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(errors="replace").splitlines() if info.exists() else []
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = fields.get("flags", fields.get("Features", "")).split()
    return {
        "cpu": fields.get("model name") or platform.processor() or platform.machine(),
        "cpu_flags": " ".join(sorted(flag for flag in flags if flag.startswith(VECTOR))),
        "cores": str(os.cpu_count()),
    }
