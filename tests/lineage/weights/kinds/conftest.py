"""Checkpoints of a few matrices, from arrays: float values in, any floating dtype out, by round to nearest even."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weightgate.lineage.changeset import Delta
from weightgate.lineage.weights.update import open_update

Arrays = Mapping[str, Any]


def encode(values: Any, dtype: str) -> tuple[str, tuple[int, ...], bytes]:
    """An array as a tensor of ``dtype``."""
    array = np.asarray(values)
    if dtype == "BF16":
        words = array.astype("<f4").view("<u4").astype(np.uint64)
        data = ((words + 0x7FFF + ((words >> 16) & 1)) >> 16).astype("<u2").tobytes()
    else:
        data = array.astype({"F32": "<f4", "F16": "<f2", "F64": "<f8", "I8": "i1"}[dtype]).tobytes()
    return dtype, array.shape, data


def rounded(values: Any, dtype: str) -> Any:
    """What is left of the values in ``dtype``, as float32."""
    _, shape, data = encode(values, dtype)
    if dtype == "BF16":
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4").reshape(shape)
    return np.frombuffer(data, {"F32": "<f4", "F16": "<f2"}[dtype]).astype("<f4").reshape(shape)


def network(seed: int = 0, *, layers: int = 3, width: int = 64, scale: float = 0.05) -> dict[str, Any]:
    """Matrices and norms named as in a Llama."""
    random = np.random.default_rng(seed)
    arrays: dict[str, Any] = {"model.embed_tokens.weight": random.standard_normal((96, width)) * scale}
    for layer in range(layers):
        for name, shape in (("self_attn.q_proj", (width, width)), ("mlp.up_proj", (2 * width, width))):
            arrays[f"model.layers.{layer}.{name}.weight"] = random.standard_normal(shape) * scale
        arrays[f"model.layers.{layer}.input_layernorm.weight"] = 1 + random.standard_normal(width) * scale
    return arrays


@pytest.fixture
def delta_of(model_folder: Callable[..., Path]) -> Callable[..., Delta]:
    """The delta between two sets of arrays, each written in a dtype."""

    def compare(parent: Arrays, child: Arrays, dtype: str = "BF16", child_dtype: str | None = None) -> Delta:
        folders = [
            model_folder(name, tensors={key: encode(value, kind) for key, value in arrays.items()})
            for name, arrays, kind in (("parent", parent, dtype), ("child", child, child_dtype or dtype))
        ]
        return open_update(*folders).delta

    return compare
