"""What the scoring engine costs: against lm-eval's own model, against bare forward passes, and the second time.

    python -m benchmarks.engine questions --parent MODEL
    python -m benchmarks.engine audits --parent MODEL --first CHILD --second CHILD

Options of the gate may follow after --. A child's training and held-out rows are data.jsonl and heldout.jsonl beside
its folder. The twin that controls run on is made first, or copied from --twin (the folder twin of a cache).

Everything is the CPU time of the process on one thread, so that what else the machine does matters little.
`questions` asks lm-eval's HFLM and the engine the same questions with answers of several tokens, in blocks by turns.
`audits` runs the whole gate in a process of its own on each child, with one cache that is empty before the first.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.figures import MEASUREMENTS, write

BLOCKS = 2
OPTIONS = 4
_WORDS, _ENDING = (32, 90), 4
_NOT_LIBRARY = {"site-packages", "test", "idlelib", "lib2to3"}
_CALLS = ("hidden", "layers", "logprobs", "begin", "extend", "follow")


def questions(count: int) -> list[tuple[str, list[str]]]:
    """Paragraphs of the standard library's documentation, each with its own next words and those of three others."""
    texts = []
    library = Path(sysconfig.get_paths()["stdlib"])
    files = [*library.glob("*.py"), *(file for file in library.glob("*/*.py") if file.parent.name not in _NOT_LIBRARY)]
    for file in sorted(files):
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and (said := ast.get_docstring(node)):
                words = said.split()
                if len(words) >= _WORDS[0] + _ENDING:
                    texts.append(words[: _WORDS[1] + _ENDING])
    step = len(texts) // count
    if not step:
        raise SystemExit(f"only {len(texts)} paragraphs")
    random.Random(0).shuffle(texts)
    endings = [" " + " ".join(words[-_ENDING:]) for words in texts]
    chosen = range(0, count * step, step)
    return [
        (" ".join(texts[at][:-_ENDING]), [endings[(at + 7 * other) % len(texts)] for other in range(OPTIONS)])
        for at in chosen
    ]


