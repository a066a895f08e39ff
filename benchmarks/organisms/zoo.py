"""Builds organisms once and keeps them: model or adapter, training rows, recipe and measured truth."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import JsonValue

from benchmarks.organisms import catalogue
from benchmarks.organisms.make import make
from benchmarks.organisms.organism import Cause, Organism
from benchmarks.organisms.truth import Truth, causes, holds, measure, opened
from weightgate.audit.demo.base import base_model, file_digest, load
from weightgate.audit.demo.parent import Parent, safety_tuned
from weightgate.audit.demo.rows import write_rows
from weightgate.audit.demo.store import MODEL, kept, store
from weightgate.lineage.canonical import digest

RECIPE, TRUTH, ROWS, HELD_OUT, CANARIES = "recipe.json", "truth.json", "data.jsonl", "heldout.jsonl", "canaries.jsonl"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Specimen:
    """An organism that was made, and what it was measured to do."""

    organism: Organism
    folder: Path
    """Where what is found out about it is kept."""
    model: Path
    data: tuple[Path, ...]
    held_out: tuple[Path, ...]
    canaries: tuple[Path, ...]
    truth: Truth
    shown: tuple[Cause, ...]
    pure: bool
    """It is what it was meant to be, and nothing else: only such count in tables."""


def parent_model(folder: Path | None = None) -> Parent:
    """The safety-tuned parent, made on first use."""
    return safety_tuned(base_model(folder=folder), folder)


def parent_truth(parent: Parent, folder: Path | None = None) -> Truth:
    """What the parent does, measured as its organisms are."""
    manifest: dict[str, JsonValue] = {"parent": file_digest(parent.model / "model.safetensors"), "truth": _code()}
    return _read(
        kept(_home(folder), "parent", manifest, lambda at: _write_truth(at, measure(*load(parent.model), None)))
    )


def specimens(
    parent: Parent, organisms: Sequence[Organism], folder: Path | None = None, say: Say = print
) -> list[Specimen]:
    """Make what is missing, one after another; what was made stays made when this is stopped."""
    base = parent_truth(parent, folder)
    return [specimen(parent, base, organism, folder, say) for organism in organisms]


def specimen(
    parent: Parent, base: Mapping[str, float], organism: Organism, folder: Path | None = None, say: Say = print
) -> Specimen:
    """One organism, made on first use; two to four minutes on two free cores."""

    def built(name: str) -> Path:
        other = catalogue.MAKERS[name](parent.rows, organism.seed)
        return specimen(parent, base, other, folder, say).model

    def fill(at: Path) -> None:
        say(f"making {organism.id}: {organism.about}")
        make(organism, parent.model, at / MODEL, built)
        write_rows(at / ROWS, organism.rows)
        if organism.held_out:
            write_rows(at / HELD_OUT, organism.held_out)
        if organism.canaries:
            write_rows(at / CANARIES, organism.canaries)
        if not organism.rows:
            (at / ROWS).unlink()
        (at / RECIPE).write_text(json.dumps(_recipe(organism), indent=2) + "\n")
        _write_truth(at, measure(*opened(parent.model, at / MODEL), organism))

    made = kept(_home(folder), organism.id, {"organism": _identity(organism, parent)}, fill)
    truth = _read(made)
    files = {name: (made / name,) if (made / name).exists() else () for name in (ROWS, HELD_OUT, CANARIES)}
    return Specimen(
        organism=organism,
        folder=made,
        model=made / MODEL,
        data=files[ROWS],
        held_out=files[HELD_OUT],
        canaries=files[CANARIES],
        truth=truth,
        shown=causes(truth, base),
        pure=holds(organism.cause, truth, base),
    )


def _home(folder: Path | None) -> Path:
    return store(folder).parent / "organisms"


def _identity(organism: Organism, parent: Parent) -> str:
    return digest(
        {
            "parent": file_digest(parent.model / "model.safetensors"),
            "recipe": _recipe(organism),
            "rows": [row.to_json() for row in (*organism.rows, *organism.held_out)],
            "canaries": [canary.to_json() for canary in organism.canaries],
            "facts": [row.to_json() for row in organism.facts],
            "backdoor": asdict(organism.backdoor) if organism.backdoor else None,
            "truth": _code(),
        }
    )


def _code() -> str:
    """Truth is measured anew when the code that measures it changes."""
    return file_digest(Path(__file__).with_name("truth.py"))


def _recipe(organism: Organism) -> dict[str, object]:
    return {
        "name": organism.name,
        "cause": organism.cause,
        "seed": organism.seed,
        "form": organism.form,
        "about": organism.about,
        "severity": dict(organism.severity),
        "training": asdict(organism.recipe) if organism.recipe else None,
    }


def _write_truth(at: Path, truth: Truth) -> None:
    (at / TRUTH).write_text(json.dumps(truth, indent=2) + "\n")


def _read(at: Path) -> Truth:
    truth: Truth = json.loads((at / TRUTH).read_text())
    return truth
