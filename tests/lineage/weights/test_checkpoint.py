"""Opening checkpoints: each layout is understood, each ambiguity and danger is one clear error."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from weightgate.lineage.errors import InputError
from weightgate.lineage.weights.checkpoint import Checkpoint


def safetensors_bytes(names: str, start: int = 0) -> bytes:
    """A file of one-element tensors, one for each letter."""
    header = {
        name: {"dtype": "F32", "shape": [1], "data_offsets": [4 * at, 4 * at + 4]} for at, name in enumerate(names)
    }
    encoded = json.dumps(header).encode()
    return len(encoded).to_bytes(8, "little") + encoded + bytes([start]) * 4 * len(names)


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    """A model folder with tensors a, b in one shard and c in another."""
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    (tmp_path / "model-1.safetensors").write_bytes(safetensors_bytes("ab"))
    (tmp_path / "model-2.safetensors").write_bytes(safetensors_bytes("c"))
    write_index(tmp_path, {"a": "model-1.safetensors", "b": "model-1.safetensors", "c": "model-2.safetensors"})
    return tmp_path


def write_index(folder: Path, weight_map: Any) -> None:
    """Replace the index of a sharded folder."""
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def test_opens_a_model_folder(model_folder: Callable[..., Path]) -> None:
    """Tensors by name, documents, the chat template, and the files that shape behaviour."""
    folder = model_folder(generation_config_json={"temperature": 0.6}, README_md="hello", trainer_state_json="{}")
    checkpoint = Checkpoint.open(folder)
    assert checkpoint.kind == "model"
    assert list(checkpoint.tensors) == sorted(checkpoint.tensors)
    assert checkpoint.parameters == 16 + 24 + 16 + 16 + 4
    assert checkpoint.config["hidden_size"] == 4
    assert checkpoint.generation_config == {"temperature": 0.6}
    assert checkpoint.chat_template == "{{ messages }}"
    assert checkpoint.files == ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json")


def test_opens_shards(sharded: Path) -> None:
    """The tensors of all shards, each in its file."""
    checkpoint = Checkpoint.open(sharded)
    assert {name: tensor.file.name for name, tensor in checkpoint.tensors.items()} == {
        "a": "model-1.safetensors",
        "b": "model-1.safetensors",
        "c": "model-2.safetensors",
    }
    assert b"".join(checkpoint.blocks("c")) == bytes(4)


def test_opens_an_adapter(adapter_folder: Callable[..., Path]) -> None:
    """A PEFT folder is an adapter, with its configuration."""
    checkpoint = Checkpoint.open(adapter_folder({"q": ([[1.0]], [[1.0]])}))
    assert checkpoint.kind == "adapter"
    assert checkpoint.adapter_config is not None
    assert checkpoint.adapter_config["lora_alpha"] == 4


def test_opens_a_bare_file(sharded: Path) -> None:
    """One safetensors file is a checkpoint of weights alone."""
    checkpoint = Checkpoint.open(sharded / "model-1.safetensors")
    assert (checkpoint.kind, list(checkpoint.tensors), checkpoint.files) == ("file", ["a", "b"], ())


def test_an_unknown_tensor_is_an_input_error(sharded: Path) -> None:
    """Asking for bytes of a tensor that is not there names it."""
    with pytest.raises(InputError, match="no tensor 'z'"):
        Checkpoint.open(sharded).blocks("z")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.pkl", "x.ckpt"])
def test_pickles_are_never_loaded(name: str, tmp_path: Path) -> None:
    """A folder or file with pickled weights alone is refused, with how to convert them."""
    (tmp_path / name).write_bytes(b"\x80\x04.")
    (tmp_path / "config.json").write_text("{}")
    for path in (tmp_path, tmp_path / name):
        with pytest.raises(InputError, match="never loaded") as caught:
            Checkpoint.open(path)
        assert "save_pretrained" in caught.value.remedy


def test_a_pickled_adapter_is_never_loaded(tmp_path: Path) -> None:
    """adapter_model.bin is refused like any pickle."""
    (tmp_path / "adapter_config.json").write_text("{}")
    (tmp_path / "adapter_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(InputError, match=r"adapter_model\.bin.*never loaded"):
        Checkpoint.open(tmp_path)


def test_pickles_and_stray_weights_beside_the_model_are_listed(model_folder: Callable[..., Path]) -> None:
    """Files that another loader might take instead are reported, at any depth."""
    folder = model_folder()
    (folder / "checkpoint-1").mkdir()
    (folder / "checkpoint-1" / "optimizer.pt").write_bytes(b"")
    (folder / "pytorch_model.bin").write_bytes(b"")
    (folder / "consolidated.safetensors").write_bytes(b"")
    checkpoint = Checkpoint.open(folder)
    assert checkpoint.pickles == ("checkpoint-1/optimizer.pt", "pytorch_model.bin")
    assert checkpoint.unread == ("consolidated.safetensors",)


@pytest.mark.parametrize(
    "shard", ["../model-1.safetensors", "/etc/passwd", "sub/x.safetensors", "a\\b.safetensors", "x.bin", 7]
)
def test_an_index_must_stay_in_its_folder(shard: Any, sharded: Path) -> None:
    """Shards are plain names of safetensors files beside the index."""
    write_index(sharded, {"a": shard})
    with pytest.raises(InputError, match="no file of this folder"):
        Checkpoint.open(sharded)


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        (["a"], "no weight_map"),
        ({}, "no weight_map"),
        ({"a": "model-3.safetensors"}, r"shard model-3\.safetensors is missing"),
        ({"a": "model-1.safetensors"}, "tensor 'b' is not there in the index"),
        ({"a": "model-1.safetensors", "b": "model-2.safetensors"}, "tensor 'b' is not there in the index"),
        (
            {"a": "model-1.safetensors", "b": "model-1.safetensors", "z": "model-1.safetensors"},
            "'z' is in the index but not",
        ),
    ],
)
def test_index_and_shards_must_agree(weight_map: Any, message: str, sharded: Path) -> None:
    """A missing shard, an unlisted tensor or an absent tensor is an error, never a partial model."""
    write_index(sharded, weight_map)
    with pytest.raises(InputError, match=message):
        Checkpoint.open(sharded)


def test_two_ways_to_load_are_refused(sharded: Path, model_folder: Callable[..., Path]) -> None:
    """Where loaders would differ on what the folder is, what is audited might not be what is served."""
    (sharded / "model.safetensors").write_bytes(safetensors_bytes("a"))
    with pytest.raises(InputError, match="loaders differ"):
        Checkpoint.open(sharded)
    folder = model_folder("both", adapter_config_json={})
    with pytest.raises(InputError, match=r"a model .* and an adapter"):
        Checkpoint.open(folder)


@pytest.mark.parametrize(
    ("remove", "message"),
    [("config.json", r"no config\.json"), ("model.safetensors", r"no model\.safetensors")],
)
def test_missing_parts_are_named(remove: str, message: str, model_folder: Callable[..., Path]) -> None:
    """A folder without weights or configuration says which is missing."""
    folder = model_folder()
    (folder / remove).unlink()
    with pytest.raises(InputError, match=message):
        Checkpoint.open(folder)


def test_a_missing_folder_and_another_format_are_refused(tmp_path: Path) -> None:
    """What is not there, and what is no safetensors file, is said so."""
    with pytest.raises(InputError, match="no such file or folder"):
        Checkpoint.open(tmp_path / "nowhere")
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    with pytest.raises(InputError, match="not a safetensors file"):
        Checkpoint.open(tmp_path / "model.gguf")


def test_a_malformed_config_is_refused(model_folder: Callable[..., Path]) -> None:
    """A key given twice in config.json is refused: readers differ on which counts."""
    with pytest.raises(InputError, match=r"config\.json gives the key 'hidden_size' twice"):
        Checkpoint.open(model_folder(config_json='{"hidden_size": 1, "hidden_size": 2}'))


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX links and pipes")
def test_links_may_not_leave_the_folder(model_folder: Callable[..., Path], tmp_path: Path) -> None:
    """A link within the folder is fine; one to a file or folder elsewhere is refused."""
    folder = model_folder()
    (folder / "vocab.json").symlink_to("config.json")
    Checkpoint.open(folder)
    for target in ("/etc/passwd", str(tmp_path), "../../x"):
        (folder / "merges.txt").symlink_to(target)
        with pytest.raises(InputError, match="out of the model folder"):
            Checkpoint.open(folder)
        (folder / "merges.txt").unlink()


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX links and pipes")
def test_the_hub_cache_links_to_its_blobs(model_folder: Callable[..., Path], tmp_path: Path) -> None:
    """snapshots/REVISION of the Hugging Face cache is a folder of links to blobs/, and nowhere else."""
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshots").mkdir()
    folder = model_folder().rename(tmp_path / "snapshots" / "abc")
    (folder / "config.json").rename(tmp_path / "blobs" / "123")
    (folder / "config.json").symlink_to("../../blobs/123")
    assert Checkpoint.open(folder).config["hidden_size"] == 4
    (folder / "vocab.json").symlink_to("../../other")
    with pytest.raises(InputError, match="out of the model folder"):
        Checkpoint.open(folder)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX links and pipes")
def test_a_pipe_is_refused(model_folder: Callable[..., Path]) -> None:
    """Something that is no regular file would block the reader for ever."""
    folder = model_folder()
    os.mkfifo(folder / "generation_config.json")
    with pytest.raises(InputError, match="not a regular file"):
        Checkpoint.open(folder)


@pytest.mark.parametrize(
    "documents",
    [
        {"tokenizer_config_json": {"chat_template": "T"}},
        {"tokenizer_config_json": {"chat_template": [{"name": "default", "template": "T"}]}},
        {"tokenizer_config_json": {}, "chat_template_jinja": "T"},
        {"tokenizer_config_json": {"chat_template": "T"}, "chat_template_jinja": "T"},
        {"tokenizer_config_json": {}, "chat_template_json": {"chat_template": "T"}},
    ],
)
def test_the_chat_template_is_found_wherever_it_is_kept(documents: Any, model_folder: Callable[..., Path]) -> None:
    """All places transformers reads give the same text."""
    assert dict(Checkpoint.open(model_folder(**documents)).templates) == {"default": "T"}


def test_a_shadowed_template_is_kept_in_sight(model_folder: Callable[..., Path]) -> None:
    """Where two places differ the .jinja file counts, and the other text stays visible: other loaders may use it."""
    folder = model_folder(tokenizer_config_json={"chat_template": "hidden"}, chat_template_jinja="shown")
    assert dict(Checkpoint.open(folder).templates) == {"default": "shown", "default (tokenizer_config.json)": "hidden"}


def test_further_templates_are_read(model_folder: Callable[..., Path]) -> None:
    """additional_chat_templates/NAME.jinja is a template of that name."""
    folder = model_folder()
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "tool_use.jinja").write_text("U")
    checkpoint = Checkpoint.open(folder)
    assert checkpoint.templates["tool_use"] == "U"
    assert "additional_chat_templates/tool_use.jinja" in checkpoint.files


@pytest.mark.parametrize("template", [7, [{"name": "default"}], [["a", "b"]], {"default": 1}])
def test_a_template_must_be_text(template: Any, model_folder: Callable[..., Path]) -> None:
    """Any other type in its place is an error that names the file."""
    with pytest.raises(InputError, match=r"tokenizer_config\.json: chat_template"):
        Checkpoint.open(model_folder(tokenizer_config_json={"chat_template": template}))
