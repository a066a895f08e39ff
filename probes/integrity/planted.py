"""An update whose author claims less than it does: the control of the claims probe. No model is needed."""

from __future__ import annotations

import dataclasses

from weightgate.lineage.changeset import Delta, TensorChange
from weightgate.lineage.weights.claims import Claims
from weightgate.probes.engine.engine import Engine
from weightgate.probes.poisoning.planted import in_memory_update
from weightgate.probes.probe import ProbeContext


def planted_claims() -> ProbeContext:
    """A change of the embedding, claimed to be a small one of the attention alone."""
    delta = Delta(
        kind="partial",
        tensors_total=2,
        tensors_changed=1,
        parameters_changed_fraction=0.5,
        relative_norm=0.3,
        changed=(TensorChange(name="model.embed_tokens.weight", change="changed", relative_norm=0.3),),
    )
    update = dataclasses.replace(in_memory_update({}, {}), delta=delta)
    claims = Claims(only_modules=("*.self_attn.*",), frozen=("*.embed_tokens",), max_relative_norm=0.1)
    return ProbeContext(update=update, engine=Engine.open(update, cache=None), seed=0, claims=claims)
