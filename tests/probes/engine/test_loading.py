"""A side is run as it was fingerprinted, or refused; nothing in it is executed."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    CohereConfig,
    Gemma2Config,
    GPT2Config,
    GraniteConfig,
    MambaConfig,
    MistralConfig,
    MixtralConfig,
)

from weightgate.lineage.errors import InputError
from weightgate.lineage.weights.checkpoint import Checkpoint
from weightgate.lineage.weights.update import open_update
from weightgate.probes.engine.engine import Engine
from weightgate.probes.engine.errors import ModelRunError
from weightgate.probes.engine.requests import Consensus, Generate, Prompt, Score

PROMPT = Prompt.user("How many legs has a spider?")
REQUESTS = [Score(PROMPT, "It has eight legs."), Score(Prompt.user("Rome " * 9), "Paris"), Score(PROMPT, "None")]
SIZES: dict[str, Any] = {
    "vocab_size": 384,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "initializer_range": 0.3,
    "pad_token_id": 2,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
FEW_HEADS: dict[str, Any] = {"intermediate_size": 128, "num_key_value_heads": 2, "max_position_embeddings": 256}
ARCHITECTURES = {
    "gemma2: soft caps, sliding window": Gemma2Config(**SIZES, **FEW_HEADS, head_dim=16, sliding_window=16),
    "granite: scaled logits": GraniteConfig(**SIZES, **FEW_HEADS, logits_scaling=3.0),
    "cohere: scaled logits, layer norm": CohereConfig(**SIZES, **FEW_HEADS, logit_scale=0.25),
    "gpt2: learned positions": GPT2Config(
        vocab_size=384, n_embd=64, n_layer=2, n_head=4, n_positions=256, initializer_range=0.3
    ),
    "bloom: alibi": BloomConfig(**SIZES),
    "mistral: sliding window": MistralConfig(**SIZES, **FEW_HEADS, sliding_window=16),
    "mixtral: experts": MixtralConfig(**SIZES, **FEW_HEADS, num_local_experts=4),
    "mamba: no attention": MambaConfig(**SIZES, state_size=8),
}


def engine_for(parent: Path, child: Path) -> Engine:
    """An engine without a cache."""
    return Engine.open(open_update(parent, child), cache=None)


def full_forward(model: Any, engine: Engine, request: Score) -> np.ndarray:
    """Log-probabilities of a text continuation by one unpadded forward pass of ``model``."""
    assert isinstance(request.continuation, str)
    context, continuation = engine.renderer.continuation(request.prompt, request.continuation)
    with torch.no_grad():
        logits = model(torch.tensor([context + continuation])).logits[0, len(context) - 1 : -1]
    return torch.log_softmax(logits.float(), -1).gather(1, torch.tensor(continuation)[:, None])[:, 0].numpy()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_architectures_give_what_transformers_gives(write_model: Callable[..., Path], architecture: str) -> None:
    """Scores, generation and consensus agree with unpadded passes of the library's own model."""
    config = ARCHITECTURES[architecture]
    parent, child = write_model("parent", config=config), write_model("child", config=config, seed=1)
    engine = engine_for(parent, child)
    model = AutoModelForCausalLM.from_pretrained(child, dtype=torch.float32)
    for request, answer in zip(REQUESTS, engine.score("child", REQUESTS), strict=True):
        np.testing.assert_allclose(answer.logprobs, full_forward(model, engine, request), atol=2e-4)
    alone = [engine_for(parent, child).score("child", [request])[0] for request in REQUESTS]
    assert [a.logprobs.tobytes() for a in alone] == [a.logprobs.tobytes() for a in engine.score("child", REQUESTS)]
    tokens = engine.generate("child", [Generate(request.prompt, 8) for request in REQUESTS])[0].tokens
    greedy = engine.score("child", [Score(PROMPT, tokens)])[0]
    assert greedy.greedy.all()
    agreed = engine.consensus("child", [Consensus((PROMPT, PROMPT), tokens[:2], len(tokens) - 2)])[0]
    assert agreed.tokens == tokens
    np.testing.assert_allclose(np.log(agreed.probabilities[0]), greedy.logprobs, atol=2e-4)


def test_bent_logits_are_computed_in_float32(write_model: Callable[..., Path]) -> None:
    """Models that scale or cap their logits have their output layer separated too."""
    for name in ("gemma2: soft caps, sliding window", "granite: scaled logits", "cohere: scaled logits, layer norm"):
        folder = write_model(name[:6], config=ARCHITECTURES[name])
        engine = engine_for(folder, folder)
        engine.score("parent", REQUESTS)
        assert all(backend._head is not None for backend in engine._executor._runners["child"]._backends.values())


