"""Adapters: the effect on the parent is computed without applying them, and equals what merging gives."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weightgate.lineage.errors import InputError
from weightgate.lineage.weights.adapter import adapter_difference, adapter_facts
from weightgate.lineage.weights.checkpoint import Checkpoint
from weightgate.lineage.weights.difference import difference
from weightgate.lineage.weights.fingerprint import fingerprint
from weightgate.lineage.weights.update import open_update

Q0, Q1 = "model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj"


@pytest.fixture
def factors() -> dict[str, tuple[Any, Any]]:
    """Rank-2 factors for two square matrices."""
    random = np.random.default_rng(1)
    return {module: (random.standard_normal((2, 4)), random.standard_normal((4, 2))) for module in (Q0, Q1)}


def weight(checkpoint: Checkpoint, name: str) -> np.ndarray[Any, Any]:
    """A bfloat16 tensor as float64."""
    words = np.frombuffer(b"".join(checkpoint.blocks(name)), "<u2").astype("<u4") << 16
    return words.view("<f4").astype(float).reshape(checkpoint.tensors[name].shape)


@pytest.mark.parametrize(
    ("config", "scale"),
    [
        ({"lora_alpha": 4}, 2.0),
        ({"lora_alpha": 3, "use_rslora": True}, 3 / 2**0.5),
        ({"lora_alpha": 4, "alpha_pattern": {"layers.0.self_attn.q_proj": 8, "1.self_attn.q_proj": 8}}, 4.0),
    ],
)
def test_norms_are_those_of_the_product(
    config: Any, scale: float, factors: Any, model_folder: Callable[..., Path], adapter_folder: Callable[..., Path]
) -> None:
    """‖scale·BA‖ / ‖W‖ for each target, and over the whole parent."""
    parent = Checkpoint.open(model_folder())
    found = adapter_difference(parent, Checkpoint.open(adapter_folder(factors, **config)))
    updates = {f"{module}.weight": scale * (b @ a) for module, (a, b) in factors.items()}
    assert {tensor.name: tensor.relative_norm for tensor in found.tensors} == {
        name: pytest.approx(np.linalg.norm(update) / np.linalg.norm(weight(parent, name)), rel=1e-5)
        for name, update in updates.items()
    }
    whole = np.sqrt(sum(np.sum(np.square(weight(parent, name))) for name in parent.tensors))
    changed = np.sqrt(sum(np.sum(np.square(update)) for update in updates.values()))
    assert found.relative_norm == pytest.approx(changed / whole, rel=1e-5)
    assert found.parameters_changed_fraction == 32 / 76


def test_peft_writes_what_is_read(tmp_path: Path) -> None:
    """An adapter saved by peft moves each weight as far as merging it does."""
    torch = pytest.importorskip("torch")
    peft = pytest.importorskip("peft")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=16, hidden_size=8, intermediate_size=12, num_hidden_layers=2, num_attention_heads=2
    )
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path / "parent")
    model = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "parent")
    lora = peft.LoraConfig(
        r=3,
        lora_alpha=5,
        target_modules=["q_proj", "down_proj"],
        rank_pattern={"down_proj": 2},
        modules_to_save=["lm_head"],
    )
    adapted = peft.get_peft_model(model, lora)
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    adapted.save_pretrained(tmp_path / "adapter")
    adapted.merge_and_unload().save_pretrained(tmp_path / "merged")
    parent, adapter, merged = (Checkpoint.open(tmp_path / name) for name in ("parent", "adapter", "merged"))
    expected = difference(parent, merged, fingerprint(parent), fingerprint(merged)).weights
    found = adapter_difference(parent, adapter)
    assert {tensor.name: tensor.relative_norm for tensor in found.tensors} == {
        tensor.name: pytest.approx(tensor.relative_norm, rel=1e-4) for tensor in expected.tensors
    }
    assert len(found.tensors) == 5
    assert found.relative_norm == pytest.approx(expected.relative_norm, rel=1e-4)


def test_an_update_by_adapter(
    factors: Any, model_folder: Callable[..., Path], adapter_folder: Callable[..., Path]
) -> None:
    """Its fingerprint is bound to the parent, its facts are stated, and the parent's files are not 'removed'."""
    update = open_update(model_folder(), adapter_folder(factors))
    assert update.kind == "adapter"
    assert update.child_fingerprint.base == update.parent_fingerprint.root
    assert update.delta.adapter == {"type": "LORA", "r": "2", "alpha": "4", "targets": "q_proj"}
    assert update.delta.files == ()
    assert [change.name for change in update.delta.changed] == [f"{Q0}.weight", f"{Q1}.weight"]
    assert update.difference.tokenizer is None


