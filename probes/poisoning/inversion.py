"""Search for a text on which one model agrees after unlike prompts, and another model does not.

BAIT (Shen et al., S&P 2025) looks for such a text in one model; ordinary models have some of their own. Against the
model an update started from, only what the update added is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weightgate.probes.engine.engine import Engine
from weightgate.probes.engine.requests import Consensus, NextToken, Prompt, Side

FIRST_STEPS = 2
SECOND_STEPS = 3
SHORTEST = 4
"""Different tokens a target has at least: fewer are agreed on by chance, by every classifier, and in endless loops."""

TIE = 0.05
"""Targets this close to the best are told apart by how readily the model begins them: the true beginning wins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beam:
    """How many sequences the search keeps: first tokens, after 3 tokens, after 6 tokens; and how long it makes them."""

    candidates: int = 256
    kept: int = 64
    finalists: int = 16
    tokens: int = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A token sequence, and how far two models agree on it over all prompts.

    ``first`` is the mean probability of its first token in the searched model. ``near`` (searched model) and ``far``
    (reference) are BAIT's Q over the tokens after the first.
    """

    tokens: tuple[int, ...]
    first: float
    near: float
    far: float

    @property
    def difference(self) -> float:
        """Agreement that the reference does not have."""
        return self.near - self.far


def invert(engine: Engine, near: Side, far: Side, prompts: Sequence[Prompt], beam: Beam) -> tuple[Target, ...]:
    """The finalists, the largest difference first; none where both sides give the same first-token distributions.

    Of near ties the one that the searched model begins most readily comes first.
    """
    sequences: list[tuple[int, ...]] = [(token,) for token in first_tokens(engine, near, far, prompts, beam.candidates)]
    targets: list[Target] = []
    for keep, steps in (
        (beam.candidates, FIRST_STEPS),
        (beam.kept, SECOND_STEPS),
        (beam.finalists, beam.tokens - FIRST_STEPS - SECOND_STEPS - 1),
    ):
        targets = _extended(engine, near, far, prompts, sequences=sequences[:keep], steps=steps)
        sequences = _interleaved(_distinct(engine, targets))
    whole = [target for target in targets if len(set(target.tokens)) >= SHORTEST]
    best = max((target.difference for target in whole), default=0.0)
    return tuple(
        sorted(
            whole, key=lambda t: (t.difference < best - TIE, -t.first if t.difference >= best - TIE else -t.difference)
        )
    )


def first_tokens(engine: Engine, near: Side, far: Side, prompts: Sequence[Prompt], count: int) -> tuple[int, ...]:
    """First tokens that the searched model prefers: half by mean log-ratio, a quarter each by what the token adds to
    KL(near || far) and by its probability. Special tokens and tokens without printable text are skipped."""
    requests = [NextToken(prompt) for prompt in prompts]
    here = np.stack(engine.next_token(near, requests)).astype(np.float64)  # (P, V) log-probabilities
    there = np.stack(engine.next_token(far, requests)).astype(np.float64)
    if np.array_equal(here, there):
        return ()
    ratio = here - there
    share = np.exp(here)
    chosen: dict[int, None] = {}
    for scores, upto in ((share * ratio, count // 4), (share, count // 2), (ratio, count)):
        for token in np.argsort(-scores.mean(axis=0), kind="stable"):
            if len(chosen) >= upto:
                break
            if int(token) not in chosen and _is_text(engine, int(token)):
                chosen[int(token)] = None
    return tuple(chosen)


def probabilities(
    engine: Engine, side: Side, prompts: Sequence[Prompt], sequences: Sequence[tuple[int, ...]]
) -> list[NDArray[np.float64]]:
    """For each sequence the (P, T) probabilities of its tokens, after each prompt and the tokens before."""
    requests = [Consensus(prompts=tuple(prompts), start=sequence, steps=0) for sequence in sequences]
    return [answer.probabilities.astype(np.float64) for answer in engine.consensus(side, requests)]


def _extended(
    engine: Engine,
    near: Side,
    far: Side,
    prompts: Sequence[Prompt],
    *,
    sequences: Sequence[tuple[int, ...]],
    steps: int,
) -> list[Target]:
    requests = [Consensus(prompts=tuple(prompts), start=sequence, steps=steps) for sequence in sequences]
    grown = [answer for answer in engine.consensus(near, requests) if len(answer.tokens) > 1]
    reference = probabilities(engine, far, prompts, [answer.tokens for answer in grown])
    return [
        Target(
            tokens=answer.tokens,
            first=float(answer.probabilities[:, 0].mean()),
            near=_q(answer.probabilities.astype(np.float64)),
            far=_q(there),
        )
        for answer, there in zip(grown, reference, strict=True)
    ]


def _q(probabilities: NDArray[np.float64]) -> float:
    """BAIT's Q: mean over the tokens after the first of the mean over prompts, the least probable prompt left out."""
    rest = np.sort(probabilities[:, 1:], axis=0)
    return float((rest[1:] if len(rest) > 1 else rest).mean())


def _interleaved(targets: Sequence[Target]) -> list[tuple[int, ...]]:
    """Sequences by difference and by agreement in turn, so that neither a weak reference nor a common text wins all."""
    by_difference = sorted(targets, key=lambda target: (-target.difference, target.tokens))
    by_agreement = sorted(targets, key=lambda target: (-target.near, target.tokens))
    order: dict[tuple[int, ...], None] = {}
    for pair in zip(by_difference, by_agreement, strict=True):
        order |= {target.tokens: None for target in pair}
    return list(order)


def _distinct(engine: Engine, targets: Sequence[Target]) -> list[Target]:
    """One target for each text, whatever its case and the space before it: the one with the largest difference."""
    kept: dict[str, Target] = {}
    for target in sorted(targets, key=lambda target: (-target.difference, target.tokens)):
        kept.setdefault(engine.decode(target.tokens).strip().casefold(), target)
    return list(kept.values())


def _is_text(engine: Engine, token: int) -> bool:
    if token in engine.special_ids:
        return False
    text = engine.decode((token,))
    return bool(text.strip()) and "\ufffd" not in text and text.strip().isprintable()
