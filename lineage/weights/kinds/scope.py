"""Where in the network tensors lie, told by their names alone."""

from __future__ import annotations

import re
from collections.abc import Iterable

from weightgate.lineage.weights.kinds.facts import Scope

MOST_MODULES = 100
_NUMBER = re.compile(r"(?:^|\.)(\d{1,6})(?=\.)")


def layer_of(name: str) -> int | None:
    """The first number in a tensor's name, which is that of its layer in every common naming; None if it has none."""
    found = _NUMBER.search(name)
    return int(found[1]) if found else None


def scope(changed: Iterable[str], total: Iterable[str]) -> Scope | None:
    """Layers and modules of the changed tensors; None for no tensors."""
    names = list(changed)
    if not names:
        return None
    layers = {layer for name in names if (layer := layer_of(name)) is not None}
    modules = sorted({_NUMBER.sub(_starred, name, count=1) for name in names})
    return Scope(
        layers=tuple(sorted(layers)),
        layers_total=len({layer for name in (*names, *total) if (layer := layer_of(name)) is not None}),
        modules=tuple(modules[:MOST_MODULES]),
    )


def _starred(match: re.Match[str]) -> str:
    return match[0].replace(match[1], "*")
