"""Signing and verifying beside the reference client and a plain hash, in one run; tampering tried; OMS conformance.

    python -m benchmarks.signing --client OMS_VENV/bin/model_signing [--model FOLDER] [--conformance report.json]

The reference client goes into an environment of its own: ``pip install model-signing==1.1.1 pyOpenSSL``. Times are
the best of five rounds, files in the page cache; processor time is that of the whole process, start included.
``report.json`` is what the conformance suite writes with ``--json-report`` (see oms_adapter.py). Figures not measured
are kept.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import figures

LARGE = 1_500_000_000
FLIPS = 150
WEIGHTGATE = [sys.executable, "-c", "from weightgate.audit.cli.main import run; run()", "--quiet", "--json"]


def main() -> None:
    """Measure what was asked for, and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--client", type=Path, help="the reference client")
    parser.add_argument("--model", type=Path, help="the smaller model; the demo's base by default")
    parser.add_argument("--conformance", type=Path, help="report of the conformance suite")
    parser.add_argument("--suite", default="", help="which commit of the suite that was")
    parser.add_argument("--tamper", action="store_true", help="flip bytes of a run folder and of a signed model")
    asked = parser.parse_args()
    found: dict[str, Any] = {}
    tables: dict[str, Any] = dict(existing().get("tables", {}))
    if asked.conformance:
        summary = json.loads(asked.conformance.read_text())["summary"]
        total = summary["collected"] - summary.get("skipped", 0)
        found["oms"] = {"passed": summary["passed"], "total": total, "skipped": summary.get("skipped", 0)}
        found["oms"]["suite"] = asked.suite
    with tempfile.TemporaryDirectory() as folder:
        if asked.tamper:
            tables["tamper"] = tamper(Path(folder))
            rows = tables["tamper"]
            found["tamper"] = {"tried": sum(r["tried"] for r in rows), "accepted": sum(r["accepted"] for r in rows)}
        if asked.client:
            tables["speed"], found["speed"] = speed(Path(folder), asked.client, asked.model)
    figures.write("signing", "python -m benchmarks.signing --tamper --client …", {**found, "tables": tables})


def existing() -> dict[str, Any]:
    """What was measured before."""
    path = figures.MEASUREMENTS / "signing.json"
    return json.loads(path.read_text()) if path.exists() else {}


def speed(home: Path, client: Path, model: Path | None) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """MB a second of wall time and of processor time, on a small and a large model."""
    from weightgate.audit.demo.base import base_model
    from weightgate.lineage.signing.keys import generate

    generate(home / "key.pem", "ecdsa-p256")
    rows = []
    for folder in (shutil.copytree(base_model(model), home / "small"), synthetic(home / "large")):
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        for name, (wall, cpu) in best(commands(folder, home, client)).items():
            rows.append(
                {
                    "command": name,
                    "MB": round(size / 1e6),
                    "MB/s, wall": round(size / wall / 1e6),
                    "MB/s of processor time": round(size / cpu / 1e6),
                }
            )
        shutil.rmtree(folder)
    most = max(row["MB"] for row in rows)
    rate = {row["command"]: row["MB/s of processor time"] for row in rows if row["MB"] == most}
    return rows, {
        "vs_model_signing": rate["weightgate verify"] / rate["model_signing verify"],
        "sign_vs_model_signing": rate["weightgate sign"] / rate["model_signing sign"],
        "vs_sha256sum": rate["weightgate verify"] / rate["openssl dgst -sha256"],
        "sign_vs_sha256sum": rate["weightgate sign"] / rate["openssl dgst -sha256"],
    }


def commands(folder: Path, home: Path, client: Path) -> dict[str, list[Any]]:
    """What is timed, in the order in which each leaves what the next needs."""
    ours, theirs = folder / "model.sig", home / "theirs.sig"
    return {
        "openssl dgst -sha256": ["openssl", "dgst", "-sha256", *sorted(folder.glob("*.safetensors"))],
        "weightgate sign": [*WEIGHTGATE, "sign", folder, "--key", home / "key.pem", "--force"],
        "weightgate verify": [*WEIGHTGATE, "verify", folder, "--public-key", home / "key.pub"],
        "model_signing sign": [
            *(client, "sign", "key", folder, "--signature", theirs, "--private_key", home / "key.pem"),
            *("--ignore-paths", ours),
        ],
        "model_signing verify": [
            client,
            "verify",
            "key",
            folder,
            "--signature",
            ours,
            "--public_key",
            home / "key.pub",
        ],
    }


def best(commands: dict[str, list[Any]], rounds: int = 5) -> dict[str, tuple[float, float]]:
    """Least seconds of wall and of processor time; in rounds, so that all meet the same load of the machine."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            found[name].append(timed(command))
    return {name: (min(wall for wall, _ in runs), min(cpu for _, cpu in runs)) for name, runs in found.items()}


def timed(command: list[Any]) -> tuple[float, float]:
    """Seconds of wall and of processor time of one run."""
    started = time.monotonic()
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return time.monotonic() - started, usage.ru_utime + usage.ru_stime


def synthetic(folder: Path) -> Path:
    """A model of three shards of random weights."""
    import numpy as np
    from safetensors.numpy import save_file

    folder.mkdir()
    generator, placed = np.random.default_rng(0), {}
    rows = LARGE // 3 // 2 // 4096
    for shard in range(3):
        name = f"model-0000{shard + 1}-of-00003.safetensors"
        weights = {f"layer.{shard}.weight": generator.integers(0, 0x7C00, (rows, 4096), np.uint16).view(np.float16)}
        save_file(weights, folder / name)
        placed.update(dict.fromkeys(weights, name))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": placed}))
    (folder / "config.json").write_text('{"model_type": "llama"}')
    return folder


def tamper(home: Path) -> list[dict[str, Any]]:
    """Flipped bytes of every file of a run folder and of a signed model, and how many of them verified."""
    from weightgate.audit.gate import gate
    from weightgate.audit.sign import sign
    from weightgate.audit.verify import verify
    from weightgate.audit.verify_model import verify_signed_model
    from weightgate.lineage.signing.keys import generate, load_public
    from weightgate.probes.twin.models import build

    twin = build()
    generate(home / "key.pem", "ecdsa-p256")
    _, run = gate(twin.parent, twin.children["benign"], key=home / "key.pem", out=home / "run", controls=False)
    model = shutil.copytree(twin.children["benign"], home / "model")
    sign(model, key=home / "key.pem", changeset=run / "changeset.json", verdict=run / "verdict.json")
    key = load_public(home / "key.pub")
    return [
        *flipped("run folder", run, lambda folder: verify(folder, key)),
        *flipped("signed model", model, lambda folder: verify_signed_model(folder, public_keys=[home / "key.pub"])),
    ]


def flipped(what: str, folder: Path, check: Callable[[Path], object]) -> list[dict[str, Any]]:
    """One row a file: changed bytes at random places, each checked alone."""
    from weightgate.lineage.errors import WeightgateError

    check(folder)
    generator, rows = random.Random(0), []
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        content, accepted = file.read_bytes(), 0
        places = [generator.randrange(len(content)) for _ in range(min(FLIPS, len(content)))] if content else []
        for place in places:
            changed = bytearray(content)
            changed[place] ^= generator.randrange(1, 256)
            file.write_bytes(changed)
            try:
                check(folder)
                accepted += 1
            except WeightgateError:
                pass
        file.write_bytes(content)
        rows.append({"update": f"{what}: {file.relative_to(folder)}", "tried": len(places), "accepted": accepted})
    check(folder)
    return rows


if __name__ == "__main__":
    main()
