"""Puts a name to an update: all detectors, cheap ones first, and which of them decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from weightgate.lineage.weights.adapter import adapter_ranks
from weightgate.lineage.weights.checkpoint import Checkpoint
from weightgate.lineage.weights.difference import Difference
from weightgate.lineage.weights.fingerprint import Fingerprint
from weightgate.lineage.weights.kinds.casts import find_casts, is_dtype_only
from weightgate.lineage.weights.kinds.facts import Facts, UpdateKind
from weightgate.lineage.weights.kinds.grid import find_dequantised
from weightgate.lineage.weights.kinds.merge import find_merge
from weightgate.lineage.weights.kinds.quantised import find_stored, is_scale
from weightgate.lineage.weights.kinds.rank import find_low_rank
from weightgate.lineage.weights.kinds.scope import scope
from weightgate.lineage.weights.kinds.sparse import find_sparse, is_sparse
from weightgate.lineage.weights.kinds.stream import find_stream, is_stream
from weightgate.lineage.weights.kinds.virtual_tokens import KINDS, find_virtual_tokens
from weightgate.lineage.weights.tokenizer import is_tokenizer_file

_CONFIGURATION = frozenset({"config.json", "generation_config.json"})


@dataclass(frozen=True, slots=True)
class Description:
    """The kind of an update, what was found, and the rank of each difference of low rank, by tensor."""

    kind: UpdateKind
    facts: Facts
    ranks: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))


def describe(
    parent: Checkpoint,
    child: Checkpoint,
    found: Difference,
    *,
    identical: bool,
    sources: Sequence[Checkpoint] = (),
    after: Fingerprint | None = None,
) -> Description:
    """Name the kind of an update.

    Args:
        parent: the side that differences are relative to.
        child: the other side, or an adapter for the parent.
        found: what differs.
        identical: whether the roots of both are equal.
        after: fingerprint of the child.
        sources: models that the child may be a merge of, beside the parent.

    Raises:
        InputError: a tensor cannot be read, an adapter is not what its configuration says, or the sources of a merge
            do not determine its coefficients.
    """
    names = [tensor.name for tensor in found.weights.tensors]
    where = scope([name for name in names if name in parent.tensors], parent.tensors)
    if child.kind == "adapter":
        if is_stream(child) and after is not None:
            stream = find_stream(parent, child, after, found.weights.relative_norm)
            return Description("fast-weights", Facts(scope=where, stream=stream))
        tokens = find_virtual_tokens(parent, child)
        kind = KINDS[tokens.type] if tokens else "adapter"
        return Description(kind, Facts(scope=where, virtual_tokens=tokens), adapter_ranks(child))
    if identical:
        return Description("identical", Facts())
    if not names:
        return Description(_by_files(found), Facts())
    if sources and child.kind == parent.kind:
        merge = find_merge(parent, child, sources)
        facts = Facts(scope=where, merge=merge)
        return Description("merge", facts) if merge.explained else _by_tensors(parent, child, found, facts)
    return _by_tensors(parent, child, found, Facts(scope=where))


def _by_files(found: Difference) -> UpdateKind:
    names = found.files.names
    if all(map(is_tokenizer_file, names)):
        return "template-only" if found.template and found.tokenizer is None else "tokenizer-only"
    return "config-only" if _CONFIGURATION.issuperset(names) else "files-only"


def _by_tensors(parent: Checkpoint, child: Checkpoint, found: Difference, facts: Facts) -> Description:
    changed = [tensor for tensor in found.weights.tensors if not is_scale(tensor.name, child.tensors)]
    both = [tensor for tensor in changed if tensor.change == "changed"]
    casts = find_casts(parent.tensors, child.tensors, both)
    stored = find_stored(parent.tensors, child.tensors)
    facts = facts.model_copy(update={"casts": casts, "quantisation": stored})
    if stored is not None:
        return Description("quantised", facts)
    if is_dtype_only(casts, len(changed)):
        return Description("dtype-only", facts)
    sparse = None if casts else find_sparse(parent.tensors, child.tensors, changed)
    facts = facts.model_copy(update={"sparse": sparse})
    if sparse is not None and is_sparse(sparse, len(changed)):
        return Description("sparse", facts)
    if quantisation := find_dequantised(parent.tensors, child.tensors, both):
        return Description("quantised", facts.model_copy(update={"quantisation": quantisation}))
    low, ranks = find_low_rank(parent.tensors, child.tensors, [tensor.name for tensor in both])
    facts = facts.model_copy(update={"low_rank": low})
    if low is not None and low.low == low.matrices_changed == len(changed):
        return Description("low-rank", facts, ranks)
    return Description("partial" if 2 * len(changed) < found.weights.tensors_total else "full", facts, ranks)
