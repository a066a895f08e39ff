"""What a PEFT adapter does to the model it is applied to, without applying it.

A LoRA update is ``scale · B · A`` (Hu et al., arXiv:2106.09685). Its Frobenius norm needs only two small Gram
matrices, for ``‖BA‖² = tr(AAᵀ · BᵀB)``: the product is never formed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weightgate.lineage.errors import InputError
from weightgate.lineage.weights.adapter_effects import dora_squared, ia3_squared
from weightgate.lineage.weights.checkpoint import Checkpoint
from weightgate.lineage.weights.elements import decoder
from weightgate.lineage.weights.safetensors_file import TensorInfo, blocks
from weightgate.lineage.weights.tensor_difference import Distance, distance, squared_norm
from weightgate.lineage.weights.threads import in_order
from weightgate.lineage.weights.weight_difference import (
    TensorDifference,
    WeightDifference,
    changed_fraction,
    form,
    relative_norm,
    total_norm,
)

_FACTOR = re.compile(
    r"(?P<module>.+)\.(?P<factor>lora_(?:embedding_)?[AB](?:\.bias)?|lora_magnitude_vector|ia3_l)(?:\.weight)?"
)
_LITERAL = re.compile(r"[\w.]+")
_WRONG_PARENT = "give the model the adapter was trained on as the parent"
_SAVE_AGAIN = "save the adapter again with save_pretrained, from the model it was trained on"


def adapter_facts(adapter: Checkpoint) -> dict[str, str]:
    """Type, rank, scale and targets of an adapter, as its configuration states them."""
    config = adapter.adapter_config or {}
    targets = config.get("target_modules")
    facts = {
        "type": config.get("peft_type"),
        "r": config.get("r"),
        "alpha": config.get("lora_alpha"),
        "targets": ", ".join(sorted(map(str, targets))) if isinstance(targets, list) else targets,
        "base_model_name": config.get("base_model_name_or_path"),
        "rslora": "true" if config.get("use_rslora") else None,
        "dora": "true" if config.get("use_dora") else None,
        "virtual_tokens": config.get("num_virtual_tokens"),
    }
    return {key: str(value)[:1000] for key, value in facts.items() if value is not None}


def adapter_ranks(adapter: Checkpoint) -> dict[str, int]:
    """Ranks of the LoRA factors, by the name of the tensor they change; from their shapes, not the configuration."""
    factors, _ = _sort_out(adapter)
    return {
        f"{module}.weight": parts["lora_A"].shape[0]
        for module, parts in factors.items()
        if "lora_A" in parts and parts["lora_A"].shape and "lora_magnitude_vector" not in parts
    }


def adapter_difference(
    parent: Checkpoint, adapter: Checkpoint, progress: Callable[[int], None] | None = None
) -> WeightDifference:
    """The tensors of ``parent`` that ``adapter`` changes, named as the parent names them.

    Numbers are exact for LoRA, rsLoRA, DoRA and IA3; None where an adapter's effect has no closed form.

    Raises:
        InputError: no target is in the parent, a factor lacks its partner, or shapes do not fit: the adapter was made
            for another model.
    """
    factors, replaced = _sort_out(adapter)
    changed = sorted({*(f"{module}.weight" for module in factors), *_biases(parent, factors), *replaced})
    _check_targets(parent, adapter, factors, replaced)
    norms: dict[str, float | None] = {}
    tensors = parent.tensors.values()
    for tensor, norm in zip(tensors, in_order(squared_norm, tensors), strict=True):
        norms[tensor.name] = norm
        if progress is not None:
            progress(tensor.nbytes)
    distances = {name: Distance(None if norm is None else 0.0, norm) for name, norm in norms.items()}
    for module, parts in factors.items():
        target = parent.tensors.get(f"{module}.weight")
        squared = _squared_update(adapter, module, parts, target)
        distances[f"{module}.weight"] = Distance(squared, norms.get(f"{module}.weight"))
    for name, factor in _biases(parent, factors).items():
        distances[name] = Distance(_scaled_bias(parent.tensors[name], factor), norms.get(name))
    for name in replaced.keys() & parent.tensors.keys():
        distances[name] = distance(parent.tensors[name], replaced[name])
    return WeightDifference(
        tensors_total=len({*parent.tensors, *changed}),
        parameters_changed_fraction=changed_fraction(
            parent.tensors, {}, [name for name in changed if name in parent.tensors]
        ),
        relative_norm=total_norm(distances.values()),
        tensors=tuple(
            _describe(name, parent.tensors.get(name), replaced.get(name), distances.get(name)) for name in changed
        ),
    )


def _sort_out(adapter: Checkpoint) -> tuple[dict[str, dict[str, TensorInfo]], dict[str, TensorInfo]]:
    """LoRA factors by target module; tensors that replace one of the parent's (``modules_to_save``) by its name."""
    factors: dict[str, dict[str, TensorInfo]] = {}
    replaced: dict[str, TensorInfo] = {}
    for name, tensor in adapter.tensors.items():
        plain = name.removeprefix("base_model.model.")
        if found := _FACTOR.fullmatch(plain):
            factors.setdefault(found["module"], {})[found["factor"].replace("embedding_", "")] = tensor
        else:
            replaced[plain.replace(".base_layer.", ".")] = tensor
    return factors, replaced


