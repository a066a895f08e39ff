"""How small deltas are and what they cost, beside `zstd --patch-from` and XOR with zstd, in one run.

    python benchmarks/delta.py PARENT CHILD [--name lora_merged] [--out docs/measurements/diff.json]

Every method runs in a process of its own; time is processor time (user and system) of that process, start included, and
memory its peak resident set. The rebuilt child is compared with the child byte by byte. Figures of other parts of the
file are kept.
"""

from __future__ import annotations

import argparse
import datetime
import filecmp
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

WEIGHTS = "model.safetensors"
XOR = """
import sys
import numpy as np
from weightgate.lineage.weights.delta.codecs.frames import zstd
one, other = (np.fromfile(path, np.uint8) for path in sys.argv[1:3])
open(sys.argv[3], "wb").write(zstd.compress(np.bitwise_xor(one, other).tobytes(), 3))
"""


def main() -> None:
    """Measure one pair and add its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parent", type=Path)
    parser.add_argument("child", type=Path)
    parser.add_argument("--name", default="lora_merged", help="what kind of update the pair is")
    parser.add_argument("--out", type=Path, default=Path("docs/measurements/diff.json"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(arguments.parent, arguments.child, Path(folder))
    document = json.loads(arguments.out.read_text(encoding="utf-8")) if arguments.out.exists() else origin()
    delta = document.setdefault("delta", {})
    delta.update(origin())
    delta.setdefault("pairs", {})[arguments.name] = figures
    summarise(delta)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def origin() -> dict[str, str]:
    """Where figures come from."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    return {
        "machine": f"{os.cpu_count()} cores, {processor()}, {platform.system()}, Python {platform.python_version()}, "
        "shared with other work",
        "commit": commit,
        "command": "python benchmarks/delta.py PARENT CHILD --name NAME",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def processor() -> str:
    """Its name, where the system tells."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def measure(parent: Path, child: Path, folder: Path) -> dict[str, Any]:
    """Figures of one pair."""
    before, after = parent / WEIGHTS, child / WEIGHTS
    size = after.stat().st_size
    tool = [sys.executable, "-c", "from weightgate.audit.cli.main import run; run()", "--quiet", "--json"]
    delta, again, patch, xored = (folder / name for name in ("delta", "again", "patch", "xor"))
    packed, pack_cost = timed([*tool, "pack", parent, child, "--out", delta], size)
    _, apply_cost = timed([*tool, "apply", parent, delta, "--out", again], size)
    _, patch_cost = timed(["zstd", "-q", "-3", "--long=29", f"--patch-from={before}", after, "-o", patch], size)
    _, xor_cost = timed([sys.executable, "-c", XOR, before, after, xored], size)
    names = [path.relative_to(child).as_posix() for path in child.rglob("*") if path.is_file()]
    return {
        "child_mb": size / 1e6,
        "tensors_by_codec": json.loads(packed)["codecs"],
        "exact": not any(filecmp.cmpfiles(child, again, names, shallow=False)[1:]),
        "weightgate": {"ratio": size / delta.stat().st_size, "pack": pack_cost, "apply": apply_cost},
        "zstd_patch_from": {"ratio": size / patch.stat().st_size, "encode": patch_cost},
        "xor_zstd": {"ratio": size / xored.stat().st_size, "encode": xor_cost},
    }


def timed(command: list[Any], size: int) -> tuple[str, dict[str, float]]:
    """What a process printed, MB of child a second of processor time, and peak memory in MB."""
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    # Linux counts memory in KiB
    seconds = usage.ru_utime + usage.ru_stime
    return printed, {"mb_per_cpu_s": size / seconds / 1e6, "cpu_s": seconds, "peak_mb": usage.ru_maxrss * 1024 / 1e6}


def summarise(delta: dict[str, Any]) -> None:
    """The figures that the documentation asks for, from all pairs measured so far."""
    pairs = delta["pairs"]
    for name, figures in pairs.items():
        delta[f"{name}_ratio"] = figures["weightgate"]["ratio"]
    delta["exact"] = all(figures["exact"] for figures in pairs.values())
    delta["vs_zstd_patch"] = min(
        figures["weightgate"]["ratio"] / figures["zstd_patch_from"]["ratio"] for figures in pairs.values()
    )
    delta["mb_per_s"] = {
        step: min(figures["weightgate"][step]["mb_per_cpu_s"] for figures in pairs.values())
        for step in ("pack", "apply")
    }


if __name__ == "__main__":
    main()
