"""How data is named on the command line: ``[KIND:]PATH[@REVISION][#PART]``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from weightgate.lineage.data.source import SourceKind
from weightgate.lineage.errors import InputError

FORMS = (
    "give FILE, git:PATH@REVISION, dvc:PATH[@REVISION], FILE.dvc, hf:OWNER/NAME[@REVISION] or mlflow:RUN, "
    "the last four with #GLOB or #DATASET where there are several files"
)
_KINDS: dict[str, SourceKind] = {"git": "git", "dvc": "dvc", "hf": "hf", "mlflow": "mlflow"}


@dataclass(frozen=True, slots=True)
class Location:
    """Where to read data."""

    kind: SourceKind
    target: str
    """Path, dataset name or run id."""
    revision: str | None = None
    part: str | None = None
    """Glob over the files of a folder, or the name of a dataset of a run."""

    @property
    def uri(self) -> str:
        """As it is written; ``parse_location`` reads it back."""
        revision = f"@{self.revision}" if self.revision else ""
        part = f"#{self.part}" if self.part else ""
        return self.target if self.kind == "file" else f"{self.kind}:{self.target}{revision}{part}"


def parse_location(given: Path | str) -> Location:
    """Read a location. Without ``KIND:`` it is a file, whatever characters its name has.

    The last ``@`` begins the revision and the last ``#`` the part; a path with an ``@`` of its own needs a revision.

    Raises:
        InputError: nothing named, a revision missing where one is needed, or one that could be taken for an option.
    """
    text = str(given)
    scheme, colon, rest = text.partition(":")
    if not colon or scheme not in _KINDS:
        if text.endswith(".dvc") and not isinstance(given, Path):
            return Location(kind="dvc", target=text.removesuffix(".dvc"))
        return Location(kind="file", target=text)
    kind = _KINDS[scheme]
    rest, _, part = rest.rpartition("#") if "#" in rest else (rest, "", "")
    target, _, revision = rest.rpartition("@") if "@" in rest else (rest, "", "")
    if kind == "dvc":
        target = target.removesuffix(".dvc")
    if not target or "\x00" in text:
        raise InputError(f"{text!r} names no data", remedy=FORMS)
    if revision.startswith("-") or (kind != "git" and target.startswith("-")):
        raise InputError(f"{text!r}: a name cannot begin with a dash", remedy=FORMS)
    if kind == "git" and not revision:
        raise InputError(f"{text}: git data needs a revision", remedy=f"give {text}@HEAD, a tag or a commit")
    if kind == "mlflow" and revision:
        raise InputError(f"{text}: a run has no revisions", remedy="give mlflow:RUN, or mlflow:RUN#DATASET")
    return Location(kind=kind, target=target, revision=revision or None, part=part or None)
