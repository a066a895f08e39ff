"""Fast weights of test-time training: a folder of small differences that are added to the parent one after another.

The folder has an ``adapter_config.json`` with ``peft_type`` ``FAST_WEIGHTS`` and the steps ``step-000001.safetensors``,
``step-000002.safetensors``, …, without gaps. A step holds, under the parent's names, what is added to its tensors.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from weightgate.lineage.errors import InputError
from weightgate.lineage.weights import merkle
from weightgate.lineage.weights.checkpoint import Checkpoint
from weightgate.lineage.weights.elements import decoder
from weightgate.lineage.weights.fingerprint import Fingerprint, tensor_entry
from weightgate.lineage.weights.kinds.facts import Stream
from weightgate.lineage.weights.kinds.vectors import vectors
from weightgate.lineage.weights.safetensors_file import TensorInfo
from weightgate.lineage.weights.tensor_difference import Distance, squared_norm
from weightgate.lineage.weights.weight_difference import (
    TensorDifference,
    WeightDifference,
    changed_fraction,
    form,
    relative_norm,
    total_norm,
)

_WRONG = "a step holds floats under the names and in the shapes of the parent's tensors"


def is_stream(adapter: Checkpoint) -> bool:
    """Whether an adapter folder is a stream of steps."""
    return (adapter.adapter_config or {}).get("peft_type") == "FAST_WEIGHTS"


def stream_difference(parent: Checkpoint, stream: Checkpoint) -> WeightDifference:
    """What all steps together change.

    Raises:
        InputError: a step does not fit the parent, or cannot be read.
    """
    targets = _targets(parent, stream)
    distances = {name: Distance(0.0, squared_norm(tensor)) for name, tensor in parent.tensors.items()}
    for name, steps in targets.items():
        squared = sum(float(np.sum(np.square(sum(parts)))) for parts in _side_by_side([step for _, step in steps]))
        distances[name] = Distance(squared, distances[name].squared_parent)
    names = sorted(targets)
    return WeightDifference(
        tensors_total=len(parent.tensors),
        parameters_changed_fraction=changed_fraction(parent.tensors, {}, names),
        relative_norm=total_norm(distances.values()),
        tensors=tuple(
            TensorDifference(
                name=name,
                change="changed",
                before=form(parent.tensors[name]),
                after=form(parent.tensors[name]),
                relative_norm=relative_norm(distances[name].squared_difference, distances[name].squared_parent),
            )
            for name in names
        ),
    )


def find_stream(parent: Checkpoint, stream: Checkpoint, found: Fingerprint, norm: float | None) -> Stream:
    """Number, chain and sizes of the steps; ``norm`` is that of all of them together, relative to the parent.

    Raises:
        InputError: a step cannot be read.
    """
    roots: dict[str, list[bytes]] = {}
    for tensor in found.tensors:
        step, name = tensor.name.split("/", 1)
        roots.setdefault(step, []).append(tensor_entry(tensor.model_copy(update={"name": name})))
    steps = [merkle.root(entries) for _, entries in sorted(roots.items())]
    head = bytes(32)
    for root in steps:
        head = hashlib.sha256(head + root).digest()
    sizes = dict.fromkeys(sorted(roots), 0.0)
    for full, stored in stream.tensors.items():
        sizes[full.split("/", 1)[0]] += squared_norm(stored) or 0.0
    whole = sum(squared_norm(tensor) or 0.0 for tensor in parent.tensors.values())
    lengths = [math.sqrt(size) for size in sizes.values()]
    return Stream(
        steps=len(steps),
        head=head.hex(),
        first=steps[0].hex(),
        last=steps[-1].hex(),
        norm=norm,
        path=sum(lengths) / math.sqrt(whole) if whole > 0 else None,
        largest_step=1 + int(np.argmax(lengths)),
    )


def _targets(parent: Checkpoint, stream: Checkpoint) -> Mapping[str, list[tuple[str, TensorInfo]]]:
    targets: dict[str, list[tuple[str, TensorInfo]]] = {}
    for full, tensor in stream.tensors.items():
        step, name = full.split("/", 1)
        mine = parent.tensors.get(name)
        if mine is None or mine.shape != tensor.shape or decoder(mine.dtype) is None or decoder(tensor.dtype) is None:
            raise InputError(f"{tensor.file}: its tensor {name!r} does not fit {parent.path}", remedy=_WRONG)
        targets.setdefault(name, []).append((step, tensor))
    return targets


def _side_by_side(tensors: Sequence[TensorInfo]) -> Iterator[list[NDArray[np.float64]]]:
    """Blocks of all steps of one tensor, whatever their dtypes."""
    for parts in zip(*(vectors(tensor) for tensor in tensors), strict=True):
        yield [part.astype(np.float64) for part in parts]
