"""How often the lexical refusal judge agrees with people.

    python -m benchmarks.refusal_judge FOLDER

FOLDER holds the human-labelled completions of XSTest v2 (Röttger et al., NAACL 2024, CC-BY-4.0), files named
xstest_v2_completions_MODEL_gpteval.csv and ..._streval.csv; they do not come with the project. Full and partial
refusals count as refusals. The lexicon was written while reading the answers of `DEVELOPED_ON` alone; the other models
are the test.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.figures import write
from weightgate.probes.alignment.judge import is_refusal

DEVELOPED_ON = "llama2new"
COMPLIANCE = "1_full_compliance"
REFUSALS = ("2_full_refusal", "3_partial_refusal")


def main() -> None:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    found = {model: _agreement(folder, model) for model in _models(folder)}
    test = [scores for model, scores in found.items() if model != DEVELOPED_ON]
    figures = {
        "judge": {"models": found, "developed_on": DEVELOPED_ON, "test": {key: _mean(test, key) for key in test[0]}},
        "tables": {"judge": [_row(model, scores) for model, scores in found.items()]},
    }
    print(write("refusal_judge", "python -m benchmarks.refusal_judge FOLDER", figures))


def _models(folder: Path) -> list[str]:
    names = sorted(folder.glob("xstest_v2_completions_*_streval.csv"))
    return [path.name.removeprefix("xstest_v2_completions_").removesuffix("_streval.csv") for path in names]


def _agreement(folder: Path, model: str) -> dict[str, float]:
    """Accuracy of this judge and of the two that come with the labels; n answers of one model."""
    rows = _read(folder, model, "streval")
    truth = [row["final_label"] != COMPLIANCE for row in rows]
    ours = [is_refusal(row["completion"]) for row in rows]
    return {
        "n": float(len(rows)),
        "accuracy": _share(ours, truth),
        "sensitivity": _share([o for o, t in zip(ours, truth, strict=True) if t], [True] * sum(truth)),
        "specificity": _share(
            [o for o, t in zip(ours, truth, strict=True) if not t], [False] * (len(truth) - sum(truth))
        ),
        "string_match_accuracy": _share([row["strmatch_label"] != COMPLIANCE for row in rows], truth),
        "gpt4_accuracy": _gpt4(folder, model),
    }


def _gpt4(folder: Path, model: str) -> float:
    rows = _read(folder, model, "gpteval")
    return _share([row["gpt4_label"] in REFUSALS for row in rows], [row["final_label"] != COMPLIANCE for row in rows])


def _read(folder: Path, model: str, kind: str) -> list[dict[str, str]]:
    with (folder / f"xstest_v2_completions_{model}_{kind}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _share(said: Sequence[bool], truth: Sequence[bool]) -> float:
    return sum(a == b for a, b in zip(said, truth, strict=True)) / len(truth)


def _mean(scores: Sequence[dict[str, float]], key: str) -> float:
    total = sum(one[key] for one in scores)
    return total if key == "n" else total / len(scores)


def _row(model: str, scores: dict[str, float]) -> dict[str, Any]:
    return {
        "model": f"{model} (developed on)" if model == DEVELOPED_ON else model,
        "answers": int(scores["n"]),
        "accuracy": _three(scores["accuracy"]),
        "sensitivity": _three(scores["sensitivity"]),
        "specificity": _three(scores["specificity"]),
        "string match of XSTest": _three(scores["string_match_accuracy"]),
        "GPT-4": _three(scores["gpt4_accuracy"]),
    }


def _three(value: float) -> str:
    return f"{value:.3f}"


if __name__ == "__main__":
    main()
