"""How often the kind of an update is named right, and what naming it costs.

    python -m benchmarks.kinds [PARENT CHILD …]

Small networks are updated in known ways, many times each with other seeds and sizes; then the pairs of real checkpoints
that are given are compared. Writes docs/measurements/kinds.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.figures import write
from weightgate.audit.compare import compare
from weightgate.lineage.weights.checkpoint import Checkpoint
from weightgate.lineage.weights.kinds.describe import describe

Arrays = dict[str, Any]
SEEDS = 10
DTYPES = ("F32", "BF16", "F16")


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path, nargs="*", help="parent and child, in turn")
    parser.add_argument("--names", nargs="*", default=[], help="what each pair is")
    arguments = parser.parse_args()
    rows = [planted(update, kind, make) for update, kind, make in UPDATES]
    real = [
        measured(name, parent, child)
        for name, parent, child in zip(arguments.names, arguments.pairs[::2], arguments.pairs[1::2], strict=True)
    ]
    figures: dict[str, Any] = {"tables": {"planted": rows}}
    if real:
        figures["tables"]["real"] = real
    write("kinds", "python -m benchmarks.kinds PARENT CHILD … --names …", figures)


def planted(update: str, kind: str, make: Callable[[Arrays, np.random.Generator, str], Arrays]) -> dict[str, Any]:
    """One kind of update, over seeds and dtypes."""
    said: dict[str, int] = {}
    for dtype in DTYPES:
        for seed in range(SEEDS):
            rng = np.random.default_rng([seed, DTYPES.index(dtype)])
            parent = {name: stored(array, dtype) for name, array in network(rng).items()}
            found = kind_of(parent, make(parent, rng, dtype), dtype)
            said[found] = said.get(found, 0) + 1
    return {
        "update": update,
        "expected": kind,
        "named so": f"{said.get(kind, 0)} of {SEEDS * len(DTYPES)}",
        "named otherwise": ", ".join(f"{name} {count}" for name, count in sorted(said.items()) if name != kind)
        or "none",
    }


def measured(name: str, parent: Path, child: Path) -> dict[str, Any]:
    """One pair of real checkpoints."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = compare(parent, child)
    whole, wall = time.process_time() - cpu, time.perf_counter() - wall
    low = found.facts.low_rank
    before, after = Checkpoint.open(parent), Checkpoint.open(child)
    cpu = time.process_time()
    describe(before, after, found.difference, identical=False)
    return {
        "update": name,
        "named": found.kind,
        "ranks": f"{low.rank_min} to {low.rank_max} in {low.low} of {low.matrices_changed}" if low else "",
        "processor seconds": round(whole, 2),
        "of these for the kind": round(time.process_time() - cpu, 2),
        "seconds": round(wall, 2),
    }


def network(rng: np.random.Generator, width: int = 128) -> Arrays:
    """Matrices and norms named as in a Llama."""
    arrays: Arrays = {"model.embed_tokens.weight": rng.standard_normal((256, width)) * 0.05}
    for layer in range(3):
        for name, shape in (("self_attn.q_proj", (width, width)), ("mlp.up_proj", (2 * width, width))):
            arrays[f"model.layers.{layer}.{name}.weight"] = rng.standard_normal(shape) * 0.05
        arrays[f"model.layers.{layer}.input_layernorm.weight"] = 1 + rng.standard_normal(width) * 0.05
    return arrays


def full(parent: Arrays, rng: np.random.Generator, dtype: str) -> Arrays:
    """Noise on every weight, from below to above the grain of the dtype."""
    size = 10 ** rng.uniform(-5, -2) if dtype != "BF16" else 10 ** rng.uniform(-4.5, -2)
    return {name: array + size * rng.standard_normal(array.shape) for name, array in parent.items()}


def lora(parent: Arrays, rng: np.random.Generator, dtype: str) -> Arrays:
    """A LoRA of rank 1 to 16, merged; ``dtype`` sets no size: below the grain nothing could be seen."""
    del dtype
    rank, size = int(rng.integers(1, 17)), 10 ** rng.uniform(-3.3, -2)
    child = dict(parent)
    for name, array in parent.items():
        if "layers" in name and array.ndim == 2:
            rows, columns = array.shape
            product = rng.standard_normal((rows, rank)) @ rng.standard_normal((rank, columns))
            child[name] = array + size * product / np.sqrt(rank)
    return child


