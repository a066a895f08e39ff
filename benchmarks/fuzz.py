"""Coverage-guided fuzzing of every parser of bytes that others wrote, with atheris.

    pip install 'weightgate[fuzz]'
    python -m benchmarks.fuzz [TARGET ...] [--seconds 60]     # docs/measurements/fuzz.json

Only InputError and IntegrityError may come out of a parser. Each target runs in a process of its own and begins with
valid documents (fuzz_targets.py); an input that breaks one is printed, and the run ends with 1.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import figures


def main() -> int:
    """Fuzz the targets one after the other, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    parser.add_argument("--corpus", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.inside:
        fuzz(asked.inside, asked.corpus, asked.seconds)
    from benchmarks.fuzz_targets import TARGETS

    rows = [run(name, asked.seconds) for name in asked.targets or sorted(TARGETS)]
    total = {"executions": sum(row["executions"] for row in rows), "findings": sum(row["findings"] for row in rows)}
    path = figures.write(
        "fuzz", f"python -m benchmarks.fuzz --seconds {asked.seconds}", {**total, "tables": {"targets": rows}}
    )
    print(f"{total['executions']} executions, {total['findings']} findings: {path}")
    return int(total["findings"] > 0)


def run(name: str, seconds: int) -> dict[str, Any]:
    """One target in a process of its own."""
    with tempfile.TemporaryDirectory() as corpus:
        command = [sys.executable, "-m", "benchmarks.fuzz", "--inside", name, "--corpus", corpus]
        done = subprocess.run([*command, "--seconds", str(seconds)], capture_output=True, text=True, check=False)
    said = re.search(r"stat::number_of_executed_units:\s*(\d+)", done.stderr)
    executions = int(said[1]) if said else 0
    if done.returncode or not executions:
        print(f"--- {name}\n{done.stdout[-2000:]}{done.stderr[-4000:]}", file=sys.stderr)
    print(f"{name}: {executions} executions{', FAILED' if done.returncode else ''}", flush=True)
    return {"target": name, "executions": executions, "findings": int(done.returncode != 0)}


def fuzz(name: str, corpus: str, seconds: int) -> None:
    """In the process of a target: never returns."""
    import atheris

    with atheris.instrument_imports(include=["weightgate"]):
        from benchmarks.fuzz_targets import TARGETS

        target = TARGETS[name]
        for number, seed in enumerate(target.seeds()):
            Path(corpus, f"seed-{number}").write_bytes(seed)
            target.check(seed)
    options = [f"-max_total_time={seconds}", "-print_final_stats=1", "-timeout=20", "-rss_limit_mb=4096", corpus]
    atheris.Setup([sys.argv[0], *options], target.check)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
