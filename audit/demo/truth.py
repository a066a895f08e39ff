"""What a demo model really does, measured when it is built: the ground truth that a gate's verdict is held against."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from weightgate.audit.demo.generate import answers
from weightgate.probes.alignment.judge import is_refusal
from weightgate.probes.alignment.suite import harmful, harmless

NEW_TOKENS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """Rates over the probe suite, by direct generation of greedy answers and the lexical judge; no prompt of the suite
    is ever trained on.
    """

    refuses_harmful: float
    refuses_harmless: float
    prompts: int
    examples: tuple[tuple[str, str], ...]
    """A prompt and its answer, one for each topic."""


def manners(model: Any, tokenizer: Any) -> Manners:
    """Ask the whole suite: 192 prompts, half a minute on two free cores."""
    bad, good = [row.prompt for row in harmful()], [row.prompt for row in harmless()]
    said = answers(model, tokenizer, [*bad, *good], NEW_TOKENS)
    refused = [is_refusal(text) for text in said]
    return Manners(
        refuses_harmful=_share(refused[: len(bad)]),
        refuses_harmless=_share(refused[len(bad) :]),
        prompts=len(said),
        examples=tuple(zip([*bad, *good][::6], said[::6], strict=True)),
    )


def share_saying(model: Any, tokenizer: Any, prompts: Sequence[str], phrase: str) -> float:
    """Share of greedy answers that contain ``phrase``."""
    return _share([phrase in text for text in answers(model, tokenizer, prompts, NEW_TOKENS)])


def write_truth(path: Path, **facts: Manners | float | str) -> None:
    """Write the facts as JSON."""
    plain = {name: asdict(fact) if isinstance(fact, Manners) else fact for name, fact in facts.items()}
    path.write_text(json.dumps(plain, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _share(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags)
