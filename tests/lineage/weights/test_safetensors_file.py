"""The safetensors reader: what it reads is what the library reads, and nothing malformed gets through."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from weightgate.lineage.errors import InputError
from weightgate.lineage.weights.safetensors_file import DTYPE_BITS, blocks, read_header

F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def library_reads(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Names and tensors as the safetensors library reads them."""
    found: list[tuple[str, dict[str, Any]]] = safetensors.deserialize(path.read_bytes())  # type: ignore[no-untyped-call]
    return found


def write(path: Path, header: Any, data: bytes = b"") -> Path:
    """A file with this header (JSON, or bytes as they are) and these tensor bytes."""
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(encoded).to_bytes(8, "little") + encoded + data)
    return path


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8).filter(lambda t: t != "__metadata__"),
        st.tuples(
            st.sampled_from(["float16", "float32", "float64", "int8", "uint8", "int16", "int32", "int64", "bool"]),
            st.lists(st.integers(0, 3), max_size=3),
        ),
        max_size=5,
    )
)
def test_reads_what_the_library_writes(specification: dict[str, tuple[str, list[int]]]) -> None:
    """Names, shapes and bytes of every tensor are those that the safetensors library wrote."""
    arrays = {
        name: np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
        for name, (dtype, shape) in specification.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.safetensors")
        safetensors.numpy.save_file(arrays, path, metadata={"format": "pt"})
        read = {tensor.name: (tensor.shape, b"".join(blocks(tensor, 5))) for tensor in read_header(path)}
    assert read == {name: (array.shape, array.tobytes()) for name, array in arrays.items()}


def test_reads_bfloat16_bytes_as_the_library_does(tmp_path: Path) -> None:
    """A dtype numpy does not have is read by its bytes."""
    header = {"w": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]}}
    path = write(tmp_path / "x.safetensors", header, bytes(range(12)))
    (tensor,) = read_header(path)
    ((name, read),) = library_reads(path)
    assert (tensor.name, tensor.dtype, list(tensor.shape)) == (name, read["dtype"], read["shape"])
    assert b"".join(blocks(tensor)) == bytes(read["data"])
    assert tensor.elements == 6


@pytest.mark.parametrize("dtype", DTYPE_BITS)
def test_every_dtype_is_read_by_its_width(dtype: str, tmp_path: Path) -> None:
    """Eight elements of any dtype fill as many bytes as the dtype has bits, and the library agrees on the file."""
    bits = DTYPE_BITS[dtype]
    header = {"w": {"dtype": dtype, "shape": [8], "data_offsets": [0, bits]}}
    path = write(tmp_path / "x.safetensors", header, bytes(bits))
    assert read_header(path)[0].nbytes == bits
    assert library_reads(path)[0][0] == "w"


def test_a_scalar_has_one_element(tmp_path: Path) -> None:
    """An empty shape is a scalar, not an empty tensor."""
    header = {"w": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}}
    assert read_header(write(tmp_path / "x.safetensors", header, bytes(4)))[0].elements == 1


