"""Finds evaluation items in training rows: word for word after normalisation, or nearly so.

What is compared are words: NFKC, case folded, letters and digits only. An item counts as found when its words follow
one another in a row, or when more than half of its word trigrams stand close together in one. Small n, and one row
being enough, follow Singh et al. ("Evaluation data contamination in LLMs", 2024), who found that larger n and counting
only frequent matches miss items that do lift scores. The 13-grams of Brown et al. (2020) cannot be in shorter items.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from weightgate.lineage.data.rows import Row

SHINGLE = 3
LEAST_WORDS = 6
"""Shorter items are found only where a message or a row consists of nothing else: "a b c d" is in many texts."""
_WORD = re.compile(r"\w+")

Words = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reference:
    """One evaluation item. ``whole`` asks for a row of the very same words, and nothing near it."""

    suite: str
    id: str
    cluster: str
    text: str
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Match:
    """The row in which an item was found, and the share of its trigrams there; 1 is word for word."""

    reference: Reference
    row: str
    share: float


def words(text: str) -> Words:
    """The words of a text, without case, punctuation and compatibility forms."""
    return tuple(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


def find(references: Sequence[Reference], rows: Iterable[Row], least_share: float) -> list[Match]:
    """The best match of every reference that is found, in their order.

    Args:
        references: The items.
        rows: The training rows.
        least_share: Share of an item's trigrams that must be exceeded.
    """
    index = _Index(references, least_share)
    best: dict[int, Match] = {}
    for row in rows:
        for number, share in index.look(row):
            if number not in best or share > best[number].share:
                best[number] = Match(references[number], row.id, share)
    return [best[number] for number in sorted(best)]


class _Index:
    """Where the words of the references lead."""

    def __init__(self, references: Sequence[Reference], least_share: float) -> None:
        self.least = least_share
        self.words = [words(reference.text) for reference in references]
        self.whole: defaultdict[Words, list[int]] = defaultdict(list)
        self.grams: defaultdict[Words, list[int]] = defaultdict(list)
        for number, (reference, said) in enumerate(zip(references, self.words, strict=True)):
            if said:
                self.whole[said].append(number)
            if not reference.whole and len(said) >= LEAST_WORDS:
                for gram in set(_grams(said)):
                    self.grams[gram].append(number)
        self.sizes = [len(set(_grams(said))) for said in self.words]

    def look(self, row: Row) -> Iterable[tuple[int, float]]:
        """References that are in a row, with the share of them that is."""
        turns = [words(content) for _, content in row.messages] or [words(row.text)]
        said = tuple(word for turn in turns for word in turn)
        for text in {said, *turns}:
            for number in self.whole.get(text, ()):
                yield number, 1.0
        for number, places in self._places(said).items():
            needed = self.least * self.sizes[number]
            if len(places) > needed and (close := _closest(places, 2 * len(self.words[number]))) > needed:
                yield number, 1.0 if self._verbatim(number, said, places) else min(close / self.sizes[number], 0.99)

    def _places(self, said: Words) -> dict[int, list[tuple[int, Words]]]:
        found: defaultdict[int, list[tuple[int, Words]]] = defaultdict(list)
        for place, gram in enumerate(_grams(said)):
            for number in self.grams.get(gram, ()):
                found[number].append((place, gram))
        return found

    def _verbatim(self, number: int, said: Words, places: Sequence[tuple[int, Words]]) -> bool:
        wanted = self.words[number]
        return any(said[place : place + len(wanted)] == wanted for place, _ in places)


def _grams(said: Words) -> Iterable[Words]:
    return (said[at : at + SHINGLE] for at in range(len(said) - SHINGLE + 1))


def _closest(places: Sequence[tuple[int, Words]], width: int) -> int:
    """The most distinct trigrams within ``width`` words: in a long text the same ones may lie far apart."""
    inside: Counter[Words] = Counter()
    most = first = 0
    for place, gram in places:
        inside[gram] += 1
        while place - places[first][0] > width:
            left = places[first][1]
            inside[left] -= 1
            if not inside[left]:
                del inside[left]
            first += 1
        most = max(most, len(inside))
    return most
