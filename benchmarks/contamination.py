"""How many copies of evaluation items the contamination probe finds in training rows, and how often it is wrong.

    python -m benchmarks.contamination DATA

DATA is a folder with public sets, none of which comes with the project: `benign/` (Alpaca and GSM8K samples, MBPP,
Self-Instruct, Open Assistant), `alignment/` (harmful prompts of XSTest, HarmBench, JailbreakBench, AdvBench) and
`regression/mmlu`. Every rule is tried on the same rows: the probe's (more than a share of an item's word trigrams in
one row), any common 8-gram and any common 13-gram. No set below holds a shipped suite, so each item found in one counts
as an error; the figures list them for a person to look at. The share was chosen with these public sets in sight, and
before the disguises were tried.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.figures import write
from weightgate.lineage.data.rows import Row
from weightgate.probes.integrity.overlap import Match, Reference, find, words
from weightgate.probes.integrity.suites import shipped

Rule = Callable[[Sequence[Reference], Sequence[Row]], set[str]]
SHARES = (0.3, 0.5, 0.7)
SEED = 11


def main() -> None:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    data = parser.parse_args().data
    rules = {f"trigrams > {share}": _share(share) for share in SHARES} | {f"any {n}-gram": _any(n) for n in (8, 13)}
    public, disguises, known = _public(data, rules), _disguises(rules), _known(data, rules)
    figures = {
        "items": len(shipped()),
        "public": public,
        "disguised": disguises,
        "known_overlaps": known,
        "speed": _speed(data),
        "tables": {
            "false": [_row("public sets, items found in error", public["found"])],
            "disguised": [_row(name, cell) for name, cell in disguises.items()],
            "known": [_row(name, cell) for name, cell in known.items()],
        },
    }
    print(write("contamination", "python -m benchmarks.contamination DATA", figures))


def _row(name: str, cell: dict[str, Any]) -> dict[str, str]:
    shown = {rule: f"{found} of {cell['items']}" for rule, found in cell.items() if rule not in ("items", "examples")}
    return {"case": name} | shown


def _share(share: float) -> Rule:
    def rule(references: Sequence[Reference], rows: Sequence[Row]) -> set[str]:
        return {match.reference.id for match in find(references, rows, share)}

    return rule


def _any(n: int) -> Rule:
    """One run of ``n`` words in common, as GPT-3 (13) and others have it."""

    def grams(text: str) -> set[tuple[str, ...]]:
        said = words(text)
        return {said[at : at + n] for at in range(len(said) - n + 1)}

    def rule(references: Sequence[Reference], rows: Sequence[Row]) -> set[str]:
        where: dict[tuple[str, ...], set[str]] = {}
        for reference in references:
            for gram in grams(reference.text):
                where.setdefault(gram, set()).add(reference.id)
        return {name for row in rows for gram in grams(row.content) if gram in where for name in where[gram]}

    return rule


def _public(data: Path, rules: dict[str, Rule]) -> dict[str, Any]:
    """The shipped suites against sets that do not hold them."""
    sets = dict(public_sets(data))
    every = _rows([text for texts in sets.values() for text in texts])
    references = shipped()
    found: dict[str, Any] = {"items": len(references)} | {
        name: len(rule(references, every)) for name, rule in rules.items()
    }
    matches = find(references, every, 0.5)
    text = {row.id: row.content for row in every}
    return {
        "rows": {name: len(texts) for name, texts in sets.items()},
        "total": len(every),
        "found": found,
        "examples": [
            {"item": match.reference.text, "share": round(match.share, 2), "row": _around(match, text[match.row])}
            for match in matches
        ],
    }


def _around(match: Match, text: str) -> str:
    """The words of a row that lie nearest to the item."""
    item, said = set(words(match.reference.text)), words(text)
    width = 2 * len(words(match.reference.text))
    starts = range(max(len(said) - width, 0) + 1)
    best = max(starts, key=lambda at: len(item.intersection(said[at : at + width])))
    return " ".join(said[best : best + width])


def _disguises(rules: dict[str, Rule]) -> dict[str, Any]:
    """Every shipped item, copied into a row in several ways."""
    references = [reference for reference in shipped() if len(words(reference.text)) >= 6]
    cells = {}
    for name, disguise in DISGUISES.items():
        rng = np.random.default_rng(SEED)
        rows = _rows([disguise(reference.text, rng) for reference in references])
        cells[name] = {"items": len(references)} | {rule: len(apply(references, rows)) for rule, apply in rules.items()}
    return cells


def _known(data: Path, rules: dict[str, Rule]) -> dict[str, Any]:
    """Public sets of which one is known to hold the other's items."""
    cells = {}
    for name, items, texts in known_overlaps(data):
        references = [Reference("set", f"{i}", f"{i}", text) for i, text in enumerate(items)]
        rows = _rows(texts)
        cells[name] = {"items": len(references)} | {rule: len(apply(references, rows)) for rule, apply in rules.items()}
    return cells


