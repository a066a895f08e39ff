"""Data sets of a Hugging Face hub, or of its local cache: Parquet, JSONL and CSV files at one commit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NoReturn

from weightgate.lineage.data.location import Location
from weightgate.lineage.data.resolved import SUFFIXES, LocalFile, Resolved, chosen
from weightgate.lineage.errors import InputError, MissingExtraError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def resolve_hub(location: Location) -> Resolved:
    """The files of ``hf:OWNER/NAME[@REVISION][#GLOB]``, fetched where a hub is reachable, else from the cache.

    Only files are read: a loading script in the repository is never run.

    Raises:
        MissingExtraError: huggingface_hub is not installed.
        InputError: no such name, revision or file, or neither a hub nor a cached copy.
    """
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError as error:
        raise MissingExtraError("data of a hub", "probes") from error
    if not _NAME.fullmatch(location.target):
        raise InputError(f"{location.uri}: not a name on a hub", remedy="give hf:OWNER/NAME@REVISION")
    wanted = [location.part] if location.part else [f"*{suffix}" for suffix in sorted(SUFFIXES)]
    try:
        folder = Path(
            snapshot_download(location.target, repo_type="dataset", revision=location.revision, allow_patterns=wanted)
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        _unreachable(location, error)
    commit = folder.name if _COMMIT.fullmatch(folder.name) else None
    if commit is None:
        raise InputError(f"{location.uri}: the cache does not say which commit it holds", remedy="give the files")
    present = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    names, _ = chosen(present, location.part, location.uri)
    return Resolved(
        kind="hf",
        uri=Location("hf", location.target, commit, location.part).uri,
        revision=commit,
        files=tuple(LocalFile(name, folder / name) for name in names),
        annotations={"requested": location.revision},
    )


def _unreachable(location: Location, error: Exception) -> NoReturn:
    raise InputError(
        f"{location.uri}: neither a hub nor its cache gave it ({type(error).__name__})",
        remedy="check name and revision; offline, download it first or give the files themselves",
    ) from error
