"""Kinds of updates, found in the bytes of small networks: each kind is recognised, and none is taken for another."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.lineage.weights.kinds.conftest import encode, network, rounded

from weightgate.lineage.changeset import Delta
from weightgate.lineage.weights.update import open_update

Compare = Callable[..., Delta]
DTYPES = ("F32", "BF16", "F16")


def matrices(arrays: dict[str, Any]) -> list[str]:
    return [name for name, array in arrays.items() if array.ndim == 2 and "layers" in name]


def with_low_rank(arrays: dict[str, Any], rank: int, size: float, seed: int = 1) -> dict[str, Any]:
    """Every matrix of the layers with ``BA`` of that rank added, each element of it about ``size`` large."""
    random = np.random.default_rng(seed)
    child = dict(arrays)
    for name in matrices(arrays):
        rows, columns = arrays[name].shape
        product = random.standard_normal((rows, rank)) @ random.standard_normal((rank, columns))
        child[name] = arrays[name] + size * product / np.sqrt(rank)
    return child


def fine_tuned(arrays: dict[str, Any], size: float, seed: int = 2) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    return {name: array + size * random.standard_normal(array.shape) for name, array in arrays.items()}


def stored(arrays: dict[str, Any], dtype: str) -> dict[str, Any]:
    """The arrays as a checkpoint of that dtype holds them: an update starts from these."""
    return {name: rounded(array, dtype) for name, array in arrays.items()}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [3e-5, 3e-4, 3e-3])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_full_fine_tune_is_nothing_else(delta_of: Compare, dtype: str, size: float, seed: int) -> None:
    """Noise on every weight, from far below to far above the grain of the dtype: never sparse, low-rank, quantised."""
    parent = stored(network(), dtype)
    delta = delta_of(parent, fine_tuned(parent, size, seed), dtype)
    assert delta.kind == "full"
    assert delta.facts.low_rank is None
    assert delta.facts.quantisation is None


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rank", [1, 4, 8])
def test_a_merged_lora_has_its_rank(delta_of: Compare, dtype: str, rank: int) -> None:
    """Every changed matrix is of low rank, and the rank is that of the factors."""
    parent = stored(network(width=128), dtype)
    delta = delta_of(parent, with_low_rank(parent, rank, 2e-3), dtype)
    assert delta.kind == "low-rank"
    assert {change.rank for change in delta.changed} == {rank}
    assert delta.facts.low_rank is not None
    assert (delta.facts.low_rank.low, delta.facts.low_rank.rank_max) == (6, rank)


def test_rank_under_rounding_is_a_lower_bound(delta_of: Compare) -> None:
    """A LoRA about as large as the grain of bfloat16 never shows more directions than it has."""
    parent = stored(network(width=128), "BF16")
    delta = delta_of(parent, with_low_rank(parent, 8, 1.5e-4), "BF16")
    assert all(change.rank is None or change.rank <= 8 for change in delta.changed)


def test_a_high_rank_update_is_not_of_low_rank(delta_of: Compare) -> None:
    """More directions than a quarter of the smaller side: nothing that would be called a LoRA."""
    parent = stored(network(), "F32")
    assert delta_of(parent, with_low_rank(parent, 32, 2e-3), "F32").kind == "full"


@pytest.mark.parametrize("dtype", DTYPES)
def test_new_rows_of_an_embedding_are_sparse_and_named(delta_of: Compare, dtype: str) -> None:
    """Three rows of the embedding were written: they are counted, listed, and no other tensor is named."""
    parent = stored(network(), dtype)
    child = dict(parent)
    child["model.embed_tokens.weight"] = parent["model.embed_tokens.weight"].copy()
    child["model.embed_tokens.weight"][[5, 6, 90]] += 0.5
    delta = delta_of(parent, child, dtype)
    assert delta.kind == "sparse"
    assert delta.facts.sparse is not None
    (rows,) = delta.facts.sparse.rows
    assert (rows.name, rows.rows, rows.rows_total, rows.first) == ("model.embed_tokens.weight", 3, 96, (5, 6, 90))
    assert [(change.name, change.elements_changed) for change in delta.changed] == [(rows.name, 3 * 64)]


def test_few_elements_are_sparse_and_their_positions_have_a_digest(delta_of: Compare, tmp_path: Path) -> None:
    """One element in a hundred, anywhere: sparse; the digest tells other positions, not other values."""
    parent = stored(network(), "BF16")
    digests = []
    for seed, size in ((0, 0.1), (0, 0.2), (1, 0.1)):
        random = np.random.default_rng(seed)
        child = {name: array + size * (random.random(array.shape) < 0.01) for name, array in parent.items()}
        child = {name: (array if array.ndim == 2 else parent[name]) for name, array in child.items()}
        delta = delta_of(parent, child, "BF16") if not digests else _again(delta_of, parent, child, tmp_path)
        assert delta.kind == "sparse"
        assert delta.facts.sparse is not None
        assert 0.005 < delta.facts.sparse.fraction < 0.015
        digests.append(delta.facts.sparse.positions)
    assert digests[0] == digests[1] != digests[2]


def _again(delta_of: Compare, parent: Any, child: Any, folder: Path) -> Delta:
    for name in ("parent", "child"):
        shutil.rmtree(folder / name)
    return delta_of(parent, child, "BF16")


@pytest.mark.parametrize(("bits", "group"), [(4, "32"), (4, "row"), (8, "tensor"), (8, "row")])
@pytest.mark.parametrize("dtype", ["F32", "BF16"])
def test_quantise_dequantise_is_found(delta_of: Compare, dtype: str, bits: int, group: str) -> None:
    """Rounded to symmetric integers with a scale a group, and put back: found from the values alone."""
    parent = stored(network(width=256), dtype)
    child = {name: _fake_quantised(array, bits, group) if array.ndim == 2 else array for name, array in parent.items()}
    delta = delta_of(parent, child, dtype)
    assert delta.kind == "quantised"
    assert delta.facts.quantisation is not None
    assert delta.facts.quantisation.form == "dequantised"
    assert delta.facts.quantisation.bits <= bits
    assert delta.facts.quantisation.round_trip == pytest.approx(delta.changed[1].relative_norm, rel=0.5)


def _fake_quantised(array: Any, bits: int, group: str) -> Any:
    width = {"tensor": array.size, "row": array.shape[1]}.get(group) or int(group)
    groups = array.reshape(-1, width)
    most = 2 ** (bits - 1) - 1
    scale = np.abs(groups).max(axis=1, keepdims=True) / most
    return (np.rint(groups / scale) * scale).reshape(array.shape)


def _pruned(array: Any) -> Any:
    return np.where(np.abs(array) < np.quantile(np.abs(array), 0.9), 0, array)


def test_pruning_is_not_quantisation(delta_of: Compare) -> None:
    """Ninety of a hundred weights set to zero: few distinct values, but those that are left are the parent's."""
    parent = stored(network(width=128), "BF16")
    child = {
        n: np.where(np.abs(a) < np.quantile(np.abs(a), 0.9), 0, a) if a.ndim == 2 else a for n, a in parent.items()
    }
    assert delta_of(parent, child, "BF16").kind == "full"


