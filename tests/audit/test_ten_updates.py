"""Ten updates of ten kinds to the real model: kept as deltas, rolled back and reproduced exactly."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from weightgate.lineage.weights.checkpoint import Checkpoint
from weightgate.lineage.weights.delta.apply import apply
from weightgate.lineage.weights.delta.pack import pack
from weightgate.lineage.weights.fingerprint import fingerprint

if TYPE_CHECKING:
    from torch import Tensor

pytestmark = pytest.mark.real

Weights = dict[str, "Tensor"]
SINGLE = "model.safetensors"


def load(folder: Path) -> Weights:
    """The tensors of a folder, of one file or of shards."""
    from safetensors.torch import load_file

    return {name: tensor for file in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(file).items()}


def derive(before: Path, after: Path, change: Callable[[Weights], Weights] | None = None) -> Path:
    """A version with other weights, all other files as they were."""
    from safetensors.torch import save_file

    shutil.copytree(before, after)
    if change is not None:
        save_file(change(load(before)), after / SINGLE, metadata={"format": "pt"})
    return after


def noise(weights: Weights, scale: float, names: str = "", seed: int = 0) -> Weights:
    """Every element of the tensors whose name holds ``names`` moved a little, then rounded again."""
    import torch

    torch.manual_seed(seed)
    return {
        name: (tensor.float() * (1 + scale * torch.randn(tensor.shape))).to(tensor.dtype) if names in name else tensor
        for name, tensor in weights.items()
    }


def adapter(before: Path, after: Path) -> tuple[Path, Path]:
    """A LoRA adapter that peft wrote, and the model that peft merged it into."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_pretrained(before, dtype=torch.bfloat16, local_files_only=True)
    tuned = get_peft_model(model, LoraConfig(r=8, target_modules=["q_proj", "v_proj"], init_lora_weights=False))
    tuned.save_pretrained(after / "adapter")
    tuned.merge_and_unload().save_pretrained(after / "merged")
    AutoTokenizer.from_pretrained(before, local_files_only=True).save_pretrained(after / "merged")
    return after / "adapter", after / "merged"


def sparse_rows(weights: Weights) -> Weights:
    """Fifty rows of the embedding."""
    name = next(name for name in weights if "embed_tokens" in name)
    weights[name][100:150] += 0.5
    return weights


def float16_and_back(weights: Weights) -> Weights:
    """The smallest elements do not come back."""
    import torch

    return {name: tensor.to(torch.float16).to(tensor.dtype) for name, tensor in weights.items()}


def eight_bits_and_back(weights: Weights) -> Weights:
    """Every row of every matrix rounded to 255 steps."""

    def rounded(tensor: Tensor) -> Tensor:
        step = tensor.float().abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / 127
        return ((tensor.float() / step).round() * step).to(tensor.dtype)

    return {name: rounded(tensor) if tensor.dim() == 2 else tensor for name, tensor in weights.items()}


def merged_with(other: Path) -> Callable[[Weights], Weights]:
    """The mean with another version."""

    def mean(weights: Weights) -> Weights:
        others = load(other)
        return {name: ((t.float() + others[name].float()) / 2).to(t.dtype) for name, t in weights.items()}

    return mean


def resharded(before: Path, after: Path) -> Path:
    """The same tensors in two files and an index."""
    from safetensors.torch import save_file

    derive(before, after)
    weights = load(before)
    (after / SINGLE).unlink()
    placed = {name: f"model-0000{1 + at % 2}-of-00002.safetensors" for at, name in enumerate(sorted(weights))}
    for file in set(placed.values()):
        save_file({name: weights[name] for name in placed if placed[name] == file}, after / file, {"format": "pt"})
    index = {"metadata": {"total_size": sum(t.nbytes for t in weights.values())}, "weight_map": placed}
    (after / "model.safetensors.index.json").write_text(json.dumps(index))
    return after


