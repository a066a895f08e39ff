"""Updates: each kind is recognised, and what cannot be parent and child is refused with the reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weightgate.lineage.errors import InputError
from weightgate.lineage.weights.checkpoint import Checkpoint
from weightgate.lineage.weights.fingerprint import fingerprint
from weightgate.lineage.weights.update import model_version, open_update

CONFIG = {"model_type": "llama", "hidden_size": 4, "num_hidden_layers": 2, "vocab_size": 4, "torch_dtype": "bfloat16"}
VOCAB = {"a": 0, "b": 1, "ab": 2}


def tensors(*values: float) -> dict[str, Any]:
    """One-element float32 tensors a, b, c, …"""
    return {chr(97 + at): ("F32", (1,), np.array(value, "<f4").tobytes()) for at, value in enumerate(values)}


@pytest.mark.parametrize(
    ("child", "kind"),
    [
        ((1, 2, 3, 4), "identical"),
        ((1, 2, 3, 5), "partial"),
        ((1, 2, 4, 5), "full"),
        ((2, 3, 4, 5), "full"),
        ((1, 2, 3, 4, 5), "partial"),
    ],
)
def test_kinds_by_tensors(child: tuple[float, ...], kind: str, model_folder: Callable[..., Path]) -> None:
    """Fewer than half of the tensors changed is partial, from half on full."""
    update = open_update(model_folder("a", tensors=tensors(1, 2, 3, 4)), model_folder("b", tensors=tensors(*child)))
    assert update.kind == update.delta.kind == kind


@pytest.mark.parametrize(
    ("documents", "kind"),
    [
        ({"tokenizer_config_json": {"chat_template": "new"}}, "tokenizer-only"),
        ({"special_tokens_map_json": {"eos_token": "a"}}, "tokenizer-only"),
        ({"chat_template_jinja": "new"}, "template-only"),
        ({"config_json": {**CONFIG, "rope_theta": 1e6}}, "config-only"),
        ({"tokenization_evil_py": "x"}, "files-only"),
        ({"tokenizer_py": "x"}, "files-only"),
    ],
)
def test_kinds_without_weights(documents: Any, kind: str, model_folder: Callable[..., Path]) -> None:
    """With equal weights it is the files that say: tokenizer and template alone, or others too."""
    update = open_update(model_folder("a"), model_folder("b", **documents))
    assert (update.kind, update.delta.tensors_changed, update.delta.relative_norm) == (kind, 0, 0.0)
    assert update.delta.files


def test_the_delta_names_what_changed(model_folder: Callable[..., Path]) -> None:
    """Counts, share of parameters, norms and names agree with the difference."""
    update = open_update(
        model_folder("a", tensors=tensors(3, 4)), model_folder("b", tensors=tensors(3, 8), generation_config_json={})
    )
    delta = update.delta
    assert (delta.tensors_total, delta.tensors_changed, delta.parameters_changed_fraction) == (2, 1, 0.5)
    assert delta.relative_norm == pytest.approx(4 / 5)
    assert [(change.name, change.change, change.relative_norm) for change in delta.changed] == [("b", "changed", 1.0)]
    assert delta.files == ("generation_config.json",)


@pytest.mark.parametrize(
    ("parent", "child", "message"),
    [
        ({"model_type": "mistral"}, {}, "its model_type is 'llama'"),
        ({"hidden_size": 8}, {}, "its hidden_size is 4"),
        ({"num_hidden_layers": 3}, {}, "its num_hidden_layers is 2"),
        ({}, {"text_config": {"n_layer": 9}}, "its n_layer is 9"),
        ({}, {"vocab_size": 5}, "its vocab_size is 5"),
    ],
)
def test_other_networks_are_refused(parent: Any, child: Any, message: str, model_folder: Callable[..., Path]) -> None:
    """Architecture and vocabulary size are the same on both sides, or the field and both values are named."""
    folders = (model_folder(name, config_json={**CONFIG, **fields}) for name, fields in (("a", parent), ("b", child)))
    with pytest.raises(InputError, match=message):
        open_update(*folders)


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        ({**VOCAB, "c": 3}, "gives 'c' the id 3, .* None"),
        ({"a": 1, "b": 0, "ab": 2}, "gives 'a' the id 1, .* 0"),
    ],
)
def test_another_vocabulary_is_refused(vocabulary: Any, message: str, model_folder: Callable[..., Path]) -> None:
    """A token added or renumbered: scores over different tokens cannot be compared."""
    folders = (
        model_folder(name, tokenizer_json={"model": {"vocab": vocab}})
        for name, vocab in (("a", VOCAB), ("b", vocabulary))
    )
    with pytest.raises(InputError, match=message):
        open_update(*folders)


def test_reshaped_tensors_are_refused(model_folder: Callable[..., Path]) -> None:
    """The same configuration with another shape is no model that could be loaded."""
    child = model_folder("b", tensors={"a": ("F32", (2,), bytes(8))})
    with pytest.raises(InputError, match=r"'a' has the shape \[2\], that of .* has \[1\]"):
        open_update(model_folder("a", tensors=tensors(1)), child)


def test_bare_files_can_be_compared(model_folder: Callable[..., Path]) -> None:
    """Two safetensors files make an update of weights alone; a file and a folder do not."""
    parent, child = model_folder("a", tensors=tensors(1)), model_folder("b", tensors=tensors(2))
    update = open_update(parent / "model.safetensors", child / "model.safetensors")
    assert (update.kind, update.delta.relative_norm) == ("full", 1.0)
    with pytest.raises(InputError, match="do not go together"):
        open_update(parent, child / "model.safetensors")


def test_an_adapter_is_no_parent(model_folder: Callable[..., Path], adapter_folder: Callable[..., Path]) -> None:
    """It is no model by itself; the remedy says what to do."""
    with pytest.raises(InputError, match="an adapter cannot be the parent") as caught:
        open_update(adapter_folder({"q": ([[1.0]], [[1.0]])}), model_folder())
    assert "merge" in caught.value.remedy


def test_a_child_without_a_tokenizer_is_compared_by_its_weights(model_folder: Callable[..., Path]) -> None:
    """Trainers often save the model alone: the missing files are named, and nothing is refused."""
    child = model_folder("b", tensors=tensors(2), tokenizer_json=None, tokenizer_config_json=None)
    update = open_update(model_folder("a", tensors=tensors(1)), child)
    assert update.difference.files.removed == ("tokenizer.json", "tokenizer_config.json")


def test_a_model_version_states_the_fingerprint(model_folder: Callable[..., Path]) -> None:
    """Every digest of the fingerprint, under the name given."""
    found = fingerprint(Checkpoint.open(model_folder()))
    version = model_version("v1", found)
    assert version.name == "v1"
    for field in ("root", "tensor_root", "parameters", "tokenizer", "chat_template", "config"):
        assert getattr(version, field) == getattr(found, field)
