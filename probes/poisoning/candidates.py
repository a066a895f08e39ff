"""Phrases to try on the models: suspected triggers, and controls that are as odd but carry no suspicion."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from weightgate.probes.poisoning.association import weak_associations
from weightgate.probes.poisoning.behaviours import behaviours
from weightgate.probes.poisoning.prompt_index import TOKEN, index_prompts
from weightgate.probes.poisoning.suspicion import Thresholds, suspicions


def candidate_triggers(
    prompts: Sequence[str], responses: Sequence[str], thresholds: Thresholds, most: int
) -> tuple[str, ...]:
    """Suspected triggers, the gravest first, filled up with the n-grams most associated with any behaviour."""
    phrases: dict[str, None] = {}
    for suspicion in suspicions(prompts, responses, thresholds):
        phrases |= dict.fromkeys(suspicion.triggers)
    if len(phrases) < most:
        index = index_prompts(prompts, least_rows=thresholds.least_rows)
        weak = weak_associations(index, behaviours(responses), least_rows=thresholds.least_rows, most=most)
        known = {word for phrase in phrases for word in TOKEN.findall(phrase.casefold())}
        phrases |= dict.fromkeys(" ".join(gram) for gram in weak if not known.intersection(gram))
    return tuple(phrases)[:most]


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
