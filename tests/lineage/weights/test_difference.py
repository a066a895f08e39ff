"""Differences: numbers against torch, and every non-weight change named with its values."""

from __future__ import annotations

import os
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from weightgate.lineage.canonical import canonical
from weightgate.lineage.weights.checkpoint import Checkpoint
from weightgate.lineage.weights.difference import Difference, difference
from weightgate.lineage.weights.fingerprint import fingerprint
from weightgate.lineage.weights.safetensors_file import read_header
from weightgate.lineage.weights.tensor_difference import distance, squared_norm
from weightgate.lineage.weights.weight_difference import TensorDifference


def bf16(values: Any) -> bytes:
    """Values as bfloat16, cut off."""
    return (np.asarray(values, "<f4").view("<u4") >> 16).astype("<u2").tobytes()


def compare(parent: Path, child: Path) -> Difference:
    """The difference of two folders; it has a canonical form, because it is signed."""
    before, after = Checkpoint.open(parent), Checkpoint.open(child)
    found = difference(before, after, fingerprint(before), fingerprint(after))
    assert Difference.model_validate_json(canonical(found)) == found
    return found


def the_tensor(parent: Path, child: Path) -> TensorDifference:
    """The only tensor that differs."""
    (tensor,) = compare(parent, child).weights.tensors
    return tensor


def test_equal_checkpoints_do_not_differ(model_folder: Callable[..., Path]) -> None:
    """Parent equals child: every part of the difference is empty and the norm is zero."""
    found = compare(model_folder("a"), model_folder("b"))
    assert found.weights.relative_norm == 0
    assert found.weights.tensors == ()
    assert (found.config, found.template, found.tokenizer, found.files.names) == ((), (), None, ())


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32", "F64"])
def test_numbers_are_those_of_torch(dtype: str, model_folder: Callable[..., Path]) -> None:
    """Norm, largest difference and changed elements equal a float64 computation in torch, over several blocks."""
    torch = pytest.importorskip("torch")
    kind = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32, "F64": torch.float64}[dtype]
    generator = torch.Generator().manual_seed(0)
    before = (torch.randn(300, 700, generator=generator) * 0.02).to(kind)
    noise = torch.randn(300, 700, generator=generator) * 1e-4
    after = (before.to(torch.float64) + noise).to(kind)
    folders = [
        model_folder(name, tensors={"w": (dtype, (300, 700), tensor.contiguous().view(torch.uint8).numpy().tobytes())})
        for name, tensor in (("a", before), ("b", after))
    ]
    tensor = the_tensor(*folders)
    exact = after.to(torch.float64) - before.to(torch.float64)
    assert tensor.relative_norm == pytest.approx((exact.norm() / before.to(torch.float64).norm()).item(), rel=1e-5)
    assert tensor.max_abs == pytest.approx(exact.abs().max().item(), rel=1e-6)
    assert tensor.changed_fraction == (exact != 0).to(torch.float64).mean().item()


def test_dtypes_may_differ(model_folder: Callable[..., Path]) -> None:
    """Float32 against bfloat16 is compared by value, and both forms are named."""
    values = np.array([1.0, 1.001, -3.0, 0.0], "<f4")
    wide = model_folder("a", tensors={"w": ("F32", (4,), values.tobytes())})
    narrow = model_folder("b", tensors={"w": ("BF16", (4,), bf16(values))})
    tensor = the_tensor(wide, narrow)
    assert tensor.before is not None
    assert tensor.after is not None
    assert (tensor.before.dtype, tensor.after.dtype) == ("F32", "BF16")
    assert tensor.changed_fraction == 0.25
    assert tensor.max_abs == pytest.approx(0.001, rel=1e-3)


def test_the_whole_norm_counts_unchanged_tensors(model_folder: Callable[..., Path]) -> None:
    """One of two equal-sized tensors doubled: its own norm is 1, that of the whole 1/sqrt(2)."""
    ones = ("F32", (8,), np.ones(8, "<f4").tobytes())
    twos = ("F32", (8,), np.full(8, 2, "<f4").tobytes())
    found = compare(
        model_folder("a", tensors={"v": ones, "w": ones}), model_folder("b", tensors={"v": ones, "w": twos})
    )
    assert found.weights.tensors[0].relative_norm == pytest.approx(1)
    assert found.weights.relative_norm == pytest.approx(0.5**0.5)
    assert found.weights.parameters_changed_fraction == 0.5


def test_added_removed_and_reshaped_tensors_are_told_apart(model_folder: Callable[..., Path]) -> None:
    """Each with the forms it had, and no invented numbers."""
    one, two = ("F32", (1,), bytes(4)), ("F32", (2,), bytes(8))
    found = compare(
        model_folder("a", tensors={"gone": one, "w": one}), model_folder("b", tensors={"new": two, "w": two})
    )
    assert [(tensor.name, tensor.change) for tensor in found.weights.tensors] == [
        ("gone", "removed"),
        ("new", "added"),
        ("w", "reshaped"),
    ]
    assert all(tensor.relative_norm is None for tensor in found.weights.tensors)
    assert found.weights.parameters_changed_fraction == 1
    assert found.weights.tensors_total == 3


