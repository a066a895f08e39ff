"""Data that a run of MLflow names as its input.

MLflow keeps eight hexadecimal digits of a digest over the first rows, so its digest is an annotation here and the bytes
are hashed again. Where the input carries a tag ``sha256``, the file must have it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from weightgate.lineage.data.hub_files import resolve_hub
from weightgate.lineage.data.location import Location
from weightgate.lineage.data.resolved import LocalFile, Resolved, chosen
from weightgate.lineage.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput


def resolve_mlflow(location: Location) -> Resolved:
    """The files behind ``mlflow:RUN[#DATASET]``, from the tracking store that MLFLOW_TRACKING_URI names.

    Raises:
        MissingExtraError: MLflow is not installed.
        InputError: no such run or dataset, several to choose from, or a source that is neither local nor on a hub.
    """
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise MissingExtraError("inputs of MLflow runs", "mlflow") from error
    try:
        logged = MlflowClient().get_run(location.target).inputs
    except (MlflowException, OSError) as error:
        raise InputError(
            f"{location.uri}: MLflow gives no such run: {str(error)[:200]}",
            remedy="check the run id, and MLFLOW_TRACKING_URI",
        ) from error
    named = _one(logged.dataset_inputs if logged else [], location)
    tags = {tag.key: tag.value for tag in named.tags}
    source = _source(named.dataset.source, location)
    found = _found(named.dataset.source_type, source, location)
    sha256 = tags.get("sha256", "").lower()
    if sha256 and len(found.files) > 1:
        raise InputError(f"{location.uri}: one sha256 tag for several files", remedy="log each file as an input")
    return Resolved(
        kind="mlflow",
        uri=Location("mlflow", location.target, None, named.dataset.name).uri,
        revision=found.revision,
        files=found.files,
        annotations={
            "mlflow_name": named.dataset.name,
            "mlflow_digest": named.dataset.digest,
            "mlflow_context": tags.get("mlflow.data.context"),
            "mlflow_source_type": named.dataset.source_type,
            "source": found.uri if found.kind == "hf" else None,
        },
        expected={found.files[0].name: sha256} if sha256 else {},
    )


def _one(inputs: list[DatasetInput], location: Location) -> DatasetInput:
    wanted = [one for one in inputs if location.part in (None, one.dataset.name)]
    if len(wanted) != 1:
        names = ", ".join(sorted(one.dataset.name for one in inputs)) or "(none)"
        raise InputError(
            f"{location.uri} names {len(wanted) or 'no'} inputs of the run, which has: {names[:300]}",
            remedy="choose one with #DATASET; log inputs under names of their own",
        )
    return wanted[0]


def _source(text: str, location: Location) -> Mapping[str, Any]:
    try:
        source = json.loads(text)
    except ValueError:
        source = None
    if not isinstance(source, dict):
        raise InputError(f"{location.uri}: MLflow does not say where the data is", remedy="give the files themselves")
    return source


def _found(kind: str, source: Mapping[str, Any], location: Location) -> Resolved:
    if kind == "hugging_face":
        return resolve_hub(_on_hub(source, location))
    uri = source.get("uri")
    parts = urlsplit(uri) if isinstance(uri, str) else None
    if kind != "local" or parts is None or parts.scheme not in ("", "file") or parts.netloc not in ("", "localhost"):
        raise InputError(
            f"{location.uri}: its source is of type {kind[:40]}, not local files or a hub",
            remedy="fetch the data yourself and give the files",
        )
    path = Path(unquote(parts.path) if parts.scheme else str(uri))
    if not path.is_dir():
        return Resolved(kind="file", uri=path.name, files=(LocalFile(path.name, path),))
    present = [inside.relative_to(path).as_posix() for inside in path.rglob("*") if inside.is_file()]
    names, _ = chosen(present, None, location.uri)
    return Resolved(kind="file", uri=path.name, files=tuple(LocalFile(name, path / name) for name in names))


def _on_hub(source: Mapping[str, Any], location: Location) -> Location:
    """The files of a hub that a source names; which files make up a split or a configuration it does not say."""
    name, revision, files = (source.get(key) for key in ("path", "revision", "data_files"))
    partial = any(source.get(key) not in (None, "", "None") for key in ("split", "config_name", "data_dir"))
    if not isinstance(name, str) or not isinstance(files, str | None) or (partial and not files):
        raise InputError(
            f"{location.uri}: its source names a part of a data set, not its files",
            remedy="give hf:OWNER/NAME@REVISION#GLOB with the files of that part",
        )
    return Location("hf", name, revision if isinstance(revision, str) else None, files)