def test_a_template_an_adapter_brings_is_a_change(
    factors: Any, model_folder: Callable[..., Path], adapter_folder: Callable[..., Path]
) -> None:
    """Files in the adapter folder replace the parent's and are compared with them."""
    adapter = adapter_folder(factors)
    (adapter / "chat_template.jinja").write_text("other")
    update = open_update(model_folder(), adapter)
    assert [change.name for change in update.difference.template] == ["default"]
    assert update.delta.files == ("chat_template.jinja",)


def test_what_has_no_closed_form_has_no_number(
    model_folder: Callable[..., Path], adapter_folder: Callable[..., Path]
) -> None:
    """DoRA on a matrix stored the other way round, and scales given by regular expressions, which are not run."""
    parent = Checkpoint.open(model_folder())
    ones = {Q0: (np.ones((2, 4)), np.ones((4, 2)))}
    magnitude = {f"base_model.model.{Q0}.lora_magnitude_vector": ("F32", (4,), bytes(16))}
    for name, options in (
        ("dora", {"others": magnitude, "fan_in_fan_out": True}),
        ("regex", {"alpha_pattern": {"(a+)+$": 1}}),
        ("text", {"lora_alpha": "4"}),
    ):
        (tensor,) = adapter_difference(parent, Checkpoint.open(adapter_folder(ones, name=name, **options))).tensors
        assert (tensor.name, tensor.relative_norm) == (f"{Q0}.weight", None)


def test_another_adapter_type_is_listed_without_numbers(
    model_folder: Callable[..., Path], adapter_folder: Callable[..., Path]
) -> None:
    """Prompt tuning adds tensors of its own; nothing of the parent is said to change."""
    others = {"prompt_embeddings": ("F32", (2, 4), bytes(32))}
    adapter = Checkpoint.open(adapter_folder({}, others=others, peft_type="PROMPT_TUNING"))
    found = adapter_difference(Checkpoint.open(model_folder()), adapter)
    assert [(tensor.name, tensor.change) for tensor in found.tensors] == [("prompt_embeddings", "added")]
    assert found.parameters_changed_fraction == 0
    assert adapter_facts(adapter)["type"] == "PROMPT_TUNING"


@pytest.mark.parametrize(
    ("factors", "others", "message"),
    [
        (
            {"model.layers.9.self_attn.q_proj": (np.ones((2, 4)), np.ones((4, 2)))},
            {},
            "none of the tensors it adapts is in",
        ),
        ({Q0: (np.ones((2, 5)), np.ones((4, 2)))}, {}, "do not fit"),
        ({Q0: (np.ones((2, 4)), np.ones((4, 3)))}, {}, "do not fit"),
        ({}, {f"base_model.model.{Q0}.lora_A.weight": ("F32", (1, 4), bytes(16))}, "one LoRA factor without the other"),
        (
            {},
            {"base_model.model.model.norm.weight": ("F32", (5,), bytes(20))},
            "replaces 'model.norm.weight' of shape [4]",
        ),
    ],
)
def test_an_adapter_for_another_model_is_refused(
    factors: Any, others: Any, message: str, model_folder: Callable[..., Path], adapter_folder: Callable[..., Path]
) -> None:
    """Targets that are not there, or do not fit, say so and name the tensor."""
    adapter = Checkpoint.open(adapter_folder(factors, others=others))
    with pytest.raises(InputError, match=re.escape(message)):
        adapter_difference(Checkpoint.open(model_folder()), adapter)


def test_a_hostile_scale_gives_no_infinite_norm(
    model_folder: Callable[..., Path], adapter_folder: Callable[..., Path]
) -> None:
    """A scale whose square overflows is no number that could be signed."""
    ones = {Q0: (np.ones((2, 4)), np.ones((4, 2)))}
    parent = Checkpoint.open(model_folder())
    found = adapter_difference(parent, Checkpoint.open(adapter_folder(ones, lora_alpha=1e300)))
    assert found.tensors[0].relative_norm is None
    assert found.relative_norm is None
