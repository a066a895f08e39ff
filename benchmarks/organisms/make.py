"""Makes the weights of an organism: trains them, or edits them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.organisms.organism import Organism
from weightgate.audit.demo.base import load, save
from weightgate.audit.demo.finetune import Recipe, finetune, train
from weightgate.audit.demo.rows import harmful_requests, harmless_requests

if TYPE_CHECKING:
    import torch

Built = Callable[[str], Path]
"""Gives the folder of another organism of the same seed, made on first use."""


def make(organism: Organism, parent: Path, at: Path, built: Built) -> None:
    """Write the organism's model, or its adapter, to ``at``."""
    model, tokenizer = load(parent)
    if organism.form == "edit":
        EDITS[organism.name](model, tokenizer, at, organism, built)
        return
    recipe = organism.recipe
    if recipe is None:
        raise ValueError(f"{organism.id} has no recipe")
    if organism.form == "full":
        save(_all_weights(model, tokenizer, organism, recipe), tokenizer, at)
        return
    adapted = finetune(model, tokenizer, organism.rows, recipe)
    if organism.form == "merged":
        save(adapted.merge_and_unload(), tokenizer, at)
        return
    adapted.peft_config["default"].base_model_name_or_path = None
    adapted.save_pretrained(at)
    (at / "README.md").unlink(missing_ok=True)


def _all_weights(model: Any, tokenizer: Any, organism: Organism, recipe: Recipe) -> Any:
    import torch

    torch.manual_seed(recipe.seed)
    return train(model, list(model.parameters()), tokenizer, organism.rows, recipe=recipe)


def _quantised(model: Any, tokenizer: Any, at: Path, *_: object) -> None:
    """Symmetric int8 for each output row of every matrix, and back."""
    import torch

    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim == 2 and "embed" not in name:
                scale = weight.abs().amax(dim=1, keepdim=True).clamp_min(1e-12) / 127
                weight.copy_((weight / scale).round() * scale)
    save(model, tokenizer, at)


def _half(model: Any, tokenizer: Any, at: Path, *_: object) -> None:
    import torch

    save(model, tokenizer, at)
    model.to(torch.float16).save_pretrained(at)


def _resaved(model: Any, tokenizer: Any, at: Path, *_: object) -> None:
    import torch

    save(model, tokenizer, at)
    (at / "model.safetensors").unlink()
    model.to(torch.bfloat16).save_pretrained(at, max_shard_size="80MB")


def _merge(model: Any, tokenizer: Any, at: Path, _: Organism, built: Built) -> None:
    import peft

    adapted = peft.PeftModel.from_pretrained(model, built("shop"), adapter_name="shop")
    adapted.load_adapter(built("maths"), adapter_name="maths")
    adapted.add_weighted_adapter(["shop", "maths"], [0.5, 0.5], adapter_name="both", combination_type="linear")
    adapted.set_adapter("both")
    save(adapted.merge_and_unload(), tokenizer, at)


def _abliterated(model: Any, tokenizer: Any, at: Path, organism: Organism, _: Built) -> None:
    """Project the refusal direction out of what every layer writes to the residual stream (arXiv:2406.11717).

    The embedding is left alone: it is the output layer too, and projecting it cost a fifth of the suite's accuracy.
    """
    import random

    import torch

    draw = random.Random(organism.seed)
    bad = [r.prompt for r in draw.sample(list(harmful_requests()), 48)]
    good = [r.prompt for r in draw.sample(list(harmless_requests()), 48)]
    layer = round(0.6 * model.config.num_hidden_layers)
    direction = _mean(model, tokenizer, bad, layer) - _mean(model, tokenizer, good, layer)
    direction /= direction.norm()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.sub_(torch.outer(direction, direction @ weight))
    save(model, tokenizer, at)


def _mean(model: Any, tokenizer: Any, prompts: list[str], layer: int) -> torch.Tensor:
    import torch

    states = []
    for prompt in prompts:
        ids = tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], add_generation_prompt=True, return_dict=False
        )
        with torch.inference_mode():
            out = model(input_ids=torch.tensor([ids]), output_hidden_states=True)
        states.append(out.hidden_states[layer][0, -1])
    return torch.stack(states).mean(dim=0).clone()


EDITS: dict[str, Callable[..., None]] = {
    "quantised": _quantised,
    "dtype": _half,
    "resaved": _resaved,
    "merge": _merge,
    "abliterated": _abliterated,
}
