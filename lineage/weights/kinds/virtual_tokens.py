"""Soft prompts, prefixes and key-value caches: vectors that stand before every text while no weight changes.

peft stores what it prepends under ``prompt_embeddings``: (tokens, embedding) for a soft prompt (arXiv:2104.08691,
arXiv:2103.10385), (tokens, layers x 2 x key width) for a prefix (arXiv:2101.00190) and for a cartridge, a cache of keys
and values that was trained to stand for a corpus (arXiv:2506.06266).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from weightgate.lineage.errors import InputError
from weightgate.lineage.weights.checkpoint import Checkpoint
from weightgate.lineage.weights.kinds.facts import UpdateKind, VirtualTokens

KINDS: Mapping[str, UpdateKind] = MappingProxyType(
    {
        "PROMPT_TUNING": "soft-prompt",
        "MULTITASK_PROMPT_TUNING": "soft-prompt",
        "P_TUNING": "soft-prompt",
        "CPT": "soft-prompt",
        "PREFIX_TUNING": "prefix",
        "CARTRIDGE": "cartridge",
    }
)
"""Kind of update by the ``peft_type`` of its configuration."""

_EMBEDDINGS = "prompt_embeddings"
_WRONG = "give the model it was trained on as the parent, and the folder that save_pretrained wrote"


def find_virtual_tokens(parent: Checkpoint, adapter: Checkpoint) -> VirtualTokens | None:
    """What an adapter puts before every text; None where it is of another type.

    Raises:
        InputError: its configuration names such a type, and its tensors are not of it.
    """
    config = adapter.adapter_config or {}
    kind = KINDS.get(str(config.get("peft_type")))
    if kind is None:
        return None
    tensor = next((t for name, t in adapter.tensors.items() if name.split(".")[-1] == _EMBEDDINGS), None)
    tokens = config.get("num_virtual_tokens")
    if tensor is None or len(tensor.shape) != 2 or tensor.shape[0] != tokens:
        shape = list(tensor.shape) if tensor else "no tensor"
        raise InputError(
            f"{adapter.path}: its configuration names {str(tokens)[:20]} virtual tokens, its {_EMBEDDINGS} is {shape}",
            remedy=_WRONG,
        )
    frozen = config.get("num_frozen_tokens") if kind == "cartridge" else 0
    if kind == "soft-prompt":
        layers, width, wanted = 0, tensor.shape[1], (0, _number(parent.config, "hidden_size", "n_embd", "d_model"))
    else:
        layers = _number(config, "num_layers")
        if layers < 1 or tensor.shape[1] % (2 * layers):
            raise InputError(
                f"{adapter.path}: {tensor.shape[1]} numbers a token are no keys and values of {layers} layers",
                remedy=_WRONG,
            )
        width = tensor.shape[1] // (2 * layers)
        wanted = _number(parent.config, "num_hidden_layers", "n_layer"), _key_width(parent.config)
    return VirtualTokens(
        type=str(config["peft_type"]),
        tokens=tensor.shape[0],
        layers=layers,
        width=width,
        fits=(layers, width) == wanted,
        frozen=frozen if isinstance(frozen, int) and 0 <= frozen <= tensor.shape[0] else 0,
    )


def _key_width(config: Mapping[str, Any]) -> int:
    """Numbers that the keys of all heads of one token have."""
    heads = _number(config, "num_attention_heads", "n_head")
    size = _number(config, "head_dim") or _number(config, "hidden_size", "n_embd", "d_model") // max(1, heads)
    return (_number(config, "num_key_value_heads") or heads) * size


def _number(config: Mapping[str, Any], *names: str) -> int:
    """The first field that is a number; those of a language model inside a larger one lie under text_config."""
    text = config.get("text_config")
    for name in names:
        for place in (config, text if isinstance(text, dict) else {}):
            if type(value := place.get(name)) is int:
                return int(value)
    return 0
