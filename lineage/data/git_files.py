"""Files of a git repository as they were at a revision, read from its objects and never from the working tree."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from weightgate.lineage.data.location import Location
from weightgate.lineage.data.resolved import LocalFile, Resolved, chosen
from weightgate.lineage.errors import InputError

_LFS = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True, slots=True)
class Repository:
    """A working copy on this disk."""

    root: Path

    def commit(self, revision: str) -> str:
        """The full id of a revision.

        Raises:
            InputError: there is none of that name.
        """
        found = self.run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        if found is None:
            raise InputError(f"{self.root}: no git revision {revision!r}", remedy="give a commit, tag or branch")
        return found.decode().strip()

    def run(self, *arguments: str) -> bytes | None:
        """Output of a git command; None where it fails."""
        done = subprocess.run(
            ["git", "-C", str(self.root), *arguments], capture_output=True, check=False, stdin=subprocess.DEVNULL
        )
        return done.stdout if done.returncode == 0 else None

    def write(self, blob: str, target: Path) -> None:
        """Write an object to a file."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            subprocess.run(
                ["git", "-C", str(self.root), "cat-file", "blob", blob],
                stdout=file,
                stdin=subprocess.DEVNULL,
                check=True,
            )


def enclosing(path: str, marker: str) -> tuple[Path, str]:
    """The nearest folder above ``path`` that holds ``marker`` (.git, .dvc), and the path from there.

    The path itself need not exist: it may have been there at an earlier revision only.

    Raises:
        InputError: there is none.
    """
    absolute = Path.cwd() / path
    for folder in absolute.parents:
        if (folder / marker).exists():
            relative = PurePosixPath(absolute.relative_to(folder).as_posix())
            if ".." not in relative.parts:
                return folder, str(relative)
    kind = "a git" if marker == ".git" else "a DVC"
    raise InputError(f"{path} is not in {kind} repository", remedy="give a path inside a checkout of it")


def resolve_git(location: Location, workspace: Path) -> Resolved:
    """Copies of the files of ``git:PATH@REVISION`` under ``workspace``.

    Raises:
        InputError: no git, no repository, no such revision or path, a link, or a file whose content is kept elsewhere.
    """
    root, path = enclosing(location.target, ".git")
    repository = Repository(root)
    try:
        commit = repository.commit(location.revision or "HEAD")
    except FileNotFoundError as error:
        raise InputError(f"{location.uri}: git is not installed", remedy="install git, or give the files") from error
    blobs = _listing(repository, commit, path, location)
    files = []
    for number, (name, blob) in enumerate(blobs.items()):
        copy = workspace / str(number) / PurePosixPath(name).name
        repository.write(blob, copy)
        with copy.open("rb") as file:
            if file.read(len(_LFS)) == _LFS:
                raise InputError(
                    f"{location.uri}: {name} is a pointer to Git LFS, not the data",
                    remedy="run git lfs pull and give the file's path",
                )
        files.append(LocalFile(name, copy))
    return Resolved(
        kind="git",
        uri=Location("git", path, commit, location.part).uri,
        revision=commit,
        files=tuple(files),
        annotations={"requested": location.revision},
        temporary=True,
    )


def _listing(repository: Repository, commit: str, path: str, location: Location) -> dict[str, str]:
    """Object of each chosen file, by name from the repository's root."""
    listed = repository.run("--literal-pathspecs", "ls-tree", "-r", "-z", "--full-tree", commit, "--", path) or b""
    entries = {}
    for line in listed.split(b"\x00"):
        if not line:
            continue
        facts, _, raw = line.partition(b"\t")
        mode, kind, blob = facts.decode().split()
        name = raw.decode("utf-8", "replace")
        if kind == "blob" and mode != "120000":
            entries[name] = blob
        elif name == path:
            raise InputError(f"{location.uri} is a link or a submodule", remedy="give what it points to")
    if not entries:
        raise InputError(f"{location.uri}: not in the repository at {commit[:12]}", remedy="check path and revision")
    if path in entries:
        return {path: entries[path]}
    names, _ = chosen([name[len(path) + 1 :] for name in entries], location.part, location.uri)
    return {f"{path}/{name}": entries[f"{path}/{name}"] for name in names}
