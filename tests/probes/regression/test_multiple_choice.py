"""lm-eval asks, the engine answers: the same numbers as lm-eval's own, nothing downloaded, nothing cached."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightgate.lineage.errors import InputError
from weightgate.lineage.weights.update import open_update
from weightgate.probes.engine.engine import Engine
from weightgate.probes.engine.requests import Prompt, Score, Side
from weightgate.probes.regression.items import core
from weightgate.probes.regression.multiple_choice import (
    SUITE,
    Answer,
    answers,
    named_tasks,
    only_single_choice,
    suite_tasks,
)

if TYPE_CHECKING:
    from weightgate.probes.twin import Twin

ITEMS = core()[::10]


@pytest.fixture(scope="module")
def engine(twin: Twin) -> Iterator[Engine]:
    """Parent and forgetful child, without a cache."""
    engine = Engine.open(open_update(twin.parent, twin.children["forgetful"]), cache=None)
    yield engine
    engine.close()


def test_log_probabilities_are_those_of_the_engine(engine: Engine) -> None:
    """A choice is scored after the bare question and one space, summed over its tokens."""
    asked = [
        Score(prompt=Prompt(text=item.question), continuation=f" {choice}") for item in ITEMS for choice in item.choices
    ]
    expected = np.array([scored.total for scored in engine.score("child", asked)]).reshape(len(ITEMS), -1)
    got = np.array([answer.logprobs for answer in answers(engine, "child", suite_tasks(ITEMS)).values()])
    np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.parametrize("side", ["parent", "child"])
def test_right_answers_are_those_lm_eval_counts(engine: Engine, side: Side) -> None:
    """The share of right answers is lm-eval's ``acc`` to the last digit."""
    from lm_eval import evaluate

    from weightgate.probes.engine.lm_eval_model import lm_eval_model

    reported = evaluate(lm_eval_model(engine, side), suite_tasks(ITEMS), bootstrap_iters=0)["results"][SUITE]
    ours = [answer.right for answer in answers(engine, side, suite_tasks(ITEMS)).values()]
    assert reported["acc,none"] == sum(ours) / len(ours)


def test_questions_are_paired_by_content(engine: Engine) -> None:
    """Both sides give the same keys, whatever the order the items come in."""
    before = answers(engine, "parent", suite_tasks(ITEMS))
    after = answers(engine, "child", suite_tasks(ITEMS[::-1]))
    assert set(before) == set(after)
    assert len(before) == len(ITEMS)
    assert all(before[key].id == after[key].id for key in before)


def test_loaded_tasks_can_be_asked_twice(engine: Engine) -> None:
    """Answers to a first model do not stay in the tasks and reach the second."""
    tasks = suite_tasks(ITEMS)
    answers(engine, "parent", tasks)
    again = answers(engine, "child", tasks)
    fresh = answers(engine, "child", suite_tasks(ITEMS))
    assert all(np.array_equal(again[key].logprobs, fresh[key].logprobs) for key in fresh)


def test_nothing_is_downloaded_and_no_cache_is_needed(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A suite runs without a network and leaves the data-set cache as it was."""
    import datasets

    def refuse(*_: object) -> NoReturn:
        raise OSError("no network here")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    cache = Path(datasets.config.HF_DATASETS_CACHE)
    before = sorted(cache.rglob("*")) if cache.exists() else []
    assert len(answers(engine, "parent", suite_tasks(ITEMS))) == len(ITEMS)
    assert (sorted(cache.rglob("*")) if cache.exists() else []) == before


def test_lm_eval_prints_nothing(engine: Engine, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither bars nor notices of lm-eval come between the audit's own progress."""
    answers(engine, "parent", suite_tasks(ITEMS))
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")


def test_a_task_with_another_kind_of_answer_is_refused() -> None:
    """Only multiple choice with one right choice has a probability of the right answer."""
    tasks = suite_tasks(ITEMS)
    tasks["tasks"][SUITE].OUTPUT_TYPE = "generate_until"
    with pytest.raises(InputError, match="not multiple choice"):
        only_single_choice(tasks)


def test_a_task_is_a_registered_name_never_a_file(tmp_path: Path) -> None:
    """lm-eval would take a path for a task and run the Python code its YAML names."""
    (tmp_path / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n", encoding="utf-8")
    task = tmp_path / "task.yaml"
    task.write_text("task: mine\nprocess_docs: !function code.run\n", encoding="utf-8")
    with pytest.raises(InputError, match="lm-eval has no task"):
        named_tasks([str(task)])
    assert not (tmp_path / "ran").exists()


LOGPROBS = st.lists(st.floats(-1e4, 0), min_size=2, max_size=6)


@given(LOGPROBS, st.floats(-1e4, 0))
def test_probabilities_of_the_choices_add_up_to_one(logprobs: list[float], shift: float) -> None:
    """Whichever choice is right: a distribution over the choices, blind to a factor common to all."""
    values = np.array(logprobs)
    p = [Answer("a", "t", "q", (), gold, values).p_gold for gold in range(len(values))]
    shifted = [Answer("a", "t", "q", (), gold, values + shift).p_gold for gold in range(len(values))]
    assert sum(p) == pytest.approx(1)
    assert shifted == pytest.approx(p, abs=1e-9)
    assert max(p) == p[Answer("a", "t", "q", (), 0, values).chosen]
