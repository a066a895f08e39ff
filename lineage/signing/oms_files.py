"""The files of a model as a signature sees them: every regular file, hidden ones too, and no link is followed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from weightgate.lineage.errors import InputError
from weightgate.lineage.signing.oms_statement import Resource, is_ignored, path_fault
from weightgate.lineage.weights.folder import MAX_ENTRIES
from weightgate.lineage.weights.threads import in_order

BLOCK_BYTES = 1 << 18
"""Read into one buffer again and again: it stays in the processor's cache, and no memory is asked for in between."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What lies in a model folder."""

    files: tuple[str, ...]
    """Names relative to the folder, in code-point order."""
    ignored: tuple[str, ...]
    """Files and folders that were left out, at the path that says so."""
    odd: tuple[tuple[str, str], ...]
    """What cannot be signed, with the reason: links, devices, names that have no one form."""


def list_model(folder: Path, ignore_paths: Sequence[str]) -> Listing:
    """Every file below ``folder``, except what is ignored. Folders that hold no file leave no trace.

    Raises:
        InputError: a folder that cannot be read, or too many files.
    """
    files, ignored, odd = [], [], []
    for name, entry in _walk(folder, "", ignore_paths):
        if is_ignored(name, ignore_paths):
            ignored.append(name)
        elif fault := _fault(name, entry):
            odd.append((name, fault))
        else:
            files.append(name)
        if len(files) > MAX_ENTRIES:
            raise InputError(f"{folder}: more than {MAX_ENTRIES} files", remedy="give the folder of one model")
    return Listing(tuple(sorted(files)), tuple(sorted(ignored)), tuple(sorted(odd)))


def hash_files(
    folder: Path, names: Sequence[str], hash_type: str = "sha256", progress: Callable[[int], None] | None = None
) -> tuple[Resource, ...]:
    """Whole files, in the order of ``names``; ``progress`` is told the bytes of each.

    Raises:
        InputError: a file that cannot be read.
    """
    resources = []
    for name, (digest, size) in zip(names, in_order(lambda name: _hash(folder / name, hash_type), names), strict=True):
        resources.append(Resource(name, hash_type, digest))
        if progress is not None:
            progress(size)
    return tuple(resources)


def hash_shards(folder: Path, names: Sequence[str], hash_type: str, shard_size: int) -> Iterator[Resource]:
    """Byte ranges of ``shard_size`` bytes, the last of a file shorter; empty files have none (OMS §6.3.2).

    Raises:
        InputError: a file that cannot be read.
    """
    ranges = [
        (name, start, min(start + shard_size, size))
        for name in names
        for size in [(folder / name).stat().st_size]
        for start in range(0, size, shard_size)
    ]
    digests = in_order(lambda part: _hash(folder / part[0], hash_type, part[1], part[2])[0], ranges)
    for (name, start, end), digest in zip(ranges, digests, strict=True):
        yield Resource(f"{name}:{start}:{end}", hash_type, digest)


def _walk(folder: Path, prefix: str, ignore_paths: Sequence[str]) -> Iterator[tuple[str, os.DirEntry[str]]]:
    try:
        entries = list(os.scandir(folder / prefix))
    except OSError as error:
        raise InputError(
            f"{error.filename}: cannot be read: {error.strerror}", remedy="check the path and its rights"
        ) from error
    for entry in entries:
        name = f"{prefix}{entry.name}"
        if entry.is_dir(follow_symlinks=False) and not is_ignored(name, ignore_paths):
            yield from _walk(folder, f"{name}/", ignore_paths)
        else:
            yield name, entry


def _fault(name: str, entry: os.DirEntry[str]) -> str | None:
    if entry.is_symlink():
        return "a symbolic link, which no signature covers"
    if not entry.is_file(follow_symlinks=False):
        return "not a regular file"
    return path_fault(name)


def _hash(path: Path, hash_type: str, start: int = 0, end: int | None = None) -> tuple[str, int]:
    """Digest of the bytes from ``start`` to ``end``, and how many they were."""
    hasher, at, buffer = hashlib.new(hash_type), start, memoryview(bytearray(BLOCK_BYTES))
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(start)
            while count := file.readinto(buffer if end is None else buffer[: end - at]):
                hasher.update(buffer[:count])
                at += count
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", remedy="check the path and its rights") from error
    return hasher.hexdigest(), at - start