@pytest.mark.parametrize(
    ("before", "after", "exact"),
    [("BF16", "F32", True), ("F16", "F32", True), ("F32", "BF16", False), ("F32", "F16", False)],
)
def test_a_cast_is_dtype_only(delta_of: Compare, before: str, after: str, exact: bool) -> None:
    """The same values, or the nearest ones, in another dtype; how many tensors kept every value is told."""
    parent = network()
    delta = delta_of(parent, stored(parent, before), before, after)
    (cast,) = delta.facts.casts
    assert (delta.kind, cast.before, cast.after) == ("dtype-only", before, after)
    assert cast.nearest == cast.tensors == len(parent)
    assert (cast.exact == cast.tensors) is exact


def test_a_cast_that_moves_values_is_not_dtype_only(delta_of: Compare) -> None:
    """A fine-tune saved in another dtype is a fine-tune."""
    parent = network()
    delta = delta_of(parent, fine_tuned(parent, 1e-3), "F32", "BF16")
    assert delta.kind == "full"
    assert delta.facts.casts[0].nearest == 0


def test_stored_integers_are_quantised_with_their_error(model_folder: Callable[..., Path]) -> None:
    """Int8 with a scale a row beside it: the error is that of dequantising, worked out by hand here."""
    arrays = network()
    parent = {name: encode(array, "F32") for name, array in arrays.items()}
    child, error, norm = dict(parent), 0.0, 0.0
    for name in matrices(arrays):
        scale = np.abs(arrays[name]).max(axis=1, keepdims=True) / 127
        levels = np.rint(arrays[name] / scale)
        child[name] = encode(levels, "I8")
        child[name.replace(".weight", ".weight_scale")] = encode(scale, "F32")
        error += np.square(levels * scale - arrays[name]).sum()
        norm += np.square(arrays[name]).sum()
    delta = open_update(model_folder("parent", tensors=parent), model_folder("child", tensors=child)).delta
    found = delta.facts.quantisation
    assert delta.kind == "quantised"
    assert found is not None
    assert (found.form, found.dtype, found.group, found.quantised) == ("stored", "I8", "row", 6)
    assert found.round_trip == pytest.approx(np.sqrt(error / norm), rel=1e-3)


def test_partial_updates_say_which_layers(delta_of: Compare) -> None:
    """Only the last layer changed: its number, out of how many, and the names without it."""
    parent = stored(network(), "BF16")
    tuned = fine_tuned(parent, 1e-2)
    child = {name: tuned[name] if ".layers.2." in name else array for name, array in parent.items()}
    delta = delta_of(parent, child, "BF16")
    assert delta.kind == "partial"
    assert delta.facts.scope is not None
    assert (delta.facts.scope.layers, delta.facts.scope.layers_total) == ((2,), 3)
    assert "model.layers.*.mlp.up_proj.weight" in delta.facts.scope.modules


def test_thousands_of_tensors_stay_a_bounded_document(model_folder: Callable[..., Path]) -> None:
    """Every changed tensor is listed; what is said about the kind does not grow with them."""
    arrays = {f"model.layers.{layer}.mlp.{part}.weight": np.ones(2) for layer in range(1000) for part in "abc"}
    parent = {name: encode(array, "F32") for name, array in arrays.items()}
    child = {name: encode(array * 2, "F32") for name, array in arrays.items()}
    delta = open_update(model_folder("parent", tensors=parent), model_folder("child", tensors=child)).delta
    assert len(delta.changed) == 3000
    assert len(delta.model_dump_json()) < 3000 * 250
    assert len(delta.facts.model_dump_json()) < 20_000
