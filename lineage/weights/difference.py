"""Everything that differs between two checkpoints: weights, configuration, chat template, tokenizer and code."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import Field, JsonValue

from weightgate.lineage.canonical import Frozen, canonical, sha256_hex
from weightgate.lineage.weights.checkpoint import Checkpoint
from weightgate.lineage.weights.fingerprint import Fingerprint, without_inert
from weightgate.lineage.weights.tokenizer import Tokenizer, read_tokenizer
from weightgate.lineage.weights.weight_difference import WeightDifference, weight_difference

MOST = 200
"""Entries of a list that a difference spells out; the rest is counted."""

_LONG = 20_000
_MOST_LINES = 3_000


class ValueChange(Frozen):
    """One field of a JSON file. ``before`` and ``after`` are None where the field is absent, or null."""

    file: str
    key: str = Field(description="Dotted path of the field.")
    before: JsonValue = None
    after: JsonValue = None


class TemplateChange(Frozen):
    """One chat template that differs."""

    name: str = Field(description="'default', or the name of a further template.")
    before: str | None = Field(description="SHA-256 of the text; None where there was none.")
    after: str | None
    lines: tuple[str, ...] = Field(description="Unified difference of the texts.")


class TokenizerDifference(Frozen):
    """What changed in the tokenizer. Lists are cut after `MOST` entries, counts are whole."""

    vocabulary_before: int
    vocabulary_after: int
    added: tuple[str, ...] = Field(default=(), description="Tokens that only the child has.")
    added_count: int = 0
    removed: tuple[str, ...] = Field(default=(), description="Tokens that only the parent has.")
    removed_count: int = 0
    renumbered: tuple[str, ...] = Field(default=(), description="Tokens both have under different ids.")
    renumbered_count: int = 0
    changes: tuple[ValueChange, ...] = Field(
        default=(),
        description="Normalizer, pre-tokenizer, post-processor, decoder, model, added-token flags, settings.",
    )
    changes_count: int = 0
    files: tuple[str, ...] = Field(default=(), description="Further tokenizer files that differ.")


class FileDifference(Frozen):
    """Which files other than weights differ, by name, and what they can bring with them."""

    changed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    code: tuple[str, ...] = Field(default=(), description="Python files that were added or changed; never run.")
    auto_map: tuple[ValueChange, ...] = Field(default=(), description="Classes that loaders would take from that code.")
    pickles: tuple[str, ...] = Field(default=(), description="Pickles that only the child has; never opened.")

    @property
    def names(self) -> tuple[str, ...]:
        """All names, ordered."""
        return tuple(sorted((*self.changed, *self.added, *self.removed)))


class Difference(Frozen):
    """From parent to child."""

    weights: WeightDifference
    config: tuple[ValueChange, ...] = Field(default=(), description="Fields of config.json and generation_config.json.")
    template: tuple[TemplateChange, ...] = ()
    tokenizer: TokenizerDifference | None = Field(default=None, description="None where the tokenizers are the same.")
    files: FileDifference = FileDifference()


def difference(
    parent: Checkpoint,
    child: Checkpoint,
    before: Fingerprint,
    after: Fingerprint,
    progress: Callable[[int], None] | None = None,
) -> Difference:
    """Compare two checkpoints of one kind.

    Args:
        parent: the side that differences are relative to.
        child: the other side.
        before: fingerprint of ``parent``.
        after: fingerprint of ``child``.
        progress: called with the number of bytes read since the last call.

    Raises:
        InputError: a tensor or document cannot be read.
    """
    return Difference(
        weights=weight_difference(parent, child, before, after, progress),
        config=config_changes(parent, child),
        template=template_changes(parent, child),
        tokenizer=None if before.tokenizer == after.tokenizer else tokenizer_difference(parent, child),
        files=file_difference(parent, child, before, after),
    )


def config_changes(parent: Checkpoint, child: Checkpoint) -> tuple[ValueChange, ...]:
    """Fields of config.json that change the model, and of generation_config.json, that differ."""
    pairs = (
        ("config.json", parent.config, child.config),
        ("generation_config.json", parent.generation_config, child.generation_config),
    )
    return tuple(
        change
        for file, mine, yours in pairs
        for change in value_changes(file, without_inert(dict(mine)), without_inert(dict(yours)))
    )


def value_changes(file: str, before: Any, after: Any, key: str = "") -> Iterator[ValueChange]:
    """The leaves that differ between two JSON documents, objects taken apart, lists taken whole."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in sorted({*before, *after}):
            path = f"{key}.{name}" if key else name
            yield from value_changes(file, before.get(name), after.get(name), path)
    elif canonical(before) != canonical(after):
        yield ValueChange(file=file, key=key, before=_shortened(before), after=_shortened(after))


