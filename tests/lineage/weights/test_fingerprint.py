"""Fingerprints: equal models have equal ones, each kind of change shows where it belongs and nowhere else."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weightgate.lineage.canonical import canonical
from weightgate.lineage.errors import InputError
from weightgate.lineage.weights import merkle
from weightgate.lineage.weights.checkpoint import Checkpoint
from weightgate.lineage.weights.fingerprint import Fingerprint, fingerprint, tensor_entry
from weightgate.lineage.weights.merkle import inclusion_proof, verify_inclusion

CONFIG = {"model_type": "llama", "hidden_size": 4}


def of(folder: Path) -> Fingerprint:
    """The fingerprint of a folder."""
    return fingerprint(Checkpoint.open(folder))


def test_each_tensor_has_the_digest_of_its_bytes(model_folder: Callable[..., Path]) -> None:
    """SHA-256 of the raw bytes, in order of name, and the number of parameters."""
    checkpoint = Checkpoint.open(model_folder())
    found = fingerprint(checkpoint)
    assert [tensor.name for tensor in found.tensors] == sorted(checkpoint.tensors)
    for tensor in found.tensors:
        assert tensor.sha256 == hashlib.sha256(b"".join(checkpoint.blocks(tensor.name))).hexdigest()
    assert found.parameters == checkpoint.parameters


def test_each_file_has_the_digest_sha256sum_gives(model_folder: Callable[..., Path]) -> None:
    """File digests can be checked with ordinary tools."""
    folder = model_folder()
    for file in of(folder).files:
        data = (folder / file.name).read_bytes()
        assert (file.sha256, file.size) == (hashlib.sha256(data).hexdigest(), len(data))


def test_sharding_does_not_change_the_identity(model_folder: Callable[..., Path]) -> None:
    """The same tensors in two shards, in another order, have the same root."""
    folder = model_folder()
    whole = of(folder)
    content = (folder / "model.safetensors").read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    names = sorted(header, reverse=True)
    weight_map = {}
    for number, part in enumerate((names[:2], names[2:])):
        shard, entries, body = f"model-{number}.safetensors", {}, b""
        for name in part:
            start, end = header[name]["data_offsets"]
            entries[name] = {**header[name], "data_offsets": [len(body), len(body) + end - start]}
            body += data[start:end]
            weight_map[name] = shard
        encoded = json.dumps(entries).encode()
        (folder / shard).write_bytes(len(encoded).to_bytes(8, "little") + encoded + body)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert of(folder) == whole


def test_one_bit_of_a_tensor_changes_the_root_and_nothing_else(model_folder: Callable[..., Path]) -> None:
    """Weights, tokenizer, template and configuration are separate facts."""
    folder = model_folder()
    before = of(folder)
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)
    after = of(folder)
    assert before.tensor_root != after.tensor_root
    assert before.root != after.root
    same = ("tokenizer", "chat_template", "config", "files")
    assert [getattr(before, field) for field in same] == [getattr(after, field) for field in same]
    assert sum(a != b for a, b in zip(before.tensors, after.tensors, strict=True)) == 1


def test_renaming_a_tensor_changes_the_root(model_folder: Callable[..., Path]) -> None:
    """Names are part of the identity."""
    data = np.ones(2, "<f4").tobytes()
    one, other = (model_folder(name, tensors={name: ("F32", (2,), data)}) for name in ("a", "b"))
    assert of(one).tensor_root != of(other).tensor_root


def test_a_tensor_can_be_proven_to_be_in_the_model(model_folder: Callable[..., Path]) -> None:
    """The tensor root is the Merkle root of the entries, so one tensor can be checked without the others."""
    found = of(model_folder())
    entries = [tensor_entry(tensor) for tensor in found.tensors]
    proof = inclusion_proof(entries, 2)
    assert verify_inclusion(bytes.fromhex(found.tensor_root), entries[2], 2, len(entries), proof)


@pytest.mark.parametrize(
    "inert",
    [
        {"_name_or_path": "x"},
        {"transformers_version": "5"},
        {"torch_dtype": "float32"},
        {"dtype": "x"},
        {"use_cache": False},
    ],
)
def test_inert_config_fields_do_not_count(inert: Any, model_folder: Callable[..., Path]) -> None:
    """Fields that do not change the model leave the config digest alone, at any depth; the file digest sees them."""
    plain = of(model_folder("a", config_json={**CONFIG, "text_config": {}}))
    marked = of(model_folder("b", config_json={**CONFIG, **inert, "text_config": inert}))
    assert plain.config == marked.config
    assert plain.root != marked.root


def test_a_config_field_that_matters_counts(model_folder: Callable[..., Path]) -> None:
    """The rotary base changes the model and so the digest."""
    assert (
        of(model_folder("a", config_json=CONFIG)).config
        != of(model_folder("b", config_json={**CONFIG, "rope_theta": 1e6})).config
    )


def test_python_numbers_in_configs_are_read(model_folder: Callable[..., Path]) -> None:
    """Infinity and integers of any size, as Python libraries write them, have a digest and are told apart."""
    texts = (
        '{"limit": [0.0, Infinity]}',
        '{"limit": [0.0, 1000000000000000019884624838656]}',
        '{"limit": [0.0, 1e999]}',
    )
    digests = {of(model_folder(f"m{number}", config_json=text)).config for number, text in enumerate(texts)}
    assert len(digests) == 3


def test_moving_the_chat_template_changes_nothing(model_folder: Callable[..., Path]) -> None:
    """From tokenizer_config.json into chat_template.jinja: same template, same tokenizer."""
    inside = of(model_folder("a", tokenizer_config_json={"bos_token": "<s>", "chat_template": "T"}))
    outside = of(model_folder("b", tokenizer_config_json={"bos_token": "<s>"}, chat_template_jinja="T"))
    assert inside.chat_template == outside.chat_template == hashlib.sha256(b"T").hexdigest()
    assert inside.tokenizer == outside.tokenizer


def test_a_hidden_second_template_counts(model_folder: Callable[..., Path]) -> None:
    """A template that only some loaders use is part of the digest."""
    plain = of(model_folder("a", tokenizer_config_json={}, chat_template_jinja="T"))
    hidden = of(model_folder("b", tokenizer_config_json={"chat_template": "U"}, chat_template_jinja="T"))
    assert plain.chat_template != hidden.chat_template


def test_the_layout_of_tokenizer_files_does_not_count(model_folder: Callable[..., Path]) -> None:
    """Indentation, merges as pairs or as text, and where the tokenizer came from are no change."""
    vocabulary = {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}}
    compact = of(model_folder("a", tokenizer_json={"model": {**vocabulary, "merges": ["a b"]}}))
    settings = {"model_max_length": 10**30, "chat_template": "{{ messages }}", "name_or_path": "x"}
    indented = of(
        model_folder(
            "b",
            tokenizer_json=json.dumps({"model": {**vocabulary, "merges": [["a", "b"]]}}, indent=2),
            tokenizer_config_json=settings,
        )
    )
    assert compact.tokenizer == indented.tokenizer


@pytest.mark.parametrize(
    "changed",
    [
        {"tokenizer_json": {"model": {"vocab": {"a": 1, "b": 0}}}},
        {"tokenizer_json": {"model": {"vocab": {"a": 0, "b": 1}}, "normalizer": {"type": "Lowercase"}}},
        {"tokenizer_json": {"model": {"vocab": {"a": 0, "b": 1}, "merges": ["a b"]}}},
        {"tokenizer_json": {"model": {"vocab": [["a", -1.0], ["b", -2.0]]}}},
        {"tokenizer_config_json": {"add_bos_token": True}},
        {"special_tokens_map_json": {"bos_token": "a"}},
        {"vocab_txt": "a"},
    ],
)
def test_every_part_of_the_tokenizer_counts(changed: Any, model_folder: Callable[..., Path]) -> None:
    """Ids, normalizer, merges, scores, settings and further files each change the digest."""
    base = {"tokenizer_json": {"model": {"vocab": {"a": 0, "b": 1}}}, "tokenizer_config_json": {}}
    assert of(model_folder("a", **base)).tokenizer != of(model_folder("b", **{**base, **changed})).tokenizer


@pytest.mark.parametrize(
    "model", [7, {"vocab": 7}, {"vocab": {"a": "0"}}, {"vocab": [[]]}, {"vocab": [[[]]]}, {"merges": 7}]
)
def test_a_malformed_tokenizer_is_refused(model: Any, model_folder: Callable[..., Path]) -> None:
    """A tokenizer.json of another shape is an input error that names it."""
    with pytest.raises(InputError, match=r"tokenizer\.json: malformed"):
        of(model_folder(tokenizer_json={"model": model}))


def test_code_is_listed_and_counts(model_folder: Callable[..., Path]) -> None:
    """Python files at any depth are part of the identity; they are named and never run."""
    folder = model_folder()
    before = of(folder)
    (folder / "sub").mkdir()
    (folder / "sub" / "modeling.py").write_text("raise SystemExit")
    after = of(folder)
    assert after.code == ("sub/modeling.py",)
    assert before.root != after.root


def test_an_adapter_is_bound_to_its_base(adapter_folder: Callable[..., Path]) -> None:
    """The same adapter on another base is another model."""
    checkpoint = Checkpoint.open(adapter_folder({"q": ([[1.0]], [[1.0]])}))
    one, other = (fingerprint(checkpoint, base_root=root) for root in ("aa", "bb"))
    assert one.tensor_root == other.tensor_root
    assert one.root != other.root
    assert one.base == "aa"


BAD = {
    "F64": (struct.pack("<d", float("nan")), struct.pack("<d", float("-inf"))),
    "F32": (struct.pack("<f", float("nan")), struct.pack("<f", float("inf"))),
    "F16": (struct.pack("<e", float("nan")), struct.pack("<e", float("-inf"))),
    "BF16": (b"\xc0\x7f", b"\x80\xff"),
    "F8_E5M2": (b"\x7f", b"\xfc"),
    "F8_E4M3": (b"\x7f", b"\xff"),
    "F8_E8M0": (b"\xff", b"\xff"),
    "F8_E4M3FNUZ": (b"\x80", b"\x80"),
    "F8_E5M2FNUZ": (b"\x80", b"\x80"),
}
GOOD = {
    "F64": b"\xef\x7f",
    "F32": b"\x7f\x7f",
    "F16": b"\xff\x7b",
    "BF16": b"\x7f\x7f",
    "F8_E5M2": b"\x7b",
    "F8_E4M3": b"\x7e",
}


@pytest.mark.parametrize("dtype", BAD)
def test_nan_and_infinity_are_refused(dtype: str, model_folder: Callable[..., Path]) -> None:
    """Such weights cannot be audited; the tensor is named and the elements counted."""
    width = len(BAD[dtype][0])
    data = bytes(300_000 * width) + b"".join(BAD[dtype])
    folder = model_folder(tensors={"w": (dtype, (len(data) // width,), data)})
    with pytest.raises(InputError, match="'w' has 2 elements that are NaN or infinite"):
        of(folder)


@pytest.mark.parametrize("dtype", GOOD)
def test_the_largest_finite_number_is_fine(dtype: str, model_folder: Callable[..., Path]) -> None:
    """The pattern just below infinity is a number."""
    data = GOOD[dtype].rjust(len(BAD[dtype][0]), b"\xff")
    assert of(model_folder(tensors={"w": (dtype, (1,), data)})).parameters == 1


def test_integers_are_never_taken_for_nan(model_folder: Callable[..., Path]) -> None:
    """Bit patterns of NaN in an integer tensor are integers."""
    assert of(model_folder(tensors={"w": ("I16", (2,), b"\xff" * 4)})).parameters == 2


def test_progress_adds_up(model_folder: Callable[..., Path]) -> None:
    """The callback hears of every byte of the tensors once."""
    checkpoint = Checkpoint.open(model_folder())
    heard: list[int] = []
    fingerprint(checkpoint, progress=heard.append)
    assert sum(heard) == sum(tensor.nbytes for tensor in checkpoint.tensors.values())


def test_blake3_is_a_second_root_and_changes_nothing_else(model_folder: Callable[..., Path]) -> None:
    """Beside SHA-256, never instead: worked out by hand from the blake3 library; without it being asked for, none."""
    library = pytest.importorskip("blake3")
    checkpoint = Checkpoint.open(model_folder())
    plain, both = fingerprint(checkpoint), fingerprint(checkpoint, blake3=True)
    entries = [
        canonical(
            {
                "name": name,
                "dtype": tensor.dtype,
                "shape": list(tensor.shape),
                "blake3": library.blake3(b"".join(checkpoint.blocks(name))).hexdigest(),
            }
        )
        for name, tensor in checkpoint.tensors.items()
    ]
    assert both.tensor_root_blake3 == merkle.root(entries).hex()
    assert plain.tensor_root_blake3 is None
    assert both.model_copy(update={"tensor_root_blake3": None}) == plain
