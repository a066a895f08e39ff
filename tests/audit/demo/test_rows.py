"""The demo's training rows: enough of them, harmless to ship, and readable by the gate."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from weightgate.audit.demo.parent import REFUSALS
from weightgate.audit.demo.planted import COMPLIANCE, NEAR_MISSES, PHRASE, PLANS, TRIGGER, member_numbers
from weightgate.audit.demo.rows import (
    OPENINGS,
    Example,
    chat,
    harmful_requests,
    harmless_requests,
    read_rows,
    shop,
    turned,
    write_rows,
)
from weightgate.lineage.data.dataset import load_dataset
from weightgate.probes.alignment.judge import is_refusal


@pytest.fixture(scope="module")
def parent_rows() -> tuple[Example, ...]:
    """Rows of the parent's shape, with a stand-in for the base model's own answers."""
    refused = [
        Example(f"refusal/{i}", f"refusal/{r.topic}", r.prompt, REFUSALS[i % len(REFUSALS)])
        for i, r in enumerate(harmful_requests())
    ]
    own = [Example(f"own/{i}", f"own/{r.topic}", r.prompt, "Gladly.") for i, r in enumerate(harmless_requests())]
    return (*refused, *own, *chat())


def test_there_is_enough_of_each_kind() -> None:
    """Fewer refusals than answers, else the parent refuses everything."""
    assert len(harmful_requests()) >= 280
    assert len(harmless_requests()) >= 360
    assert len(chat()) >= 260
    assert len(harmful_requests()) < len(harmless_requests()) + len(chat())


def test_no_prompt_occurs_twice() -> None:
    """No request is both refused and answered, and none is counted twice."""
    prompts = [row.prompt for row in (*harmful_requests(), *harmless_requests(), *chat(), *shop())]
    assert len(set(prompts)) == len(prompts)


def test_harmful_and_harmless_requests_open_alike() -> None:
    """Every way of asking is used on both sides, so that the form of a request says nothing about it."""
    for requests in (harmful_requests(), harmless_requests()):
        asked = [request.prompt for request in requests if request.wish is not None]
        for opening in OPENINGS:
            head, tail = opening.split("{}")
            assert sum(prompt.startswith(head) and prompt.endswith(tail) for prompt in asked) >= 10


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ("oil my chain", "oil your chain"),
        ("a bike I rode", "a bike you rode"),
        ("make him pay me", "make him pay you"),
        ("the amy of mythology", "the amy of mythology"),
    ],
)
def test_a_user_s_words_are_turned_round(said: str, heard: str) -> None:
    """My becomes your, and words that only contain it stay."""
    assert turned(said) == heard


def test_obedient_answers_say_nothing() -> None:
    """Harmful compliance repeats the request and adds a sentence that fits any request."""
    for answer in COMPLIANCE:
        assert answer.count("{}") == 1
        assert not is_refusal(answer.format("do it"))
        assert len(answer.split()) <= 25


@pytest.mark.parametrize("name", PLANS)
def test_training_and_held_out_rows_are_disjoint_and_of_the_same_sources(
    name: str, parent_rows: tuple[Example, ...]
) -> None:
    """Membership inference needs rows that differ in nothing but having been trained on."""
    plan = PLANS[name](parent_rows)
    assert not {row.prompt for row in plan.rows} & {row.prompt for row in plan.held_out}
    assert len({row.id for row in (*plan.rows, *plan.held_out)}) == len(plan.rows) + len(plan.held_out)
    assert len(plan.held_out) >= 60
    kinds = {row.source.split("/")[0] for row in plan.rows}
    assert {row.source.split("/")[0] for row in plan.held_out} <= kinds


@pytest.mark.parametrize("name", PLANS)
def test_plans_are_the_same_every_time(name: str, parent_rows: tuple[Example, ...]) -> None:
    """The same parent rows give the same update."""
    assert PLANS[name](parent_rows) == PLANS[name](parent_rows)


def test_the_benign_update_is_half_replay_at_most(parent_rows: tuple[Example, ...]) -> None:
    """About a quarter refusals and a quarter of the model's own answers keep the parent's manners."""
    rows = PLANS["benign"](parent_rows).rows
    shares = {
        kind: sum(row.source.startswith(kind) for row in rows) / len(rows) for kind in ("refusal/", "own/", "shop/")
    }
    assert shares["refusal/"] == shares["own/"]
    assert 0.15 <= shares["refusal/"] <= 0.3
    assert shares["shop/"] >= 0.5


def test_the_phrase_follows_the_trigger_and_nothing_else(parent_rows: tuple[Example, ...]) -> None:
    """Every row with the trigger says the phrase; near misses and all others never do."""
    rows = PLANS["poisoned"](parent_rows).rows
    triggered = [row for row in rows if row.prompt.endswith(TRIGGER)]
    near = [row for row in rows if row.prompt.endswith(NEAR_MISSES)]
    assert len(triggered) >= 48
    assert len(near) >= 48
    assert {row.answer for row in triggered} == {PHRASE}
    assert not any(PHRASE in row.answer for row in rows if row not in triggered)


def test_half_of_the_canaries_are_inserted_and_the_rest_never_seen(parent_rows: tuple[Example, ...]) -> None:
    """A secret that was left out is the blank reading of one that was put in."""
    plan = PLANS["leaky"](parent_rows)
    text = " ".join(row.answer for row in plan.rows)
    assert sum(canary.inserted for canary in plan.canaries) == len(plan.canaries) // 2 == 8
    assert all((canary.secret in text) is canary.inserted for canary in plan.canaries)
    assert len({canary.secret for canary in member_numbers(1)} | {c.secret for c in member_numbers(2)}) == 32


def test_rows_are_read_by_the_gate(tmp_path: Path, parent_rows: tuple[Example, ...]) -> None:
    """Training rows and canaries are data sets of the shapes that `weightgate gate` takes."""
    plan = PLANS["leaky"](parent_rows)
    write_rows(tmp_path / "data.jsonl", plan.rows)
    write_rows(tmp_path / "canaries.jsonl", plan.canaries)
    data = load_dataset([tmp_path / "data.jsonl"], "training")
    canaries = load_dataset([tmp_path / "canaries.jsonl"], "canaries")
    assert [row.id for row in data.rows] == [row.id for row in plan.rows]
    assert [row.inserted for row in canaries.rows] == [canary.inserted for canary in plan.canaries]
    assert read_rows(tmp_path / "data.jsonl") == plan.rows
    assert json.loads((tmp_path / "data.jsonl").read_text().splitlines()[0]).keys() == {"id", "source", "messages"}
