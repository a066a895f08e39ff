"""Times the demo: cold (nothing cached), warm (models and scores cached), and fast; wall time and peak memory.

    python -m benchmarks.demo cold warm fast

Each named run is a whole `weightgate demo` process; `cold` and `warm` use one cache folder of this benchmark's own.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.figures import MEASUREMENTS, write

MAIN = "from weightgate.audit.cli.main import run; run()"


def run(arguments: list[str], cache: Path) -> dict[str, str]:
    """One demo in a process of its own: wall time, largest resident memory, and the verdicts."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-c", MAIN, "demo", "--json", "--quiet", "--out", f"{out}/demo", *arguments]
        started = time.monotonic()
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=os.environ | {"WEIGHTGATE_CACHE": str(cache)}
        )
        minutes = (time.monotonic() - started) / 60
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    verdicts = {run["name"]: run["verdict"] for run in json.loads(done.stdout)["runs"]}
    return {
        "minutes": f"{minutes:.1f}",
        "peak GiB": f"{peak:.1f}",
        "verdicts": ", ".join(f"{name} {verdict}" for name, verdict in verdicts.items()),
        "exit code": str(done.returncode),
    }


def main() -> None:
    """Run what was asked for and merge it into docs/measurements/demo.json."""
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", nargs="+", choices=["cold", "warm", "fast"])
    parser.add_argument("--cache", type=Path, help="folder for cold and warm; cold wants it empty")
    given = parser.parse_args()
    path = MEASUREMENTS / "demo.json"
    rows = {row["run"]: row for row in json.loads(path.read_text())["tables"]["times"]} if path.exists() else {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in given.runs:
            cache = Path(scratch) / "fast" if name == "fast" else given.cache or Path(scratch) / "real"
            rows[name] = {"run": name, **run(["--fast"] if name == "fast" else [], cache)}
    ordered = [rows[name] for name in ("cold", "warm", "fast") if name in rows]
    write("demo", f"python -m benchmarks.demo {' '.join(given.runs)}", {"tables": {"times": ordered}})


if __name__ == "__main__":
    main()
