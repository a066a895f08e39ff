"""Where the demo keeps its models: one folder each, named by the digest of all it was made from."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path

import platformdirs
from pydantic import JsonValue

from weightgate.lineage.canonical import canonical, digest
from weightgate.lineage.errors import InputError, MissingExtraError

Progress = Callable[[str, int, int], None]
"""Called with what is being done, steps done and steps to do."""

MODEL, MANIFEST = "model", "manifest.json"
LIBRARIES = ("torch", "transformers", "peft")


def store(folder: Path | None = None) -> Path:
    """``folder``, else ``demo`` under ``WEIGHTGATE_CACHE`` or the user's cache folder of this platform."""
    if folder is not None:
        return folder
    named = os.environ.get("WEIGHTGATE_CACHE")
    return (Path(named) if named else Path(platformdirs.user_cache_dir("weightgate"))) / "demo"


def kept(at: Path, name: str, manifest: Mapping[str, JsonValue], make: Callable[[Path], None]) -> Path:
    """The folder ``at/name-DIGEST`` that ``make`` filled, made on first use: a changed manifest makes a new one.

    A folder appears whole or not at all; where two processes make it at once, the first one's stays.

    Raises:
        InputError: ``at`` cannot be written.
        MissingExtraError: a library that trains is not installed.
    """
    full: dict[str, JsonValue] = {**manifest, "libraries": {library: _version(library) for library in LIBRARIES}}
    target = at / f"{name}-{digest(full)[:16]}"
    if target.exists():
        return target
    try:
        at.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=at, prefix=f".{name}-") as scratch:
            made = Path(scratch) / name
            made.mkdir()
            make(made)
            (made / MANIFEST).write_bytes(canonical(full))
            _move(made, target)
    except OSError as error:
        raise InputError(
            f"{at}: the demo's models cannot be kept here: {error}",
            remedy="free about 2 GB, or name another folder in WEIGHTGATE_CACHE",
        ) from error
    return target


def _move(made: Path, target: Path) -> None:
    try:
        made.rename(target)
    except OSError:
        if not target.exists():
            raise


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError as error:
        raise MissingExtraError("training the demo's models", "demo") from error