def rows_of_embedding(parent: Arrays, rng: np.random.Generator, dtype: str) -> Arrays:
    """One to thirty rows of the embedding."""
    del dtype
    child = {name: array.copy() for name, array in parent.items()}
    rows = rng.choice(256, int(rng.integers(1, 31)), replace=False)
    child["model.embed_tokens.weight"][rows] += 0.1 * rng.standard_normal((len(rows), 128))
    return child


def few_elements(parent: Arrays, rng: np.random.Generator, dtype: str) -> Arrays:
    """A thousandth to a thirtieth of the elements of every matrix."""
    del dtype
    share = 10 ** rng.uniform(-3, -1.5)
    return {
        name: array + 0.05 * rng.standard_normal(array.shape) * (rng.random(array.shape) < share) * (array.ndim == 2)
        for name, array in parent.items()
    }


def quantised(parent: Arrays, rng: np.random.Generator, dtype: str) -> Arrays:
    """Symmetric integers of 3, 4 or 8 bits with a scale a row or a group, put back."""
    del dtype
    bits, group = int(rng.choice([3, 4, 8])), int(rng.choice([64, 128]))
    most = 2 ** (bits - 1) - 1
    child = {}
    for name, array in parent.items():
        groups = array.reshape(-1, group)
        scale = np.abs(groups).max(axis=1, keepdims=True) / most
        child[name] = (np.rint(groups / scale) * scale).reshape(array.shape) if array.ndim == 2 else array
    return child


def pruned(parent: Arrays, rng: np.random.Generator, dtype: str) -> Arrays:
    """The smallest half to nine tenths of each matrix set to zero: none of the kinds above."""
    del dtype
    share = rng.uniform(0.5, 0.9)
    return {
        name: np.where(np.abs(array) < np.quantile(np.abs(array), share), 0, array) if array.ndim == 2 else array
        for name, array in parent.items()
    }


UPDATES: tuple[tuple[str, str, Callable[[Arrays, np.random.Generator, str], Arrays]], ...] = (
    ("full fine-tune", "full", full),
    ("merged LoRA", "low-rank", lora),
    ("rows of the embedding", "sparse", rows_of_embedding),
    ("few elements", "sparse", few_elements),
    ("quantised and put back", "quantised", quantised),
    ("pruned", "full", pruned),
)


def stored(values: Any, dtype: str) -> Any:
    """What is left of the values in a dtype, as float32."""
    array = np.asarray(values, np.float32)
    if dtype == "F16":
        return array.astype(np.float16).astype(np.float32)
    if dtype == "F32":
        return array
    return (bfloat16(array).astype(np.uint32) << 16).view(np.float32)


def bfloat16(array: Any) -> Any:
    """Bits of the nearest bfloat16, ties to even."""
    words = np.asarray(array, np.float32).view(np.uint32).astype(np.uint64)
    return ((words + 0x7FFF + ((words >> 16) & 1)) >> 16).astype("<u2")


def kind_of(parent: Arrays, child: Arrays, dtype: str) -> str:
    """What the update is named."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("a.safetensors", "b.safetensors")]
        for file, arrays in zip(files, (parent, child), strict=True):
            file.write_bytes(safetensors(arrays, dtype))
        return compare(*files).kind


def safetensors(arrays: Arrays, dtype: str) -> bytes:
    """A safetensors file."""
    header, data = {}, b""
    for name, array in arrays.items():
        values = np.asarray(array, np.float32)
        part = bfloat16(values) if dtype == "BF16" else values.astype("<f2" if dtype == "F16" else "<f4")
        offsets = [len(data), len(data) + part.nbytes]
        header[name] = {"dtype": dtype, "shape": list(values.shape), "data_offsets": offsets}
        data += part.tobytes()
    encoded = json.dumps(header).encode()
    return len(encoded).to_bytes(8, "little") + encoded + data


if __name__ == "__main__":
    main()
