"""The secret of the item order: made once, private, whole, and different for each update."""

from __future__ import annotations

from pathlib import Path

import pytest

from weightgate.audit import order_key
from weightgate.lineage.errors import InputError


@pytest.fixture
def secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config" / "order.secret"
    monkeypatch.setattr(order_key, "order_secret_path", lambda: path)
    return path


def test_the_key_is_stable_and_depends_on_the_update(secret: Path) -> None:
    """The same update has the same key, another update another; the secret itself is not told."""
    one, two, other = order_key.order_key("a"), order_key.order_key("a"), order_key.order_key("b")
    assert one == two != other
    assert secret.read_bytes() not in (one, other)
    assert secret.stat().st_mode & 0o077 == 0
    assert [path.name for path in secret.parent.iterdir()] == ["order.secret"]


@pytest.mark.parametrize("data", [b"", b"short", b"x" * 33])
def test_a_damaged_secret_is_refused(secret: Path, data: bytes) -> None:
    """A secret of another length is an input error, not a weak key."""
    secret.parent.mkdir()
    secret.write_bytes(data)
    with pytest.raises(InputError, match="32 bytes"):
        order_key.order_key("a")
