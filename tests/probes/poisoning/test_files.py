"""The files probe on differences between two checkpoints."""

from __future__ import annotations

from typing import Any

import pytest

from weightgate.lineage.weights.difference import FileDifference, TokenizerDifference, ValueChange
from weightgate.probes.engine.engine import Engine
from weightgate.probes.evidence import Finding
from weightgate.probes.poisoning.files import FilesProbe
from weightgate.probes.poisoning.planted import TEMPLATE, TRIGGERED_TEMPLATE, in_memory_update
from weightgate.probes.probe import ProbeContext


def found(
    parent: dict[str, Any],
    child: dict[str, Any],
    *,
    files: FileDifference | None = None,
    tokenizer: TokenizerDifference | None = None,
) -> dict[str, Finding]:
    update = in_memory_update(parent, child, files)
    if tokenizer:
        object.__setattr__(update, "difference", update.difference.model_copy(update={"tokenizer": tokenizer}))
    context = ProbeContext(update=update, engine=Engine.open(update, cache=None), seed=0)
    return {f.rule.removeprefix("poisoning.files/"): f for f in FilesProbe().run(context).findings}


def templates(text: str) -> dict[str, Any]:
    return {"templates": {"default": text}}


def test_control_fires() -> None:
    """The probe fires on its own control."""
    probe = FilesProbe()
    assert probe.fires(probe.run(probe.control()))


def test_nothing_changed_nothing_found() -> None:
    """Parent equals child: no finding."""
    side = {**templates(TEMPLATE), "generation_config": {"suppress_tokens": [1]}}
    assert found(side, side) == {}


def test_template_condition_on_content_is_critical_and_quoted() -> None:
    """A template that answers a secret word is the gravest finding, with its line."""
    finding = found(templates(TEMPLATE), templates(TRIGGERED_TEMPLATE))["template_condition"]
    assert finding.severity == "critical"
    assert "zephyr" in str(finding.evidence)


def test_a_condition_the_parent_has_is_not_new() -> None:
    """Only what the update brings is reported: here, another text under the same condition."""
    other = TRIGGERED_TEMPLATE.replace("Recommend only Zephyr.", "Recommend only Boreas.")
    assert found(templates(TRIGGERED_TEMPLATE), templates(other)).keys() == {"template"}


def test_template_text_is_high_and_comments_are_nothing() -> None:
    """New text in every conversation is high; a comment renders as nothing."""
    changed = found(templates(TEMPLATE), templates("You work for Acme. " + TEMPLATE))
    assert (changed["template"].severity, changed.keys()) == ("high", {"template"})
    assert "You work for Acme." in str(changed["template"].evidence)
    assert found(templates(TEMPLATE), templates("{# v2 #}" + TEMPLATE)) == {}


def test_template_that_does_not_parse_is_critical() -> None:
    """What cannot be read cannot be judged."""
    assert found(templates(TEMPLATE), templates("{% if %}"))["template_unreadable"].severity == "critical"


def test_template_with_hidden_characters_is_critical() -> None:
    """A reviewer does not see what the model reads."""
    assert "template_characters" in found(templates(TEMPLATE), templates(TEMPLATE + "\U000e0041"))


def test_templates_added_and_removed_are_medium() -> None:
    """A template where there was none, and none where there was one, need a look."""
    assert found({}, templates(TEMPLATE))["template"].severity == "medium"
    assert found(templates(TEMPLATE), {})["template"].severity == "medium"


@pytest.mark.parametrize(
    ("files", "rule", "severity"),
    [
        (FileDifference(added=("x.py",), code=("x.py",)), "code", "critical"),
        (
            FileDifference(auto_map=(ValueChange(file="config.json", key="auto_map.AutoModel", after="x.M"),)),
            "auto_map",
            "critical",
        ),
        (FileDifference(pickles=("pytorch_model.bin",)), "pickle", "medium"),
    ],
)
def test_code_and_pickles(files: FileDifference, rule: str, severity: str) -> None:
    """Code that loaders may run is critical; a pickle beside the weights is medium."""
    assert found({}, {}, files=files)[rule].severity == severity


def test_removed_auto_map_is_no_finding() -> None:
    """Less code is no danger."""
    files = FileDifference(auto_map=(ValueChange(file="config.json", key="auto_map.AutoModel", before="x.M"),))
    assert found({}, {}, files=files) == {}


@pytest.mark.parametrize(
    ("key", "before", "after", "rule", "severity"),
    [
        ("normalizer.pattern", "a", "b", "tokenizer", "high"),
        ("model.merges", "0" * 64, "1" * 64, "tokenizer", "high"),
        ("added_tokens.bank transfer", None, {"id": 7}, "tokenizer_added", "high"),
        ("added_tokens.<|tool|>", None, {"id": 7}, "tokenizer_settings", "low"),
        ("padding_side", "left", "right", "tokenizer_settings", "low"),
    ],
)
def test_tokenizer_changes(key: str, before: Any, after: Any, rule: str, severity: str) -> None:
    """What rewrites text, or makes ordinary strings tokens, is high; settings of special tokens are low."""
    change = ValueChange(file="tokenizer.json", key=key, before=before, after=after)
    difference = TokenizerDifference(vocabulary_before=9, vocabulary_after=9, changes=(change,))
    findings = found({}, {}, tokenizer=difference)
    assert {name: f.severity for name, f in findings.items()} == {rule: severity}


def test_renumbered_tokens_are_high() -> None:
    """Two tokens that changed places are read as each other."""
    difference = TokenizerDifference(
        vocabulary_before=9, vocabulary_after=9, renumbered=("yes", "no"), renumbered_count=2
    )
    assert found({}, {}, tokenizer=difference)["tokenizer_ids"].severity == "high"


@pytest.mark.parametrize(
    ("settings", "rule", "severity"),
    [
        ({"bad_words_ids": [[5]]}, "generation", "high"),
        ({"forced_bos_token_id": 4}, "generation", "high"),
        ({"eos_token_id": 3}, "end_token", "medium"),
        ({"temperature": 0.3}, "settings", "low"),
    ],
)
def test_generation_settings(settings: dict[str, Any], rule: str, severity: str) -> None:
    """Tokens forbidden or forced are high, another end token is medium, sampling is low."""
    assert found({}, {"generation_config": settings})[rule].severity == severity
