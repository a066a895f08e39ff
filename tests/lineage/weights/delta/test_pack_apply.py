"""A child goes through its delta byte for byte, whatever it holds and whatever its parent has of it."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.weights.checkpoint import Checkpoint
from weightgate.lineage.weights.delta.apply import apply
from weightgate.lineage.weights.delta.container import open_delta
from weightgate.lineage.weights.delta.header import BLOCK_BYTES
from weightgate.lineage.weights.delta.pack import pack
from weightgate.lineage.weights.fingerprint import fingerprint
from weightgate.lineage.weights.safetensors_file import DTYPE_BITS

Tensors = dict[str, tuple[str, tuple[int, ...], bytes]]
Write = Callable[..., Path]
Contents = Callable[[Path], dict[str, bytes]]

WHOLE_BYTES = [dtype for dtype, bits in DTYPE_BITS.items() if bits % 8 == 0]


@st.composite
def tensors(draw: st.DrawFn) -> Tensors:
    """Up to five tensors of any dtype and shape, scalars and empty ones included, of any bits."""
    found: Tensors = {}
    for name in draw(st.lists(st.sampled_from("abcdefg"), unique=True, min_size=1, max_size=5)):
        dtype = draw(st.sampled_from(WHOLE_BYTES))
        shape = tuple(draw(st.lists(st.integers(0, 4), max_size=3)))
        size = int(np.prod(shape)) * DTYPE_BITS[dtype] // 8
        found[name] = (dtype, shape, draw(st.binary(min_size=size, max_size=size)))
    return found


Tensor = tuple[str, tuple[int, ...], bytes]


def keep(_: st.DrawFn, dtype: str, shape: tuple[int, ...], data: bytes) -> Tensor:
    return dtype, shape, data


def flatten(_: st.DrawFn, dtype: str, shape: tuple[int, ...], data: bytes) -> Tensor:
    return dtype, (int(np.prod(shape)),), data


def edit(draw: st.DrawFn, dtype: str, shape: tuple[int, ...], data: bytes) -> Tensor:
    edited = bytearray(data)
    if data:
        edited[draw(st.integers(0, len(data) - 1))] ^= draw(st.integers(1, 255))
    return dtype, shape, bytes(edited)


def grow(draw: st.DrawFn, dtype: str, shape: tuple[int, ...], data: bytes) -> Tensor:
    if not shape:
        return dtype, shape, data
    row = int(np.prod(shape[1:])) * DTYPE_BITS[dtype] // 8
    return dtype, (shape[0] + 1, *shape[1:]), data + draw(st.binary(min_size=row, max_size=row))


FATES = (keep, flatten, edit, grow, None)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Tensors, Tensors]:
    """A parent, and a child with tensors kept, edited, renamed, reshaped, removed and added."""
    parent, child = draw(tensors()), {}
    for name, tensor in parent.items():
        fate = draw(st.sampled_from(FATES))
        if fate is not None:
            child[f"renamed.{name}" if fate is keep and draw(st.booleans()) else name] = fate(draw, *tensor)
    return parent, {**child, **{f"new.{name}": tensor for name, tensor in draw(tensors()).items()}}


@given(pairs(), st.sampled_from([1, 2, 3]), st.sampled_from([1, 2]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_child_is_rebuilt_byte_for_byte(
    write_model: Write, contents: Contents, pair: tuple[Tensors, Tensors], child_shards: int, parent_shards: int
) -> None:
    """Every file equals the child's, so tensor root and file digests do too."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parent = write_model(folder / "parent", pair[0], parent_shards if len(pair[0]) > 1 else 1)
        files = {"notes/read me.md": b"hello", "empty": b"", "tokenizer.json": b"{}"}
        child = write_model(folder / "child", pair[1], min(child_shards, len(pair[1])), files)
        packed = pack(parent, child, folder / "delta")
        rebuilt = apply(parent, folder / "delta", folder / "out")
        assert contents(folder / "out") == contents(child)
        assert rebuilt == fingerprint(Checkpoint.open(child), finite=False)
        assert rebuilt.root == packed.header.child.root
        assert sorted(entry.name for entry in folder.iterdir()) == ["child", "delta", "out", "parent"]


