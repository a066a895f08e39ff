"""How a child was made: a command and the digests of all it read. Signed with the changeset; nothing is run here."""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, ValidationError, field_validator, model_validator

from weightgate.lineage.canonical import Frozen
from weightgate.lineage.errors import InputError
from weightgate.lineage.strict_json import parse
from weightgate.lineage.strict_yaml import parse_yaml

MAX_RECIPE_BYTES = 1_000_000
MAX_INPUTS = 50_000
_BLOCK = 1 << 20
_REMEDY = "docs/replay.md shows what a recipe holds"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")

OURS = frozenset({"HOME", "PATH", "TMPDIR", "PYTHONHASHSEED", "LANG"})
"""Variables that a replay sets itself."""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""Set from ``threads`` by a replay."""

Word = Annotated[str, StringConstraints(max_length=100_000)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, lt=2**53)]


class Tolerance(Frozen):
    """How far a tensor of a replay may be from the signed child; both bounds hold for every tensor."""

    max_abs: float = Field(ge=0, allow_inf_nan=False, description="Largest absolute difference of an element.")
    relative_norm: float = Field(
        ge=0, allow_inf_nan=False, description="Frobenius norm of the difference over that of the child."
    )


class RecipeInput(Frozen):
    """One file that the command reads."""

    path: str = Field(description="POSIX path relative to the recipe's folder.")
    sha256: Sha256
    nbytes: Count

    @field_validator("path")
    @classmethod
    def _inside(cls, path: str) -> str:
        return checked_path(path)


class _Said(Frozen):
    """What a recipe says about the run, in the file and in the changeset alike."""

    directory: str = Field(default=".", description="Working directory, relative to the recipe's folder.")
    parent: str | None = Field(default=None, description="Where the command expects the parent's checkpoint.")
    seeds: dict[str, Annotated[int, Field(ge=0, lt=2**53)]] = Field(
        default_factory=dict, description="Seeds by what they seed; the command itself has to set them."
    )
    threads: int | None = Field(default=None, ge=1, le=4096, description="Threads of every numeric library.")
    environment: dict[str, Word] = Field(default_factory=dict, description="Variables set for the command.")
    allowed: tuple[str, ...] = Field(
        default=(),
        max_length=100,
        description="Variables taken over from whoever replays; their values are not signed.",
    )
    tolerance: Tolerance | None = Field(default=None, description="Declared by the author; without it: bit-exact.")

    @field_validator("directory", "parent")
    @classmethod
    def _inside(cls, path: str | None) -> str | None:
        return None if path is None else checked_path(path)

    @model_validator(mode="after")
    def _variables(self) -> Self:
        for name in (*self.environment, *self.allowed):
            if not _VARIABLE.match(name) or name in OURS or name in THREAD_VARIABLES:
                raise ValueError(f"the variable {name[:80]!r} cannot be set by a recipe")
        if any("\0" in value for value in self.environment.values()):
            raise ValueError("a NUL in the value of a variable")
        return self


class Recipe(_Said):
    """The command that made the child, and the SHA-256 of every file it read."""

    command: Annotated[tuple[Word, ...], Field(min_length=1, max_length=10_000)] = Field(
        description="Program and arguments; never given to a shell. 'python' is the interpreter of the replay."
    )
    inputs: tuple[RecipeInput, ...] = Field(max_length=MAX_INPUTS, description="Ordered by path.")
    output: str = Field(description="Where the command leaves the child: a folder or a safetensors file.")
    stage: str | None = Field(default=None, description="The DVC stage it was read from.")

    @field_validator("output")
    @classmethod
    def _output_inside(cls, path: str) -> str:
        return checked_path(path)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.command[0] or any("\0" in word for word in self.command):
            raise ValueError("a command without a program, or with a NUL in it")
        if self.output == "." or self.parent == ".":
            raise ValueError("output and parent need names of their own")
        paths = [entry.path for entry in self.inputs]
        if paths != sorted(set(paths)):
            raise ValueError("inputs are not in order, or named twice")
        _check_apart(self.output, paths, "the output")
        if self.parent is not None:
            _check_apart(self.parent, [*paths, self.output], "the parent")
        return self


class _RecipeFile(_Said):
    """A recipe as people write it: inputs by name, or a stage of dvc.yaml instead of command and inputs."""

    command: tuple[Word, ...] | None = None
    dvc: str | None = None
    inputs: tuple[str, ...] | None = None
    output: str | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.dvc is None and not (self.command and self.inputs is not None and self.output):
            raise ValueError("needs command, inputs and output, or dvc with the name of a stage")
        if self.dvc is not None and (self.command or self.inputs):
            raise ValueError("dvc stands instead of command and inputs")
        return self


def load_recipe(path: Path, *, progress: Callable[[int], None] | None = None) -> Recipe:
    """Read a recipe (YAML, or JSON where the name ends so) and hash what it names. Nothing is run.

    Args:
        path: the recipe; its folder is where all its paths start.
        progress: called with the number of bytes read since the last call.

    Raises:
        InputError: unreadable or malformed, a path that leaves the folder, an input that is missing, or a DVC stage
            whose files differ from dvc.lock.
    """
    said = _read(path)
    root = path.parent
    if said.dvc is not None:
        from weightgate.lineage.recipe_stage import read_stage

        stage = read_stage(root, said.directory, said.dvc, parent=said.parent, output=said.output)
        command, names, output, directory = stage.command, stage.inputs, stage.output, stage.directory
    else:
        command, names, output, directory = said.command or (), said.inputs or (), said.output or "", said.directory
    try:
        shared: dict[str, Any] = {name: getattr(said, name) for name in _Said.model_fields if name != "directory"}
        return Recipe(
            command=command,
            inputs=tuple(describe(root, names, progress)),
            output=checked_path(output),
            stage=said.dvc,
            directory=directory,
            **shared,
        )
    except (ValidationError, ValueError) as error:
        raise InputError(f"{path}: {_brief(error)}", remedy=_REMEDY) from error


def describe(root: Path, names: Iterable[str], progress: Callable[[int], None] | None = None) -> Iterator[RecipeInput]:
    """Every file named, and every file in the folders named, ordered by path.

    Raises:
        InputError: one is missing, unreadable or leaves ``root``, or there are too many.
    """
    files: set[str] = set()
    for name in names:
        try:
            files.update(_files(root, checked_path(name)))
        except ValueError as error:
            raise InputError(f"input {name[:200]!r}: {error}", remedy="name it relative to the recipe") from error
        if len(files) > MAX_INPUTS:
            raise InputError(f"{root}: over {MAX_INPUTS} input files", remedy="name what the command reads only")
    for name in sorted(files):
        digest, size = hash_file(root / name, progress)
        yield RecipeInput(path=name, sha256=digest, nbytes=size)


def hash_file(path: Path, progress: Callable[[int], None] | None = None) -> tuple[str, int]:
    """SHA-256 and size of a regular file.

    Raises:
        InputError: it is missing, unreadable or no regular file.
    """
    hasher, size = hashlib.sha256(), 0
    try:
        if not path.is_file():
            raise InputError(f"{path}: no such file", remedy="check the inputs of the recipe")
        with path.open("rb", buffering=0) as file:
            while block := file.read(_BLOCK):
                hasher.update(block)
                size += len(block)
                if progress is not None:
                    progress(len(block))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", remedy="check the path and its rights") from error
    return hasher.hexdigest(), size


def checked_path(path: str) -> str:
    """A path in its one form, relative and within the recipe's folder.

    Raises:
        ValueError: it is another form, absolute, leaves the folder, or holds characters that are no part of a name.
    """
    plain = posixpath.normpath(path) if path else ""
    if not path or path.startswith("/") or plain.startswith("..") or "\\" in path or len(path) > 4096:
        raise ValueError(f"the path {path[:200]!r} is not one within the recipe's folder")
    if not path.isprintable():
        raise ValueError(f"the path {path[:200]!r} holds control characters")
    if plain != path.removesuffix("/").removeprefix("./") and path not in (".", "./"):
        raise ValueError(f"the path {path[:200]!r} is not in its shortest form, {plain[:200]!r}")
    return plain


def _read(path: Path) -> _RecipeFile:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_RECIPE_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", remedy="check the path") from error
    if len(data) > MAX_RECIPE_BYTES:
        raise InputError(f"{path}: over {MAX_RECIPE_BYTES} bytes", remedy=_REMEDY)
    document = parse(data, str(path)) if path.suffix == ".json" else parse_yaml(data, str(path)).value
    if not isinstance(document, dict):
        raise InputError(f"{path}: not a map of fields", remedy=_REMEDY)
    try:
        return _RecipeFile.model_validate(document)
    except ValidationError as error:
        raise InputError(f"{path}: {_brief(error)}", remedy=_REMEDY) from error


def _files(root: Path, name: str) -> Iterator[str]:
    path = root / name
    if not path.is_dir():
        yield name
        return
    for where, folders, files in os.walk(path):
        folders.sort()
        for file in files:
            yield posixpath.normpath(Path(where, file).relative_to(root).as_posix())


def _check_apart(path: str, others: Iterable[str], what: str) -> None:
    """Neither may lie in the other: what is written must not be what was read."""
    for other in others:
        if path in (other, ".") or other.startswith(f"{path}/") or path.startswith(f"{other}/"):
            raise ValueError(f"{what} {path!r} and {other!r} overlap")


def _brief(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(step) for step in first["loc"])[:200]
        return f"{where}: {first['msg'][:300]}" if where else first["msg"][:300]
    return str(error)[:400]
