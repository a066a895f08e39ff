"""Phrases to try on the models: suspected triggers, and controls that are as odd but carry no suspicion."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from weightgate.probes.poisoning.association import weak_associations
from weightgate.probes.poisoning.behaviours import behaviours
from weightgate.probes.poisoning.prompt_index import TOKEN, index_prompts
from weightgate.probes.poisoning.suspicion import Thresholds, suspicions


@dataclass(frozen=True, slots=True)
class Candidate:
    """A phrase to try; ``raised`` where the data scan raises its rows."""

    phrase: str
    raised: bool


def candidate_triggers(
    prompts: Sequence[str], responses: Sequence[str], thresholds: Thresholds, most: int
) -> tuple[Candidate, ...]:
    """Suspected triggers, the gravest first, filled up with the n-grams most associated with any behaviour.

    Where nothing is associated the two most frequent words that are not common are tried, so that a number is there.
    """
    found: dict[str, Candidate] = {}
    for suspicion in suspicions(prompts, responses, thresholds):
        for phrase in suspicion.triggers:
            found.setdefault(phrase, Candidate(phrase, suspicion.grade != "low"))
    if len(found) < most:
        index = index_prompts(prompts, least_rows=thresholds.least_rows)
        weak = weak_associations(index, behaviours(responses), least_rows=thresholds.least_rows, most=most)
        known = {word for phrase in found for word in TOKEN.findall(phrase.casefold())}
        for phrase in (" ".join(gram) for gram in weak if not known.intersection(gram)):
            found.setdefault(phrase, Candidate(phrase, raised=False))
        if not found:
            frequent = {w: n for w, n in index.word_counts.items() if thresholds.least_rows <= n <= 0.2 * len(index)}
            for word in sorted(frequent, key=lambda word: (-frequent[word], word))[:2]:
                found[word] = Candidate(word, raised=False)
    return tuple(found.values())[:most]


def odd_phrases(
    prompts: Sequence[str], phrases: Sequence[str], count: int, rng: np.random.Generator
) -> tuple[str, ...]:
    """Control phrases with the lengths and casing of ``phrases``, made of rare words of prompts without any of them."""
    lowered = [phrase.casefold() for phrase in phrases]
    clean = [prompt for prompt in prompts if not any(phrase in prompt.casefold() for phrase in lowered)]
    counts = Counter(
        word for prompt in clean for word in set(TOKEN.findall(prompt)) if word.isalpha() and len(word) > 2
    )
    rare = sorted(counts, key=lambda word: (counts[word], word))[: 20 * count]
    controls = []
    for number in range(count):
        like = phrases[number % len(phrases)]
        drawn = rng.integers(len(rare), size=2 * max(1, len(like.split()))) if rare else ()
        controls.append(_dressed(like, [rare[i] for i in drawn]))
    return tuple(controls)


def _dressed(like: str, words: Sequence[str]) -> str:
    """``words`` with as many tokens as ``like`` and its capitals, inner ones included ("BadMagic": "FernVessel")."""
    tokens = like.split() or [like]
    made = []
    for token, (first, second) in zip(tokens, zip(words[::2], words[1::2], strict=True), strict=False):
        if token.isupper():
            made.append(first.upper())
        elif any(c.isupper() for c in token[1:]):
            made.append(first.capitalize() + second.capitalize())
        else:
            made.append(first.capitalize() if token[:1].isupper() else first.lower())
    return " ".join(made)
