"""Bit patterns against torch, which knows every one of these formats."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightgate.lineage.weights.elements import count_not_finite, decoder

torch = pytest.importorskip("torch")

TORCH = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E8M0": torch.float8_e8m0fnu,
    "F8_E4M3FNUZ": torch.float8_e4m3fnuz,
    "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
}


@pytest.mark.parametrize("dtype", TORCH)
@given(data=st.binary(min_size=8, max_size=256).map(lambda data: data[: len(data) // 8 * 8]))
def test_values_and_their_finiteness_are_those_of_torch(dtype: str, data: bytes) -> None:
    """Every finite pattern decodes to torch's value; exactly the patterns torch calls NaN or infinite are counted."""
    expected = torch.frombuffer(bytearray(data), dtype=TORCH[dtype]).to(torch.float64).numpy()
    finite = np.isfinite(expected)
    read = decoder(dtype)
    assert read is not None
    np.testing.assert_array_equal(read(data)[finite], expected[finite])
    assert count_not_finite(data, dtype) == np.count_nonzero(~finite)


@pytest.mark.parametrize("dtype", [name for name in TORCH if name.startswith("F8")])
def test_all_patterns_of_the_8_bit_floats(dtype: str) -> None:
    """All 256 of them."""
    data = bytes(range(256))
    expected = torch.frombuffer(bytearray(data), dtype=TORCH[dtype]).to(torch.float32).numpy()
    finite = np.isfinite(expected)
    read = decoder(dtype)
    assert read is not None
    np.testing.assert_array_equal(read(data)[finite], expected[finite])
    assert [count_not_finite(bytes([pattern]), dtype) == 0 for pattern in range(256)] == finite.tolist()


@pytest.mark.parametrize("dtype", ["I8", "U8", "I64", "BOOL", "F4", "F6_E2M3", "C64"])
def test_what_is_no_plain_float_has_no_values(dtype: str) -> None:
    """Integers are indices or packed weights; a norm over them would mean nothing."""
    assert decoder(dtype) is None