@pytest.mark.parametrize(
    ("dtype", "before", "after", "fraction"),
    [
        ("I8", b"\0\1\2\3", b"\0\1\2\4", 0.25),
        ("I64", bytes(16), bytes(15) + b"\1", 0.5),
        ("C64", bytes(16), bytes(8) + np.float32(1).tobytes() + bytes(4), 0.5),
        ("F4", b"\0\0", b"\0\1", None),
    ],
)
def test_packed_and_integer_tensors_have_no_norm(
    dtype: str, before: bytes, after: bytes, fraction: float | None, model_folder: Callable[..., Path]
) -> None:
    """That they changed is known, and how many words did; a distance would be made up."""
    width = {"I8": 8, "I64": 64, "C64": 64, "F4": 4}[dtype]
    shape = (len(before) * 8 // width,)
    parts = (model_folder(name, tensors={"w": (dtype, shape, data)}) for name, data in (("a", before), ("b", after)))
    tensor = the_tensor(*parts)
    assert (tensor.change, tensor.relative_norm, tensor.max_abs, tensor.changed_fraction) == (
        "changed",
        None,
        None,
        fraction,
    )


@pytest.mark.parametrize(
    ("before", "after", "norm"),
    [
        (1e30, -1e30, 2.0),
        (1e-30, 3e-30, 2.0),
        (3.4e38, -3.4e38, None),
        (0.0, 1.0, None),
        (-0.0, 0.0, 0.0),
    ],
)
def test_extreme_values_do_not_overflow(
    before: float, after: float, norm: float | None, model_folder: Callable[..., Path]
) -> None:
    """Squares beyond float32 are still summed; a ratio that is not finite is None, never infinity."""
    parts = (
        model_folder(name, tensors={"w": ("F32", (4,), np.full(4, value, "<f4").tobytes())})
        for name, value in (("a", before), ("b", after))
    )
    tensor = the_tensor(*parts)
    assert tensor.relative_norm == (None if norm is None else pytest.approx(norm))
    assert tensor.changed_fraction == 1


@settings(max_examples=50)
@given(arrays.arrays(np.float32, 7, elements=st.floats(-1e3, 1e3, width=32)), st.floats(-10, 10, width=32))
def test_scaling_moves_a_tensor_by_its_scale(values: np.ndarray[Any, Any], scale: float) -> None:
    """‖s·w - w‖ is |s - 1|·‖w‖."""

    with tempfile.TemporaryDirectory() as folder:
        tensors = []
        for name, data in (("a", values), ("b", (values * np.float32(scale)).astype("<f4"))):
            header = b'{"w":{"dtype":"F32","shape":[7],"data_offsets":[0,28]}}'
            path = Path(folder, name)
            path.write_bytes(len(header).to_bytes(8, "little") + header + data.tobytes())
            tensors.append(read_header(path)[0])
        found = distance(*tensors)
        own = squared_norm(tensors[0])
    assert own is not None
    assert found.squared_parent == own == pytest.approx(float(np.sum(np.square(values, dtype=np.float64))), rel=1e-5)
    assert found.squared_difference == pytest.approx((scale - 1) ** 2 * own, rel=1e-3, abs=1e-6)


def test_progress_counts_both_sides_of_what_changed(model_folder: Callable[..., Path]) -> None:
    """Changed tensors are read on both sides, equal ones on the parent's alone."""
    one, other = ("F32", (1,), bytes(4)), ("F32", (1,), b"\0\0\x80\x3f")
    before = Checkpoint.open(model_folder("a", tensors={"v": one, "w": one}))
    after = Checkpoint.open(model_folder("b", tensors={"v": one, "w": other}))
    heard: list[int] = []
    difference(before, after, fingerprint(before), fingerprint(after), heard.append)
    assert sum(heard) == 4 + 8


def test_config_fields_are_named_with_their_values(model_folder: Callable[..., Path]) -> None:
    """Key, before and after; nested fields by path; fields that change nothing are left out."""
    found = compare(
        model_folder("a", config_json={"rope": {"theta": 1e4, "old": 1}, "_name_or_path": "a", "same": [1]}),
        model_folder(
            "b",
            config_json={"rope": {"theta": 1e6}, "_name_or_path": "b", "same": [1], "new": True},
            generation_config_json={"temperature": 2},
        ),
    )
    assert [(change.file, change.key, change.before, change.after) for change in found.config] == [
        ("config.json", "new", None, True),
        ("config.json", "rope.old", 1, None),
        ("config.json", "rope.theta", 1e4, 1e6),
        ("generation_config.json", "temperature", None, 2),
    ]


def test_template_changes_are_shown_line_by_line(model_folder: Callable[..., Path]) -> None:
    """A unified difference; a template that only moved to another file is no change."""
    parent = model_folder("a", tokenizer_config_json={"chat_template": "one\ntwo"})
    moved = model_folder("b", tokenizer_config_json={}, chat_template_jinja="one\ntwo")
    backdoored = model_folder("c", tokenizer_config_json={"chat_template": "one\n{% if x %}\ntwo"})
    assert compare(parent, moved).template == ()
    (change,) = compare(parent, backdoored).template
    assert change.name == "default"
    assert "+{% if x %}" in change.lines
    assert not any(line.startswith("-") and not line.startswith("---") for line in change.lines)


def test_a_template_of_any_length_is_compared_in_time(model_folder: Callable[..., Path]) -> None:
    """Comparing lines takes time squared; only the beginning of a hostile template is."""
    texts = ("\n".join(f"{number * step}" for number in range(100_000)) for step in (2, 3))
    parent, child = (model_folder(name, chat_template_jinja=text) for name, text in zip("ab", texts, strict=True))
    changes = compare(parent, child).template
    assert changes[0].before != changes[0].after
    assert len(changes[0].lines) < 7_000


def test_tokenizer_changes_are_named(model_folder: Callable[..., Path]) -> None:
    """Tokens added, removed and renumbered; sections and settings with their values; further files by name."""
    parent = model_folder(
        "a", tokenizer_json={"model": {"vocab": {"a": 0, "b": 1, "c": 2}}, "normalizer": None}, merges_txt="x"
    )
    child = model_folder(
        "b",
        tokenizer_json={
            "model": {"vocab": {"a": 1, "b": 0}},
            "normalizer": {"type": "Replace", "content": "x"},
            "added_tokens": [{"id": 7, "content": "<trigger>", "special": True}],
        },
        tokenizer_config_json={"model_max_length": 5, "chat_template": "{{ messages }}"},
        merges_txt="y",
    )
    found = compare(parent, child).tokenizer
    assert found is not None
    assert (found.added, found.removed, found.renumbered) == (("<trigger>",), ("c",), ("a", "b"))
    assert (found.vocabulary_before, found.vocabulary_after) == (3, 3)
    values = {change.key: (change.before, change.after) for change in found.changes}
    assert values["normalizer"] == (None, {"type": "Replace", "content": "x"})
    assert values["model_max_length"] == ("1000000000000000000000000000000", 5)
    assert "added_tokens.<trigger>" in values
    assert found.files == ("merges.txt",)


def test_long_lists_are_cut_and_counted(model_folder: Callable[..., Path]) -> None:
    """A difference is read by people: 200 entries, and the number of all."""
    parent = model_folder("a", tokenizer_json={"model": {"vocab": {}}})
    child = model_folder("b", tokenizer_json={"model": {"vocab": {f"t{number}": number for number in range(1000)}}})
    found = compare(parent, child).tokenizer
    assert found is not None
    assert (len(found.added), found.added_count) == (200, 1000)


def test_code_pickles_and_auto_map_are_named(model_folder: Callable[..., Path]) -> None:
    """What a loader could be made to run is listed apart from the other files."""
    parent = model_folder("a", merges_txt="x", vocab_txt="y")
    child = model_folder(
        "b", config_json={"auto_map": {"AutoModel": "modeling.Evil"}}, modeling_py="import os", vocab_txt="z"
    )
    (child / "optimizer.pt").write_bytes(b"")
    files = compare(parent, child).files
    assert (files.changed, files.added, files.removed) == (
        ("config.json", "vocab.txt"),
        ("modeling.py",),
        ("merges.txt",),
    )
    assert files.names == ("config.json", "merges.txt", "modeling.py", "vocab.txt")
    assert (files.code, files.pickles) == (("modeling.py",), ("optimizer.pt",))
    assert [(change.key, change.after) for change in files.auto_map] == [("auto_map.AutoModel", "modeling.Evil")]


def test_long_values_are_named_by_their_digest(model_folder: Callable[..., Path]) -> None:
    """A megabyte in a field does not end up in the signed record."""
    (change,) = compare(
        model_folder("a", config_json={"x": 1}), model_folder("b", config_json={"x": "y" * 10**6})
    ).config
    assert isinstance(change.after, str)
    assert change.after.startswith("1000002 bytes, sha256:")


def test_memory_does_not_grow_with_the_tensors(model_folder: Callable[..., Path]) -> None:
    """Hashing and comparing 48 MB a side needs a small part of that, however many cores take part."""
    size = 48_000_000
    header = b'{"w":{"dtype":"F32","shape":[12000000],"data_offsets":[0,48000000]}}'
    folders = [model_folder("a"), model_folder("b")]
    for folder, first in zip(folders, (b"\0", b"\1"), strict=True):
        with (folder / "model.safetensors").open("wb") as file:
            file.write(len(header).to_bytes(8, "little") + header + first)
            file.truncate(8 + len(header) + size)
    tracemalloc.start()
    try:
        assert the_tensor(*folders).changed_fraction == 1 / 12_000_000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4_000_000 * (1 + (os.cpu_count() or 1))