def template_changes(parent: Checkpoint, child: Checkpoint) -> tuple[TemplateChange, ...]:
    """Chat templates that differ, wherever each side keeps them."""
    changes = []
    for name in sorted({*parent.templates, *child.templates}):
        mine, yours = parent.templates.get(name), child.templates.get(name)
        if mine == yours:
            continue
        lines = difflib.unified_diff(_lines(mine), _lines(yours), "parent", "child", lineterm="", n=2)
        changes.append(TemplateChange(name=name, before=_sha256(mine), after=_sha256(yours), lines=tuple(lines)))
    return tuple(changes)


def _lines(template: str | None) -> list[str]:
    """The lines of a template; of one beyond reason only its beginning, for comparing takes time squared."""
    lines = (template or "").splitlines()
    if len(lines) <= _MOST_LINES:
        return lines
    return [*lines[:_MOST_LINES], f"({len(lines) - _MOST_LINES} lines more)"]


def tokenizer_difference(parent: Checkpoint, child: Checkpoint) -> TokenizerDifference | None:
    """What differs between the tokenizers; None where nothing does.

    Raises:
        InputError: a tokenizer file is malformed.
    """
    nothing = Tokenizer(vocabulary={}, added={}, model={}, sections={}, settings={}, others={})
    mine, yours = read_tokenizer(parent) or nothing, read_tokenizer(child) or nothing
    if mine == yours:
        return None
    added = sorted(yours.vocabulary.keys() - mine.vocabulary.keys())
    removed = sorted(mine.vocabulary.keys() - yours.vocabulary.keys())
    both = mine.vocabulary.keys() & yours.vocabulary.keys()
    renumbered = sorted(token for token in both if mine.vocabulary[token] != yours.vocabulary[token])
    changes = [
        *value_changes(
            "tokenizer.json", {**mine.sections, "model": mine.model}, {**yours.sections, "model": yours.model}
        ),
        *value_changes("tokenizer.json", mine.added, yours.added, "added_tokens"),
        *value_changes("tokenizer_config.json", mine.settings, yours.settings),
    ]
    return TokenizerDifference(
        vocabulary_before=len(mine.vocabulary),
        vocabulary_after=len(yours.vocabulary),
        added=tuple(added[:MOST]),
        added_count=len(added),
        removed=tuple(removed[:MOST]),
        removed_count=len(removed),
        renumbered=tuple(renumbered[:MOST]),
        renumbered_count=len(renumbered),
        changes=tuple(changes[:MOST]),
        changes_count=len(changes),
        files=tuple(
            name for name in sorted({*mine.others, *yours.others}) if mine.others.get(name) != yours.others.get(name)
        ),
    )


def file_difference(parent: Checkpoint, child: Checkpoint, before: Fingerprint, after: Fingerprint) -> FileDifference:
    """Which files differ by their bytes, and the code and pickles among what is new."""
    mine = {file.name: file.sha256 for file in before.files}
    yours = {file.name: file.sha256 for file in after.files}
    changed = tuple(sorted(name for name in mine.keys() & yours.keys() if mine[name] != yours[name]))
    added = tuple(sorted(yours.keys() - mine.keys()))
    return FileDifference(
        changed=changed,
        added=added,
        removed=tuple(sorted(mine.keys() - yours.keys())),
        code=tuple(name for name in sorted((*changed, *added)) if name.endswith(".py")),
        auto_map=tuple(
            change
            for file, left, right in (
                ("config.json", parent.config, child.config),
                ("tokenizer_config.json", parent.tokenizer_config, child.tokenizer_config),
            )
            for change in value_changes(file, left.get("auto_map", {}), right.get("auto_map", {}), "auto_map")
        ),
        pickles=tuple(sorted({*child.pickles} - {*parent.pickles})),
    )


def _shortened(value: Any) -> Any:
    """Long values are named by their digest: a difference is read by people and signed whole."""
    encoded = canonical(value)
    return value if len(encoded) <= _LONG else f"{len(encoded)} bytes, sha256:{sha256_hex(encoded)}"


def _sha256(text: str | None) -> str | None:
    return None if text is None else sha256_hex(text.encode())
