"""Where data came from, as the changeset records it: strong digests of every file, other tools' names beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

from pydantic import Field

from weightgate.lineage.canonical import Frozen

SourceKind = Literal["file", "git", "dvc", "hf", "mlflow"]

MAX_FILES = 10_000
MAX_ANNOTATIONS = 16
MAX_ANNOTATION = 300

Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class DataFile(Frozen):
    """One file that was read."""

    name: str = Field(max_length=4096, description="Path within the source.")
    sha256: Hex
    bytes: int = Field(ge=0)


class DataSource(Frozen):
    """Where some of the rows came from. What counts is `files`; the annotations are what another tool says of them."""

    kind: SourceKind
    uri: str = Field(max_length=5000, description="As given to --data, without the folders above the repository.")
    revision: str | None = Field(
        default=None, max_length=200, description="Commit the bytes were read at; none for files as they lie on disk."
    )
    files: tuple[DataFile, ...] = Field(min_length=1, max_length=MAX_FILES)
    dir_hash: Hex = Field(description="dirHash1 over the files: SHA-256 of what sha256sum prints, ordered by name.")
    annotations: dict[str, Annotated[str, Field(max_length=MAX_ANNOTATION)]] = Field(
        default_factory=dict,
        max_length=MAX_ANNOTATIONS,
        description="Digests and names of DVC, MLflow or a hub: pointers for people, never relied on.",
    )


def dir_hash(files: Iterable[DataFile]) -> str:
    """in-toto's ``dirHash1``, in hexadecimal."""
    lines = sorted((file.name, file.sha256) for file in files)
    return hashlib.sha256("".join(f"{sha256}  {name}\n" for name, sha256 in lines).encode()).hexdigest()


def bounded(annotations: Mapping[str, object]) -> dict[str, str]:
    """Annotations as text, cut to what the changeset has room for; empty ones are left out."""
    kept = [(key, str(value)) for key, value in annotations.items() if value not in (None, "")]
    return {key[:64]: value[:MAX_ANNOTATION] for key, value in kept[:MAX_ANNOTATIONS]}
