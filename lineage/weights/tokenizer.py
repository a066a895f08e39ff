"""The tokenizer of a checkpoint, read from its files: vocabulary, merges, processing sections and settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from weightgate.lineage.canonical import digest, sha256_hex
from weightgate.lineage.errors import InputError
from weightgate.lineage.strict_json import parse_config
from weightgate.lineage.weights.checkpoint import Checkpoint
from weightgate.lineage.weights.folder import read_document

INERT_SETTINGS = frozenset(
    {
        "_commit_hash",
        "_name_or_path",
        "chat_template",
        "is_local",
        "name_or_path",
        "special_tokens_map_file",
        "tokenizer_file",
        "transformers_version",
    }
)
"""Fields of tokenizer_config.json that leave tokens alone; the chat template has a digest of its own."""

SECTIONS = ("normalizer", "pre_tokenizer", "post_processor", "decoder", "truncation", "padding")
"""Parts of tokenizer.json that rewrite text or tokens on their way in or out."""

_PARSED = frozenset({"tokenizer.json", "tokenizer_config.json"})
_PREFIXES = ("added_tokens", "merges", "special_tokens_map", "tokenizer", "vocab")
_SUFFIXES = (".model", ".tiktoken")


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """What tokenizer.json and its companions say."""

    vocabulary: Mapping[str, int]
    """Token to id, added tokens included; empty where neither tokenizer.json nor vocab.json gives one."""
    added: Mapping[str, Mapping[str, Any]]
    """Added tokens by content, with id and flags."""
    model: Mapping[str, Any]
    """The model section of tokenizer.json; merges and a vocabulary with scores are digests."""
    sections: Mapping[str, Any]
    """The parts of tokenizer.json named in `SECTIONS`; None where one is absent."""
    settings: Mapping[str, Any]
    """tokenizer_config.json without its inert fields."""
    others: Mapping[str, str]
    """SHA-256 of the remaining tokenizer files, by name."""


def is_tokenizer_file(name: str) -> bool:
    """Whether a file, by its name relative to the checkpoint folder, belongs to the tokenizer or its chat template."""
    if name.endswith(".py"):
        return False
    return name.startswith((*_PREFIXES, "chat_template")) or name.endswith((*_SUFFIXES, ".jinja"))


def read_tokenizer(checkpoint: Checkpoint) -> Tokenizer | None:
    """The tokenizer of a checkpoint; None where it has no tokenizer files.

    Raises:
        InputError: a tokenizer file is malformed.
    """
    names = [name for name in checkpoint.files if is_tokenizer_file(name) and not _is_template(name)]
    if not names:
        return None
    document = _document(checkpoint, "tokenizer.json") if "tokenizer.json" in names else {}
    where = str(checkpoint.path / "tokenizer.json")
    model = document.get("model", {})
    if not isinstance(model, dict):
        raise _malformed(where, "model")
    added = _added(document.get("added_tokens", []), where)
    listed = model.get("vocab", _document(checkpoint, "vocab.json") if "vocab.json" in names else {})
    return Tokenizer(
        vocabulary={**_vocabulary(listed, where), **{token: entry["id"] for token, entry in added.items()}},
        added=added,
        model=_model(model, where),
        sections={name: document.get(name) for name in SECTIONS},
        settings={key: value for key, value in checkpoint.tokenizer_config.items() if key not in INERT_SETTINGS},
        others={name: sha256_hex(read_document(checkpoint.path / name)) for name in names if name not in _PARSED},
    )


def tokenizer_digest(checkpoint: Checkpoint) -> str | None:
    """One digest over everything that decides which tokens a text becomes; None without tokenizer files.

    How the JSON is laid out does not count, nor do the chat template and fields that only say where the tokenizer came
    from.

    Raises:
        InputError: a tokenizer file is malformed.
    """
    tokenizer = read_tokenizer(checkpoint)
    if tokenizer is None:
        return None
    return digest(
        {
            "added": tokenizer.added,
            "model": tokenizer.model,
            "others": tokenizer.others,
            "sections": tokenizer.sections,
            "settings": tokenizer.settings,
            "vocabulary": _bulk_digest(sorted(tokenizer.vocabulary.items())),
        }
    )


def _is_template(name: str) -> bool:
    return name.startswith("chat_template") or name.endswith(".jinja")


def _document(checkpoint: Checkpoint, name: str) -> dict[str, Any]:
    return parse_config(read_document(checkpoint.path / name), f"{checkpoint.path / name}")


def _model(model: Mapping[str, Any], where: str) -> dict[str, Any]:
    section = {key: value for key, value in model.items() if key not in {"vocab", "merges"}}
    if isinstance(model.get("vocab"), list):
        section["vocab"] = _bulk_digest(model["vocab"])
    if "merges" in model:
        if not isinstance(model["merges"], list):
            raise _malformed(where, "merges")
        section["merges"] = _bulk_digest([_pair(merge) for merge in model["merges"]])
    return section


def _pair(merge: Any) -> Any:
    """Both forms of a merge, "a b" and ["a", "b"], as the second; tokenizers changed its form in version 0.20."""
    return merge.split(" ") if isinstance(merge, str) and merge.count(" ") == 1 else merge


def _vocabulary(listed: Any, where: str) -> dict[str, int]:
    """A map of tokens to ids, or the list of (token, score) of a unigram model."""
    if isinstance(listed, list) and all(
        isinstance(entry, list) and entry and isinstance(entry[0], str) for entry in listed
    ):
        listed = {entry[0]: number for number, entry in enumerate(listed)}
    if not isinstance(listed, dict) or not all(
        isinstance(token, str) and type(number) is int for token, number in listed.items()
    ):
        raise _malformed(where, "vocab")
    return listed


def _added(listed: Any, where: str) -> dict[str, Mapping[str, Any]]:
    added: dict[str, Mapping[str, Any]] = {}
    for entry in listed if isinstance(listed, list) else [None]:
        if not isinstance(entry, dict) or not isinstance(entry.get("content"), str) or type(entry.get("id")) is not int:
            raise _malformed(where, "added_tokens")
        added[entry["content"]] = {key: value for key, value in entry.items() if key != "content"}
    return added


def _malformed(where: str, part: str) -> InputError:
    return InputError(f"{where}: malformed {part}", remedy="save the tokenizer again")


def _bulk_digest(entries: list[Any]) -> str:
    """Digest of a long list. The C encoder writes these plain lists hundreds of times faster than the canonical one."""
    return sha256_hex(json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode())
