"""Holds claims against what was found in the bytes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from weightgate.lineage.changeset import Delta, ModelVersion
from weightgate.lineage.weights.claims import Claims, MergeClaim

MOST_NAMES = 20


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One claim that does not hold, or cannot be told to hold."""

    claim: str
    title: str
    detail: str
    where: str
    evidence: tuple[str, ...] = ()


def check_claims(
    claims: Claims,
    delta: Delta,
    sides: tuple[ModelVersion, ModelVersion],
    *,
    tensors: Collection[str] | None = None,
    data: Sequence[str] | None = None,
) -> tuple[Mismatch, ...]:
    """Every claim that does not hold.

    Args:
        claims: what the author says.
        delta: what was found.
        sides: parent and child.
        tensors: names of the parent's tensors, to tell patterns that match nothing; not checked without.
        data: SHA-256 of the training data that was supplied; that claim is not checked without.
    """
    return (
        *_identity(claims, delta, sides[0]),
        *_modules(claims, delta, tensors),
        *_parts(claims, delta, sides),
        *_size(claims, delta),
        *(_merge(claims.merge, delta) if claims.merge else ()),
        *(_data(claims.data, data) if claims.data is not None and data is not None else ()),
    )


def _identity(claims: Claims, delta: Delta, parent: ModelVersion) -> Iterator[Mismatch]:
    if claims.base is not None and claims.base != parent.root:
        said = f"Claimed root {claims.base}, the parent given has {parent.root}."
        yield Mismatch("base", "Made from another model than claimed", said, "parent")
    if claims.kind is not None and claims.kind != delta.kind:
        said = f"Claimed {claims.kind}, the bytes show {delta.kind}."
        yield Mismatch("kind", "Another kind of update than claimed", said, "child")
    if claims.adapter_type is not None and claims.adapter_type != delta.adapter.get("type"):
        found = delta.adapter.get("type") or "no adapter"
        yield Mismatch(
            "adapter_type", "Another type of adapter than claimed", f"Claimed {claims.adapter_type}: {found}.", "child"
        )


def _modules(claims: Claims, delta: Delta, tensors: Collection[str] | None) -> Iterator[Mismatch]:
    changed = [change.name for change in delta.changed]
    if claims.only_modules:
        outside = [name for name in changed if not _matches(name, claims.only_modules)]
        if outside:
            title = f"{len(outside)} tensors changed outside the modules claimed"
            said = f"Only {', '.join(claims.only_modules[:MOST_NAMES])} were said to change."
            yield Mismatch("only_modules", title, said, outside[0], tuple(outside[:MOST_NAMES]))
    thawed = [name for name in changed if _matches(name, claims.frozen)]
    if thawed:
        title = f"{len(thawed)} tensors changed that were claimed frozen"
        said = f"{', '.join(claims.frozen[:MOST_NAMES])} were said to be frozen."
        yield Mismatch("frozen", title, said, thawed[0], tuple(thawed[:MOST_NAMES]))
    if tensors is not None:
        for pattern in claims.frozen:
            if not any(_matches(name, (pattern,)) for name in tensors):
                said = "It names no tensor of the parent, so that the claim says nothing."
                yield Mismatch("frozen", "A claim that is about nothing", said, pattern)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    """A pattern is of a tensor, or of the module that holds it."""
    module = name.rpartition(".")[0]
    return any(fnmatchcase(name, pattern) or fnmatchcase(module, pattern) for pattern in patterns)


def _parts(claims: Claims, delta: Delta, sides: tuple[ModelVersion, ModelVersion]) -> Iterator[Mismatch]:
    parent, child = sides
    for part in claims.unchanged:
        if part == "weights":
            moved = delta.tensors_changed > 0
        elif part == "files":
            moved = bool(delta.files)
        else:
            # an adapter brings no files of its own where it leaves them to the parent
            mine, yours = getattr(parent, part), getattr(child, part)
            moved = mine != yours and not (delta.adapter and yours is None)
        if moved:
            title = f"{part.replace('_', ' ').capitalize()} changed that was claimed unchanged"
            yield Mismatch("unchanged", title, "The two sides differ in it.", part, delta.files[:MOST_NAMES])


def _size(claims: Claims, delta: Delta) -> Iterator[Mismatch]:
    if claims.rank is not None:
        higher = [change.name for change in delta.changed if change.rank is None or change.rank > claims.rank]
        if higher:
            title = f"{len(higher)} tensors changed by more than rank {claims.rank}"
            said = "Their differences have more directions than claimed, or are no matrix of low rank at all."
            yield Mismatch("rank", title, said, higher[0], tuple(higher[:MOST_NAMES]))
    most = claims.max_relative_norm
    if most is not None and (delta.relative_norm is None or delta.relative_norm > most):
        found = "cannot be told" if delta.relative_norm is None else f"is {delta.relative_norm:.4g}"
        said = f"Claimed at most {most:g} of the parent's norm; it {found}."
        yield Mismatch("max_relative_norm", "A larger change than claimed", said, "child")


def _merge(claim: MergeClaim, delta: Delta) -> Iterator[Mismatch]:
    found = delta.facts.merge
    if found is None or len(found.sources) != len(claim.coefficients):
        said = "The models that it was merged from were not compared."
        yield Mismatch("merge", "A merge that was not checked", said, claim.sources[0])
        return
    off = [
        f"{source.name}: claimed {said:g}, found {source.coefficient:.4f}"
        for source, said in zip(found.sources, claim.coefficients, strict=True)
        if abs(source.coefficient - said) > claim.tolerance
    ]
    if off:
        title = f"{len(off)} coefficients of the merge are not as claimed"
        yield Mismatch("merge", title, f"They differ by more than {claim.tolerance:g}.", "child", tuple(off))
    if not found.explained:
        title = "The merge does not explain the child"
        said = f"{found.residual:.2g} of the difference is left, rounding makes {found.noise:.2g}."
        where = found.unexplained[0] if found.unexplained else "child"
        yield Mismatch("merge", title, said, where, found.unexplained[:MOST_NAMES])


def _data(claimed: Sequence[str], supplied: Sequence[str]) -> Iterator[Mismatch]:
    if missing := sorted(set(claimed) - set(supplied)):
        title = f"{len(missing)} data sets claimed and not supplied"
        yield Mismatch("data", title, "By SHA-256.", "data", tuple(missing[:MOST_NAMES]))
    if extra := sorted(set(supplied) - set(claimed)):
        title = f"{len(extra)} data sets supplied and not claimed"
        yield Mismatch("data", title, "By SHA-256.", "data", tuple(extra[:MOST_NAMES]))