def _speed(data: Path) -> dict[str, float]:
    rows = _rows([text for _, texts in public_sets(data) for text in texts])
    started = time.perf_counter()
    find(shipped(), rows, 0.5)
    seconds = time.perf_counter() - started
    return {"rows": len(rows), "seconds": round(seconds, 2), "rows_per_second": round(len(rows) / seconds)}


def _changed(text: str, rng: np.random.Generator, count: int) -> str:
    said = text.split()
    for at in rng.permutation(len(said))[:count]:
        said[at] = "zebra"
    return " ".join(said)


DISGUISES: dict[str, Callable[[str, np.random.Generator], str]] = {
    "word for word": lambda text, _: text,
    "capitals, no punctuation": lambda text, _: " ".join(words(text)).upper(),
    "inside a longer prompt": lambda text, _: f"Question 7. {text} Answer in one paragraph and give a source, please.",
    "last word changed": lambda text, _: " ".join([*text.split()[:-1], "zebra"]),
    "one word changed": lambda text, rng: _changed(text, rng, 1),
    "two words changed": lambda text, rng: _changed(text, rng, 2),
    "words in another order": lambda text, rng: " ".join(rng.permutation(text.split())),
}


def public_sets(data: Path) -> Iterator[tuple[str, list[str]]]:
    """Name and texts of the sets that hold none of the shipped items."""
    benign, alignment = data / "benign", data / "alignment"
    for name, path in (
        ("Alpaca sample", benign / "asft_clean_1k/alpaca_1k_p_0.json"),
        ("GSM8K train", benign / "gsm8k/train.jsonl"),
        ("GSM8K test", benign / "gsm8k/test.jsonl"),
        ("MBPP", benign / "mbpp/mbpp.jsonl"),
        ("Self-Instruct seed tasks", benign / "self_instruct/seed_tasks.jsonl"),
        ("Self-Instruct, davinci-003", benign / "self_instruct/text-davinci-003_predictions.jsonl"),
        ("Self-Instruct, davinci", benign / "self_instruct/davinci_predictions.jsonl"),
        ("Open Assistant texts", benign / "oasst_samples/prompt_lottery_en_250_text.jsonl"),
        ("Open Assistant trees", benign / "oasst_samples/en_100_tree.jsonl"),
        ("control chat set", benign / "model_organisms_control/misalignment_kl_data.jsonl"),
    ):
        yield name, [" ".join(_strings(entry)) for entry in entries(path)]
    for name, path, column in (
        ("XSTest", "xstest/xstest_prompts.csv", "prompt"),
        ("HarmBench", "harmbench/harmbench_behaviors_text_all.csv", "Behavior"),
        ("JailbreakBench", "jailbreakbench/jailbreakbench.csv", "Goal"),
        ("AdvBench", "advbench/advbench.csv", "goal"),
    ):
        with (alignment / path).open(encoding="utf-8", newline="") as file:
            yield name, [row[column] for row in csv.DictReader(file)]
    mmlu = []
    for path in sorted((data / "regression/mmlu").rglob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            mmlu += [" ".join(row) for row in csv.reader(file)]
    yield "MMLU", mmlu


def known_overlaps(data: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """Items, and a set that holds each of them: as it is, inside other text, or rewritten by hand."""
    benign = data / "benign"
    asft = [entry["instruction"] for entry in entries(benign / "asft_clean_1k/gsm8k_test_data.json")]
    test = [entry["question"] for entry in entries(benign / "gsm8k/test.jsonl")]
    train = [entry["question"] for entry in entries(benign / "gsm8k/train.jsonl")]
    yield "GSM8K test sample in GSM8K test (all)", asft, test
    yield "GSM8K test in GSM8K train (none known)", test, train
    asked = entries(benign / "self_instruct/user_oriented_instructions.jsonl")
    told = entries(benign / "self_instruct/text-davinci-001_predictions.jsonl")
    yield (
        "Self-Instruct instructions in its predictions (all)",
        [entry["instruction"] for entry in asked],
        [" ".join(_strings(entry)) for entry in told],
    )
    by_hand = {entry["task_id"]: entry for entry in entries(benign / "mbpp/sanitized-mbpp.json")}
    before = {entry["task_id"]: entry["text"] for entry in entries(benign / "mbpp/mbpp.jsonl")}
    pairs = [(before[task], entry["prompt"]) for task, entry in by_hand.items()]
    rewritten = [(old, new) for old, new in pairs if words(old) != words(new)]
    name = "MBPP tasks rewritten by hand, in the rewriting (all)"
    yield name, [old for old, _ in rewritten], [new for _, new in rewritten]


def entries(path: Path) -> list[Any]:
    """The documents of a JSON or JSONL file."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines()]
    found = json.loads(text)
    return list(found.values()) if isinstance(found, dict) else list(found)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner)


def _rows(texts: Iterable[str]) -> list[Row]:
    return [Row(id=f"{i}", source=f"{i}", messages=(), text=text, raw="") for i, text in enumerate(texts)]


if __name__ == "__main__":
    main()
