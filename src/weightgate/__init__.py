"""weightgate: a pull request for weights.

Every weight update is a signed changeset; probes measure parent and child; a policy approves, blocks or asks for
review.

>>> record, folder = weightgate.gate("models/v3", "models/v4", data=[Path("train.jsonl")])  # doctest: +SKIP
>>> record.decision.verdict  # doctest: +SKIP
'approve'
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weightgate.audit.compare import compare as diff
    from weightgate.audit.gate import gate
    from weightgate.audit.verify import verify
    from weightgate.reports.record import AuditRecord

__version__ = "0.1.0"
__all__ = ["AuditRecord", "__version__", "diff", "gate", "verify"]

_HOMES = {
    "AuditRecord": ("weightgate.reports.record", "AuditRecord"),
    "diff": ("weightgate.audit.compare", "compare"),
    "gate": ("weightgate.audit.gate", "gate"),
    "verify": ("weightgate.audit.verify", "verify"),
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that importing the package costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'weightgate' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
