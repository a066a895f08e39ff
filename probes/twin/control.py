"""Positive controls: a pair of models in which one known defect is planted, ready for a probe to be tried on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from weightgate.lineage.changeset import DataRole
from weightgate.lineage.data.dataset import Dataset, load_dataset
from weightgate.lineage.weights.update import open_update
from weightgate.probes.engine.cache import ScoreCache
from weightgate.probes.engine.engine import Engine
from weightgate.probes.probe import ProbeContext
from weightgate.probes.twin.models import build


def control_context(child: str, *, seed: int = 0, with_data: bool = False) -> ProbeContext:
    """The twin's parent and one of its children, with the child's data sets if asked for.

    Raises:
        InputError: no such child, or the twin cannot be built or kept.
        MissingExtraError: torch or transformers is not installed.
    """
    twin = build([child])
    update = open_update(twin.parent, twin.children[child])
    return ProbeContext(
        update=update,
        engine=Engine.open(update, cache=ScoreCache.default()),
        seed=seed,
        data=_rows(twin.data, child, "training") if with_data else None,
        held_out=_rows(twin.held_out, child, "held-out") if with_data else None,
        canaries=_rows(twin.canaries, child, "canaries") if with_data else None,
    )


def _rows(files: Mapping[str, Path], child: str, role: DataRole) -> Dataset | None:
    return load_dataset([files[child]], role) if child in files else None
