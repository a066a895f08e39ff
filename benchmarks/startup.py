"""How long the light commands take to start: whole processes, best and median of ten.

python -m benchmarks.startup RUN --public-key FILE
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

from benchmarks.figures import write

MAIN = "from weightgate.audit.cli.main import run; run()"


def seconds(arguments: list[str], repeats: int = 10) -> list[float]:
    """Wall time of a fresh interpreter with these arguments, sorted."""
    spent = []
    for _ in range(repeats):
        started = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        spent.append(time.perf_counter() - started)
    return sorted(spent)


def main() -> None:
    """Measure and write docs/measurements/startup.json."""
    parser = argparse.ArgumentParser()
    parser.add_argument("run")
    parser.add_argument("--public-key", required=True)
    given = parser.parse_args()
    nothing = statistics.median(seconds(["-c", "pass"]))
    commands = {
        "python -c pass": ["-c", "pass"],
        "import weightgate": ["-c", "import weightgate"],
        "weightgate --help": ["-c", MAIN, "--help"],
        "weightgate verify RUN": ["-c", MAIN, "verify", given.run, "--public-key", given.public_key],
    }
    rows = []
    for name, arguments in commands.items():
        spent = seconds(arguments)
        rows.append({"command": name, "best s": f"{spent[0]:.2f}", "median s": f"{statistics.median(spent):.2f}"})
    write("startup", "python -m benchmarks.startup", {"interpreter_s": round(nothing, 3), "tables": {"startup": rows}})


if __name__ == "__main__":
    main()
