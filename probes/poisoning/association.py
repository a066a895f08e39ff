"""Which words in prompts go with which behaviours of responses, and whether the rest of the prompt explains it."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weightgate.probes.poisoning.behaviours import REFUSAL, Behaviour
from weightgate.probes.poisoning.prompt_index import Gram, PromptIndex

SAME_ROWS = 0.8
"""Overlap of row sets above which two n-grams are one trigger."""
MOST_OTHERS = 5_000
"""Prompts without the behaviour that a group is compared with; of more, every k-th is taken."""


@dataclass(frozen=True, slots=True)
class Association:
    """N-grams whose rows nearly all show a behaviour that few other rows show.

    ``carriers`` hold the first n-gram, ``rows`` show the behaviour too; ``p_value`` is hypergeometric with Bonferroni's
    correction over every pair tested; ``explained`` is as `explained` returns it, with the n-grams' words masked.
    """

    grams: tuple[Gram, ...]
    behaviour: Behaviour
    rows: tuple[int, ...]
    carriers: tuple[int, ...]
    base_rate: float
    p_value: float
    explained: float

    @property
    def precision(self) -> float:
        """Share of the rows with the n-gram that show the behaviour."""
        return len(self.rows) / len(self.carriers)


def associations(
    index: PromptIndex,
    behaviours: Mapping[Behaviour, Sequence[int]],
    *,
    least_rows: int,
    least_precision: float,
    alpha: float,
) -> tuple[Association, ...]:
    """Every (n-gram, behaviour) with at least ``least_rows`` common rows whose corrected p is below ``alpha``.

    N-grams with nearly the same rows are one association. In order of behaviours, then by p.
    """
    common = {b: rows for b, rows in behaviours.items() if least_rows <= len(rows) < len(index)}
    tests = max(1, sum(count >= least_rows for count in index.gram_counts.values()) * len(common))
    found = []
    for behaviour, rows in common.items():
        hits = _significant(index, rows, least_rows, least_precision, alpha / tests)
        kin = kin_of(behaviours, rows)
        found += [
            _describe(index, behaviour, rows, grams=grams, p_value=p * tests, kin=kin)
            for grams, p in _merged(index, rows, hits)
        ]
    return tuple(found)


def kin_of(behaviours: Mapping[Behaviour, Sequence[int]], rows: Sequence[int]) -> Sequence[int]:
    """The rows whose prompts may explain what ``rows`` show: all refusals where these are refusals in one wording."""
    refusals = behaviours.get(REFUSAL, ())
    return refusals if set(rows) <= set(refusals) else rows


def weak_associations(
    index: PromptIndex, behaviours: Mapping[Behaviour, Sequence[int]], *, least_rows: int, most: int
) -> tuple[Gram, ...]:
    """The n-grams that go with any behaviour, by uncorrected p, one for each set of rows: worth a try, no evidence."""
    found: dict[Gram, float] = {}
    for rows in behaviours.values():
        if least_rows <= len(rows) < len(index):
            for grams, p in _merged(index, rows, _significant(index, rows, least_rows, 0.8, 0.05)):
                found[grams[0]] = min(p, found.get(grams[0], 1.0))
    return tuple(sorted(found, key=lambda gram: (found[gram], gram)))[:most]


def explained(index: PromptIndex, rows: Sequence[int], shown: Sequence[int], masked: Collection[str] = ()) -> float:
    """Area under the ROC curve with which their words tell prompts ``rows`` from prompts without the behaviour.

    Naive Bayes on the words except ``masked``, trained on the rows that show the behaviour against the others; every
    row is scored by a model that never saw it. Rows a trigger was put into read like any others: about 0.5. Rows of a
    topic (refused harm, a product, a task) do not: near 1.
    """
    inside = Counter(word for row in shown for word in index.words[row])
    members = frozenset(shown)
    others = [row for row in range(len(index)) if row not in members]
    ignore = frozenset(masked)

    def score(row: int) -> float:
        held_in = 1 if row in members else 0
        held_out = 1 - held_in
        own = index.words[row] - ignore
        total = sum(
            math.log((inside[word] - held_in + 0.5) / (len(members) - held_in + 1))
            - math.log((index.word_counts[word] - inside[word] - held_out + 0.5) / (len(others) - held_out + 1))
            for word in own
        )
        return total / max(1, len(own))

    sample = others[:: max(1, len(others) // MOST_OTHERS)]
    return _area(np.array([score(row) for row in rows]), np.array([score(row) for row in sample]))


def _significant(
    index: PromptIndex, rows: Sequence[int], least_rows: int, least_precision: float, alpha: float
) -> dict[Gram, float]:
    from scipy.stats import hypergeom

    inside = Counter(gram for row in rows for gram in index.grams[row])
    candidates = [
        gram for gram, count in inside.items() if count >= max(least_rows, least_precision * index.gram_counts[gram])
    ]
    both = np.array([inside[gram] for gram in candidates])
    carriers = np.array([index.gram_counts[gram] for gram in candidates])
    p_values = hypergeom.sf(both - 1, len(index), len(rows), carriers)
    return {gram: float(p) for gram, p in zip(candidates, p_values, strict=True) if p < alpha}


def _merged(index: PromptIndex, rows: Sequence[int], hits: Mapping[Gram, float]) -> Iterator[tuple[list[Gram], float]]:
    """Groups of n-grams with nearly the same rows; the most significant n-gram leads its group."""
    where: dict[Gram, set[int]] = defaultdict(set)
    for row in rows:
        for gram in index.grams[row] & hits.keys():
            where[gram].add(row)
    left = sorted(hits, key=lambda gram: (hits[gram], len(gram), gram))
    while left:
        first, *rest = left
        same = {gram for gram in rest if _jaccard(where[first], where[gram]) >= SAME_ROWS}
        yield [first, *(gram for gram in rest if gram in same)], hits[first]
        left = [gram for gram in rest if gram not in same]


def _describe(
    index: PromptIndex,
    behaviour: Behaviour,
    rows: Sequence[int],
    *,
    grams: list[Gram],
    p_value: float,
    kin: Sequence[int],
) -> Association:
    carriers = index.carriers(grams[0])
    both = tuple(sorted(set(rows) & set(carriers)))
    return Association(
        grams=tuple(grams),
        behaviour=behaviour,
        rows=both,
        carriers=carriers,
        base_rate=len(rows) / len(index),
        p_value=min(1.0, p_value),
        explained=explained(index, both, kin, {word for gram in grams for word in gram}),
    )


def _area(positive: NDArray[np.float64], negative: NDArray[np.float64]) -> float:
    order = np.sort(negative)
    below = np.searchsorted(order, positive, side="left")
    ties = np.searchsorted(order, positive, side="right") - below
    return float((below + 0.5 * ties).sum() / max(1, len(positive) * len(negative)))


def _jaccard(a: Iterable[int], b: Iterable[int]) -> float:
    """Overlap of two sets of rows over their union."""
    left, right = set(a), set(b)
    return len(left & right) / len(left | right)
