"""Where a child is put together: a hidden folder beside its destination, renamed only when all is checked."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.weights.delta.container import DeltaFile, sync_folder
from weightgate.lineage.weights.delta.header import Header, StoredFile
from weightgate.lineage.weights.delta.layout import Region
from weightgate.lineage.weights.safetensors_file import TensorInfo


@dataclass(frozen=True, slots=True)
class Staging:
    """Files lie in ``scratch`` while they are written and in ``scratch/child`` once they are complete."""

    scratch: Path

    @classmethod
    def beside(cls, out: Path, delta: DeltaFile) -> Staging:
        """The staging folder for ``out``, made or found again: its name holds the digest of the delta.

        Raises:
            InputError: it cannot be made, or the disk has too little room.
            IntegrityError: something lies in it that no run of this delta left there.
        """
        staging = cls(out.parent / f".{out.name[:100]}.{delta.sha256[:16]}.partial")
        try:
            staging._child.mkdir(parents=True, exist_ok=True)
            for left in staging.scratch.glob(".*.partial"):
                left.unlink()
            missing = sum(file.nbytes for file in delta.header.files if not staging.place(file.name).exists())
            free = shutil.disk_usage(staging.scratch).free
        except OSError as error:
            raise InputError(f"cannot write {out}: {error.strerror}", remedy="choose another --out") from error
        staging._check_known(delta.header)
        if missing > free:
            raise InputError(
                f"{out}: needs {missing} bytes, but {free} are free on that disk", remedy="make room, or choose another"
            )
        return staging

    @property
    def _child(self) -> Path:
        return self.scratch / "child"

    def checkpoint(self, header: Header) -> Path:
        """Where the child lies, as it is opened."""
        return self._child / header.files[0].name if header.kind == "file" else self._child

    def place(self, name: str) -> Path:
        """Where a complete file of the child goes."""
        return self._child / name

    def holds(self, file: StoredFile) -> bool:
        """Whether ``file`` is there with every byte as it should be. Makes its folder where it is not.

        Raises:
            InputError: the folder cannot be made, or the file cannot be read.
        """
        path = self.place(file.name)
        if not path.is_file():
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(f"cannot write {path}: {error.strerror}", remedy="choose another --out") from error
            return False
        if path.stat().st_size != file.nbytes:
            return False
        start = 0
        for piece in file.pieces:
            where = TensorInfo(file.name, "U8", (piece.nbytes,), path, start, piece.nbytes)
            if Region(where, is_tensor=False).sha256() != piece.sha256:
                return False
            start += piece.nbytes
        return True

    def check_contents(self, header: Header) -> None:
        """Check that the files of the child are there, and nothing else.

        Raises:
            IntegrityError: something else is, or one is missing.
        """
        if self._check_known(header) != {file.name for file in header.files}:
            raise IntegrityError(f"{self._child}: a file is missing", remedy="run it again")

    def publish(self, out: Path, header: Header) -> None:
        """Give the checked child its name.

        Raises:
            InputError: the name was taken meanwhile, or cannot be written.
        """
        try:
            if out.is_dir():
                out.rmdir()
            self.checkpoint(header).rename(out)
            sync_folder(out.parent)
            shutil.rmtree(self.scratch)
        except OSError as error:
            raise InputError(f"cannot write {out}: {error.strerror}", remedy="choose another --out") from error

    def _check_known(self, header: Header) -> set[str]:
        """Names of the files that are there; each must be one of the child's."""
        known = {file.name for file in header.files}
        folders = {"/".join(name.split("/")[:end]) for name in known for end in range(1, name.count("/") + 1)}
        found = set()
        for where, inner, files in os.walk(self._child):
            for name in (*inner, *files):
                entry = Path(where, name)
                relative = entry.relative_to(self._child).as_posix()
                if entry.is_symlink() or relative not in (folders if name in inner else known):
                    raise IntegrityError(f"{entry}: no part of the child", remedy=f"delete {self.scratch}")
                found.update([relative] if name in files else [])
        return found
