"""Every document of a checkpoint is hostile input: it is read, or refused as an input error, and never crashes."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weightgate.lineage.canonical import canonical
from weightgate.lineage.errors import InputError
from weightgate.lineage.weights import folder as folder_module
from weightgate.lineage.weights.checkpoint import Checkpoint
from weightgate.lineage.weights.update import open_update

KEYS = (
    *("model", "vocab", "merges", "added_tokens", "content", "id", "normalizer", "chat_template", "name", "template"),
    *("auto_map", "vocab_size", "text_config", "hidden_size", "peft_type", "r", "lora_alpha", "alpha_pattern"),
    *("target_modules", "weight_map", "use_rslora"),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**70) | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=10,
)
DOCUMENTS = st.dictionaries(
    st.sampled_from(
        [
            *("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "vocab.json"),
            *("chat_template.json", "chat_template.jinja", "model.safetensors.index.json", "modeling.py"),
        ]
    ),
    JSON.map(json.dumps).map(str.encode) | st.binary(max_size=10),
)
LORA = {f"base_model.model.a.lora_{letter}.weight": ("F32", [1, 1]) for letter in "AB"}


def write(folder: Path, weights: str, tensors: dict[str, Any], documents: dict[str, bytes]) -> Path:
    """A folder with zero tensors and these documents."""
    folder.mkdir()
    header = {
        name: {"dtype": dtype, "shape": shape, "data_offsets": [4 * at, 4 * at + 4]}
        for at, (name, (dtype, shape)) in enumerate(tensors.items())
    }
    encoded = json.dumps(header).encode()
    (folder / weights).write_bytes(len(encoded).to_bytes(8, "little") + encoded + bytes(4 * len(tensors)))
    for name, data in documents.items():
        (folder / name).write_bytes(data)
    return folder


@settings(max_examples=200, deadline=None)
@given(DOCUMENTS, st.dictionaries(st.sampled_from(KEYS), JSON, max_size=5), st.booleans())
def test_no_document_crashes_an_update(documents: dict[str, bytes], adapter_config: Any, adapter: bool) -> None:
    """Whatever the child's files hold, the update is described in signable form or refused."""
    with tempfile.TemporaryDirectory() as place:
        parent = write(
            Path(place, "parent"), "model.safetensors", {"a.weight": ("F32", [1, 1])}, {"config.json": b"{}"}
        )
        if adapter:
            documents = {**documents, "adapter_config.json": json.dumps(adapter_config).encode()}
            child = write(Path(place, "child"), "adapter_model.safetensors", LORA, documents)
        else:
            documents = {"config.json": b"{}", **documents}
            child = write(Path(place, "child"), "model.safetensors", {"a.weight": ("F32", [1, 1])}, documents)
        try:
            update = open_update(parent, child)
        except InputError:
            return
        assert canonical(update.difference)
        assert canonical(update.delta)


def test_documents_are_bounded(model_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A file far beyond what its name says is not read into memory."""
    folder = model_folder()
    monkeypatch.setattr(folder_module, "MAX_DOCUMENT_BYTES", 20)
    with pytest.raises(InputError, match="over 20 bytes"):
        Checkpoint.open(folder)


def test_entries_are_bounded(model_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of very many files is not a model."""
    folder = model_folder()
    monkeypatch.setattr(folder_module, "MAX_ENTRIES", 3)
    with pytest.raises(InputError, match="more than 3 files"):
        Checkpoint.open(folder)