def bf16(values: np.ndarray) -> bytes:
    return (values.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory, write_model: Write) -> tuple[Path, Path, Path]:
    """A parent of several blocks, a child with small updates in three shards, and their delta."""
    random, folder = np.random.default_rng(0), tmp_path_factory.mktemp("tuned")
    rows = 5 * BLOCK_BYTES // 4 // 512  # two and a half blocks
    first = random.normal(0, 0.02, (rows, 512))
    second = random.normal(0, 0.02, (64, 64))
    parent: Tensors = {
        "embed": ("BF16", first.shape, bf16(first)),
        "down": ("BF16", second.shape, bf16(second)),
        "norm": ("F32", (64,), random.normal(1, 0.1, 64).astype("<f4").tobytes()),
        "kept": ("BF16", (64,), bf16(second[0])),
    }
    grown = np.concatenate([first + random.normal(0, 3e-5, first.shape), np.zeros((2, 512))])
    child: Tensors = {
        **parent,
        "embed": ("BF16", grown.shape, bf16(grown)),
        "down": ("BF16", second.shape, bf16(second + random.normal(0, 3e-5, second.shape))),
        "norm": ("F32", (64,), (np.frombuffer(parent["norm"][2], "<f4") + 1e-6).astype("<f4").tobytes()),
    }
    write_model(folder / "parent", parent)
    write_model(folder / "child", child, 3, {"tokenizer.json": b"{" + b" " * 900 + b"}"})
    pack(folder / "parent", folder / "child", folder / "delta")
    return folder / "parent", folder / "child", folder / "delta"


def test_codecs_are_chosen_by_what_the_parent_has(tuned: tuple[Path, Path, Path]) -> None:
    """Small bfloat16 updates take ectx, also in a grown embedding; float32 takes xor; equal tensors take same."""
    pieces = {piece.tensor.name: piece for piece in open_delta(tuned[2]).header.pieces if piece.tensor}
    assert {name: piece.codec for name, piece in pieces.items()} == {
        "embed": "ectx",
        "down": "ectx",
        "norm": "xor",
        "kept": "same",
    }
    assert pieces["kept"].lengths == ()
    assert len(pieces["embed"].lengths) == 3


