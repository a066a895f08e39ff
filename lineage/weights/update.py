"""The pair an audit is about: parent and child, the kind of update between them, and whether they can be compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weightgate.lineage.changeset import Delta, ModelVersion, TensorChange
from weightgate.lineage.errors import InputError
from weightgate.lineage.weights.adapter import adapter_difference, adapter_facts
from weightgate.lineage.weights.checkpoint import Checkpoint
from weightgate.lineage.weights.difference import (
    Difference,
    difference,
    file_difference,
    template_changes,
    tokenizer_difference,
)
from weightgate.lineage.weights.fingerprint import Fingerprint, fingerprint
from weightgate.lineage.weights.folder import read_document
from weightgate.lineage.weights.kinds.describe import Description, describe
from weightgate.lineage.weights.kinds.facts import UpdateKind
from weightgate.lineage.weights.kinds.stream import is_stream, stream_difference
from weightgate.lineage.weights.tokenizer import read_tokenizer
from weightgate.lineage.weights.weight_difference import TensorDifference

ARCHITECTURE = (
    "model_type",
    "architectures",
    "hidden_size",
    "n_embd",
    "d_model",
    "num_hidden_layers",
    "n_layer",
    "num_attention_heads",
    "n_head",
    "num_key_value_heads",
    "head_dim",
    "intermediate_size",
)
"""Fields of config.json that must be equal: with any of them changed, parent and child are different networks."""

_OTHER_NETWORK = "an update keeps the architecture: give the checkpoint the child was trained from as the parent"
_OTHER_WORDS = "an update keeps the vocabulary: scores over different tokens cannot be compared"


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """Parent and child, both read and compared. An adapter child stands for the parent with the adapter applied."""

    parent: Checkpoint
    child: Checkpoint
    parent_fingerprint: Fingerprint
    child_fingerprint: Fingerprint
    difference: Difference
    delta: Delta

    @property
    def kind(self) -> UpdateKind:
        """What kind of update it is."""
        return self.delta.kind


def open_update(
    parent: Path,
    child: Path,
    *,
    sources: Sequence[Path] = (),
    blake3: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Update:
    """Open, hash and compare two checkpoints.

    Args:
        parent: model folder or safetensors file of the version in use.
        child: the same of the proposed version, or a PEFT adapter folder to be applied to the parent.
        blake3: take second tensor roots, over BLAKE3 digests.
        sources: models that the child may have been merged from, beside the parent.
        progress: called with the number of bytes read since the last call.

    Raises:
        InputError: a checkpoint cannot be read, or the two cannot be parent and child: another architecture,
            another vocabulary, or tensors of other shapes.
    """
    before, after = Checkpoint.open(parent), Checkpoint.open(child)
    _check_kinds(before, after)
    _check_architecture(before, after)
    _check_vocabulary(before, after)
    parent_fingerprint = fingerprint(before, blake3=blake3, progress=progress)
    base = parent_fingerprint.root if after.kind == "adapter" else None
    child_fingerprint = fingerprint(after, base_root=base, blake3=blake3, progress=progress)
    if after.kind == "adapter":
        found = _adapter_update(before, after, parent_fingerprint, child_fingerprint, progress)
    else:
        found = difference(before, after, parent_fingerprint, child_fingerprint, progress)
        _check_shapes(before, after, found)
    identical = parent_fingerprint.root == child_fingerprint.root
    merged = [Checkpoint.open(path) for path in sources]
    described = describe(before, after, found, identical=identical, sources=merged, after=child_fingerprint)
    return Update(
        parent=before,
        child=after,
        parent_fingerprint=parent_fingerprint,
        child_fingerprint=child_fingerprint,
        difference=found,
        delta=_delta(before, after, found, described),
    )


def model_version(name: str, fingerprint: Fingerprint) -> ModelVersion:
    """One side of an update as the changeset names it."""
    return ModelVersion(
        name=name,
        root=fingerprint.root,
        tensor_root=fingerprint.tensor_root,
        tensor_root_blake3=fingerprint.tensor_root_blake3,
        parameters=fingerprint.parameters,
        tokenizer=fingerprint.tokenizer,
        chat_template=fingerprint.chat_template,
        config=fingerprint.config,
    )


def _adapter_update(
    parent: Checkpoint,
    adapter: Checkpoint,
    before: Fingerprint,
    after: Fingerprint,
    progress: Callable[[int], None] | None,
) -> Difference:
    """An adapter folder replaces only what it holds; the rest comes from the parent."""
    files = file_difference(parent, adapter, before, after)
    added = tuple(name for name in files.added if name != "adapter_config.json")
    return Difference(
        weights=stream_difference(parent, adapter)
        if is_stream(adapter)
        else adapter_difference(parent, adapter, progress),
        template=template_changes(parent, adapter) if adapter.templates else (),
        tokenizer=tokenizer_difference(parent, adapter) if after.tokenizer not in {None, before.tokenizer} else None,
        files=files.model_copy(update={"added": added, "removed": (), "auto_map": ()}),
    )


def _delta(parent: Checkpoint, child: Checkpoint, found: Difference, described: Description) -> Delta:
    weights = found.weights
    return Delta(
        kind=described.kind,
        tensors_total=weights.tensors_total,
        tensors_changed=len(weights.tensors),
        parameters_changed_fraction=weights.parameters_changed_fraction,
        relative_norm=weights.relative_norm,
        changed=tuple(_tensor_change(parent, tensor, described) for tensor in weights.tensors),
        files=found.files.names,
        adapter=adapter_facts(child) if child.kind == "adapter" else {},
        facts=described.facts,
    )


def _tensor_change(parent: Checkpoint, tensor: TensorDifference, described: Description) -> TensorChange:
    mine, share = parent.tensors.get(tensor.name), tensor.changed_fraction
    return TensorChange(
        name=tensor.name,
        change=tensor.change,
        relative_norm=tensor.relative_norm,
        elements_changed=None if mine is None or share is None else round(share * mine.elements),
        rank=described.ranks.get(tensor.name),
    )


def _check_kinds(parent: Checkpoint, child: Checkpoint) -> None:
    if parent.kind == "adapter":
        raise InputError(
            f"{parent.path}: an adapter cannot be the parent, it is no model by itself",
            remedy="merge it into its base model (PeftModel.merge_and_unload) and give that folder",
        )
    if {parent.kind, child.kind} in ({"model", "file"}, {"file", "adapter"}):
        raise InputError(
            f"{parent.path} (kind: {parent.kind}) and {child.path} (kind: {child.kind}) do not go together",
            remedy="give two model folders, two safetensors files, or a model folder and an adapter folder",
        )


def _check_architecture(parent: Checkpoint, child: Checkpoint) -> None:
    if not parent.config or not child.config:
        return
    for key in ARCHITECTURE:
        mine, yours = _field(parent, key), _field(child, key)
        if mine != yours:
            raise InputError(
                f"{child.path}: its {key} is {yours!r}, that of {parent.path} is {mine!r}", remedy=_OTHER_NETWORK
            )


def _field(checkpoint: Checkpoint, key: str) -> Any:
    """A field of config.json; models with several parts keep those of the language model under text_config."""
    text = checkpoint.config.get("text_config")
    return checkpoint.config.get(key, text.get(key) if isinstance(text, dict) else None)


def _check_vocabulary(parent: Checkpoint, child: Checkpoint) -> None:
    if parent.config and child.config:
        mine, yours = _field(parent, "vocab_size"), _field(child, "vocab_size")
        if mine != yours:
            raise InputError(
                f"{child.path}: its vocab_size is {yours!r}, that of {parent.path} is {mine!r}", remedy=_OTHER_WORDS
            )
    if _vocabulary_bytes(parent) == _vocabulary_bytes(child):
        return  # parsing a large tokenizer takes a second
    before, after = read_tokenizer(parent), read_tokenizer(child)
    if before is None or after is None or not before.vocabulary or not after.vocabulary:
        return
    if before.vocabulary != after.vocabulary:
        odd = min(
            token
            for token in {*before.vocabulary, *after.vocabulary}
            if before.vocabulary.get(token) != after.vocabulary.get(token)
        )
        raise InputError(
            f"{child.path}: its tokenizer gives {odd[:80]!r} the id {after.vocabulary.get(odd)}, "
            f"that of {parent.path} gives it {before.vocabulary.get(odd)}",
            remedy=_OTHER_WORDS,
        )


def _vocabulary_bytes(checkpoint: Checkpoint) -> tuple[bytes, ...]:
    names = [name for name in ("tokenizer.json", "vocab.json") if name in checkpoint.files]
    return tuple(read_document(checkpoint.path / name) for name in names)


def _check_shapes(parent: Checkpoint, child: Checkpoint, found: Difference) -> None:
    if parent.kind != "model":
        return
    for tensor in found.weights.tensors:
        if tensor.change == "reshaped" and tensor.before and tensor.after:
            raise InputError(
                f"{child.path}: its tensor {tensor.name!r} has the shape {list(tensor.after.shape)}, that of "
                f"{parent.path} has {list(tensor.before.shape)}",
                remedy=_OTHER_NETWORK,
            )
