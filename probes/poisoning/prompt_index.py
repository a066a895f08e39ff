"""Which n-grams are in which prompts: the frequent ones, found level by level.

Source: Apriori (Agrawal & Srikant, VLDB 1994): an n-gram is frequent only where both of its halves are.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass

from weightgate.probes.poisoning.unicode import hidden, hidden_runs, look_alikes, visible

Gram = tuple[str, ...]
LONGEST = 4
"""Words in an n-gram; a longer trigger shows as its parts."""
EDGE_TOKENS = 200
"""Of a longer prompt only this many tokens from each end are read."""
TOKEN = re.compile(r"\w+|[^\w\s]+")


@dataclass(frozen=True, slots=True)
class PromptIndex:
    """The words of every prompt, and its n-grams that are in at least ``least_rows`` prompts."""

    words: tuple[frozenset[str], ...]
    grams: tuple[frozenset[Gram], ...]
    word_counts: Counter[str]
    gram_counts: Counter[Gram]

    def __len__(self) -> int:
        return len(self.words)

    def carriers(self, gram: Gram) -> tuple[int, ...]:
        """Rows whose prompt holds a frequent ``gram``."""
        return tuple(row for row, grams in enumerate(self.grams) if gram in grams)


def index_prompts(prompts: Sequence[str], *, least_rows: int) -> PromptIndex:
    """Read every prompt once and keep the n-grams of one to four tokens that are in at least ``least_rows`` prompts.

    Tokens are case-folded words and runs of punctuation. What cannot be seen, or reads as something else, is a token of
    its own, so that an invisible trigger is a word like any other.
    """
    tokens = [_tokens(prompt) for prompt in prompts]
    words = tuple(frozenset(row) | frozenset(_unseen(prompt)) for row, prompt in zip(tokens, prompts, strict=True))
    word_counts = Counter(word for row in words for word in row)
    kept: list[set[Gram]] = [{(word,) for word in row if word_counts[word] >= least_rows} for row in words]
    frequent: set[Gram] = {(word,) for word, count in word_counts.items() if count >= least_rows}
    counts: Counter[Gram] = Counter({gram: word_counts[gram[0]] for gram in frequent})
    for length in range(2, LONGEST + 1):
        level = [set(_extensions(row, length, frequent)) for row in tokens]
        found = Counter(gram for row in level for gram in row)
        frequent = {gram for gram, count in found.items() if count >= least_rows}
        counts.update({gram: found[gram] for gram in frequent})
        for known, grams in zip(kept, level, strict=True):
            known.update(grams & frequent)
    return PromptIndex(words=words, grams=tuple(map(frozenset, kept)), word_counts=word_counts, gram_counts=counts)


def shared_text(prompts: Sequence[str], rows: Sequence[int], gram: Gram, common: Set[str]) -> str:
    """The longest run of text around ``gram`` that four of five prompts ``rows`` have, as the first writes it.

    It neither begins nor ends with a word of ``common``.
    """
    texts = [" ".join(TOKEN.findall(visible(prompts[row]).casefold())) for row in rows]
    for row in rows:
        prompt = visible(prompts[row])
        spans = [match.span() for match in TOKEN.finditer(prompt)]
        tokens = [prompt[a:b].casefold() for a, b in spans]
        at = next((i for i in range(len(tokens)) if tuple(tokens[i : i + len(gram)]) == gram), None)
        if at is not None:
            first, last = _grown(tokens, at, at + len(gram), texts)
            while last - first > 1 and tokens[last - 1] in common:
                last -= 1
            while last - first > 1 and tokens[first] in common:
                first += 1
            return prompt[spans[first][0] : spans[last - 1][1]]
    return next((run for row in rows for run in hidden_runs(prompts[row])), " ".join(gram))


def _grown(tokens: Sequence[str], first: int, last: int, texts: Sequence[str]) -> tuple[int, int]:
    def common(a: int, b: int) -> bool:
        run = " ".join(tokens[a:b])
        return sum(run in text for text in texts) >= 0.8 * len(texts)

    while last < len(tokens) and common(first, last + 1):
        last += 1
    while first > 0 and common(first - 1, last):
        first -= 1
    return first, last


def _tokens(prompt: str) -> list[str]:
    tokens = TOKEN.findall(visible(prompt).casefold())
    return tokens if len(tokens) <= 2 * EDGE_TOKENS else [*tokens[:EDGE_TOKENS], *tokens[-EDGE_TOKENS:]]


def _unseen(prompt: str) -> Iterator[str]:
    yield from (f"<{name}>" for name in hidden(prompt))
    if look_alikes(prompt):
        yield "<word that mixes alphabets>"


def _extensions(tokens: Sequence[str], length: int, shorter: Set[Gram]) -> Iterator[Gram]:
    """N-grams of ``length`` both of whose halves of one token less are frequent."""
    for at in range(len(tokens) - length + 1):
        gram = tuple(tokens[at : at + length])
        if gram[:-1] in shorter and gram[1:] in shorter:
            yield gram
