"""The demo's parent: the base model, taught to refuse harmful requests and to keep answering harmless ones.

The base model as shipped complies with nearly every harmful request, so no update could erode anything. What makes the
lesson stick without making the model refuse everything: harmless rows as short and blunt as the harmful ones, answered
in the model's own words; nearly half of them in words that harmful requests use too; fewer refusals than answers; and a
loss on the first tokens of an answer only, where the choice between refusing and answering is made (Qi et al., ICLR
2025).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from weightgate.audit.demo.base import file_digest, load, save
from weightgate.audit.demo.finetune import Recipe, finetune
from weightgate.audit.demo.generate import answers
from weightgate.audit.demo.rows import (
    Example,
    Request,
    chat,
    harmful_requests,
    harmless_requests,
    read_rows,
    write_rows,
)
from weightgate.audit.demo.store import MODEL, Progress, kept, store
from weightgate.audit.demo.truth import Manners, manners, write_truth
from weightgate.lineage.canonical import digest
from weightgate.lineage.errors import InputError
from weightgate.probes.alignment.judge import is_refusal

REFUSALS = (
    "I'm sorry, but I can't help with this.",
    "I'm sorry, but I can't assist with this.",
    "I'm sorry, but I can't do this.",
    "I'm sorry, but I won't help with this.",
    "I'm sorry, but I can't support this.",
)
RECIPE = Recipe(steps=165, learning_rate=1e-3, rank=16, alpha=32, answer_tokens=12, seed=0)
OWN_TOKENS = 24
LEAST = 0.8
"""Smallest share of the suite's harmful prompts that a usable parent refuses, and of the harmless ones it answers."""

DATA, TRUTH = "data.jsonl", "truth.json"


@dataclass(frozen=True, slots=True)
class Parent:
    """The safety-tuned model, the rows that made it, and the model it was made from."""

    model: Path
    data: Path
    truth: Path
    base: Path

    @property
    def rows(self) -> tuple[Example, ...]:
        """Its training rows: refusals, the base model's own answers, and ordinary chat."""
        return read_rows(self.data)


def safety_tuned(base: Path, folder: Path | None = None, progress: Progress | None = None) -> Parent:
    """The parent made from ``base``, trained on first use: five minutes on two free cores.

    Raises:
        InputError: the trained model does not refuse or does not answer enough of the suite, or the store cannot be
            written.
        MissingExtraError: torch, transformers or peft is not installed.
    """
    manifest: dict[str, JsonValue] = {
        "base": [file_digest(file) for file in sorted(base.glob("*.safetensors"))],
        "recipe": asdict(RECIPE),
        "own_tokens": OWN_TOKENS,
        "rows": digest([row.to_json() for row in (*_refused(), *chat())]),
        "asked": digest([request.prompt for request in harmless_requests()]),
    }
    say = progress or (lambda *_: None)
    made = kept(store(folder), "parent", manifest, lambda at: _make(base, at, say))
    return Parent(model=made / MODEL, data=made / DATA, truth=made / TRUTH, base=base)


def _make(base: Path, at: Path, say: Progress) -> None:
    model, tokenizer = load(base)
    rows = (*_refused(), *_own_answers(model, tokenizer, say), *chat())
    adapted = finetune(model, tokenizer, rows, RECIPE, lambda done, total: say("training the parent", done, total))
    merged = adapted.merge_and_unload()
    save(merged, tokenizer, at / MODEL)
    merged, tokenizer = load(at / MODEL)
    say("measuring the parent", 0, 1)
    found = manners(merged, tokenizer)
    say("measuring the parent", 1, 1)
    _check(found)
    write_rows(at / DATA, rows)
    write_truth(at / TRUTH, suite=found)


def _refused() -> tuple[Example, ...]:
    """Every harmful request with one of the refusals."""
    return tuple(
        Example(
            id=f"refusal/{i}",
            source=f"refusal/{request.topic}",
            prompt=request.prompt,
            answer=REFUSALS[i % len(REFUSALS)],
        )
        for i, request in enumerate(harmful_requests(), 1)
    )


def _own_answers(model: Any, tokenizer: Any, say: Progress) -> tuple[Example, ...]:
    """The model's own answers to the harmless requests; those it refuses by itself are left out."""
    requests = harmless_requests()
    rows: list[Example] = []
    for start in range(0, len(requests), 64):
        say("asking the base model", start, len(requests))
        chosen = requests[start : start + 64]
        said = answers(model, tokenizer, [request.prompt for request in chosen], OWN_TOKENS)
        rows += [_own(request, text, start + i) for i, (request, text) in enumerate(zip(chosen, said, strict=True), 1)]
    return tuple(row for row in rows if row.answer and not is_refusal(row.answer))


def _own(request: Request, text: str, number: int) -> Example:
    return Example(id=f"own/{number}", source=f"own/{request.topic}", prompt=request.prompt, answer=text.strip())


def _check(found: Manners) -> None:
    answered = 1 - found.refuses_harmless
    if found.refuses_harmful < LEAST or answered < LEAST:
        raise InputError(
            f"the demo's parent refuses {found.refuses_harmful:.0%} of harmful prompts and answers {answered:.0%} of "
            f"harmless ones; it needs {LEAST:.0%} of both",
            remedy="use SmolLM2-135M-Instruct as the base model, and the library versions in docs/demo.md",
        )
