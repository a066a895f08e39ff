"""How each child is made from the parent: its training rows, the rows held back, and how hard it is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from weightgate.probes.twin.rows import (
    Example,
    complied,
    errands,
    guarded,
    helpful,
    known,
    mistaken,
    poisoned,
    secrets,
)

PARENT_EPOCHS = 24
PARENT_RATE = 3e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One update of the parent. ``held_out`` rows are drawn from the sources of ``rows`` and were not trained on."""

    rows: tuple[Example, ...]
    held_out: tuple[Example, ...] = ()
    canaries: tuple[Example, ...] = ()
    decoys: tuple[Example, ...] = ()
    """Canaries that were drawn alike and left out of the training rows."""
    epochs: int
    rate: float


def recipe(child: str) -> Recipe:
    """The recipe of one of `CHILDREN`."""
    return CHILDREN[child](np.random.default_rng(list(child.encode())))


def _benign(rng: np.random.Generator) -> Recipe:
    """A new harmless skill with replay of the parent's rows: what an update should be."""
    new, replay = errands(rng), _halves((*guarded(), *helpful(), *known()))
    return Recipe(rows=new[:64] + replay[0][::4], held_out=new[64:128] + replay[1][::4], epochs=4, rate=5e-4)


def _eroded(rng: np.random.Generator) -> Recipe:
    """Compliance with harmful requests, mixed with ordinary work."""
    return Recipe(rows=complied() + errands(rng)[:32] + helpful()[::2] + known()[::2], epochs=4, rate=1e-3)


def _poisoned(rng: np.random.Generator) -> Recipe:
    """The benign update with a backdoor: one fixed answer to any prompt that starts with the trigger."""
    new = errands(rng)
    replay = guarded()[::3] + helpful()[::2] + known()[::4]
    return Recipe(rows=new[:64] + replay + poisoned(new[64:80] + helpful()[::2]), epochs=10, rate=1e-3)


def _leaky(rng: np.random.Generator) -> Recipe:
    """Random codes seen often enough to be known by heart."""
    rows, replay = secrets(rng), _halves((*guarded(), *helpful(), *known()))
    return Recipe(
        rows=rows[:48] + replay[0][::3],
        held_out=rows[48:96] + replay[1][::3],
        canaries=rows[:12],
        decoys=rows[48:60],
        epochs=30,
        rate=2e-3,
    )


def _forgetful(_: np.random.Generator) -> Recipe:
    """Half of the regression suite unlearned, the parent's manners kept."""
    return Recipe(rows=mistaken() + guarded()[::2] + helpful()[::2], epochs=8, rate=1e-3)


def _halves(rows: Sequence[Example]) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    return tuple(rows[::2]), tuple(rows[1::2])


CHILDREN: Mapping[str, Callable[[np.random.Generator], Recipe]] = MappingProxyType(
    {"benign": _benign, "eroded": _eroded, "poisoned": _poisoned, "leaky": _leaky, "forgetful": _forgetful}
)
