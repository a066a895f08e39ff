"""The difference of two checkpoints as one self-contained HTML page, on the base and styles of the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from weightgate.lineage.canonical import canonical
from weightgate.lineage.changeset import ModelVersion
from weightgate.lineage.weights.difference import Difference, TokenizerDifference, ValueChange
from weightgate.lineage.weights.kinds.facts import Facts, UpdateKind
from weightgate.lineage.weights.weight_difference import TensorDifference, TensorForm
from weightgate.reports.html import page
from weightgate.reports.html_view import identity_rows, label
from weightgate.reports.kind_words import kind_lines, kind_title
from weightgate.reports.visible import brief, inline

MOST_TENSORS = 100
MOST_ROWS = 100
MOST_LINES = 200
MOST_TOKENS = 60
_TIMES = " \N{MULTIPLICATION SIGN} "


@dataclass(frozen=True, slots=True)
class TensorRow:
    """One tensor of the table; ``share`` is the length of its bar in per cent."""

    name: str
    change: str
    form: str
    norm: str
    max_abs: str
    elements: str
    share: float


def render_difference(
    difference: Difference,
    a: ModelVersion,
    b: ModelVersion,
    *,
    kind: UpdateKind | None = None,
    facts: Facts | None = None,
) -> str:
    """What differs between two checkpoints as one HTML document (UTF-8); hostile names and templates are inert."""
    same = a.root == b.root
    weights = difference.weights
    return page(
        "difference.html.j2",
        tone="approve" if same else "neutral",
        same=same,
        a=label(a),
        b=label(b),
        parameters=(a.parameters, b.parameters),
        identity=identity_rows(a, b),
        headline=_headline(difference, same=same),
        kind=kind_title(kind) if kind else "",
        facts=[(name, inline(text, 600)) for name, text in kind_lines(facts or Facts())],
        weights=weights,
        norm="" if weights.relative_norm is None else f"{weights.relative_norm:.3g}",
        tensors=_tensors(weights.tensors),
        tensors_left=max(len(weights.tensors) - MOST_TENSORS, 0),
        config=_changes(difference.config),
        templates=[
            (inline(t.name, 80), _lines(t.lines), max(len(t.lines) - MOST_LINES, 0)) for t in difference.template
        ],
        tokenizer=_tokenizer(difference.tokenizer),
        files=_files(difference),
        code=tuple(inline(name, 160) for name in difference.files.code[:MOST_ROWS]),
        auto_map=_changes(difference.files.auto_map),
        pickles=tuple(inline(name, 160) for name in difference.files.pickles[:MOST_ROWS]),
    )


def _headline(difference: Difference, *, same: bool) -> str:
    if same:
        return "Every tensor and every file that shapes behaviour is the same on both sides."
    weights = difference.weights
    parts = [f"{len(weights.tensors):,} of {weights.tensors_total:,} tensors" if weights.tensors else ""]
    parts += [f"{_count(len(difference.config), 'field')} of the configuration" if difference.config else ""]
    parts += ["the chat template" if difference.template else "", "the tokenizer" if difference.tokenizer else ""]
    parts += [_count(len(difference.files.code), "code file") if difference.files.code else ""]
    said = [part for part in parts if part]
    if not said:
        return "Weights, configuration, chat template and tokenizer are the same; other files differ."
    listed = said[0] if len(said) == 1 else f"{', '.join(said[:-1])} and {said[-1]}"
    return f"{listed[:1].upper()}{listed[1:]}.{'' if weights.tensors else ' The weights are the same.'}"


def _tensors(tensors: tuple[TensorDifference, ...]) -> tuple[TensorRow, ...]:
    """By relative norm, largest first; those without one (added, removed, reshaped, not plain floats) before them."""
    ranked = sorted(tensors, key=lambda t: (t.relative_norm is not None, -(t.relative_norm or 0.0), t.name))
    largest = max((t.relative_norm or 0.0 for t in tensors), default=0.0)
    return tuple(
        TensorRow(
            name=inline(t.name, 160),
            change=t.change,
            form=_form(t.before, t.after),
            norm="" if t.relative_norm is None else f"{t.relative_norm:#.3g}",
            max_abs="" if t.max_abs is None else f"{t.max_abs:.2g}",
            elements="" if t.changed_fraction is None else f"{t.changed_fraction:.1%}",
            share=100 * (t.relative_norm or 0.0) / largest if largest else 0.0,
        )
        for t in ranked[:MOST_TENSORS]
    )


def _form(before: TensorForm | None, after: TensorForm | None) -> str:
    said = [f"{form.dtype} {_TIMES.join(map(str, form.shape)) or 'scalar'}" for form in (before, after) if form]
    return said[0] if len(set(said)) == 1 else " → ".join(said)


def _changes(changes: tuple[ValueChange, ...]) -> tuple[tuple[str, str, str, str], ...]:
    return tuple(
        (inline(c.file, 80), inline(c.key, 120), _value(c.before), _value(c.after)) for c in changes[:MOST_ROWS]
    )


def _value(value: Any) -> str:
    return "" if value is None else inline(canonical(value).decode(), 300)


def _lines(lines: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    kinds = {"+": "added", "-": "removed", "@": "place"}
    return tuple((kinds.get(line[:1], "same"), inline(line, 400)) for line in lines[:MOST_LINES])


def _tokenizer(found: TokenizerDifference | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "sizes": (found.vocabulary_before, found.vocabulary_after),
        "tokens": tuple(
            (what, count, ", ".join(brief(repr(token), 40) for token in tokens[:MOST_TOKENS]))
            for what, count, tokens in (
                ("Added", found.added_count, found.added),
                ("Removed", found.removed_count, found.removed),
                ("Renumbered", found.renumbered_count, found.renumbered),
            )
            if count
        ),
        "changes": _changes(found.changes),
        "files": tuple(inline(name, 160) for name in found.files[:MOST_ROWS]),
    }


def _files(difference: Difference) -> tuple[tuple[str, str], ...]:
    kinds = (
        ("changed", difference.files.changed),
        ("added", difference.files.added),
        ("removed", difference.files.removed),
    )
    return tuple((inline(name, 160), kind) for kind, names in kinds for name in names[:MOST_ROWS])


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
