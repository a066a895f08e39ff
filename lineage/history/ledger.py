"""The ledger of a model: ``.weightgate/`` in a git repository, signed files and the log that commits to each of them.

What lies in the folder is never believed for lying there: opening a ledger checks the log, every digest and every
signature. Only who signed the genesis is left to `weightgate verify`, which is told whom to believe.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from weightgate.lineage.canonical import canonical, sha256_hex
from weightgate.lineage.changeset import Changeset
from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.history.documents import (
    DOCUMENTS,
    Admit,
    Attempt,
    Document,
    Entry,
    Genesis,
    PolicyChange,
    path_of,
    read_document,
    read_entry,
)
from weightgate.lineage.history.files import locked, read_file, write_file
from weightgate.lineage.history.layout import (
    CONFIG,
    FIXED,
    FOLDER,
    LOG,
    PENDING,
    POLICY,
    Config,
    key_file,
    keys_in,
    present_key,
    read_config,
)
from weightgate.lineage.history.log import Log
from weightgate.lineage.signing.envelope import read_envelope
from weightgate.lineage.signing.keys import SigningKey, VerifyingKey

_ENTRY = ".entry"
_REMEDY = "do not trust it; restore the ledger from git"
_Kind = TypeVar("_Kind", bound=Document)


@dataclass(frozen=True, slots=True)
class Logged:
    """One document of the ledger, with its place in the log."""

    index: int
    entry: Entry
    data: bytes
    """The file."""
    document: Document | Changeset | None
    """What it says, signature checked; None for the kinds that others read (verdicts, approvals)."""


class Ledger:
    """An open ledger. Its contents are those of the moment it was opened or last written to."""

    def __init__(self, folder: Path) -> None:
        """See `open`."""
        self.folder = folder
        self._held = False
        self.entries: tuple[Logged, ...] = ()
        self.keys: dict[str, VerifyingKey] = {}

    @classmethod
    def open(cls, path: Path) -> Ledger:
        """Open the ledger in the folder ``path``, or in ``path/.weightgate``.

        Raises:
            InputError: there is none, or it cannot be read.
            IntegrityError: the log, a digest or a signature does not check out.
        """
        folder = next((p for p in (path, path / FOLDER) if (p / CONFIG).is_file()), None)
        if folder is None:
            raise InputError(f"{path} holds no ledger", remedy="make one with weightgate init")
        ledger = cls(folder)
        with ledger.writing():
            return ledger

    @classmethod
    def create(
        cls, folder: Path, *, genesis: bytes, key: SigningKey, keys: Mapping[str, VerifyingKey], files: dict[str, bytes]
    ) -> Ledger:
        """Make a ledger whose first entry is the signed ``genesis``; ``files`` are config.yaml and policy.yaml.

        It is one only once config.yaml is there, which comes last.

        Raises:
            InputError: there is one, or it cannot be written.
            IntegrityError: the genesis does not check out.
        """
        if (folder / CONFIG).exists():
            raise InputError(f"{folder} is there already", remedy="weightgate log shows what it holds")
        draft = folder.with_name(f".{folder.name}.draft")
        shutil.rmtree(draft, ignore_errors=True)
        for name, data in {**FIXED, **files, **{key_file(k): keys[k].public_pem for k in keys}}.items():
            write_file(draft / name, data)
        Log.create(draft / LOG, read_config(draft).origin, key)
        cls(draft).append(Genesis.kind, genesis, key)
        try:
            folder.mkdir(exist_ok=True)  # a trust root may lie there already
            for part in sorted(draft.iterdir(), key=lambda part: part.name == CONFIG):  # config.yaml last
                shutil.rmtree(folder / part.name, ignore_errors=True)
                part.rename(folder / part.name)
            draft.rmdir()
        except OSError as error:
            raise InputError(f"cannot make {folder}: {error.strerror}", remedy="check its permissions") from error
        return cls.open(folder)

    @property
    def config(self) -> Config:
        """config.yaml, which the genesis commits to."""
        return read_config(self.folder)

    @property
    def log(self) -> Log:
        """The log under it all. Whoever has a key in the folder can sign its checkpoints; see `keys` for who may."""
        return Log(self.folder / LOG, self.config.origin, tuple(keys_in(self.folder).values()))

    @property
    def genesis(self) -> Genesis:
        """The model that the history begins with.

        Raises:
            IntegrityError: the ledger is empty.
        """
        if not self.entries or not isinstance(self.entries[0].document, Genesis):
            raise IntegrityError(f"{self.folder}: the log does not begin with a genesis", remedy=_REMEDY)
        return self.entries[0].document

    @property
    def changesets(self) -> dict[str, Changeset]:
        """Every changeset by its id, in the order of the log."""
        return {e.entry.id: e.document for e in self.entries if isinstance(e.document, Changeset)}

    def policy_at(self, index: int) -> str:
        """Digest of the policy that was the repository's when entry ``index`` was logged."""
        changed = [e for e in self.entries if e.index < index and isinstance(e.document, PolicyChange)]
        return changed[-1].document.policy if changed else self.genesis.policy  # type: ignore[union-attr]  # see above

    def policy(self) -> Path:
        """The repository's policy file, after comparing it with the one that was logged.

        Raises:
            IntegrityError: it is another one.
        """
        changes = list(self.of(PolicyChange).values())
        expected = changes[-1].policy_file if changes else self.genesis.policy_file
        path = self.folder / POLICY
        if sha256_hex(read_file(path)) != expected:
            raise IntegrityError(
                f"{path} was changed without saying so in the log", remedy="weightgate policy FILE --reason TEXT"
            )
        return path

    def of(self, kind: type[_Kind]) -> dict[str, _Kind]:
        """Every document of a kind by its id, in the order of the log."""
        return {e.entry.id: e.document for e in self.entries if isinstance(e.document, kind)}

    def of_type(self, kind: str) -> tuple[Logged, ...]:
        """Every entry of a type, in the order of the log."""
        return tuple(entry for entry in self.entries if entry.entry.type == kind)

    def find(self, prefix: str) -> Logged:
        """The one document whose id begins with ``prefix``.

        Raises:
            InputError: none or several do, or the prefix is shorter than four characters.
        """
        if len(prefix) < 4:
            raise InputError(f"{prefix!r} is too short for an id", remedy="give at least four characters of it")
        found = [entry for entry in self.entries if entry.entry.id.startswith(prefix.lower())]
        if len(found) != 1:
            what = (
                "several documents have ids that begin" if found else "no document of the ledger has an id that begins"
            )
            raise InputError(f"{what} with {prefix}", remedy="weightgate log lists them")
        return found[0]

    def changeset_of(self, root: str) -> str | None:
        """Id of the last changeset that made a model; None for the genesis.

        Raises:
            InputError: the ledger does not know the model.
        """
        made = [identity for identity, changeset in self.changesets.items() if changeset.child.root == root]
        if made:
            return made[-1]
        if root == self.genesis.model.root:
            return None
        raise InputError(
            f"the ledger knows no model {root[:12]}…: it is neither the first nor the child of an update",
            remedy="propose the update that made it first: weightgate propose PARENT CHILD",
        )

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Keep others from writing, with the contents as they are now.

        Raises:
            InputError: another process writes for long, or something cannot be read.
            IntegrityError: the log, a digest or a signature does not check out.
        """
        with locked(self.folder):
            self._held = True
            try:
                self._check_links()
                self._recover()
                self._load()
                yield
            finally:
                self._held = False

    def append(
        self,
        kind: str,
        envelope: bytes,
        key: SigningKey,
        *,
        about: str | None = None,
        path: str | None = None,
        files: Mapping[str, bytes] | None = None,
    ) -> Logged:
        """Add a signed document: the log commits to it first, then its file appears. ``key`` signs the checkpoint.

        Args:
            kind: type of the entry.
            envelope: the file, a DSSE envelope for all types but those with a ``path`` of their own.
            key: signs the new head of the log.
            about: id of the document that it answers.
            path: where the file lies, if not where its type says.
            files: other files that change with it, by their path; the document has to name their digests.

        Raises:
            InputError: it is there already, or cannot be written.
            IntegrityError: it does not check out, or what is there already does not.
        """
        if not self._held:
            with self.writing():
                return self.append(kind, envelope, key, about=about, path=path, files=files)
        identity = sha256_hex(envelope if path is not None else read_envelope(envelope).payload)
        if any((e.entry.type, e.entry.id) == (kind, identity) for e in self.entries):
            raise InputError(f"the ledger has this {kind} already", remedy=f"see weightgate show {identity[:12]}")
        place = path or path_of(kind, identity)
        entry = Entry(type=kind, id=identity, sha256=sha256_hex(envelope), path=place, about=about)
        if self.entries:
            self._document(entry, envelope, self.keys)
        pending = self.folder / PENDING
        for name, data in {**(files or {}), place: envelope, _ENTRY: canonical(entry)}.items():
            write_file(pending / name, data)
        self.log.append([canonical(entry)], key)
        self._recover()
        self._load()
        return self.entries[-1]

    def _check_links(self) -> None:
        """Opening a ledger may write in it, and must not write where a link in someone else's repository leads."""
        for path in self.folder.rglob("*"):
            if path.is_symlink():
                raise IntegrityError(f"{path} is a link", remedy=_REMEDY)

    def _recover(self) -> None:
        """Bring to its end, or undo, what a stopped writer began; the log says which."""
        pending = self.folder / PENDING
        if not pending.is_dir():
            return
        mark = pending / _ENTRY
        if mark.is_file() and mark.read_bytes() in self.log.entries():
            for file in sorted(path for path in pending.rglob("*") if path.is_file() and path != mark):
                if not file.name.startswith("."):
                    write_file(self.folder / file.relative_to(pending), file.read_bytes())
        shutil.rmtree(pending)

    def _load(self) -> None:
        keys: dict[str, VerifyingKey] = {}
        present = keys_in(self.folder)
        loaded: list[Logged] = []
        raw = self.log.entries()
        entries = [read_entry(data, index) for index, data in enumerate(raw)]
        last = {entry.path: index for index, entry in enumerate(entries)}
        for index, entry in enumerate(entries):
            if last[entry.path] != index:
                continue  # a later entry says what this file holds by now
            data = read_file(self.folder / entry.path)
            if sha256_hex(data) != entry.sha256:
                raise IntegrityError(f"{entry.path} is not the file that was logged", remedy=_REMEDY)
            document = self._document(entry, data, keys or present)
            if isinstance(document, Genesis):
                if index:
                    raise IntegrityError("the log has a second genesis", remedy=_REMEDY)
                keys = {name: present_key(present, name) for name in document.keys}
            elif isinstance(document, Admit):
                keys[document.key] = present_key(present, document.key)
            loaded.append(Logged(index, entry, data, document))
        self.entries, self.keys = tuple(loaded), keys
        if keys:  # until here any key in the folder could have signed the head
            replace(self.log, keys=tuple(keys.values())).checkpoint()
            if sha256_hex(read_file(self.folder / CONFIG)) != self.genesis.config:
                raise IntegrityError(f"{self.folder / CONFIG} is not the one of the genesis", remedy=_REMEDY)

    def _document(self, entry: Entry, data: bytes, keys: Mapping[str, VerifyingKey]) -> Document | Changeset | None:
        if entry.type not in DOCUMENTS and entry.type != "changeset":
            return None
        try:
            document, identity = read_document(entry.type, data, keys)
        except IntegrityError as error:
            raise IntegrityError(f"{entry.path}: {error}", remedy=error.remedy) from error
        if identity != entry.id or entry.path != path_of(entry.type, identity):
            raise IntegrityError(f"{entry.path} is not the {entry.type} that was logged", remedy=_REMEDY)
        return document


def find_ledger(start: Path) -> Path | None:
    """The folder of the ledger that covers ``start``: in it or in a folder above, up to the top of the repository."""
    start = start.resolve()
    for folder in (start, *start.parents):
        if (folder / FOLDER / CONFIG).is_file():
            return folder / FOLDER
        if (folder / ".git").exists():
            return None
    return None


def attempts_at(ledger: Ledger, child: str) -> dict[str, Attempt]:
    """Every attempt at auditing a model, by id, whatever its parent and data were."""
    return {identity: found for identity, found in ledger.of(Attempt).items() if found.child == child}
