"""Models named by a hub id instead of a path."""

from __future__ import annotations

import re
from pathlib import Path

from weightgate.lineage.errors import InputError

HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*(@[A-Za-z0-9._-]+)?")
WANTED = ("*.safetensors", "*.safetensors.index.json", "*.json", "tokenizer*", "*.jinja", "merges.txt", "vocab*")


def fetch(model: str) -> Path:
    """Local snapshot of ``owner/name`` or ``owner/name@revision``: safetensors, tokenizer and configuration only.

    Raises:
        InputError: not a hub id, or the hub cannot be reached or has no such model.
    """
    if not HUB_ID.fullmatch(model):
        raise InputError(
            f"no such file or folder: {model}", remedy="give a model folder, an adapter folder or a hub id"
        )
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError as error:
        raise InputError(
            f"no such folder: {model}", remedy="to fetch it from a hub: pip install 'weightgate[probes]'"
        ) from error
    name, _, revision = model.partition("@")
    try:
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=list(WANTED)))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise InputError(
            f"no folder {model} here, and the hub did not give a model of that name ({type(error).__name__})",
            remedy="check the path; or download the model and give its folder",
        ) from error
