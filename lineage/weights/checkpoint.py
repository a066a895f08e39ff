"""A read-only handle on a checkpoint: a model folder, an adapter folder or a safetensors file. Nothing is unpickled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from weightgate.lineage.errors import InputError
from weightgate.lineage.strict_json import parse_config
from weightgate.lineage.weights import safetensors_file
from weightgate.lineage.weights.folder import (
    TEMPLATE_FOLDER,
    is_pickle,
    list_files,
    read_document,
    shapes_behaviour,
)
from weightgate.lineage.weights.safetensors_file import BLOCK_BYTES, TensorInfo, read_header

CheckpointKind = Literal["model", "adapter", "file"]

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
ADAPTER = "adapter_model.safetensors"
STEP = "step-{:06d}.safetensors"
MOST_STEPS = 512  # all of them are open at once
_CONVERT = (
    "convert it where you trust it: model.save_pretrained(FOLDER, safe_serialization=True), or "
    "safetensors.torch.save_file(torch.load(FILE, weights_only=True), 'model.safetensors')"
)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The headers and documents of a checkpoint; tensors are read on demand, in blocks."""

    path: Path
    kind: CheckpointKind
    tensors: Mapping[str, TensorInfo]
    """By name, ordered by name."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """config.json; empty where there is none."""
    generation_config: Mapping[str, Any] = field(default_factory=dict)
    tokenizer_config: Mapping[str, Any] = field(default_factory=dict)
    adapter_config: Mapping[str, Any] | None = None
    templates: Mapping[str, str] = field(default_factory=dict)
    """Chat templates by name; the one in use is ``"default"``. One that is shadowed has its file in its name."""
    files: tuple[str, ...] = ()
    """Names, relative to ``path``, of the files other than weights that shape behaviour."""
    pickles: tuple[str, ...] = ()
    """Names of files beside the weights that a loader might unpickle. They are never opened here."""
    unread: tuple[str, ...] = ()
    """Names of safetensors files in the folder that are not part of this model."""

    @classmethod
    def open(cls, path: Path) -> Checkpoint:
        """Open a model folder (single file or shards), a PEFT adapter folder, or a .safetensors file.

        Raises:
            InputError: missing or malformed files, only pickled weights, links that leave the folder, or a folder
                that could be loaded in two ways; the message names the file.
        """
        if not path.exists():
            raise InputError(f"{path}: no such file or folder", remedy="give a model folder on this machine")
        if not path.is_dir():
            return _open_file(path)
        names = list_files(path)
        if "adapter_config.json" not in names:
            return _open_model(path, names)
        if both := {SINGLE, INDEX}.intersection(names):
            raise InputError(
                f"{path}: holds a model ({min(both)}) and an adapter (adapter_config.json); loaders differ on it",
                remedy="move the adapter into a folder of its own",
            )
        return _open_adapter(path, names)

    @property
    def chat_template(self) -> str | None:
        """Text of the chat template in use, wherever it is kept."""
        return self.templates.get("default")

    @property
    def parameters(self) -> int:
        """Number of elements over all tensors."""
        return sum(tensor.elements for tensor in self.tensors.values())

    def blocks(self, name: str, size: int = BLOCK_BYTES) -> Iterator[bytes]:
        """The little-endian bytes of a tensor in pieces of ``size`` bytes, the last one shorter.

        Raises:
            InputError: no tensor of that name, or the file became unreadable or shorter.
        """
        if name not in self.tensors:
            raise InputError(f"{self.path}: no tensor {name!r}", remedy="take a name from its tensors")
        return safetensors_file.blocks(self.tensors[name], size)


def _open_file(path: Path) -> Checkpoint:
    if is_pickle(path.name):
        raise InputError(f"{path}: a pickle, which can run code when loaded; pickles are never loaded", remedy=_CONVERT)
    if path.suffix != ".safetensors":
        raise InputError(f"{path}: not a safetensors file", remedy="give a .safetensors file or a model folder")
    return Checkpoint(path=path, kind="file", tensors=_by_name(read_header(path)))


def _open_model(path: Path, names: tuple[str, ...]) -> Checkpoint:
    if SINGLE in names and INDEX in names:
        raise InputError(
            f"{path}: holds {SINGLE} and {INDEX}; loaders differ on which they read", remedy="delete the stale one"
        )
    if SINGLE in names:
        tensors, read = read_header(path / SINGLE), {SINGLE}
    elif INDEX in names:
        tensors, read = _read_shards(path, names)
    else:
        raise _no_weights(path, names, SINGLE)
    if "config.json" not in names:
        raise InputError(
            f"{path}: no config.json", remedy="give the folder that save_pretrained wrote, or the weight file"
        )
    return _with_documents(path, "model", names, tensors, read)


def _open_adapter(path: Path, names: tuple[str, ...]) -> Checkpoint:
    if ADAPTER not in names and STEP.format(1) in names:
        return _open_stream(path, names)
    if ADAPTER not in names:
        raise _no_weights(path, names, ADAPTER)
    return _with_documents(path, "adapter", names, read_header(path / ADAPTER), {ADAPTER})


def _open_stream(path: Path, names: tuple[str, ...]) -> Checkpoint:
    """Steps without gaps; a tensor is named by its step and its own name."""
    steps = sorted(name for name in names if name.startswith("step-") and name.endswith(".safetensors"))
    wanted = [STEP.format(number) for number in range(1, len(steps) + 1)]
    if steps != wanted or len(steps) > MOST_STEPS:
        odd = min(set(steps) ^ set(wanted), default=f"more than {MOST_STEPS} steps")
        raise InputError(f"{path}: its steps do not follow each other ({odd})", remedy=f"name them {wanted[0]}, …")
    tensors = tuple(
        replace(tensor, name=f"{step.removesuffix('.safetensors')}/{tensor.name}")
        for step in steps
        for tensor in read_header(path / step)
    )
    opened = _with_documents(path, "adapter", names, tensors, set(steps))
    if (opened.adapter_config or {}).get("peft_type") != "FAST_WEIGHTS" or not tensors:
        raise InputError(f"{path}: has steps, but its peft_type is not FAST_WEIGHTS", remedy="see docs/kinds.md")
    return opened


def _no_weights(path: Path, names: tuple[str, ...], wanted: str) -> InputError:
    pickles = [name for name in names if is_pickle(name)]
    if pickles:
        return InputError(
            f"{path}: its weights are pickled ({pickles[0]}); pickles can run code and are never loaded",
            remedy=_CONVERT,
        )
    return InputError(f"{path}: no {wanted}", remedy="give a folder with safetensors weights")


def _read_shards(path: Path, names: tuple[str, ...]) -> tuple[tuple[TensorInfo, ...], set[str]]:
    weight_map = parse_config(read_document(path / INDEX), f"{path / INDEX}").get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise InputError(f"{path / INDEX}: no weight_map", remedy="save the model again")
    shards = set()
    for tensor, shard in weight_map.items():
        if not isinstance(shard, str) or "/" in shard or "\\" in shard or not shard.endswith(".safetensors"):
            raise InputError(
                f"{path / INDEX}: puts tensor {tensor!r} into {str(shard)[:200]!r}, which is no file of this folder",
                remedy="shards are .safetensors files beside the index",
            )
        shards.add(shard)
    if missing := sorted(shards.difference(names)):
        raise InputError(f"{path}: shard {missing[0]} is missing", remedy="download the model again")
    found = [tensor for shard in sorted(shards) for tensor in read_header(path / shard)]
    for entry in found:
        if weight_map.get(entry.name) != entry.file.name:
            raise InputError(
                f"{entry.file}: its tensor {entry.name!r} is not there in the index", remedy="save the model again"
            )
    if absent := sorted(set(weight_map).difference(entry.name for entry in found)):
        raise InputError(
            f"{path / weight_map[absent[0]]}: tensor {absent[0]!r} is in the index but not in the file",
            remedy="save the model again",
        )
    return tuple(found), shards


def _with_documents(
    path: Path, kind: CheckpointKind, names: tuple[str, ...], tensors: tuple[TensorInfo, ...], read: set[str]
) -> Checkpoint:
    def document(name: str) -> dict[str, Any]:
        return parse_config(read_document(path / name), f"{path / name}") if name in names else {}

    tokenizer_config = document("tokenizer_config.json")
    return Checkpoint(
        path=path,
        kind=kind,
        tensors=_by_name(tensors),
        config=document("config.json"),
        generation_config=document("generation_config.json"),
        tokenizer_config=tokenizer_config,
        adapter_config=document("adapter_config.json") if kind == "adapter" else None,
        templates=_templates(path, names, tokenizer_config, document("chat_template.json")),
        files=tuple(name for name in names if shapes_behaviour(name)),
        pickles=tuple(name for name in names if is_pickle(name)),
        unread=tuple(name for name in names if name.endswith(".safetensors") and name not in read),
    )


def _by_name(tensors: tuple[TensorInfo, ...]) -> dict[str, TensorInfo]:
    return {tensor.name: tensor for tensor in sorted(tensors, key=lambda tensor: tensor.name)}


def _templates(
    path: Path, names: tuple[str, ...], tokenizer_config: Mapping[str, Any], legacy: Mapping[str, Any]
) -> dict[str, str]:
    """Chat templates in the order in which transformers prefers their places: .jinja files before JSON fields."""
    found: dict[str, str] = {}
    for name in names:
        folder, _, file = name.rpartition("/")
        if name == "chat_template.jinja" or (folder == TEMPLATE_FOLDER and file.endswith(".jinja")):
            title = file.removesuffix(".jinja") if folder else "default"
            found[title] = _text(path / name)
    for file, document in (("tokenizer_config.json", tokenizer_config), ("chat_template.json", legacy)):
        for title, text in _templates_in(document.get("chat_template"), path / file).items():
            if found.setdefault(title, text) != text:
                found[f"{title} ({file})"] = text
    return found


def _templates_in(value: Any, where: Path) -> dict[str, str]:
    """The three forms of the JSON field: text, a list of {name, template}, or a map of names to texts."""
    if isinstance(value, list) and all(isinstance(entry, dict) for entry in value):
        pairs = [(entry.get("name"), entry.get("template")) for entry in value]
    elif isinstance(value, dict):
        pairs = list(value.items())
    else:
        pairs = [] if value is None else [("default", value)]
    named = {name: text for name, text in pairs if isinstance(name, str) and isinstance(text, str)}
    if len(named) != len(pairs):
        raise InputError(f"{where}: chat_template is neither text nor a list of named texts", remedy="correct it")
    return named


def _text(path: Path) -> str:
    try:
        return read_document(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text: {error}", remedy="save it as UTF-8") from error
