"""Every codec gives back every bit, and refuses what it did not write."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weightgate.lineage.errors import IntegrityError
from weightgate.lineage.weights.delta.choice import CODECS
from weightgate.lineage.weights.delta.codecs import ectx
from weightgate.lineage.weights.delta.codecs.bits import add_bits, read_bits
from weightgate.lineage.weights.delta.codecs.frames import FrameReader, add, zstd
from weightgate.lineage.weights.safetensors_file import DTYPE_BITS

# Zeros, denormals, ones, largest finite values, infinities and NaN payloads of bfloat16 and float16, both signs.
SPECIAL = (0x0000, 0x0001, 0x007F, 0x03FF, 0x3C00, 0x3F80, 0x7BFF, 0x7C00, 0x7C01, 0x7F7F, 0x7F80, 0x7FC1, 0x7FFF)
WORDS = st.one_of(st.sampled_from([*SPECIAL, *(word | 0x8000 for word in SPECIAL)]), st.integers(0, 0xFFFF))
PAIRS = st.lists(st.tuples(WORDS, WORDS), max_size=300)
USES = [(codec, dtype) for dtype in DTYPE_BITS for codec in CODECS if codec != "ectx" or dtype in ectx.FRACTION_BITS]


def words(values: list[int]) -> bytes:
    return np.array(values, "<u2").tobytes()


@given(st.sampled_from(USES), PAIRS)
@settings(max_examples=400)
def test_any_bits_come_back(use: tuple[str, str], pairs: list[tuple[int, int]]) -> None:
    """NaN payloads, signed zeros, infinities and denormals are bits like any other, in every dtype."""
    codec, dtype = use
    width = max(1, DTYPE_BITS[dtype] // 8)
    base, block = (words([pair[side] for pair in pairs]) for side in (0, 1))
    size = len(block) // width * width
    payload = CODECS[codec].encode(block[:size], base[:size], dtype)
    assert CODECS[codec].decode(payload, base[:size], dtype, size) == block[:size]


@pytest.mark.parametrize("dtype", ectx.FRACTION_BITS)
@pytest.mark.parametrize("spread", [0.0, 0.01, 1.0, 300.0, 30000.0])
def test_steps_of_any_size_come_back(dtype: str, spread: float) -> None:
    """Blocks of several segments, from hardly changed to unrelated."""
    random = np.random.default_rng(7)
    base = random.integers(0, 1 << 16, 60_000).astype("<u2")
    block = (base.astype(np.int64) + np.rint(random.normal(0, spread, base.size)).astype(np.int64)).astype("<u2")
    payload = ectx.encode(block.tobytes(), base.tobytes(), dtype)
    assert ectx.decode(payload, base.tobytes(), dtype, base.nbytes) == block.tobytes()


def test_a_small_update_is_far_smaller_than_its_xor() -> None:
    """The point of the codec: on rounded small steps it beats XOR with byte groups by a third or more."""
    random = np.random.default_rng(3)
    weights = random.normal(0, 0.02, 1 << 18).astype("<f4")
    moved = weights + random.normal(0, 5e-5, weights.size).astype("<f4")
    base, block = (((side.view("<u4") + 0x8000) >> 16).astype("<u2").tobytes() for side in (weights, moved))
    sizes = {name: len(CODECS[name].encode(block, base, "BF16")) for name in CODECS}
    assert sizes["ectx"] < 0.67 * sizes["xor"] < 0.67 * sizes["raw"]


@given(st.lists(st.booleans(), max_size=3000), st.integers(0, 3000))
def test_bit_planes_come_back(dense: list[bool], zeros: int) -> None:
    """Planes of any density, also with long runs of zeros."""
    plane = np.array([*dense, *([False] * zeros), *dense], np.bool_)
    out = bytearray()
    add_bits(out, plane)
    reader = FrameReader(bytes(out))
    assert np.array_equal(read_bits(reader, plane.size), plane)
    reader.end()


@given(st.sampled_from(USES), PAIRS, st.data())
@settings(max_examples=300)
def test_damaged_payloads_are_refused_or_give_the_right_size(
    use: tuple[str, str], pairs: list[tuple[int, int]], data: st.DataObject
) -> None:
    """No damage leads to another error, or to a block of another size that would shift what follows."""
    codec, dtype = use
    base, block = (words([pair[side] for pair in pairs] * 4) for side in (0, 1))
    payload = bytearray(CODECS[codec].encode(block, base, dtype))
    for _ in range(data.draw(st.integers(1, 3))):
        if payload:
            payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del payload[data.draw(st.integers(0, len(payload))) :]
    try:
        decoded = CODECS[codec].decode(bytes(payload), base, dtype, len(block))
    except IntegrityError:
        return
    assert len(decoded) == len(block)


@given(st.sampled_from(USES), st.binary(max_size=400), st.integers(0, 64))
@settings(max_examples=300)
def test_noise_is_refused_or_gives_the_right_size(use: tuple[str, str], noise: bytes, elements: int) -> None:
    """Payloads that no encoder wrote."""
    codec, dtype = use
    size = 8 * elements
    try:
        decoded = CODECS[codec].decode(noise, bytes(size), dtype, size)
    except IntegrityError:
        return
    assert len(decoded) == size


def test_a_frame_that_grows_beyond_its_place_is_refused() -> None:
    """A kilobyte that decompresses to a hundred megabytes is stopped at the size that is due."""
    bomb = zstd.compress(bytes(100_000_000), 19)
    assert len(bomb) < 20_000
    framed = (len(bomb) | 1 << 31).to_bytes(4, "little") + bomb
    with pytest.raises(IntegrityError, match="within 1000 bytes"):
        FrameReader(framed).frame(1000)


def test_a_frame_one_byte_too_long_is_refused() -> None:
    """Also where it is compressed, and where it is shorter than it should be."""
    out = bytearray()
    add(out, bytes(1000))
    assert out[3] & 0x80
    assert FrameReader(bytes(out)).frame(1000) == bytes(1000)
    with pytest.raises(IntegrityError):
        FrameReader(bytes(out)).frame(999)
    with pytest.raises(IntegrityError, match="instead of 1001"):
        FrameReader(bytes(out)).exactly(1001)


def test_a_frame_that_asks_for_a_huge_window_is_refused() -> None:
    """The window is memory that a frame makes its reader allocate."""
    options = {zstd.CompressionParameter.window_log: 27, zstd.CompressionParameter.content_size_flag: 0}
    stream = zstd.ZstdCompressor(options=options)
    frame = stream.compress(b"x" * 1000) + stream.flush()
    with pytest.raises(IntegrityError, match="cannot be decompressed"):
        FrameReader((len(frame) | 1 << 31).to_bytes(4, "little") + frame).frame(1000)


@given(st.binary(max_size=2000))
def test_frames_come_back(data: bytes) -> None:
    """Compressed or not, one frame is what was added, and nothing is left."""
    out = bytearray()
    add(out, data)
    add(out, b"next")
    reader = FrameReader(bytes(out))
    assert reader.frame(len(data)) == data
    assert reader.exactly(4) == b"next"
    reader.end()
