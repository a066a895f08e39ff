"""What lies in a checkpoint folder: which files shape a model's behaviour, which are pickles, and where links lead."""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from weightgate.lineage.errors import InputError

MAX_ENTRIES = 50_000
MAX_DOCUMENT_BYTES = 256_000_000

PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
TEMPLATE_FOLDER = "additional_chat_templates"

# transformers and peft read these from the top of the folder; Python files count wherever they lie.
_BEHAVIOUR = (
    "*config.json",
    "*.jinja",
    "*.model",
    "*.tiktoken",
    "added_tokens.json",
    "chat_template*",
    "merges*",
    "special_tokens_map.json",
    "tokenizer*",
    "vocab*",
)


def list_files(folder: Path) -> tuple[str, ...]:
    """POSIX names, relative to ``folder``, of every regular file in it, ordered; hidden folders are left out.

    Raises:
        InputError: unreadable, a symbolic link that leaves the folder, something that is no file, or too many entries.
    """
    home = folder.resolve()
    names: list[str] = []
    for where, folders, files in os.walk(folder, onerror=_refuse_unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in (*folders, *files):
            entry = Path(where, name)
            if entry.is_symlink():
                _check_link(entry, home)
        for name in files:
            entry = Path(where, name)
            if not entry.is_file():
                raise InputError(f"{entry}: not a regular file", remedy="take it out of the model folder")
            names.append(entry.relative_to(folder).as_posix())
        if len(names) > MAX_ENTRIES:
            raise InputError(f"{folder}: more than {MAX_ENTRIES} files", remedy="give the folder of one model")
    return tuple(sorted(names))


def is_pickle(name: str) -> bool:
    """Whether loaders would unpickle a file of this name, which can run any code."""
    return name.lower().endswith(PICKLE_SUFFIXES)


def shapes_behaviour(name: str) -> bool:
    """Whether a file, by its name relative to the folder, can change what the model does; weights are not meant."""
    if name.endswith(".safetensors") or is_pickle(name):
        return False
    parts = PurePosixPath(name).parts
    if name.endswith(".py") or (len(parts) == 2 and parts[0] == TEMPLATE_FOLDER):
        return True
    return len(parts) == 1 and any(fnmatchcase(name, pattern) for pattern in _BEHAVIOUR)


def read_document(path: Path) -> bytes:
    """The bytes of a configuration, tokenizer or template file.

    Raises:
        InputError: missing, unreadable or larger than any such file has reason to be.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_DOCUMENT_BYTES:
                raise InputError(f"{path}: over {MAX_DOCUMENT_BYTES} bytes", remedy="this is not what its name says")
            return file.read(size)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", remedy="check the path and its rights") from error


def _check_link(link: Path, home: Path) -> None:
    target = link.resolve()
    allowed = [home]
    if home.parent.name == "snapshots":  # the Hugging Face cache links snapshots/REVISION/FILE to blobs/DIGEST
        allowed.append(home.parent.parent / "blobs")
    if not any(target.is_relative_to(place) for place in allowed):
        raise InputError(
            f"{link}: a symbolic link out of the model folder", remedy="replace it by the file it points to"
        )


def _refuse_unreadable(error: OSError) -> None:
    raise InputError(
        f"{error.filename}: cannot be read: {error.strerror}", remedy="check the path and its rights"
    ) from error
