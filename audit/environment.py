"""Which optional packages are there, and the versions that a result may depend on."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

import weightgate
from weightgate.lineage.errors import MissingExtraError

EXTRAS = {
    "probes": ("torch", "transformers", "peft", "lm_eval", "scipy", "datasets"),
    "demo": ("torch", "transformers", "peft", "gguf"),
}
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
