"""The kind of an update in words: one line a fact, for terminal, HTML and Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from weightgate.lineage.weights.kinds.facts import (
    Cast,
    Facts,
    LowRank,
    Merge,
    Quantisation,
    Scope,
    Sparse,
    Stream,
    UpdateKind,
    VirtualTokens,
)

_KINDS: dict[UpdateKind, str] = {
    "identical": "nothing changed",
    "full": "weights all over the network",
    "partial": "some of the tensors",
    "sparse": "few elements inside tensors",
    "low-rank": "differences of low rank, as merging a LoRA makes them",
    "merge": "a weighted sum of the given models",
    "quantised": "weights on few levels",
    "dtype-only": "the same weights in another dtype",
    "adapter": "an adapter for the parent",
    "soft-prompt": "vectors put before every text",
    "prefix": "keys and values put before every text",
    "cartridge": "a trained cache of keys and values put before every text",
    "fast-weights": "a stream of small differences, added one after another",
    "tokenizer-only": "tokenizer files alone",
    "template-only": "the chat template alone",
    "config-only": "configuration alone",
    "files-only": "files beside the weights",
}
_SHOWN = 6


def kind_title(kind: UpdateKind) -> str:
    """The kind and what it means."""
    return f"{kind}: {_KINDS[kind]}"


def kind_lines(facts: Facts) -> tuple[tuple[str, str], ...]:
    """What was found, as (label, sentence); names in it come from the checkpoint and are hostile text."""
    found: list[tuple[str, str]] = []
    if facts.scope:
        found += _scope(facts.scope)
    if facts.sparse:
        found += _sparse(facts.sparse)
    if facts.low_rank:
        found += _low_rank(facts.low_rank)
    found += [("dtype", _cast(cast)) for cast in facts.casts]
    if facts.quantisation:
        found += _quantisation(facts.quantisation)
    if facts.merge:
        found += _merge(facts.merge)
    if facts.virtual_tokens:
        found += _virtual_tokens(facts.virtual_tokens)
    if facts.stream:
        found += _stream(facts.stream)
    return tuple(found)


def _scope(found: Scope) -> Iterator[tuple[str, str]]:
    if found.layers:
        yield "layers", f"{len(found.layers)} of {found.layers_total}: {_ranges(found.layers)}"
    more = len(found.modules) - _SHOWN
    yield "modules", ", ".join(found.modules[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _sparse(found: Sparse) -> Iterator[tuple[str, str]]:
    steps = f"{found.one_step:.0%} of them by one step of their dtype"
    share = f"{found.elements_changed:,} of {found.elements_total:,} changed ({found.fraction:.2%})"
    yield "elements", f"{share}, {steps}; positions sha256 {found.positions[:12]}…"
    for rows in found.rows[:_SHOWN]:
        yield "rows", f"{rows.name}: {rows.rows:,} of {rows.rows_total:,} rows, from row {rows.first[0]:,}"


def _low_rank(found: LowRank) -> Iterator[tuple[str, str]]:
    ranks = f"{found.rank_min}" if found.rank_min == found.rank_max else f"{found.rank_min} to {found.rank_max}"
    where = f"{found.low} of {found.matrices_changed} changed matrices"
    held = f"holding {found.captured:.0%} or more of each squared norm"
    yield "rank", f"at least {ranks} in {where}, {held}; rounding could make up to {found.noise:.2g} of it"


def _cast(found: Cast) -> str:
    kept = f"the same values in {found.exact}, the nearest ones in {found.nearest}"
    return f"{found.before} to {found.after} in {_count(found.tensors, 'tensor')}: {kept}"


def _quantisation(found: Quantisation) -> Iterator[tuple[str, str]]:
    how = "stored as" if found.form == "stored" else "put back into"
    group = {"tensor": "a tensor", "row": "a row", "block": "a block"}.get(found.group, f"{found.group} elements")
    levels = f"at most {found.levels} in {group} ({found.bits} bits), {how} {found.dtype}"
    yield "levels", f"{levels}; {found.quantised} of {found.matrices} matrices examined"
    if found.round_trip is not None:
        yield "error", f"{found.round_trip:.3g} of the parent's norm"


def _merge(found: Merge) -> Iterator[tuple[str, str]]:
    yield "parent", f"coefficient {found.parent_coefficient:.4f}"
    for source in found.sources:
        yield "source", f"{source.name} ({source.root[:12]}…): coefficient {source.coefficient:.4f}"
    verdict = "explained" if found.explained else f"not explained in {_count(found.unexplained_count, 'tensor')}"
    yield "residual", f"{found.residual:.3g} of the difference, rounding makes {found.noise:.3g}: {verdict}"
    if found.unexplained:
        more = found.unexplained_count - _SHOWN
        yield "beyond", ", ".join(found.unexplained[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _virtual_tokens(found: VirtualTokens) -> Iterator[tuple[str, str]]:
    place = f"keys and values in {found.layers} layers" if found.layers else "before the embedding"
    frozen = f", the first {found.frozen} frozen" if found.frozen else ""
    fits = "as the parent has them" if found.fits else "not as the parent has them"
    yield "tokens", f"{found.tokens} virtual tokens ({found.type}), {place}, width {found.width}, {fits}{frozen}"


def _stream(found: Stream) -> Iterator[tuple[str, str]]:
    norm = "" if found.norm is None else f", together {found.norm:.3g} of the parent's norm"
    path = "" if found.path is None else f" (path {found.path:.3g})"
    yield "stream", f"{_count(found.steps, 'step')}{norm}{path}, largest step {found.largest_step}"
    yield "chain", f"head {found.head[:12]}…, from {found.first[:12]}… to {found.last[:12]}…"


def _ranges(numbers: Sequence[int]) -> str:
    """Numbers as ranges: 0-3, 7."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    said = [f"{first}" if first == last else f"{first}-{last}" for first, last in parts]
    return ", ".join(said[:_SHOWN]) + (" …" if len(said) > _SHOWN else "")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
