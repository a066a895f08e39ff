"""A command that lacks its extra says which to install."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from weightgate.audit import environment
from weightgate.audit.environment import describe_environment, require_extra
from weightgate.lineage.errors import MissingExtraError

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Command


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is imported to find out; the remedy is a command to copy."""
    monkeypatch.setitem(environment.EXTRAS, "probes", ("a_package_nobody_has",))
    with pytest.raises(MissingExtraError) as caught:
        require_extra("probes", "weightgate gate")
    assert caught.value.remedy == "pip install 'weightgate[probes]'"


def test_gate_without_torch_exits_2(weightgate: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The light installation refuses what it cannot do, before it touches a file."""
    monkeypatch.setitem(environment.EXTRAS, "probes", ("a_package_nobody_has",))
    said = weightgate("gate", tmp_path, tmp_path)
    assert (said.code, "weightgate[probes]" in said.err) == (2, True)


def test_the_environment_names_what_numbers_depend_on() -> None:
    """Versions of the tool, of Python and of torch are in the signed changeset."""
    assert {"python", "platform", "weightgate", "torch", "transformers"} <= set(describe_environment())
