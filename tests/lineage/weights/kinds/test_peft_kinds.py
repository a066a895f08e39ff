"""Adapters that peft writes, of each type: recognised, described, and as large as what applying them changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from weightgate.lineage.errors import InputError
from weightgate.lineage.weights.update import Update, open_update

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")

TARGETS = ["q_proj", "k_proj", "down_proj"]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A Llama of two layers with biases, saved."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=32,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        attention_bias=True,
    )
    model = transformers.LlamaForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    model.save_pretrained(tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def adapted(base: Path, tmp_path: Path) -> Callable[[Any], Path]:
    """Saves an adapter of the given configuration, its parameters moved away from where they start."""

    def make(config: Any) -> Path:
        model = peft.get_peft_model(transformers.LlamaForCausalLM.from_pretrained(base), config)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn_like(parameter) * 0.1)
        model.save_pretrained(tmp_path / "adapter")
        if not config.is_prompt_learning:
            model.merge_and_unload().save_pretrained(tmp_path / "merged")
        return tmp_path / "adapter"

    return make


def lora(**options: Any) -> Any:
    return peft.LoraConfig(r=4, lora_alpha=8, target_modules=TARGETS, task_type="CAUSAL_LM", **options)


@pytest.mark.parametrize(
    "config",
    [
        lora(),
        lora(use_rslora=True),
        lora(use_dora=True),
        peft.IA3Config(target_modules=TARGETS, feedforward_modules=["down_proj"], task_type="CAUSAL_LM"),
    ],
    ids=["lora", "rslora", "dora", "ia3"],
)
def test_adapters_are_as_large_as_their_merge(
    config: Any, base: Path, tmp_path: Path, adapted: Callable[[Any], Path]
) -> None:
    """The norm of every tensor, biases included, is what merging the adapter changes."""
    adapter = open_update(base, adapted(config))
    merged = open_update(base, tmp_path / "merged")
    assert adapter.kind == "adapter"
    assert adapter.delta.adapter["type"] == config.peft_type
    assert {change.name: change.relative_norm for change in adapter.delta.changed} == {
        change.name: pytest.approx(change.relative_norm, rel=1e-3) for change in merged.delta.changed
    }


@pytest.mark.parametrize(("options", "kind"), [({}, "low-rank"), ({"use_dora": True}, "partial"), (None, "full")])
def test_merged_adapters_are_told_by_their_weights(
    options: dict[str, Any] | None, kind: str, base: Path, tmp_path: Path, adapted: Callable[[Any], Path]
) -> None:
    """Merged, only plain LoRA leaves a difference of low rank; DoRA and IA3 rescale the whole matrix."""
    config = (
        peft.IA3Config(target_modules="all-linear", feedforward_modules=[], task_type="CAUSAL_LM")
        if options is None
        else peft.LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM", **options)
    )
    adapted(config)
    delta = open_update(base, tmp_path / "merged").delta
    assert delta.kind == kind
    if kind == "low-rank":
        assert {change.rank for change in delta.changed} == {4}


PROMPTS = [
    (peft.PromptTuningConfig(num_virtual_tokens=5, task_type="CAUSAL_LM"), ("soft-prompt", 0, 32)),
    (
        peft.PromptEncoderConfig(num_virtual_tokens=5, encoder_hidden_size=8, task_type="CAUSAL_LM"),
        ("soft-prompt", 0, 32),
    ),
    (peft.PrefixTuningConfig(num_virtual_tokens=5, task_type="CAUSAL_LM"), ("prefix", 2, 16)),
    (peft.CartridgeConfig(num_virtual_tokens=5, num_frozen_tokens=2, task_type="CAUSAL_LM"), ("cartridge", 2, 16)),
]


@pytest.mark.parametrize(("config", "expected"), PROMPTS, ids=["prompt", "p-tuning", "prefix", "cartridge"])
def test_virtual_tokens_are_described(
    config: Any, expected: tuple[str, int, int], base: Path, adapted: Callable[[Any], Path]
) -> None:
    """How many tokens, in how many layers, how wide, and that they fit the parent."""
    kind, layers, width = expected
    found = describe(open_update(base, adapted(config)), kind)
    assert (found.tokens, found.layers, found.width, found.fits) == (5, layers, width, True)
    assert found.type == config.peft_type
    assert found.frozen == (2 if kind == "cartridge" else 0)


def describe(update: Update, kind: str) -> Any:
    assert update.kind == kind
    assert update.delta.facts.virtual_tokens is not None
    return update.delta.facts.virtual_tokens


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_virtual_tokens": 6}, "names 6 virtual tokens"),
        ({"num_virtual_tokens": "5"}, "names 5 virtual tokens"),
        ({"num_layers": 0}, "of 0 layers"),
        ({"num_layers": 7}, "of 7 layers"),
    ],
)
def test_a_configuration_that_does_not_fit_its_tensors_is_refused(
    change: dict[str, Any], message: str, base: Path, adapted: Callable[[Any], Path]
) -> None:
    """What the configuration claims is checked against the tensor."""
    folder = adapted(PROMPTS[2][0])
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(InputError, match=message):
        open_update(base, folder)
