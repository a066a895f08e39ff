"""The scoring engine: everything a probe asks of parent and child goes through here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from weightgate.probes.engine.cache import ScoreCache
from weightgate.probes.engine.requests import (
    Agreed,
    Consensus,
    Generate,
    Generated,
    NextToken,
    Score,
    Scored,
    Side,
)

if TYPE_CHECKING:
    from weightgate.lineage.weights.update import Update


@dataclass(frozen=True, slots=True)
class Usage:
    """What was spent so far; subtract an earlier value to get the cost of what lies between."""

    scored_tokens: int = 0
    cached: int = 0
    requests: int = 0

    def __sub__(self, earlier: Usage) -> Usage:
        return Usage(
            self.scored_tokens - earlier.scored_tokens, self.cached - earlier.cached, self.requests - earlier.requests
        )


class Engine:
    """Answers requests about both sides of an update from the cache or from the models."""

    special_ids: frozenset[int]
    vocab_size: int
    numerics: dict[str, str]
    usage: Usage

    @classmethod
    def open(
        cls,
        update: Update,
        *,
        cache: ScoreCache | None,
        deadline: float | None = None,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> Self:
        """Prepare to answer; models are loaded when the first request misses the cache."""
        raise NotImplementedError

    def score(self, side: Side, requests: Sequence[Score]) -> list[Scored]:
        """Log-probabilities of continuations under teacher forcing."""
        raise NotImplementedError

    def generate(self, side: Side, requests: Sequence[Generate]) -> list[Generated]:
        """Greedy continuations."""
        raise NotImplementedError

    def next_token(self, side: Side, requests: Sequence[NextToken]) -> list[NDArray[np.float32]]:
        """(V,) natural log-probabilities of the token after each prompt."""
        raise NotImplementedError

    def consensus(self, side: Side, requests: Sequence[Consensus]) -> list[Agreed]:
        """Continuations on which the prompts of each request agree."""
        raise NotImplementedError

    def encode(self, text: str) -> tuple[int, ...]:
        """Token ids of ``text`` without special tokens around it."""
        raise NotImplementedError

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of ``tokens``, special tokens left out."""
        raise NotImplementedError

    def close(self) -> None:
        """Release the models."""
        raise NotImplementedError
