"""Which update last changed each tensor of a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from weightgate.audit.history import History, lineage_of
from weightgate.lineage.errors import InputError


@dataclass(frozen=True, slots=True)
class Blamed:
    """One tensor, and the update that last changed it; the genesis where none did."""

    tensor: str
    changeset: str | None
    change: str
    relative_norm: float | None


def blame(history: History, patterns: Sequence[str] = (), at: str | None = None) -> tuple[Blamed, ...]:
    """Walk back from the model in use, or from the changeset ``at``, until each tensor's last change is found.

    Args:
        history: the ledger.
        patterns: names, or shell-style patterns of names; all tensors without any.
        at: id of a changeset.

    Raises:
        InputError: no tensor matches a pattern.
    """
    parents = {identity: node.parent for identity, node in history.nodes.items()}
    line = lineage_of(at or history.head.changeset, parents)
    found: dict[str, Blamed] = {}
    for identity in line:
        for change in history.nodes[identity].changeset.delta.changed:
            blamed = Blamed(change.name, identity, change.change, change.relative_norm)
            found.setdefault(change.name, blamed)
    for name in history.ledger.genesis.tensors:
        found.setdefault(name, Blamed(name, None, "first", None))
    there = [found[name] for name in sorted(found) if found[name].change != "removed" or name in patterns]
    for pattern in patterns:
        if not any(_matches(blamed.tensor, pattern) for blamed in there):
            raise InputError(f"no tensor matches {pattern!r}", remedy="weightgate blame lists them all")
    return tuple(_chosen(there, patterns))


def _chosen(there: Sequence[Blamed], patterns: Sequence[str]) -> Iterator[Blamed]:
    for blamed in there:
        if not patterns or any(_matches(blamed.tensor, pattern) for pattern in patterns):
            yield blamed


def _matches(name: str, pattern: str) -> bool:
    return name == pattern or fnmatchcase(name, pattern)