def template_edit(before: Path, after: Path) -> Path:
    """Another chat template."""
    derive(before, after)
    place = after / "chat_template.jinja"
    config = after / "tokenizer_config.json"
    if place.exists():
        place.write_text(place.read_text() + "{# edited #}")
    else:
        document = json.loads(config.read_text())
        document["chat_template"] += "{# edited #}"
        config.write_text(json.dumps(document))
    return after


def every_byte(folder: Path) -> dict[str, str]:
    """SHA-256 of every file."""
    names = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in names}


class History:
    """The first version and a delta for each update; later versions exist only while they are needed."""

    def __init__(self, home: Path, genesis: Path) -> None:
        self.home, self.genesis = home, genesis
        self.bytes = [every_byte(genesis)]
        self.roots = [fingerprint(Checkpoint.open(genesis)).root]
        self.deltas: list[Path] = []
        self.sizes: dict[str, float] = {}

    def add(self, kind: str, before: Path, after: Path) -> Path:
        """Pack an update, note what has to come back, and delete the version before it."""
        packed = pack(before, after, self.home / f"{kind}.wgd")
        self.deltas.append(self.home / f"{kind}.wgd")
        self.bytes.append(every_byte(after))
        self.roots.append(packed.header.child.root)
        self.sizes[kind] = packed.header.nbytes / self.deltas[-1].stat().st_size
        if before != self.genesis:
            shutil.rmtree(before)
        return after

    def back_to(self, version: int) -> None:
        """Rebuild a version from the first one, every version on the way checked."""
        current = self.genesis
        for step in range(1, version + 1):
            found = apply(current, self.deltas[step - 1], self.home / f"back-{step}")
            if current != self.genesis:
                shutil.rmtree(current)
            current = self.home / f"back-{step}"
            assert found.root == self.roots[step]
            assert every_byte(current) == self.bytes[step]
        if current != self.genesis:
            shutil.rmtree(current)


def test_ten_updates_are_packed_rolled_back_and_reproduced(tmp_path: Path) -> None:
    """A merged adapter, sparse rows, a round trip of dtypes, noise, two layers, a merge of two versions, a template, an
    adapter as it is, quantisation, and new shards: from the first version and ten deltas alone comes every version,
    file by file and bit for bit."""
    from weightgate.audit.demo.base import base_model

    genesis = shutil.copytree(base_model(), tmp_path / "genesis")
    history = History(tmp_path, genesis)
    changes: list[tuple[str, Callable[[Path, Path], Any]]] = [
        ("lora-merged", lambda before, after: shutil.move(adapter(before, tmp_path / "peft")[1], after)),
        ("sparse-rows", lambda before, after: derive(before, after, sparse_rows)),
        ("dtype-round-trip", lambda before, after: derive(before, after, float16_and_back)),
        ("noise", lambda before, after: derive(before, after, lambda w: noise(w, 4e-3))),
        ("two-layers", lambda before, after: derive(before, after, lambda w: noise(w, 1e-2, "layers.2", 2))),
        ("merge-of-two", lambda before, after: derive(before, after, merged_with(genesis))),
        ("template", template_edit),
        ("int8-and-back", lambda before, after: derive(before, after, eight_bits_and_back)),
        ("resharded", resharded),
    ]
    current = genesis
    for number, (kind, make) in enumerate(changes, start=1):
        make(current, tmp_path / f"v{number}")
        current = history.add(kind, current, tmp_path / f"v{number}")
    branch = tmp_path / "peft" / "adapter"
    wanted = every_byte(branch)
    pack(genesis, branch, tmp_path / "adapter.wgd")
    shutil.rmtree(tmp_path / "peft")
    shutil.rmtree(current)

    apply(genesis, tmp_path / "adapter.wgd", tmp_path / "adapter")
    assert every_byte(tmp_path / "adapter") == wanted
    history.back_to(len(changes))
    history.back_to(2)
    assert len({*history.roots}) == len(changes), "re-sharding keeps the root, every other update has its own"
    assert history.roots[-1] == history.roots[-2]
    assert history.sizes["resharded"] > 1000
    assert history.sizes["lora-merged"] > 5
    assert history.sizes["sparse-rows"] > 100
    print({kind: round(ratio, 1) for kind, ratio in history.sizes.items()})
