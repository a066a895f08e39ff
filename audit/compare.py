"""Two checkpoints side by side, without any policy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from weightgate.lineage.canonical import Frozen
from weightgate.lineage.changeset import ModelVersion
from weightgate.lineage.weights.checkpoint import Checkpoint
from weightgate.lineage.weights.difference import Difference, difference
from weightgate.lineage.weights.fingerprint import fingerprint
from weightgate.lineage.weights.kinds.describe import describe
from weightgate.lineage.weights.kinds.facts import Facts, UpdateKind
from weightgate.lineage.weights.update import model_version, open_update


class Comparison(Frozen):
    """What `weightgate diff` shows."""

    a: ModelVersion
    b: ModelVersion
    kind: UpdateKind
    facts: Facts
    difference: Difference


def compare(
    a: Path, b: Path, *, sources: Sequence[Path] = (), progress: Callable[[int], None] | None = None
) -> Comparison:
    """Compare two checkpoints, or a model and an adapter for it.

    Unlike `open_update` it takes pairs that could not be parent and child, such as two architectures: a comparison
    promises nothing about behaviour.

    Args:
        a: The earlier checkpoint.
        b: The later checkpoint, or a PEFT adapter folder for ``a``.
        sources: Models that ``b`` may have been merged from, beside ``a``.
        progress: Called with the number of bytes read since the last call.

    Raises:
        InputError: a checkpoint cannot be read.
    """
    left, right = Checkpoint.open(a), Checkpoint.open(b)
    if right.kind == "adapter" and left.kind != "adapter":
        update = open_update(a, b, progress=progress)
        before, after, found = update.parent_fingerprint, update.child_fingerprint, update.difference
        kind, facts = update.kind, update.delta.facts
    else:
        before, after = fingerprint(left, progress=progress), fingerprint(right, progress=progress)
        found = difference(left, right, before, after, progress)
        merged = [Checkpoint.open(path) for path in sources]
        described = describe(left, right, found, identical=before.root == after.root, sources=merged)
        kind, facts = described.kind, described.facts
    return Comparison(
        a=model_version(a.name, before), b=model_version(b.name, after), kind=kind, facts=facts, difference=found
    )