def against_lm_eval(parent: Path, count: int) -> dict[str, Any]:
    """CPU seconds of both, and whether the best answers agree."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    from weightgate.lineage.weights.update import open_update
    from weightgate.probes.engine.engine import Engine
    from weightgate.probes.engine.lm_eval_model import lm_eval_model

    asked = questions(count)
    engine = Engine.open(open_update(parent, parent), cache=None)
    dtype = engine.numerics["dtype"]
    models = {
        "HFLM": HFLM(pretrained=str(parent), device="cpu", dtype=dtype, batch_size=8),
        "engine": lm_eval_model(engine, "parent"),
    }

    def ask(name: str, part: Sequence[tuple[str, list[str]]]) -> tuple[list[float], float]:
        requests = [
            Instance(request_type="loglikelihood", doc={}, arguments=(context, option), idx=index)
            for index, (context, options) in enumerate(part)
            for option in options
        ]
        started = time.process_time()
        answers = models[name].loglikelihood(requests, **({"disable_tqdm": True} if name == "HFLM" else {}))
        return [value for value, _ in answers], time.process_time() - started

    for name in models:
        ask(name, asked[:2])  # loads, and fills what is filled once
    seconds: dict[str, list[float]] = {name: [] for name in models}
    values: dict[str, list[float]] = {name: [] for name in models}
    size = -(-count // BLOCKS)
    for number, start in enumerate(range(0, count, size)):
        for name in list(models)[:: 1 if number % 2 else -1]:
            block, spent = ask(name, asked[start : start + size])
            values[name] += block
            seconds[name].append(spent)
    margins = [_margin(values["HFLM"][at : at + OPTIONS], values["engine"][at : at + OPTIONS])
               for at in range(0, OPTIONS * count, OPTIONS)]  # fmt: skip
    ratios = [theirs / ours for theirs, ours in zip(seconds["HFLM"], seconds["engine"], strict=True)]
    other = [margin for margin in margins if margin is not None]
    return {
        "vs_lm_eval_hflm": round(sum(seconds["HFLM"]) / sum(seconds["engine"]), 2),
        "questions": {
            "items": count,
            "dtype": dtype,
            "words": f"questions of up to {_WORDS[1]}, answers of {_ENDING}; {OPTIONS} answers each",
            "seconds": {name: round(sum(spent), 1) for name, spent in seconds.items()},
            "ratio_by_block": [round(min(ratios), 2), round(statistics.median(ratios), 2), round(max(ratios), 2)],
            "same_answer": count - len(other),
            "largest_margin_where_not": round(max(other, default=0.0), 3),
            "largest_difference_nat": round(
                max(abs(a - b) for a, b in zip(values["HFLM"], values["engine"], strict=True)), 4
            ),
        },
    }


def _margin(theirs: Sequence[float], ours: Sequence[float]) -> float | None:
    """None where both choose the same; else by how many nats HFLM prefers its choice to ours."""
    best, other = max(range(OPTIONS), key=theirs.__getitem__), max(range(OPTIONS), key=ours.__getitem__)
    return None if best == other else theirs[best] - theirs[other]


def one_audit(arguments: Sequence[str], out: Path) -> dict[str, float]:
    """Run one gate in this process; CPU seconds of all of it and of the calls that run a model."""
    from weightgate.probes.engine import backend, loading

    forward, calls = 0.0, 0

    def timed(call: Any) -> Any:
        def run(*given: Any, **named: Any) -> Any:
            nonlocal forward, calls
            begun = time.process_time()
            try:
                return call(*given, **named)
            finally:
                forward += time.process_time() - begun
                calls += 1

        return run

    for name in _CALLS:
        setattr(backend.Backend, name, timed(getattr(backend.Backend, name)))
    loads = [0.0]
    load = loading.Loader.load

    def loading_time(*given: Any) -> Any:
        begun = time.process_time()
        try:
            return load(*given)
        finally:
            loads[0] += time.process_time() - begun

    loading.Loader.load = loading_time  # type: ignore[method-assign]
    from weightgate.audit.cli.main import app, hoist

    app(hoist([*arguments, "--out", str(out), "--advisory"]), standalone_mode=False)
    record = json.loads((out / "record.json").read_bytes())
    return {
        "total": time.process_time(),
        "forward": forward,
        "loading": loads[0],
        "calls": calls,
        "tokens": sum(cost["scored_tokens"] for cost in record["costs"]),
        "cached": sum(cost["cached"] for cost in record["costs"]),
        "requests": sum(cost["requests"] for cost in record["costs"]),
    }


def audits(given: argparse.Namespace) -> dict[str, Any]:
    """Two audits of one parent with one cache."""
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        environment = os.environ | {"WEIGHTGATE_CACHE": f"{scratch}/cache", "XDG_CONFIG_HOME": f"{scratch}/config"}
        made_once = "from weightgate.probes.twin.models import build; build()"  # for a machine, not for an audit
        if given.twin:
            shutil.copytree(given.twin, Path(scratch) / "cache" / "twin")
        subprocess.run([sys.executable, "-c", made_once], check=True, env=environment)
        for name, child in (("first", given.first), ("second", given.second)):
            options = [
                option
                for flag in ("data", "held_out")
                if (file := child.parent / {"data": "data.jsonl", "held_out": "heldout.jsonl"}[flag]).exists()
                for option in (f"--{flag.replace('_', '-')}", str(file))
            ]
            gate = ["gate", str(given.parent), str(child), "--quiet", *options, *given.gate]
            command = [sys.executable, "-m", "benchmarks.engine", "one", "--out", f"{scratch}/{name}", "--", *gate]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
            rows.append({"audit": name, **json.loads(done.stdout.splitlines()[-1])})
            print(rows[-1], file=sys.stderr)
    first, second = rows
    return {
        "audit_over_forward": round(first["total"] / first["forward"], 3),
        "second_over_first": round(second["total"] / first["total"], 3),
        "audits": [{name: round(v, 1) if isinstance(v, float) else v for name, v in row.items()} for row in rows],
    }


def _tables(figures: dict[str, Any]) -> dict[str, Any]:
    tables: dict[str, list[dict[str, str]]] = {}
    if asked := figures.get("questions"):
        tables["questions"] = [
            {"run": name, "CPU s": f"{spent}", "items per CPU s": f"{asked['items'] / spent:.1f}"}
            for name, spent in asked["seconds"].items()
        ]
    if rows := figures.get("audits"):
        tables["audits"] = [
            {
                "run": f"{row['audit']} audit",
                "CPU s": f"{row['total']}",
                "forward passes, CPU s": f"{row['forward']}",
                "tokens run": f"{row['tokens']:,}",
                "requests from the cache": f"{row['cached']:,} of {row['requests']:,}",
            }
            for row in rows
        ]
    return {**figures, "tables": tables}


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["questions", "audits", "one"])
    for name in ("parent", "first", "second", "out", "twin"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--items", type=int, default=1000)
    return parser


def main() -> None:
    """Measure, and merge what was measured into docs/measurements/engine.json."""
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    given = _arguments().parse_args(sys.argv[1:end])
    given.gate = sys.argv[end + 1 :]
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if given.what == "one":
        print(json.dumps(one_audit(given.gate, given.out)))
        return
    import torch

    torch.set_num_threads(1)
    fresh = against_lm_eval(given.parent, given.items) if given.what == "questions" else audits(given)
    print(json.dumps(fresh, indent=2))
    path = MEASUREMENTS / "engine.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    write("engine", "python -m benchmarks.engine questions; python -m benchmarks.engine audits", _tables(known | fresh))


if __name__ == "__main__":
    main()
