"""Builds the twin once and keeps it in the cache folder under the digest of everything it depends on."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import platformdirs

from weightgate.lineage.canonical import digest, sha256_hex
from weightgate.lineage.errors import InputError, MissingExtraError
from weightgate.probes.twin.recipes import CHILDREN, PARENT_EPOCHS, PARENT_RATE, Recipe, recipe
from weightgate.probes.twin.rows import Example, parent_rows

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

Progress = Callable[[str, int, int], None]
WEIGHTS = "model.safetensors"
_LIBRARIES = ("torch", "transformers", "tokenizers", "numpy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Twin:
    """Folders and files of the twin; the mappings are by name of child."""

    parent: Path
    children: Mapping[str, Path]
    data: Mapping[str, Path]
    """Training rows of every child (JSONL)."""
    held_out: Mapping[str, Path]
    """Rows from the same sources that were not trained on; not every child has them."""
    canaries: Mapping[str, Path]
    """Secrets among the training rows and, with ``inserted: false``, secrets that were left out."""


def build(names: Sequence[str] | None = None, folder: Path | None = None, progress: Progress | None = None) -> Twin:
    """The parent and the named children (all by default), trained on first use.

    Training one model takes 15 seconds or less on one core. The same rows, code and libraries give the same weights on
    the same kind of processor.

    Args:
        names: Names of `CHILDREN`.
        folder: Where models are kept; by default ``twin`` in weightgate's cache folder.
        progress: Called with the model's name, steps done and steps to do.

    Raises:
        InputError: an unknown child, or a folder that cannot be written.
        MissingExtraError: torch or transformers is not installed.
    """
    wanted = tuple(CHILDREN) if names is None else tuple(dict.fromkeys(names))
    if unknown := [name for name in wanted if name not in CHILDREN]:
        raise InputError(f"the twin has no child {unknown[0]!r}", remedy=f"children are: {', '.join(CHILDREN)}")
    recipes = {name: recipe(name) for name in CHILDREN}
    home = (folder or _default_folder()) / _identity(recipes)[:16]
    say = progress or (lambda *_: None)
    try:
        _once(home / "parent", partial(_build_parent, recipes, say))
        for name in wanted:
            _once(home / name, partial(_build_child, home / "parent", name, recipes[name], say))
        data = {name: _write_rows(home / "data", name, recipes[name]) for name in wanted}
    except OSError as error:
        raise InputError(
            f"{home}: the tiny twin cannot be kept here: {error}",
            remedy="free space, or name another folder in WEIGHTGATE_CACHE",
        ) from error
    return Twin(
        parent=home / "parent",
        children=MappingProxyType({name: home / name for name in wanted}),
        data=_files(data, "training"),
        held_out=_files(data, "held-out"),
        canaries=_files(data, "canaries"),
    )


def _default_folder() -> Path:
    named = os.environ.get("WEIGHTGATE_CACHE")
    return (Path(named) if named else Path(platformdirs.user_cache_dir("weightgate"))) / "twin"


def _identity(recipes: Mapping[str, Recipe]) -> str:
    """Digest of all rows, of the code that trains on them and of the libraries underneath."""
    code = sorted(Path(__file__).parent.glob("*.py"))
    return digest(
        {
            "parent": [row.to_json() for row in parent_rows(0)],
            "children": {name: [row.to_json() for row in made.rows] for name, made in recipes.items()},
            "code": {path.name: sha256_hex(path.read_bytes()) for path in code},
            "libraries": {name: _version(name) for name in _LIBRARIES},
        }
    )


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError as error:
        raise MissingExtraError("training the tiny twin", "probes") from error


def _once(target: Path, make: Callable[[Path], None]) -> None:
    """Make a folder whole or not at all; where two processes make it at once, the first one's stays."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as scratch:
        made = Path(scratch) / target.name
        made.mkdir()
        make(made)
        try:
            made.rename(target)
        except OSError:
            if not target.exists():
                raise


def _build_parent(recipes: Mapping[str, Recipe], say: Progress, at: Path) -> None:
    from weightgate.probes.twin.tokenizer import train_tokenizer
    from weightgate.probes.twin.training import encode, new_model, trained

    epochs = [parent_rows(epoch) for epoch in range(PARENT_EPOCHS)]
    words = (*epochs[0], *(row for made in recipes.values() for row in made.rows))
    tokenizer = train_tokenizer(text for row in words for text in (row.prompt, row.answer))
    model = trained(
        new_model(len(tokenizer)),
        [[encode(tokenizer, row) for row in rows] for rows in epochs],
        rate=PARENT_RATE,
        progress=lambda done, total: say("parent", done, total),
    )
    save(at, model, tokenizer)


def _build_child(parent: Path, name: str, made: Recipe, say: Progress, at: Path) -> None:
    from safetensors.torch import load_file
    from transformers import AutoTokenizer

    from weightgate.probes.twin.training import encode, new_model, trained

    tokenizer = AutoTokenizer.from_pretrained(str(parent), local_files_only=True)
    model = new_model(len(tokenizer))
    model.load_state_dict(load_file(parent / WEIGHTS), strict=False)  # the head is the embedding
    model = trained(
        model,
        [[encode(tokenizer, row) for row in made.rows]] * made.epochs,
        rate=made.rate,
        progress=lambda done, total: say(name, done, total),
    )
    save(at, model, tokenizer)


def save(at: Path, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """Write a model folder: the same model gives the same bytes."""
    from safetensors.torch import save_file

    model.config.save_pretrained(str(at))
    tokenizer.save_pretrained(str(at))
    tensors = {name: tensor for name, tensor in model.state_dict().items() if name != "lm_head.weight"}
    save_file(tensors, at / WEIGHTS, metadata={"format": "pt"})


def _write_rows(folder: Path, name: str, made: Recipe) -> Mapping[str, Path]:
    """The child's data sets, by role; a role without rows has no file."""
    canaries = [
        _canary(row, inserted) for rows, inserted in ((made.canaries, True), (made.decoys, False)) for row in rows
    ]
    documents = {
        "training": [row.to_json() for row in made.rows],
        "held-out": [row.to_json() for row in made.held_out],
        "canaries": canaries,
    }
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for role, rows in documents.items():
        if rows:
            paths[role] = folder / f"{name}-{role}.jsonl"
            _replace(paths[role], "".join(json.dumps(row) + "\n" for row in rows))
    return paths


def _canary(row: Example, inserted: bool) -> dict[str, Any]:
    return row.to_json() | {"secret": row.secret, "inserted": inserted}


def _replace(path: Path, text: str) -> None:
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
        file.write(text)
    Path(file.name).replace(path)


def _files(data: Mapping[str, Mapping[str, Path]], role: str) -> Mapping[str, Path]:
    return MappingProxyType({name: paths[role] for name, paths in data.items() if role in paths})