def _check_targets(
    parent: Checkpoint, adapter: Checkpoint, factors: Mapping[str, object], replaced: Mapping[str, TensorInfo]
) -> None:
    targets = {*(f"{module}.weight" for module in factors), *replaced}
    if factors and not targets & parent.tensors.keys():
        raise InputError(f"{adapter.path}: none of the tensors it adapts is in {parent.path}", remedy=_WRONG_PARENT)
    for name, tensor in replaced.items():
        mine = parent.tensors.get(name)
        if mine is not None and mine.shape != tensor.shape:
            raise InputError(
                f"{adapter.path}: replaces {name!r} of shape {list(mine.shape)} by one of shape {list(tensor.shape)}",
                remedy=_WRONG_PARENT,
            )


def _squared_update(
    adapter: Checkpoint, module: str, parts: Mapping[str, TensorInfo], target: TensorInfo | None
) -> float | None:
    """Squared Frobenius norm of what is added to the target; None where it cannot be told."""
    if "ia3_l" in parts:
        scaling = _values(parts["ia3_l"])
        if target is None or scaling is None or scaling.ndim != 2:
            return None
        where = f"{adapter.path}: {module!r}"
        return ia3_squared(target, scaling, transposed=_is_transposed(adapter), where=where)
    if "lora_A" not in parts or "lora_B" not in parts:
        raise InputError(f"{adapter.path}: {module!r} has one LoRA factor without the other", remedy=_SAVE_AGAIN)
    return _squared_lora(adapter, module, parts, target)


def _squared_lora(
    adapter: Checkpoint, module: str, parts: Mapping[str, TensorInfo], target: TensorInfo | None
) -> float | None:
    down, up = parts["lora_A"], parts["lora_B"]
    if len(down.shape) != 2 or len(up.shape) != 2:
        return None
    if down.shape[0] != up.shape[1] or not _fits(target, (up.shape[0], down.shape[1])):
        raise InputError(
            f"{adapter.path}: the LoRA factors {list(up.shape)} and {list(down.shape)} of {module!r} do not fit "
            f"the parent's {list(target.shape) if target else 'tensor'}",
            remedy=_WRONG_PARENT,
        )
    scale = _scale(adapter.adapter_config or {}, module, down.shape[0])
    first, second = _values(down), _values(up)
    if scale is None or first is None or second is None:
        return None
    if "lora_magnitude_vector" in parts:
        magnitude = _values(parts["lora_magnitude_vector"])
        if target is None or magnitude is None or _is_transposed(adapter):
            return None
        return dora_squared(target, first, second, scale, magnitude)
    return scale * scale * float(np.sum((first @ first.T) * (second.T @ second)))


def _is_transposed(adapter: Checkpoint) -> bool:
    """Whether the parent stores its matrices the other way round (Conv1D)."""
    return (adapter.adapter_config or {}).get("fan_in_fan_out") is True


def _biases(parent: Checkpoint, factors: Mapping[str, Mapping[str, TensorInfo]]) -> dict[str, TensorInfo]:
    """Biases that IA3 multiplies together with the rows of their matrix, and the factors, by name."""
    found = {f"{module}.bias": parts["ia3_l"] for module, parts in factors.items() if "ia3_l" in parts}
    return {
        name: factor
        for name, factor in found.items()
        if name in parent.tensors and factor.shape == (parent.tensors[name].elements, 1)
    }


def _scaled_bias(bias: TensorInfo, factor: TensorInfo) -> float | None:
    before, scaling = _values(bias), _values(factor)
    return None if before is None or scaling is None else float(np.sum(np.square((scaling.ravel() - 1) * before)))


def _fits(target: TensorInfo | None, update: tuple[int, int]) -> bool:
    """Either orientation: Conv1D layers and embeddings are stored transposed."""
    return target is None or target.shape in {update, update[::-1]}


def _scale(config: Mapping[str, Any], module: str, rank: int) -> float | None:
    """alpha / r, or alpha / sqrt(r) for rank-stabilized LoRA (arXiv:2312.03732); None if it cannot be told."""
    alpha = config.get("lora_alpha")
    patterns = config.get("alpha_pattern") or {}
    if not isinstance(patterns, dict) or not all(_LITERAL.fullmatch(key) for key in patterns):
        return None  # peft takes these keys as regular expressions; a hostile one is not run here
    for key, value in patterns.items():
        if module == key or module.endswith(f".{key}"):
            alpha = value
            break
    if not isinstance(alpha, int | float) or rank == 0:
        return None
    return float(alpha) / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _values(tensor: TensorInfo) -> NDArray[np.float64] | None:
    read = decoder(tensor.dtype)
    if read is None:
        return None
    return read(b"".join(blocks(tensor))).astype(np.float64).reshape(tensor.shape)


def _describe(
    name: str, mine: TensorInfo | None, replacement: TensorInfo | None, found: Distance | None
) -> TensorDifference:
    return TensorDifference(
        name=name,
        change="changed" if mine else "added",
        before=form(mine),
        after=form(replacement or mine),
        relative_norm=relative_norm(found.squared_difference, found.squared_parent) if found else None,
        max_abs=found.max_abs if found else None,
    )
