"""Data that DVC tracks: as it lies in the working tree, if that is what DVC recorded, or as it was at a revision.

DVC knows a file by its MD5 and, while size and time stay the same, does not look at the bytes again. Here the bytes are
always read; MD5 only says whether they are the ones DVC means, and is recorded as an annotation.
"""

from __future__ import annotations

import shutil
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from weightgate.lineage.data.git_files import Repository, enclosing
from weightgate.lineage.data.location import Location
from weightgate.lineage.data.resolved import LocalFile, Resolved, chosen, hash_file
from weightgate.lineage.errors import InputError, IntegrityError, MissingExtraError

if TYPE_CHECKING:
    from dvc.api import DVCFileSystem

_RESTORE = "dvc checkout restores what was recorded; dvc add or dvc repro records what is there"


def resolve_dvc(location: Location, workspace: Path) -> Resolved:
    """The files of ``dvc:PATH`` in the working tree, or copies of those of ``dvc:PATH@REVISION`` under ``workspace``.

    Raises:
        MissingExtraError: DVC is not installed.
        InputError: no repository, revision or tracked path of that name, or a remote that does not have the data.
        IntegrityError: the bytes are not the ones that the pointer or ``dvc.lock`` records.
    """
    try:
        from dvc.api import DVCFileSystem
        from dvc.exceptions import DvcException
    except ImportError as error:
        raise MissingExtraError("data tracked by DVC", "dvc") from error
    root, path = enclosing(location.target, ".dvc")
    commit = Repository(root).commit(location.revision) if location.revision else None
    try:
        system = DVCFileSystem(repo=str(root), rev=commit)
        info = _tracked(system, path, location)
        names = _names(system, path, info, location)
        if commit is None:
            files = tuple(_in_place(system, root, name, location) for name in names)
        else:
            files = tuple(_copied(system, name, workspace / str(i), location) for i, name in enumerate(names))
    except (DvcException, OSError) as error:
        raise InputError(
            f"{location.uri}: DVC cannot give it: {str(error)[:200]}", remedy="run dvc pull, or check path and revision"
        ) from error
    return Resolved(
        kind="dvc",
        uri=Location("dvc", path, commit, location.part).uri,
        revision=commit,
        files=files,
        annotations={
            "requested": location.revision,
            "dvc_md5": info["entry"].hash_info.value,
            "dvc_size": info["entry"].meta.size,
            "dvc_remote": _remote(system),
        },
        temporary=commit is not None,
    )


def _tracked(system: DVCFileSystem, path: str, location: Location) -> dict[str, Any]:
    try:
        info: dict[str, Any] | None = system.info(f"/{path}").get("dvc_info")
    except FileNotFoundError:
        info = None
    if info is None or info["entry"].hash_info is None:
        raise InputError(
            f"{location.uri}: DVC tracks no such file or folder there",
            remedy="give the path of an output of dvc.lock or of a .dvc file; for others use FILE or git:PATH@REVISION",
        )
    return info


def _names(system: DVCFileSystem, path: str, info: dict[str, Any], location: Location) -> list[str]:
    """Files of a tracked folder, or the one file."""
    if info["type"] != "directory":
        return [path]
    inside = [PurePosixPath(found).relative_to(f"/{path}").as_posix() for found in system.find(f"/{path}")]
    names, _ = chosen(inside, location.part, location.uri)
    return [f"{path}/{name}" for name in names]


def _in_place(system: DVCFileSystem, root: Path, name: str, location: Location) -> LocalFile:
    """A file of the working tree, after comparing its bytes with what DVC recorded and with the copy in its cache."""
    path = root / name
    recorded = _md5(system, name)
    if not path.is_file():
        raise InputError(f"{location.uri}: {name} is not in the working tree", remedy="run dvc checkout or dvc pull")
    md5, sha256 = hash_file(path, "md5", "sha256")
    if recorded is None:
        raise IntegrityError(f"{location.uri}: {name} is not among the files that DVC recorded", remedy=_RESTORE)
    if md5 != recorded:
        raise IntegrityError(
            f"{location.uri}: {name} differs from what DVC recorded (MD5 {md5[:12]}…, not {recorded[:12]}…)",
            remedy=_RESTORE,
        )
    cached = Path(system.repo.cache.local.oid_to_path(recorded))
    if cached.is_file() and hash_file(cached, "sha256") != (sha256,):
        raise IntegrityError(
            f"{location.uri}: {name} and its copy in the DVC cache have one MD5 ({recorded[:12]}…) but other bytes",
            remedy="one of the two was made to collide: find out which, and replace it",
        )
    return LocalFile(name, path)


def _copied(system: DVCFileSystem, name: str, folder: Path, location: Location) -> LocalFile:
    """A copy of a file from the cache or the remote, which must be the one recorded at that revision."""
    copy = folder / PurePosixPath(name).name
    folder.mkdir(parents=True, exist_ok=True)
    with system.open(f"/{name}") as source, copy.open("wb") as target:
        shutil.copyfileobj(source, target)
    recorded = _md5(system, name)
    if recorded is not None and hash_file(copy, "md5") != (recorded,):
        raise IntegrityError(
            f"{location.uri}: the stored copy of {name} is not the one recorded (MD5 {recorded[:12]}…)",
            remedy="the DVC cache or remote is damaged: fetch it from another copy",
        )
    return LocalFile(name, copy)


def _md5(system: DVCFileSystem, name: str) -> str | None:
    """The recorded MD5; None for files that DVC does not track, and for digests of DVC 2 over altered line ends."""
    info = system.info(f"/{name}").get("dvc_info")
    found = info["entry"].hash_info if info else None
    return found.value if found is not None and found.name == "md5" else None


def _remote(system: DVCFileSystem) -> str | None:
    name: str | None = system.repo.config.get("core", {}).get("remote")
    return None if name == "auto-generated-upstream" else name  # what DVC calls a local cache without a remote
