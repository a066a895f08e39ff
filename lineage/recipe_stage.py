"""A stage of dvc.yaml as a recipe, read from dvc.yaml and dvc.lock alone: DVC is neither imported nor run.

DVC names files by MD5. What it names is hashed again here: first as DVC does, so that files that are no longer those of
dvc.lock are refused, and then with SHA-256, which is what the changeset holds.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weightgate.lineage.errors import InputError
from weightgate.lineage.recipe import checked_path
from weightgate.lineage.strict_yaml import parse_yaml

_MAX_BYTES = 64_000_000
_SHELL = frozenset("|&;<>()$`*?[]{}~#!\n")
_COMMIT = "run `dvc repro` or `dvc commit`, so that dvc.lock says what is there"


@dataclass(frozen=True, slots=True)
class Stage:
    """What a stage says; paths are relative to the recipe's folder."""

    command: tuple[str, ...]
    inputs: tuple[str, ...]
    output: str
    directory: str


def read_stage(root: Path, folder: str, name: str, *, parent: str | None, output: str | None) -> Stage:
    """Read a stage that has been run.

    Args:
        root: folder of the recipe; no path of the stage may leave it.
        folder: where dvc.yaml lies, relative to ``root``.
        name: of the stage.
        parent: where the parent lies, relative to ``root``: it is no input, since it is given to the replay.
        output: which of several outputs is the child, relative to ``root``.

    Raises:
        InputError: no such stage, one that was not run, a command that needs a shell, several outputs and none chosen,
            or files that are not those of dvc.lock.
    """
    home = root / folder
    said = _stage(_document(home / "dvc.yaml"), name.partition("@")[0], home / "dvc.yaml")
    lock = _stage(_document(home / "dvc.lock"), name, home / "dvc.lock")
    wdir = said.get("wdir", ".")
    if not isinstance(wdir, str):
        raise InputError(f"{home / 'dvc.yaml'}: stage {name!r}: wdir is no text", remedy="correct dvc.yaml")
    directory = _inside(folder, wdir, home)
    command = _command(said, lock, name, home)
    dependencies = _entries(lock.get("deps", []), directory, home)
    outputs = _entries(lock.get("outs", []), directory, home)
    parameters = _check_parameters(root, lock, directory, home)
    given = parent and checked_path(parent)
    for path, entry in dependencies:
        if path != given:
            _check(root / path, entry)
    return Stage(
        command=command,
        inputs=(*(path for path, _ in dependencies if path != given), *parameters),
        output=_chosen([path for path, _ in outputs], output, name, home),
        directory=directory,
    )


def _document(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", remedy="give the folder of dvc.yaml") from error
    if len(data) > _MAX_BYTES:
        raise InputError(f"{path}: over {_MAX_BYTES} bytes", remedy="this is not what its name says")
    document = parse_yaml(data, str(path)).value
    if not isinstance(document, dict):
        raise InputError(f"{path}: not a map of fields", remedy="give the folder of dvc.yaml")
    return document


def _stage(document: dict[str, Any], name: str, path: Path) -> dict[str, Any]:
    stages = document.get("stages")
    found = stages.get(name) if isinstance(stages, dict) else None
    if not isinstance(found, dict):
        raise InputError(f"{path}: no stage {name[:200]!r}", remedy=f"name a stage of it; {_COMMIT}")
    return found


def _command(said: dict[str, Any], lock: dict[str, Any], name: str, home: Path) -> tuple[str, ...]:
    """The words of the command that was run, as dvc.lock has it with every variable filled in."""
    where = f"{home / 'dvc.lock'}: stage {name!r}"
    run, written = lock.get("cmd"), said.get("cmd")
    if isinstance(written, str) and "${" not in written and written != run:
        raise InputError(f"{where}: its command is not the one in dvc.yaml", remedy=_COMMIT)
    if not isinstance(run, str) or _SHELL & set(run):
        raise InputError(
            f"{where}: its command needs a shell, which a replay never uses",
            remedy="put the steps into a script, and let the stage run it",
        )
    try:
        words = tuple(shlex.split(run))
    except ValueError as error:
        raise InputError(f"{where}: its command cannot be split into words: {error}", remedy="quote it well") from error
    if not words:
        raise InputError(f"{where}: no command", remedy="give a stage with a command")
    return words


def _entries(listed: Any, directory: str, home: Path) -> list[tuple[str, dict[str, Any]]]:
    if not isinstance(listed, list) or not all(isinstance(e, dict) and isinstance(e.get("path"), str) for e in listed):
        raise InputError(f"{home / 'dvc.lock'}: malformed", remedy=_COMMIT)
    return [(_inside(directory, entry["path"], home), entry) for entry in listed]


def _check_parameters(root: Path, lock: dict[str, Any], directory: str, home: Path) -> tuple[str, ...]:
    """The files of parameters, once their values were found to be those of dvc.lock."""
    files = lock.get("params", {})
    if not isinstance(files, dict) or not all(isinstance(values, dict) for values in files.values()):
        raise InputError(f"{home / 'dvc.lock'}: malformed", remedy=_COMMIT)
    named = {_inside(directory, file, home): values for file, values in files.items()}
    for name, values in named.items():
        if name.endswith((".yaml", ".yml", ".json")):
            present = _document(root / name)
            for key, value in values.items():
                if _look_up(present, key) != value:
                    raise InputError(f"{root / name}: {key[:80]!r} is not the value of dvc.lock", remedy=_COMMIT)
    return tuple(named)


def _look_up(document: Any, key: str) -> Any:
    for step in key.split("."):
        document = document.get(step) if isinstance(document, dict) else None
    return document


def _chosen(outputs: Sequence[str], wanted: str | None, name: str, home: Path) -> str:
    if wanted is not None:
        try:
            wanted = checked_path(wanted)
        except ValueError as error:
            raise InputError(f"{home}: {error}", remedy="name an output of the stage") from error
        if wanted in outputs:
            return wanted
    elif len(outputs) == 1:
        return outputs[0]
    raise InputError(
        f"{home / 'dvc.lock'}: which of the outputs of stage {name!r} is the child? {', '.join(outputs)[:300]}",
        remedy="say so in the recipe with output",
    )


def _inside(folder: str, path: str, home: Path) -> str:
    joined = posixpath.normpath(posixpath.join(folder, path))
    try:
        return checked_path(joined)
    except ValueError as error:
        raise InputError(f"{home}: {error}", remedy="put the recipe into the folder that holds all of it") from error


def _check(path: Path, entry: dict[str, Any]) -> None:
    """Compare with the MD5 of dvc.lock, as DVC 3 takes it: of a folder, that of the list of its files."""
    expected = entry.get("md5")
    if entry.get("hash") != "md5" or not isinstance(expected, str):
        raise InputError(f"{path}: dvc.lock has no MD5 of it as DVC 3 writes it", remedy="run `dvc commit` with DVC 3")
    found = _md5_of_folder(path) if expected.endswith(".dir") else _md5(path)
    if found != expected:
        raise InputError(f"{path}: not the content that dvc.lock names", remedy=_COMMIT)


def _md5_of_folder(path: Path) -> str:
    entries = [
        {"md5": _md5(file), "relpath": file.relative_to(path).as_posix()}
        for file in sorted(path.rglob("*"))
        if file.is_file()
    ]
    listing = json.dumps(sorted(entries, key=lambda entry: entry["relpath"]), sort_keys=True)
    return f"{hashlib.md5(listing.encode(), usedforsecurity=False).hexdigest()}.dir"


def _md5(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", remedy="run `dvc checkout`") from error
