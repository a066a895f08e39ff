"""Builds the zoo and gates it.

python -m benchmarks.organisms build --core       # fifteen updates, one seed
python -m benchmarks.organisms build              # the whole zoo, three seeds
python -m benchmarks.organisms evaluate [--core]  # gates it, and writes docs/measurements/detection.json
python -m benchmarks.organisms evaluate --twin    # the tiny twin; writes docs/measurements/detection_twin.json
python -m benchmarks.organisms list

What was built or gated is kept under the cache folder (WEIGHTGATE_CACHE) and not done again.
"""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Sequence

from benchmarks.organisms.catalogue import CORE, MAKERS, SEEDS, organisms
from benchmarks.organisms.evaluate import evaluate
from benchmarks.organisms.twin import twin_zoo
from benchmarks.organisms.zoo import Specimen, parent_model, parent_truth, specimen


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.organisms")
    parser.add_argument("what", choices=["build", "evaluate", "list"])
    parser.add_argument("--core", action="store_true", help="one seed of fifteen organisms")
    parser.add_argument("--twin", action="store_true", help="the tiny twin's children")
    parser.add_argument("--names", nargs="+", choices=sorted(MAKERS), default=[])
    parser.add_argument("--seeds", nargs="+", type=int)
    given = parser.parse_args(arguments)
    if given.twin:
        small, base, specimens = twin_zoo()
        _show("parent", base)
        for child in specimens:
            _describe(child)
        if given.what == "evaluate":
            evaluate(small, specimens, name="detection_twin", facts={"parent": base})
        return
    seeds = given.seeds or (SEEDS[:1] if given.core else SEEDS)
    names = given.names or (CORE if given.core else ())
    parent = parent_model()
    chosen = organisms(parent.rows, seeds, names)
    if given.what == "list":
        for organism in chosen:
            print(f"{organism.id:16} {organism.cause:10} {organism.form:8} {organism.about}")
        return
    base = parent_truth(parent)
    _show("parent", base)
    made = (_told(specimen(parent, base, organism)) for organism in chosen)
    if given.what == "evaluate":
        evaluate(parent.model, made, name="detection", facts={"parent": base})
    else:
        deque(made, maxlen=0)


def _told(made: Specimen) -> Specimen:
    _describe(made)
    return made


def _describe(made: Specimen) -> None:
    shows = ", ".join(made.shown) or "nothing"
    _show(f"{made.organism.id}: meant {made.organism.cause}, shows {shows}", made.truth)


def _show(what: str, truth: dict[str, float]) -> None:
    print(f"{what}; {' '.join(f'{name}={value:.2f}' for name, value in truth.items())}", flush=True)


if __name__ == "__main__":
    main()
