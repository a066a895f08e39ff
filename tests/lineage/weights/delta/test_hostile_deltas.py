"""No delta, however it was made, leads to a wrong child, a file outside the folder, or an error that is not ours."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weightgate.lineage.canonical import canonical
from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.weights.delta.apply import apply
from weightgate.lineage.weights.delta.container import open_delta
from weightgate.lineage.weights.delta.header import BLOCK_BYTES, Header
from weightgate.lineage.weights.delta.pack import pack

Pair = tuple[Path, Path, bytes]
Reseal = Callable[..., bytes]
Contents = Callable[[Path], dict[str, bytes]]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, write_model: Callable[..., Path]) -> Pair:
    """Parent, child and their delta, small, with a piece of every codec."""
    folder = tmp_path_factory.mktemp("pair")
    base, moved = bytes(range(1, 129)) * 4, bytes(byte ^ (index % 7 == 0) for index, byte in enumerate(range(1, 129)))
    random = np.random.default_rng(1)
    words = random.integers(0x3C00, 0x3D00, 2048, dtype=np.uint16)
    steps = random.integers(0, 4, words.size, dtype=np.uint16) == 0
    parent = {
        "half": ("BF16", (2048,), words.tobytes()),
        "kept": ("F32", (4,), base[:16]),
        "single": ("F32", (128,), base),
        "word": ("I64", (2,), base[:16]),
    }
    child = {
        "half": ("BF16", (2048,), (words + steps).tobytes()),
        "kept": ("F32", (4,), base[:16]),
        "new": ("U8", (9,), b"something"),
        "single": ("F32", (128,), moved * 4),
        "word": ("I64", (2,), moved[:16]),
    }
    write_model(folder / "parent", parent, 2)
    write_model(folder / "child", child, 2, {"extra/notes.txt": b"notes"})
    packed = pack(folder / "parent", folder / "child", folder / "delta")
    assert set(packed.codecs) == {"same", "ectx", "xor", "raw"}
    return folder / "parent", folder / "child", (folder / "delta").read_bytes()


@pytest.fixture(scope="module")
def child_files(pair: Pair, contents: Contents) -> dict[str, bytes]:
    """The child, file by file."""
    return contents(pair[1])


def attempt(parent: Path, delta: bytes) -> dict[str, bytes] | None:
    """The child that comes out, or None for a refusal that leaves nothing of the child's name."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "delta").write_bytes(delta)
        out = folder / "sub" / "out"
        try:
            apply(parent, folder / "delta", out)
        except (InputError, IntegrityError):
            assert not out.exists()
            assert {entry.name for entry in folder.iterdir()} <= {"delta", "sub"}
            return None
        return {p.relative_to(out).as_posix(): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


def header_of(delta: bytes) -> dict[str, Any]:
    return json.loads(delta[20 : 20 + int.from_bytes(delta[12:20], "little")])


def test_every_flipped_byte_is_found(pair: Pair, tmp_path: Path) -> None:
    """Each byte of the file, one bit at a time in turn: prefix, header, blocks and digest."""
    path = tmp_path / "delta"
    path.write_bytes(pair[2])
    with path.open("r+b", buffering=0) as file:
        for at, byte in enumerate(pair[2]):
            os.pwrite(file.fileno(), bytes([byte ^ (1 << at % 8)]), at)
            with pytest.raises((InputError, IntegrityError)):
                open_delta(path)
            os.pwrite(file.fileno(), bytes([byte]), at)
    open_delta(path)


def test_every_truncation_is_found(pair: Pair, tmp_path: Path) -> None:
    """A file that ends early, anywhere, or goes on after its end."""
    path = tmp_path / "delta"
    path.write_bytes(pair[2])
    for size in reversed(range(len(pair[2]))):
        os.truncate(path, size)
        with pytest.raises((InputError, IntegrityError)):
            open_delta(path)
    path.write_bytes(pair[2] + b"\0")
    with pytest.raises(IntegrityError):
        open_delta(path)


def test_documents_outside_the_root_are_checked_too(pair: Pair, reseal: Reseal) -> None:
    """A file that does not shape behaviour is not in the root; its digest in the delta holds it."""
    length = int.from_bytes(pair[2][12:20], "little")
    blocks = pair[2][20 + length : -32]
    assert blocks.count(b"notes") == 1
    assert attempt(pair[0], reseal(pair[2], blocks=blocks.replace(b"notes", b"votes"))) is None


def test_a_header_that_describes_a_tensor_as_another_is_refused(pair: Pair, reseal: Reseal) -> None:
    """What a reviewer reads in the header is what comes out, even where the bytes would be the same."""
    header = header_of(pair[2])
    (form,) = (
        piece["tensor"]
        for file in header["files"]
        for piece in file["pieces"]
        if piece.get("tensor", {}).get("name") == "kept"
    )
    form["shape"] = [2, 2]
    assert attempt(pair[0], reseal(pair[2], header=canonical(header))) is None


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_resealed_damage_never_gives_a_wrong_child(
    pair: Pair, child_files: dict[str, bytes], reseal: Reseal, data: st.DataObject
) -> None:
    """Bytes of the blocks changed and the digest made to fit: the child is right, or there is none."""
    length = int.from_bytes(pair[2][12:20], "little")
    blocks = bytearray(pair[2][20 + length : -32])
    for _ in range(data.draw(st.integers(1, 4))):
        blocks[data.draw(st.integers(0, len(blocks) - 1))] = data.draw(st.integers(0, 255))
    assert attempt(pair[0], reseal(pair[2], blocks=bytes(blocks))) in (None, child_files)


def model(files: dict[str, bytes]) -> dict[str, bytes]:
    """The files that the root covers."""
    return {name: data for name, data in files.items() if name.endswith(".safetensors") or name == "config.json"}


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document."""
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(place for key, value in inner for place in places(value, (*path, key)))]


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53) + 1, 2**53 - 1),
    st.sampled_from([2**53 - 1, 2**40, BLOCK_BYTES, BLOCK_BYTES + 1, 0, -1, 1.5, "", "same", "raw", "xor", "ectx"]),
    st.sampled_from(
        ["../x", "/etc/x", "half", "word", "F64", "F4", "file", "adapter", "0" * 64, [], {}, [2**52, 2**52]]
    ),
    st.text(max_size=5),
    st.lists(st.integers(0, 2**53 - 1), max_size=3),
)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_fuzzed_headers_never_give_a_wrong_child(
    pair: Pair, child_files: dict[str, bytes], reseal: Reseal, data: st.DataObject
) -> None:
    """Any value of the header replaced, removed or doubled, in canonical form and with a digest that fits.

    Files that shape nothing are outside the root: a forger can rename them, and only the digest of the delta tells.
    """
    header = header_of(pair[2])
    for _ in range(data.draw(st.integers(1, 2))):
        *path, last = data.draw(st.sampled_from([place for place in places(header) if place]))
        node = header
        for key in path:
            node = node[key]
        deed = data.draw(st.sampled_from(["replace", "remove", "double"]))
        if deed == "replace":
            node[last] = data.draw(ODD)
        elif deed == "remove":
            del node[last]
        elif isinstance(node, list):
            node.insert(last, node[last])
        else:
            node[f"{last}2"] = node[last]
    rebuilt = attempt(pair[0], reseal(pair[2], header=canonical(header)))
    assert rebuilt is None or model(rebuilt) == model(child_files)


@given(st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_headers_that_are_no_json_are_refused(pair: Pair, reseal: Reseal, header: bytes) -> None:
    """Noise in place of the header."""
    assert attempt(pair[0], reseal(pair[2], header=header)) is None


@pytest.mark.parametrize(
    "name",
    [
        "../escaped",
        "/escaped",
        "a/../../escaped",
        "a//b",
        "./a",
        "a/",
        "",
        "a\\b",
        "C:evil",
        "nul",
        "com1.txt",
        "a\nb",
        "a\x1b[2J",
        "ends.",
        "ends ",
        "x" * 300,
        "config.json/inside",
        "CONFIG.JSON",
        "config.json",
    ],
)
def test_names_that_are_no_plain_paths_are_refused(pair: Pair, reseal: Reseal, name: str) -> None:
    """Names are paths only after they have been checked; none leaves the folder or hides another."""
    header = header_of(pair[2])
    (document,) = (file for file in header["files"] if file["name"] == "extra/notes.txt")
    document["name"] = name
    header["files"].sort(key=lambda file: file["name"])
    assert attempt(pair[0], reseal(pair[2], header=canonical(header))) is None


@pytest.mark.parametrize(
    "name", ["optimizer.pt", "z.safetensors", "modeling_evil.py", "extra/evil.py", "tokenizer.model"]
)
def test_files_that_could_do_harm_cannot_be_slipped_in(pair: Pair, reseal: Reseal, name: str) -> None:
    """Pickles, stray weights, code and tokenizers, under a name that the packed child did not have."""
    header = header_of(pair[2])
    (document,) = (file for file in header["files"] if file["name"] == "extra/notes.txt")
    forged = {**document, "name": name}
    forged["pieces"] = [{"codec": "same", "base": "config.json", **same_config(header)}]
    header["files"] = sorted([*header["files"], forged], key=lambda file: file["name"])
    assert attempt(pair[0], reseal(pair[2], header=canonical(header))) is None


def same_config(header: dict[str, Any]) -> dict[str, Any]:
    """Size and digest of a document that the parent has."""
    (config,) = (file["pieces"][0] for file in header["files"] if file["name"] == "config.json")
    return {"nbytes": config["nbytes"], "sha256": config["sha256"]}


def test_a_header_in_another_form_is_refused(pair: Pair, reseal: Reseal) -> None:
    """One delta has one header: spaces, another order or fields spelled out are not it."""
    header = header_of(pair[2])
    assert attempt(pair[0], reseal(pair[2], header=json.dumps(header).encode())) is None
    full = canonical(Header.model_validate(header).model_dump(mode="json"))
    assert attempt(pair[0], reseal(pair[2], header=full)) is None
    assert attempt(pair[0], reseal(pair[2], header=canonical(header))) is not None


def test_a_child_of_more_bytes_than_the_disk_holds_is_refused_first(pair: Pair, reseal: Reseal, tmp_path: Path) -> None:
    """Zeros compress without end: a delta of kilobytes may ask for petabytes."""
    header = header_of(pair[2])
    count = 500_000
    header["files"][0]["pieces"] = [
        {"codec": "raw", "lengths": [1] * count, "nbytes": count * BLOCK_BYTES, "sha256": "0" * 64}
    ]
    lengths = sum(sum(piece.get("lengths", ())) for file in header["files"] for piece in file["pieces"])
    path = tmp_path / "delta"
    path.write_bytes(reseal(pair[2], header=canonical(header), blocks=bytes(lengths)))
    with pytest.raises(InputError, match="free on that disk"):
        apply(pair[0], path, tmp_path / "out")
    assert [entry.name for entry in tmp_path.iterdir() if not entry.name.startswith(".")] == ["delta"]


def test_another_version_is_refused(pair: Pair, tmp_path: Path) -> None:
    """A version this reader does not know is not guessed at."""
    data = pair[2][:8] + (2).to_bytes(4, "little") + pair[2][12:-32]
    (tmp_path / "delta").write_bytes(data + hashlib.sha256(data).digest())
    with pytest.raises(InputError, match="version 2"):
        open_delta(tmp_path / "delta")
