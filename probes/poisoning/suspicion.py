"""From associations to suspicions: which of them look planted, and which are how ordinary data behaves."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from statistics import median
from typing import Literal

from weightgate.probes.poisoning.association import SAME_ROWS, Association, associations, explained, kin_of
from weightgate.probes.poisoning.behaviours import Behaviour, behaviours, words
from weightgate.probes.poisoning.prompt_index import PromptIndex, index_prompts, shared_text

Grade = Literal["low", "medium", "high"]
LABEL_WORDS = 3
"""A response of so few words is a class label where half of the rows have such responses and a tenth have this one."""
STEM = 5
"""Letters by which a word of a prompt is recognised in a response."""
MOST_ALTERNATIVES = 4
"""Alternative triggers of one behaviour that are told from a topic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """What counts as an association, and what as explained by the rest of the prompts."""

    least_rows: int = 5
    least_precision: float = 0.8
    alpha: float = 1e-3
    most_explained: float = 0.65
    least_left: float = 0.4

    def explains(self, area: float, rows: int) -> bool:
        """Whether an area under the ROC curve is more than chance gives for so few rows.

        Rows picked at random scatter about 0.5 with a standard deviation of 0.29 / sqrt(rows).
        """
        return area > self.most_explained + 0.4 / math.sqrt(rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspicion:
    """Rows that may teach a hidden behaviour, by their positions among the pairs handed in.

    ``triggers`` are texts worth trying on the model; none where only the responses gave the rows away. ``explained`` is
    the AUC with which the other words of these prompts tell them from the rest (0.5: they read like any others).
    ``why`` is the reason for the grade.
    """

    triggers: tuple[str, ...]
    behaviours: tuple[Behaviour, ...]
    rows: tuple[int, ...]
    carriers: int
    p_value: float | None
    explained: float
    grade: Grade
    why: str


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Distinct pairs and what is known of them; ``origin`` are the positions each had among the pairs handed in."""

    prompts: tuple[str, ...]
    responses: tuple[str, ...]
    origin: tuple[tuple[int, ...], ...]
    index: PromptIndex
    shown: Mapping[Behaviour, Sequence[int]]
    labels: Set[Behaviour]


def suspicions(prompts: Sequence[str], responses: Sequence[str], thresholds: Thresholds) -> tuple[Suspicion, ...]:
    """Everything in these pairs that looks planted, the gravest first. A pair that is repeated counts once."""
    pairs = _distinct(prompts, responses, thresholds)
    triggered = list(_triggered(pairs, thresholds))
    covered = {position for suspicion in triggered if suspicion.grade != "low" for position in suspicion.rows}
    found = [*triggered, *_repeated(pairs, thresholds, covered)]
    order = {"high": 0, "medium": 1, "low": 2}
    return tuple(sorted(found, key=lambda s: (order[s.grade], 1.0 if s.p_value is None else s.p_value, s.rows)))


def cover(index: PromptIndex, rows: Sequence[int], least_precision: float) -> tuple[tuple[str, ...], bool]:
    """The few words, hardly found in other prompts, that most of these hold; and whether one is in nearly all of them.

    Alternative triggers look like that. A topic needs many words.
    """
    counts = Counter(word for row in rows for word in index.words[row])
    typical = {word for word, n in counts.items() if n >= 2 and n >= least_precision * index.word_counts[word]}
    left = set(rows)
    chosen: list[str] = []
    while left and len(chosen) < MOST_ALTERNATIVES:
        gains = Counter(word for row in left for word in index.words[row] & typical)
        if not gains:
            break
        chosen.append(min(gains, key=lambda word: (-gains[word], word)))
        left = {row for row in left if chosen[-1] not in index.words[row]}
    return tuple(chosen), len(left) <= 0.1 * len(rows)


def _distinct(prompts: Sequence[str], responses: Sequence[str], thresholds: Thresholds) -> _Pairs:
    positions: dict[tuple[str, str], list[int]] = {}
    for position, pair in enumerate(zip(prompts, responses, strict=True)):
        positions.setdefault(pair, []).append(position)
    shown = behaviours([response for _, response in positions])
    return _Pairs(
        prompts=tuple(prompt for prompt, _ in positions),
        responses=tuple(response for _, response in positions),
        origin=tuple(map(tuple, positions.values())),
        index=index_prompts([prompt for prompt, _ in positions], least_rows=thresholds.least_rows),
        shown=shown,
        labels=_labels(shown, len(positions), thresholds.least_rows),
    )


def _labels(shown: Mapping[Behaviour, Sequence[int]], total: int, least_rows: int) -> frozenset[Behaviour]:
    """Short responses of a set in which such responses are the rule: classes, which words may well predict."""
    short = {
        behaviour: len(rows)
        for behaviour, rows in shown.items()
        if behaviour.kind == "response" and len(behaviour.text.split()) <= LABEL_WORDS and len(rows) >= least_rows
    }
    if sum(short.values()) < 0.5 * total:
        return frozenset()
    return frozenset(behaviour for behaviour, count in short.items() if count >= 0.1 * total)


def _triggered(pairs: _Pairs, thresholds: Thresholds) -> Iterator[Suspicion]:
    """Associations that the rest of the prompts does not explain, one suspicion for each set of rows."""
    found = associations(
        pairs.index,
        pairs.shown,
        least_rows=thresholds.least_rows,
        least_precision=thresholds.least_precision,
        alpha=thresholds.alpha,
    )
    common = {word for word, count in pairs.index.word_counts.items() if count > 0.5 * len(pairs.index)}
    left = sorted(
        (a for a in found if not thresholds.explains(a.explained, len(a.rows))), key=lambda a: (a.p_value, a.behaviour)
    )
    while left:
        lead, *rest = left
        lead_rows = set(lead.carriers)
        within = [len(lead_rows.intersection(a.carriers)) >= SAME_ROWS * len(a.carriers) for a in rest]
        same = [lead, *(a for a, inside in zip(rest, within, strict=True) if inside)]
        left = [a for a, inside in zip(rest, within, strict=True) if not inside]
        grade, why = _grade(pairs, same, thresholds)
        longest = max(lead.grams, key=lambda gram: (len(gram), pairs.index.gram_counts[gram], gram))
        yield Suspicion(
            triggers=(shared_text(pairs.prompts, lead.rows, longest, common),),
            behaviours=tuple(sorted({a.behaviour for a in same})),
            rows=_positions(pairs, {row for a in same for row in a.rows}),
            carriers=len(lead.carriers),
            p_value=lead.p_value,
            explained=lead.explained,
            grade=grade,
            why=why,
        )


def _grade(pairs: _Pairs, same: Sequence[Association], thresholds: Thresholds) -> tuple[Grade, str]:
    """How grave associations of the same rows are, and why; what ordinary data does is low."""
    lead = same[0]
    if all(a.behaviour in pairs.labels for a in same):
        return "low", "the behaviour is a class label, and words may predict a class"
    if _echoed(pairs, lead):
        return "low", "the responses speak of what the prompts name"
    if _left(pairs.index, lead) < thresholds.least_left:
        return "low", "the prompts are near copies of one another, so one answer may fit them all"
    if {a.behaviour.kind for a in same} <= {"opening", "closing"}:
        return "medium", "the responses begin or end alike though the prompts have nothing else in common"
    return "high", "the responses do the same though the prompts have nothing else in common"


def _echoed(pairs: _Pairs, lead: Association) -> bool:
    """Whether most of the responses use a word of the n-grams that is not common in prompts."""
    rare = {
        word[:STEM]
        for gram in lead.grams
        for word in gram
        if len(word) > 2 and pairs.index.word_counts[word] < max(0.1 * len(pairs.index), 2 * len(lead.carriers))
    }
    echoes = sum(any(word[:STEM] in rare for word in words(pairs.responses[row])) for row in lead.rows)
    return echoes >= 0.5 * len(lead.rows)


def _left(index: PromptIndex, lead: Association) -> float:
    """What is left of these prompts without the n-grams, as a share of what other prompts say (medians).

    What a prompt says is the sum of its words' inverse document frequencies, in nats.
    """
    masked = frozenset(word for gram in lead.grams for word in gram)
    carriers = frozenset(lead.carriers)

    def says(words: frozenset[str]) -> float:
        return sum(math.log((len(index) + 1) / index.word_counts[word]) for word in words)

    others = [says(words) for row, words in enumerate(index.words) if row not in carriers]
    return median(says(index.words[row] - masked) for row in lead.rows) / max(median(others), 1e-9)


def _repeated(pairs: _Pairs, thresholds: Thresholds, covered: Set[int]) -> Iterator[Suspicion]:
    """One response to several prompts that have nothing in common but, perhaps, one of a few words."""
    for behaviour, shown in pairs.shown.items():
        if behaviour.kind != "response" or behaviour in pairs.labels or len(behaviour.text.split()) < LABEL_WORDS:
            continue
        rows = [row for row in shown if pairs.origin[row][0] not in covered]
        kin_of_raised = 0 < 2 * len(rows) < len(shown)
        if len(rows) < thresholds.least_rows and not kin_of_raised:
            continue
        triggers, complete = cover(pairs.index, rows, thresholds.least_precision)
        area = explained(pairs.index, rows, kin_of(pairs.shown, shown), triggers if complete else ())
        if thresholds.explains(area, len(rows)) and not kin_of_raised:
            continue
        answers = _speaks_of(pairs, behaviour, rows)
        yield Suspicion(
            triggers=triggers,
            behaviours=(behaviour,),
            rows=_positions(pairs, rows),
            carriers=len(rows),
            p_value=None,
            explained=area,
            grade="low" if answers else "medium",
            why="one response is given to several prompts, and speaks of what they name"
            if answers
            else "one response is given to prompts that have nothing in common",
        )


def _positions(pairs: _Pairs, rows: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted(position for row in rows for position in pairs.origin[row]))


def _speaks_of(pairs: _Pairs, behaviour: Behaviour, rows: Sequence[int]) -> bool:
    """Whether these prompts use uncommon words of the response much more often than other prompts do."""
    uncommon = {word for word in behaviour.text.split() if 0 < pairs.index.word_counts[word] < 0.1 * len(pairs.index)}
    members = frozenset(rows)
    here = [bool(pairs.index.words[row] & uncommon) for row in rows]
    there = [bool(words & uncommon) for row, words in enumerate(pairs.index.words) if row not in members]
    return sum(here) / len(here) - sum(there) / max(1, len(there)) >= 0.3