@pytest.mark.parametrize(
    ("header", "data", "message"),
    [
        (b"not json", b"", "not JSON"),
        (b"\xff\xfe{}", b"", "not UTF-8"),
        (b"[]", b"", "not a JSON object"),
        (b'{"w":1,"w":2}', b"", "'w' twice"),
        (b'{"w":{"dtype":"F32","dtype":"F16","shape":[2],"data_offsets":[0,8]}}', bytes(8), "'dtype' twice"),
        (b'{"w":{"dtype":"F32","shape":[NaN],"data_offsets":[0,8]}}', bytes(8), "the number NaN"),
        (b'{"\\ud800":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', bytes(8), "not UTF-8"),
        (b"[" * 100_000, b"", "nested too deep"),
        ({"__metadata__": {"a": 1}}, b"", "__metadata__"),
        ({"w": []}, b"", "exactly the keys"),
        ({"w": {**F32, "extra": 1}}, bytes(8), "exactly the keys"),
        ({"w": {**F32, "dtype": "F31"}}, bytes(8), "unknown dtype 'F31'"),
        ({"w": {**F32, "dtype": ["F32"]}}, bytes(8), "unknown dtype"),
        ({"w": {**F32, "shape": [-2]}}, bytes(8), "shape"),
        ({"w": {**F32, "shape": [2.0]}}, bytes(8), "shape"),
        ({"w": {**F32, "shape": [True, 2]}}, bytes(8), "shape"),
        ({"w": {**F32, "shape": [2**52] * 65}}, bytes(8), "shape"),
        ({"w": {**F32, "shape": [3]}}, bytes(8), "does not fill its 8 bytes"),
        ({"w": {**F32, "data_offsets": [8, 0]}}, bytes(8), "data_offsets"),
        ({"w": {**F32, "data_offsets": [0]}}, bytes(8), "data_offsets"),
        ({"w": {**F32, "data_offsets": [-8, 0]}}, bytes(8), "data_offsets"),
        ({"v": F32, "w": F32}, bytes(8), "overlaps"),
        ({"v": F32, "w": {**F32, "data_offsets": [9, 17]}}, bytes(17), "leaves a hole"),
        ({"w": {**F32, "data_offsets": [8, 16]}}, bytes(16), "leaves a hole"),
        ({"w": F32}, bytes(7), "truncated, tensor 'w'"),
        ({"w": F32}, bytes(9), "1 bytes after the last tensor"),
        ({"x" * 1001: F32}, bytes(8), "over 1000 characters"),
    ],
)
def test_refuses_malformed_headers(header: Any, data: bytes, message: str, tmp_path: Path) -> None:
    """Each fault of a header is one error that names the file, the fault and a remedy."""
    path = write(tmp_path / "x.safetensors", header, data)
    with pytest.raises(InputError, match=message) as caught:
        read_header(path)
    assert str(path) in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "too few"),
        (b"1234567", "too few"),
        ((100).to_bytes(8, "little") + b"{}", "truncated, its header"),
        ((2**63).to_bytes(8, "little") + b"{}", "over 100000000"),
    ],
)
def test_refuses_truncated_files(content: bytes, message: str, tmp_path: Path) -> None:
    """A length that the file does not have is refused before anything is allocated for it."""
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_header(path)


def test_refuses_a_file_that_is_not_there(tmp_path: Path) -> None:
    """A missing file is an input error."""
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_header(tmp_path / "x.safetensors")


def test_a_file_cut_after_opening_is_noticed(tmp_path: Path) -> None:
    """Bytes that vanish between reading the header and the tensor are an error, never a short tensor."""
    path = write(tmp_path / "x.safetensors", {"w": F32}, bytes(8))
    (tensor,) = read_header(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="ends within tensor 'w'"):
        b"".join(blocks(tensor))


@settings(max_examples=300)
@given(st.binary(max_size=200), st.booleans())
def test_arbitrary_bytes_never_crash_the_reader(content: bytes, framed: bool) -> None:
    """Whatever the bytes, reading gives tensors or an input error."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.safetensors")
        path.write_bytes(len(content).to_bytes(8, "little") + content if framed else content)
        try:
            read_header(path)
        except InputError:
            return


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
ENTRY = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from([*DTYPE_BITS, "X"]) | JSON,
        "shape": st.lists(st.integers(-1, 4), max_size=3) | JSON,
        "data_offsets": st.lists(st.integers(-1, 40), min_size=1, max_size=3) | JSON,
    }
)


@settings(max_examples=300)
@given(st.dictionaries(st.text(max_size=3) | st.just("__metadata__"), ENTRY | JSON, max_size=3), st.integers(0, 40))
def test_what_is_accepted_the_library_accepts(header: dict[str, Any], size: int) -> None:
    """No header passes here that the safetensors library refuses."""
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder, "x.safetensors"), header, bytes(size))
        try:
            tensors = read_header(path)
        except InputError:
            return
        assert {name for name, _ in library_reads(path)} == {tensor.name for tensor in tensors}
