"""Finds the bytes that a location names."""

from __future__ import annotations

from pathlib import Path

from weightgate.lineage.data.dvc_files import resolve_dvc
from weightgate.lineage.data.git_files import resolve_git
from weightgate.lineage.data.hub_files import resolve_hub
from weightgate.lineage.data.location import Location, parse_location
from weightgate.lineage.data.mlflow_files import resolve_mlflow
from weightgate.lineage.data.resolved import LocalFile, Resolved


def resolve(given: Path | str, workspace: Path) -> Resolved:
    """The files that a location names; ``workspace`` takes copies, where there have to be some.

    Raises:
        InputError: nothing there, or an extra that is missing.
        IntegrityError: the bytes are not the ones that were recorded.
    """
    location = parse_location(given)
    if location.kind == "git":
        return resolve_git(location, workspace)
    if location.kind == "dvc":
        return resolve_dvc(location, workspace)
    if location.kind == "hf":
        return resolve_hub(location)
    return resolve_mlflow(location) if location.kind == "mlflow" else _plain(location)


def _plain(location: Location) -> Resolved:
    """A file as it lies on disk. The changeset names it alone: the folders above it are nobody's business."""
    path = Path(location.target)
    return Resolved(kind="file", uri=path.name, files=(LocalFile(path.name, path),))