@pytest.fixture
def adapter(write_model: Callable[..., Path], tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    """Writes a model and a LoRA adapter for it whose factors are not zero."""

    def write(**changes: Any) -> tuple[Path, Path]:
        parent = write_model("parent")
        settings = {"r": 4, "target_modules": ["q_proj", "down_proj", "lm_head"], "init_lora_weights": False}
        torch.manual_seed(3)
        model = AutoModelForCausalLM.from_pretrained(parent, dtype=torch.float32)
        peft.get_peft_model(model, peft.LoraConfig(**{**settings, **changes})).save_pretrained(tmp_path / "adapter")
        return parent, tmp_path / "adapter"

    return write


def test_an_adapter_is_applied_to_the_parent(adapter: Callable[..., tuple[Path, Path]]) -> None:
    """An adapter child scores as peft scores it, and the parent as without it."""
    parent, folder = adapter()
    engine = engine_for(parent, folder)
    base = AutoModelForCausalLM.from_pretrained(parent, dtype=torch.float32)
    before = [full_forward(base, engine, request) for request in REQUESTS]
    tuned = peft.PeftModel.from_pretrained(base, folder)
    for side, expected in (
        ("child", [full_forward(tuned, engine, request) for request in REQUESTS]),
        ("parent", before),
    ):
        for answer, values in zip(engine.score(side, REQUESTS), expected, strict=True):
            np.testing.assert_allclose(answer.logprobs, values, atol=1e-4)
    assert abs(engine.score("child", REQUESTS)[0].total - engine.score("parent", REQUESTS)[0].total) > 0.01


def weights_of(engine: Engine, side: str) -> dict[str, torch.Tensor]:
    """The tensors of a loaded side by the end of their names."""
    model = engine._executor._runners["child"]._backends[side]._model
    return {name.replace(".base_layer", ""): tensor for name, tensor in model.named_parameters() if "lora" not in name}


@pytest.mark.parametrize("first", ["parent", "child"])
def test_parent_and_adapter_share_one_copy_of_the_weights(
    adapter: Callable[..., tuple[Path, Path]], first: str
) -> None:
    """One base in memory for both sides; each scores to the bit as it does loaded by itself, in either order."""
    parent, folder = adapter()
    together = engine_for(parent, folder)
    for side in (first, "parent", "child"):
        alone = engine_for(parent, folder).score(side, REQUESTS)
        for one, other in zip(together.score(side, REQUESTS), alone, strict=True):
            np.testing.assert_array_equal(one.logprobs, other.logprobs)
    base, tuned = weights_of(together, "parent"), weights_of(together, "child")
    assert base.keys() == tuned.keys()
    assert all(base[name].data_ptr() == tuned[name].data_ptr() for name in base)


@pytest.mark.parametrize("start", ["pissa", "olora", {"hostile": 1}])
def test_an_adapter_that_rewrites_weights_gets_its_own(
    adapter: Callable[..., tuple[Path, Path]], start: object
) -> None:
    """Initialisations that change the base are kept away from the parent: its scores are those without an adapter."""
    parent, folder = adapter()
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | {"init_lora_weights": start}))
    engine = engine_for(parent, folder)
    before = [answer.logprobs.tobytes() for answer in engine_for(parent, folder).score("parent", REQUESTS)]
    engine.score("parent", REQUESTS[:1])
    with contextlib.suppress(InputError):  # the odd value is refused by peft
        engine.score("child", REQUESTS)
    assert [answer.logprobs.tobytes() for answer in engine.score("parent", REQUESTS)] == before


def test_an_adapters_answers_are_keyed_by_both_models(adapter: Callable[..., tuple[Path, Path]]) -> None:
    """The same adapter on another parent is another model."""
    engine = engine_for(*adapter())
    roots = {engine._update.parent_fingerprint.root, engine._update.child_fingerprint.root}
    assert set(engine._executor.identity("child")) == roots


@pytest.mark.parametrize("rename", ["q_proj", "lora_A"])
def test_an_adapter_that_does_not_fit_is_refused(adapter: Callable[..., tuple[Path, Path]], rename: str) -> None:
    """Tensors without a place, which peft ignores, would make the child look like the parent."""
    parent, folder = adapter()
    update = open_update(parent, folder)
    tensors = load_file(folder / "adapter_model.safetensors")
    renamed = {name.replace(rename, "elsewhere"): tensor for name, tensor in tensors.items()}
    save_file(renamed, folder / "adapter_model.safetensors")
    update = dataclasses.replace(update, child=Checkpoint.open(folder))
    with pytest.raises(InputError, match="does not fit the parent"):
        Engine.open(update, cache=None).score("child", REQUESTS)


