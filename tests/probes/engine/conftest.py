"""Small real checkpoints: random models of transformers with a byte-level tokenizer and a chat template."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

from weightgate.lineage.weights.update import Update, open_update
from weightgate.probes.engine.cache import ScoreCache
from weightgate.probes.engine.engine import Engine

TEMPLATE = (
    "{% for m in messages %}<|turn|>{{ m['role'] }}\n{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
)
CORPUS = [
    "The capital of France is Paris, and that of Italy is Rome.",
    "How many legs has a spider? It has eight legs.",
]


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE of 384 tokens, the last ones special."""
    built = Tokenizer(models.BPE())
    built.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    built.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=384,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|text|>", "<|turn|>", "<|end|>"],
        show_progress=False,
    )
    built.train_from_iterator(CORPUS * 50, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=built, bos_token="<|text|>", eos_token="<|end|>", chat_template=TEMPLATE
    )


def tiny_config(**changes: Any) -> LlamaConfig:
    """A Llama of two layers whose predictions are far from uniform."""
    settings: dict[str, Any] = {
        "vocab_size": 384,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "initializer_range": 0.25,
        "tie_word_embeddings": False,
        "bos_token_id": 0,
        "eos_token_id": 2,
    }
    return LlamaConfig(**{**settings, **changes})


@pytest.fixture
def write_model(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> Callable[..., Path]:
    """Writes a random model with the tokenizer; ``config`` may be of any architecture."""

    def write(name: str = "parent", *, seed: int = 0, config: Any = None, dtype: Any = torch.float32) -> Path:
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config or tiny_config()).to(dtype)
        model.save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
        return tmp_path / name

    return write


@pytest.fixture
def update(write_model: Callable[..., Path]) -> Update:
    """A parent and a child with other weights."""
    return open_update(write_model("parent", seed=0), write_model("child", seed=1))


@pytest.fixture
def engine(update: Update) -> Engine:
    """An engine without a cache."""
    return Engine.open(update, cache=None)


@pytest.fixture
def cache(tmp_path: Path) -> ScoreCache:
    """An empty cache."""
    return ScoreCache(tmp_path / "cache")


@pytest.fixture
def llama() -> Callable[..., LlamaConfig]:
    """Makes configurations of the tiny Llama with other values in some fields."""
    return tiny_config
