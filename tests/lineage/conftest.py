"""Small checkpoints, written byte by byte: readers are tested against the format, not against a library."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Tensors = Mapping[str, tuple[str, tuple[int, ...], bytes]]

TOKENIZER = {
    "version": "1.0",
    "added_tokens": [{"id": 3, "content": "<|end|>", "special": True, "normalized": False}],
    "normalizer": {"type": "NFC"},
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False},
    "post_processor": None,
    "decoder": {"type": "ByteLevel"},
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]},
}
CONFIG = {"model_type": "llama", "hidden_size": 4, "num_hidden_layers": 2, "vocab_size": 4, "torch_dtype": "bfloat16"}


def bf16(values: Any) -> bytes:
    """Values as bfloat16, cut off: the upper half of their float32 bits."""
    return (np.asarray(values, "<f4").view("<u4") >> 16).astype("<u2").tobytes()


def safetensors_bytes(tensors: Tensors, metadata: Mapping[str, str] | None = None) -> bytes:
    """A safetensors file, tensors in the order given."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [end, end + len(data)]}
        end += len(data)
    encoded = json.dumps(header).encode()
    return len(encoded).to_bytes(8, "little") + encoded + b"".join(data for _, _, data in tensors.values())


def llama_tensors(seed: int = 0, scale: float = 1.0) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Five bfloat16 tensors named as in a two-layer Llama."""
    random = np.random.default_rng(seed)
    shapes = {
        "model.embed_tokens.weight": (4, 4),
        "model.layers.0.mlp.up_proj.weight": (6, 4),
        "model.layers.0.self_attn.q_proj.weight": (4, 4),
        "model.layers.1.self_attn.q_proj.weight": (4, 4),
        "model.norm.weight": (4,),
    }
    return {name: ("BF16", shape, bf16(scale * random.standard_normal(shape))) for name, shape in shapes.items()}


@pytest.fixture
def model_folder(tmp_path: Path) -> Callable[..., Path]:
    """Makes a model folder: tensors, documents by file name (text as it is, anything else as JSON)."""

    def make(name: str = "model", tensors: Tensors | None = None, **documents: Any) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(safetensors_bytes(tensors or llama_tensors()))
        defaults = {
            "config_json": CONFIG,
            "tokenizer_json": TOKENIZER,
            "tokenizer_config_json": {"model_max_length": 10**30, "chat_template": "{{ messages }}"},
        }
        for key, document in {**defaults, **documents}.items():
            if document is not None:
                file = folder / ".".join(key.rsplit("_", 1))
                file.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
        return folder

    return make


@pytest.fixture
def adapter_folder(tmp_path: Path) -> Callable[..., Path]:
    """Makes a LoRA adapter folder: (A, B) float32 factors by module; further fields of adapter_config.json."""

    def make(
        factors: Mapping[str, tuple[Any, Any]], *, name: str = "adapter", others: Tensors | None = None, **config: Any
    ) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        tensors = dict(others or {})
        for module, pair in factors.items():
            for letter, matrix in zip("AB", pair, strict=True):
                array = np.asarray(matrix, "<f4")
                tensors[f"base_model.model.{module}.lora_{letter}.weight"] = ("F32", array.shape, array.tobytes())
        (folder / "adapter_model.safetensors").write_bytes(safetensors_bytes(tensors))
        document = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"], **config}
        (folder / "adapter_config.json").write_text(json.dumps(document))
        return folder

    return make
