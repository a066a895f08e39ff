"""Runs the command of a recipe in a scratch copy of what it declares. This runs somebody's code: see docs/replay.md."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.recipe import THREAD_VARIABLES, Recipe, hash_file
from weightgate.lineage.weights.checkpoint import Checkpoint
from weightgate.lineage.weights.delta.layout import home, stored_files

LOG = "log"
_TAIL = 2000
_PYTHON = {"python", "python3"}


class NotReplayable(Exception):  # noqa: N818 - an outcome that ends the run early, not a fault of the tool
    """The recipe cannot be run again, for the reason that the message gives."""


@dataclass(frozen=True, slots=True)
class Scratch:
    """``tree`` holds inputs and parent where the recipe has them; ``home`` and ``tmp`` are the command's own."""

    path: Path

    @property
    def tree(self) -> Path:
        """The recipe's folder."""
        return self.path / "tree"

    def fill(self, recipe: Recipe, workdir: Path, parent: Path, progress: Callable[[int], None] | None = None) -> None:
        """Copy inputs and parent, and hash the copies: what is checked is what is read.

        Raises:
            NotReplayable: an input is missing.
            IntegrityError: an input is not the one that was signed.
            InputError: something cannot be read or written.
        """
        _check_room(self.path, recipe, parent)
        for folder in (self.tree / recipe.directory, self.path / "home", self.path / "tmp"):
            folder.mkdir(parents=True, exist_ok=True)
        for entry in recipe.inputs:
            source, target = workdir / entry.path, self.tree / entry.path
            if not source.is_file():
                raise NotReplayable(f"the input {entry.path} is not in {workdir}")
            _copy(source, target)
            if hash_file(target, progress) != (entry.sha256, entry.nbytes):
                raise IntegrityError(
                    f"{source}: not the input that was signed; nothing was run",
                    remedy="get the inputs as they were, or give their folder with --workdir",
                )
        if recipe.parent is not None:
            _copy_checkpoint(Checkpoint.open(parent), self.tree / recipe.parent)
        (self.tree / recipe.output).parent.mkdir(parents=True, exist_ok=True)

    def run(self, recipe: Recipe, *, threads: int | None, deadline: float | None) -> int:
        """Run the command; its exit status. What it prints goes into the log.

        Raises:
            NotReplayable: there is no such program, or it took too long.
        """
        command = [sys.executable if recipe.command[0] in _PYTHON else recipe.command[0], *recipe.command[1:]]
        try:
            with (self.path / LOG).open("wb") as log:
                process = subprocess.Popen(
                    command,
                    cwd=self.tree / recipe.directory,
                    env=self.environment(recipe, threads),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError as error:
            raise NotReplayable(f"{recipe.command[0]} cannot be started: {error.strerror}") from error
        try:
            return process.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired as error:
            raise NotReplayable("the command took longer than --max-minutes") from error
        finally:
            _end_group(process)

    def environment(self, recipe: Recipe, threads: int | None) -> dict[str, str]:
        """The variables of the command: ours, the recipe's, and those that it may take over; nothing else."""
        taken = {name: os.environ[name] for name in recipe.allowed if name in os.environ}
        own = {
            "HOME": str(self.path / "home"),
            "LANG": "C.UTF-8",
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONHASHSEED": "0",
            "TMPDIR": str(self.path / "tmp"),
        }
        numeric = dict.fromkeys(THREAD_VARIABLES, str(threads)) if threads is not None else {}
        return {**taken, **recipe.environment, **own, **numeric}

    def result(self, recipe: Recipe) -> Checkpoint:
        """What the command left.

        Raises:
            NotReplayable: nothing, something that is no checkpoint, or a link.
        """
        path = self.tree / recipe.output
        if not path.exists() or not path.resolve().is_relative_to(self.tree.resolve()):
            raise NotReplayable(f"the command left nothing at {recipe.output}")
        try:
            return Checkpoint.open(path)
        except InputError as error:
            raise NotReplayable(f"what the command left at {recipe.output} cannot be read: {error}") from error

    def tail(self) -> str:
        """The end of what the command printed."""
        log = self.path / LOG
        return log.read_bytes()[-_TAIL:].decode(errors="replace").strip() if log.exists() else ""


def copies(recipe: Recipe, child: Checkpoint) -> str | None:
    """The input that is a weights file of the child itself: such a recipe makes nothing."""
    weights = {tensor.file for tensor in child.tensors.values()}
    sizes = {file: file.stat().st_size for file in weights}
    for entry in recipe.inputs:
        for file, size in sizes.items():
            if size == entry.nbytes and hash_file(file)[0] == entry.sha256:
                return entry.path
    return None


def _copy(source: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    except OSError as error:
        raise InputError(
            f"cannot copy {source}: {error.strerror}", remedy="set TMPDIR to a folder with room"
        ) from error


def _copy_checkpoint(checkpoint: Checkpoint, target: Path) -> None:
    """Everything but pickles and weights that are not part of the model, neither of which its root covers."""
    if checkpoint.kind == "file":
        _copy(checkpoint.path, target)
        return
    for name in stored_files(checkpoint):
        _copy(home(checkpoint) / name, target / name)


def _check_room(scratch: Path, recipe: Recipe, parent: Path) -> None:
    needed = sum(entry.nbytes for entry in recipe.inputs)
    if recipe.parent is not None:
        needed += sum(tensor.nbytes for tensor in Checkpoint.open(parent).tensors.values())
    free = shutil.disk_usage(scratch).free
    if needed > free:
        raise InputError(
            f"{scratch}: the copies need {needed} bytes, {free} are free", remedy="set TMPDIR to a folder with room"
        )


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Nothing that the command started goes on after it."""
    if os.name == "posix":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()
