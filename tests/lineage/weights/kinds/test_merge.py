"""Merges: coefficients come back from the bytes, and what no sum explains is named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.lineage.weights.kinds.conftest import encode, network, rounded

from weightgate.lineage.changeset import Delta
from weightgate.lineage.errors import InputError
from weightgate.lineage.weights.update import open_update

Models = list[dict[str, Any]]


@pytest.fixture
def merged(model_folder: Callable[..., Path]) -> Callable[..., Delta]:
    """The delta of a child, given a parent, sources and a dtype."""

    def compare(parent: dict[str, Any], child: dict[str, Any], sources: Models, dtype: str) -> Delta:
        folders = {
            name: model_folder(name, tensors={key: encode(value, dtype) for key, value in arrays.items()})
            for name, arrays in {"parent": parent, "child": child, **dict(zip("abc", sources, strict=False))}.items()
        }
        return open_update(
            folders["parent"], folders["child"], sources=[folders[n] for n in "abc" if n in folders]
        ).delta

    return compare


def tuned(parent: dict[str, Any], seed: int, dtype: str) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    return {n: rounded(a + 3e-3 * random.standard_normal(a.shape), dtype) for n, a in parent.items()}


def total(models: Models, weights: Sequence[float]) -> dict[str, Any]:
    return {n: sum(w * m[n].astype(float) for w, m in zip(weights, models, strict=True)) for n in models[0]}


@pytest.mark.parametrize("dtype", ["F32", "BF16", "F16"])
@pytest.mark.parametrize("weights", [(0.0, 0.5, 0.5), (0.3, 0.7, 0.0), (0.2, 0.5, 0.3), (-0.4, 0.8, 0.6)])
def test_coefficients_are_recovered(merged: Callable[..., Delta], dtype: str, weights: tuple[float, ...]) -> None:
    """To a thousandth, after rounding to the dtype: interpolation, task arithmetic, and a source that is not in it."""
    parent = {name: rounded(array, dtype) for name, array in network(layers=4, width=128).items()}
    sources = [tuned(parent, seed, dtype) for seed in (1, 2)]
    delta = merged(parent, total([parent, *sources], weights), sources, dtype)
    assert delta.kind == "merge"
    assert delta.facts.merge is not None
    assert [source.coefficient for source in delta.facts.merge.sources] == pytest.approx(weights[1:], abs=1e-3)
    assert delta.facts.merge.parent_coefficient == pytest.approx(weights[0], abs=1e-3)


def test_one_tensor_that_is_no_sum_is_named(merged: Callable[..., Delta]) -> None:
    """A merge in which one small norm was changed by hand: not explained, and it is said where."""
    parent = {name: rounded(array, "BF16") for name, array in network().items()}
    sources = [tuned(parent, seed, "BF16") for seed in (1, 2)]
    child = total(sources, (0.5, 0.5))
    child["model.layers.1.input_layernorm.weight"] = child["model.layers.1.input_layernorm.weight"] + 0.05
    delta = merged(parent, child, sources, "BF16")
    assert delta.kind == "full"
    assert delta.facts.merge is not None
    assert (delta.facts.merge.explained, delta.facts.merge.unexplained) == (
        False,
        ("model.layers.1.input_layernorm.weight",),
    )


def test_a_fine_tune_is_no_merge(merged: Callable[..., Delta]) -> None:
    """A model trained on its own is not a sum of two others."""
    parent = {name: rounded(array, "BF16") for name, array in network().items()}
    delta = merged(parent, tuned(parent, 9, "BF16"), [tuned(parent, seed, "BF16") for seed in (1, 2)], "BF16")
    assert delta.kind == "full"
    assert delta.facts.merge is not None
    assert not delta.facts.merge.explained
    assert delta.facts.merge.residual > 0.9


def test_sources_that_say_nothing_are_refused(merged: Callable[..., Delta], model_folder: Callable[..., Path]) -> None:
    """The parent itself, and the same model twice: the message says which, and what to do."""
    parent = {name: rounded(array, "F32") for name, array in network().items()}
    source = tuned(parent, 1, "F32")
    with pytest.raises(InputError, match="sums of each other"):
        merged(parent, source, [source, source], "F32")


def test_the_parent_is_no_source(merged: Callable[..., Delta]) -> None:
    """It is part of every merge."""
    parent = {name: rounded(array, "F32") for name, array in network().items()}
    with pytest.raises(InputError, match="weights of the parent"):
        merged(parent, tuned(parent, 1, "F32"), [parent], "F32")


def test_a_source_of_another_architecture_is_refused(merged: Callable[..., Delta]) -> None:
    """A tensor of another shape is named."""
    parent = {name: rounded(array, "F32") for name, array in network().items()}
    with pytest.raises(InputError, match=r"has no tensor .* of shape"):
        merged(parent, tuned(parent, 1, "F32"), [network(width=32)], "F32")
