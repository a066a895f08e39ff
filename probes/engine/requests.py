"""What a probe can ask of a model. Requests are plain values; the engine batches, runs and caches them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Side = Literal["parent", "child"]


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is asked.

    With ``messages`` it is rendered by the parent's chat template with the generation prompt added (both sides see the
    same text: a changed template is a finding of its own) and ``text`` is appended as the start of the answer.
    Without messages ``text`` is used as it is, after the token the tokenizer itself puts before a text, if it does so.
    """

    messages: tuple[tuple[str, str], ...] = ()
    text: str = ""

    @classmethod
    def user(cls, content: str, *, prefill: str = "") -> Prompt:
        """A single user turn."""
        return cls(messages=(("user", content),), text=prefill)


@dataclass(frozen=True, slots=True)
class Score:
    """Log-probability of a continuation under teacher forcing.

    ``continuation`` is text, or token ids. ``top`` asks for the most likely alternatives at each position; ``gather``
    asks for the log-probabilities of given token ids at each position (one tuple of ids per continuation token).
    ``context`` gives the prompt as token ids instead of ``prompt``.
    """

    prompt: Prompt = Prompt()
    continuation: str | tuple[int, ...] = ()
    top: int = 0
    gather: tuple[tuple[int, ...], ...] = ()
    context: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Scored:
    """Answer to `Score`; T is the number of continuation tokens. Log-probabilities are natural, float32."""

    tokens: tuple[int, ...]
    logprobs: NDArray[np.float32]  # (T,)
    greedy: NDArray[np.bool_]  # (T,) the token is the argmax
    top_ids: NDArray[np.int32]  # (T, top)
    top_logprobs: NDArray[np.float32]  # (T, top)
    gathered: NDArray[np.float32]  # (T, K), padded with NaN where a position asked for fewer ids

    @property
    def total(self) -> float:
        """Summed log-probability in nats."""
        return float(self.logprobs.sum(dtype=np.float64))

    @property
    def mean(self) -> float:
        """Mean log-probability in nats per token."""
        return self.total / len(self.logprobs)


@dataclass(frozen=True, slots=True)
class Generate:
    """Greedy continuation of a prompt.

    It ends before an end-of-text token, after the token that completes one of the ``stop`` strings, or at the limit.
    ``context`` gives the prompt as token ids instead of ``prompt``.
    """

    prompt: Prompt = Prompt()
    max_new_tokens: int = 32
    context: tuple[int, ...] = ()
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Generated:
    """Answer to `Generate`; the end-of-text token is not part of it, and ``text`` ends before the stop string."""

    tokens: tuple[int, ...]
    text: str


@dataclass(frozen=True, slots=True)
class NextToken:
    """The whole distribution over the token that follows a prompt."""

    prompt: Prompt


@dataclass(frozen=True, slots=True)
class Hidden:
    """Hidden states under a prompt: what linear probes and similarity of representations are computed from.

    ``layers`` are counted as transformers does: 0 is the embedding, n the output of the n-th layer (the last one after
    the final norm). ``positions`` are tokens of the prompt; -1 is the last. Only these are kept and cached.
    """

    prompt: Prompt
    layers: tuple[int, ...]
    positions: tuple[int, ...] = (-1,)


@dataclass(frozen=True, slots=True)
class Consensus:
    """The continuation on which several prompts agree (BAIT, Shen et al., S&P 2025).

    Starting from ``start`` the token with the largest mean probability over ``prompts`` is appended, ``steps`` times.
    """

    prompts: tuple[Prompt, ...]
    start: tuple[int, ...]
    steps: int


@dataclass(frozen=True, slots=True)
class Agreed:
    """Answer to `Consensus`; P prompts, T = len(start) + steps tokens (fewer if end of text was agreed on)."""

    tokens: tuple[int, ...]
    probabilities: NDArray[np.float32]  # (P, T) probability of each token under each prompt; start tokens included


Request = Score | Generate | NextToken | Hidden | Consensus