def test_packing_twice_gives_the_same_delta(tuned: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """A delta depends on the two checkpoints alone: not on paths, time or threads."""
    parent, child, delta = tuned
    pack(parent, child, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == delta.read_bytes()


def test_another_parent_is_refused_before_anything_is_written(tuned: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """The parent's root comes first."""
    _, child, delta = tuned
    with pytest.raises(IntegrityError, match="its root is"):
        apply(child, delta, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


class StopError(Exception):
    """Stands for a crash."""


def stop_after(calls: int) -> Callable[[int], None]:
    left = [calls]

    def progress(count: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise StopError

    return progress


@pytest.mark.parametrize("calls", range(0, 24, 3))
def test_an_interrupted_pack_leaves_nothing(tuned: tuple[Path, Path, Path], tmp_path: Path, calls: int) -> None:
    """There is a whole delta or no file at all."""
    try:
        pack(tuned[0], tuned[1], tmp_path / "delta", progress=stop_after(calls))
    except StopError:
        assert list(tmp_path.iterdir()) == []
    else:
        assert (tmp_path / "delta").read_bytes() == tuned[2].read_bytes()


def test_an_interrupted_apply_is_taken_up_again(
    tuned: tuple[Path, Path, Path], tmp_path: Path, contents: Contents
) -> None:
    """Nothing has the final name before all is checked; files that were complete are kept, damaged ones made again."""
    parent, child, delta = tuned
    with pytest.raises(StopError):
        apply(parent, delta, tmp_path / "out", progress=stop_after(13))
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".out.")
    kept = sorted((left / "child").glob("*.safetensors"))
    assert len(kept) >= 2
    damaged = kept[-1].read_bytes()
    kept[-1].write_bytes(damaged[:-1] + bytes([damaged[-1] ^ 1]))
    before = kept[0].stat().st_ino
    apply(parent, delta, tmp_path / "out")
    assert (tmp_path / "out" / kept[0].name).stat().st_ino == before
    assert contents(tmp_path / "out") == contents(child)
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_a_killed_apply_is_taken_up_again(tuned: tuple[Path, Path, Path], tmp_path: Path, contents: Contents) -> None:
    """A process that ends within a file, with no chance to tidy up, does no harm."""
    parent, child, delta = tuned
    code = """if True:
        import os, sys
        from pathlib import Path
        from weightgate.lineage.weights.delta.apply import apply

        calls = []

        def die_within_a_shard(count):
            calls.append(count)
            if len(calls) == 10:
                os._exit(9)

        apply(*map(Path, sys.argv[1:]), progress=die_within_a_shard)
        """
    done = subprocess.run([sys.executable, "-c", code, str(parent), str(delta), str(tmp_path / "out")], check=False)
    assert done.returncode == 9
    (left,) = tmp_path.iterdir()
    assert list(left.glob(".*.partial"))
    apply(parent, delta, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(child)
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_strangers_in_the_staging_folder_are_refused(tuned: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """A file planted beside the kept ones would become part of the child."""
    parent, _, delta = tuned
    with pytest.raises(StopError):
        apply(parent, delta, tmp_path / "out", progress=stop_after(8))
    (left,) = tmp_path.iterdir()
    (left / "child" / "modeling_evil.py").write_text("boom")
    with pytest.raises(IntegrityError, match="no part of the child"):
        apply(parent, delta, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten(tuned: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """Neither a delta nor a folder with something in it; an empty folder is fine."""
    parent, child, delta = tuned
    out = tmp_path / "out"
    out.mkdir()
    apply(parent, delta, out)
    with pytest.raises(InputError, match="exists"):
        apply(parent, delta, out)
    with pytest.raises(InputError, match="exists"):
        pack(parent, child, delta)


def test_an_adapter_is_its_files(tuned: tuple[Path, Path, Path], tmp_path: Path, contents: Contents) -> None:
    """The delta of an adapter is bound to its parent and holds the adapter alone."""
    parent = tuned[0]
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    half = np.zeros((2, 64), "<f4")
    header = b'{"base_model.model.down.lora_A.weight":{"dtype":"F32","shape":[2,64],"data_offsets":[0,512]}}'
    (adapter / "adapter_model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + half.tobytes())
    (adapter / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 2}')
    packed = pack(parent, adapter, tmp_path / "delta")
    rebuilt = apply(parent, tmp_path / "delta", tmp_path / "out")
    assert packed.codecs == {"raw": 1}
    assert (tmp_path / "delta").stat().st_size < 3000
    assert rebuilt.base == packed.header.parent.root
    assert contents(tmp_path / "out") == contents(adapter)


def test_single_files_and_their_delta(tuned: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """A safetensors file without a folder comes back as a file."""
    parent = tuned[0] / "model.safetensors"
    child = tuned[1] / "model-0.safetensors"
    pack(parent, child, tmp_path / "delta")
    apply(parent, tmp_path / "delta", tmp_path / "out.safetensors")
    assert (tmp_path / "out.safetensors").read_bytes() == child.read_bytes()


def test_pickles_stay_behind(write_model: Write, tuned: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """What could run code when loaded, and weights that are not part of the model, are named and left out."""
    one: Tensors = {"a": ("U8", (1,), b"x")}
    child = write_model(tmp_path / "child", one, 1, {"optimizer.pt": b"pickle", "old.safetensors": b"stray"})
    packed = pack(tuned[0], child, tmp_path / "delta")
    assert packed.left_out == ("optimizer.pt", "old.safetensors")
    apply(tuned[0], tmp_path / "delta", tmp_path / "out")
    assert {entry.name for entry in (tmp_path / "out").iterdir()} == {"model.safetensors", "config.json"}


def test_a_child_that_changes_while_it_is_packed_is_refused(
    write_model: Write, tuned: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    """A training run that still writes must not end up as a delta that nothing can be rebuilt from."""
    child = write_model(tmp_path / "child", {"a": ("U8", (1000,), bytes(1000))})
    weights = child / "model.safetensors"

    marks = itertools.count(1)

    def overwrite(_: int) -> None:
        with weights.open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(bytes([next(marks)]))

    with pytest.raises(InputError, match="changed while it was read"):
        pack(tuned[0], child, tmp_path / "delta", progress=overwrite)
    assert not (tmp_path / "delta").exists()