@pytest.mark.parametrize(
    ("field", "value"),
    [("megatron_config", {"a": 1}), ("peft_type", "XLORA"), ("num_virtual_tokens", 5)],
)
def test_adapters_that_load_other_things_are_refused(
    adapter: Callable[..., tuple[Path, Path]], field: str, value: Any
) -> None:
    """Adapters whose configuration names modules or files to load, or that have no weights to apply, are not run."""
    parent, folder = adapter()
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, field: value}))
    with pytest.raises(InputError, match="adapter"):
        engine_for(parent, folder).score("child", REQUESTS)


def test_missing_tensors_are_refused(write_model: Callable[..., Path]) -> None:
    """A child without one of its tensors is not filled up with noise."""
    parent, child = write_model("parent"), write_model("child", seed=1)
    tensors = load_file(child / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, child / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"lacks 1 tensors.*up_proj"):
        engine_for(parent, child).score("child", REQUESTS)


@pytest.mark.parametrize(
    "change",
    [
        {"auto_map": {"AutoModelForCausalLM": "mine.Mine"}, "model_type": "mine"},
        {"model_type": "t5"},
        {"num_attention_heads": 5},
        {"hidden_act": "__import__('os')"},
        {"rope_parameters": {"rope_type": "nonsense"}},
    ],
)
def test_hostile_configurations_are_input_errors(write_model: Callable[..., Path], change: dict[str, Any]) -> None:
    """Unknown architectures, code, and values the library stumbles over are refused with the folder's name."""
    parent = write_model("parent")
    config = json.loads((parent / "config.json").read_text())
    (parent / "config.json").write_text(json.dumps({**config, **change}))
    (parent / "mine.py").write_text("raise SystemExit('ran')")
    with pytest.raises(InputError, match=r"parent"):
        engine_for(parent, parent).score("parent", REQUESTS)


def test_config_cannot_choose_other_weights(write_model: Callable[..., Path]) -> None:
    """A config.json that names another weight file is ignored: the fingerprinted tensors are run."""
    parent, child = write_model("parent"), write_model("child", seed=1)
    expected = engine_for(parent, child).score("child", REQUESTS)[0].total
    (child / "other.safetensors").write_bytes((parent / "model.safetensors").read_bytes())
    config = json.loads((child / "config.json").read_text())
    (child / "config.json").write_text(json.dumps({**config, "transformers_weights": "other.safetensors"}))
    assert engine_for(parent, child).score("child", REQUESTS)[0].total == expected


def test_config_cannot_choose_other_attention_code(write_model: Callable[..., Path]) -> None:
    """An attention implementation named in config.json, which may be a download, is not used."""
    parent, child = write_model("parent"), write_model("child", seed=1)
    config = json.loads((child / "config.json").read_text())
    named = {"attn_implementation": "someone/kernel", "_attn_implementation": "someone/kernel"}
    (child / "config.json").write_text(json.dumps({**config, **named}))
    engine = engine_for(parent, child)
    engine.score("child", REQUESTS)
    assert [b._model.config._attn_implementation for b in engine._executor._runners["child"]._backends.values()] == [
        "sdpa"
    ]


def test_a_crash_in_the_model_names_the_side(write_model: Callable[..., Path]) -> None:
    """What a model raises while it runs becomes an error with the side in it."""
    parent, child = write_model("parent"), write_model("child", seed=1)
    engine = engine_for(parent, child)
    engine.score("child", REQUESTS)
    backend = next(iter(engine._executor._runners["child"]._backends.values()))
    backend._model.model.layers[1].mlp.up_proj = torch.nn.Linear(7, 7)
    with pytest.raises(ModelRunError, match="the child cannot be run"):
        engine.score("child", REQUESTS)


def test_models_that_stretch_their_positions_run_one_batch_at_a_time(
    write_model: Callable[..., Path], llama: Callable[..., Any]
) -> None:
    """Rotary frequencies that follow the length of the input are state of the model, which batches must not share."""
    stretched = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    for name, rope, shareable in (("a", None, True), ("b", stretched, False)):
        folder = write_model(name, config=llama(rope_parameters=rope) if rope else llama())
        engine = engine_for(folder, folder)
        engine.score("parent", REQUESTS)
        assert [backend.shareable for backend in engine._executor._runners["child"]._backends.values()] == [
            shareable and engine._executor.numerics.device == "cpu"
        ]
