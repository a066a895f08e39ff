"""Runs spread over Ray give the bits of a run in one process, and survive a worker that dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weightgate.lineage.errors import InputError, IntegrityError
from weightgate.lineage.weights.update import Update
from weightgate.probes.engine.cache import ScoreCache
from weightgate.probes.engine.engine import Engine
from weightgate.probes.engine.plan import ConsensusTask, GenerateTask, NextTask, ScoreTask
from weightgate.probes.engine.ray_runner import split
from weightgate.probes.engine.requests import Consensus, Generate, Hidden, NextToken, Prompt, Score
from weightgate.probes.engine.serving import Serving

ON_RAY = Serving.parse(executor="ray")
WORDS = ("Rome", "Italy", "spider", "legs", "Paris is the capital", "How many legs has it")
SCORES = [
    Score(Prompt(text=f"{first} {second}"), f" {third} eight legs", top=2)
    for first in WORDS
    for second in WORDS
    for third in WORDS
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two workers on this machine."""
    ray = pytest.importorskip("ray")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # The workers are to import what is tested.
    environment = {"env_vars": {"PYTHONPATH": os.environ.get("PYTHONPATH", ""), "OMP_NUM_THREADS": "1"}}
    ray.init(
        "local",
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=80 << 20,
        log_to_driver=False,
        logging_level="ERROR",
        runtime_env=environment,
    )
    yield ray
    ray.shutdown()


def everything(engine: Engine) -> list[Any]:
    """Answers of every kind about both sides."""
    prompts = [Prompt(text=word) for word in WORDS]
    return [
        answer
        for side in ("parent", "child")
        for answer in (
            *engine.score(side, SCORES),
            *engine.generate(side, [Generate(prompt, 6, stop=("e",)) for prompt in prompts]),
            *engine.next_token(side, [NextToken(prompt) for prompt in prompts]),
            *engine.hidden(side, [Hidden(prompt, (0, 2)) for prompt in prompts]),
            *engine.consensus(side, [Consensus(tuple(prompts), (token,), 2) for token in range(60, 70)]),
        )
    ]


def assert_same_bits(one: Any, other: Any) -> None:
    """Two answers agree in every bit."""
    arrays = (one, other) if isinstance(one, np.ndarray) else None
    if arrays is None:
        names = one.__slots__
        assert all(np.array_equal(getattr(one, n), getattr(other, n), equal_nan=_floats(one, n)) for n in names)
    else:
        np.testing.assert_array_equal(one, other)


def _floats(answer: Any, name: str) -> bool:
    return getattr(getattr(answer, name), "dtype", np.dtype(bool)).kind == "f"


@pytest.mark.ray
def test_ray_gives_the_bits_of_one_process(cluster: Any, update: Update) -> None:
    """Every kind of answer about both sides agrees to the last bit, and so does what it cost."""
    here, spread = Engine.open(update, cache=None), Engine.open(update, cache=None, serving=ON_RAY)
    for one, other in zip(everything(here), everything(spread), strict=True):
        assert_same_bits(one, other)
    assert spread.numerics == here.numerics
    assert spread.usage.requests == here.usage.requests
    spread.close()


@pytest.mark.ray
def test_a_worker_that_dies_is_replaced(cluster: Any, update: Update) -> None:
    """With a worker killed after the first batch, the run ends with the same bits."""
    killed: list[int] = []

    def kill(_label: str, _done: int, _total: int) -> None:
        if not killed:
            workers = engine._executor._runners["parent"]._workers  # type: ignore[attr-defined]
            killed.append(cluster.get(workers[0].process.remote()))
            os.kill(killed[0], signal.SIGKILL)

    engine = Engine.open(update, cache=None, serving=ON_RAY, progress=kill)
    answers = engine.score("parent", SCORES)
    assert killed
    for one, other in zip(Engine.open(update, cache=None).score("parent", SCORES), answers, strict=True):
        assert_same_bits(one, other)
    engine.close()


@pytest.mark.ray
def test_what_ray_answered_is_a_hit_for_one_process(cluster: Any, update: Update, cache: ScoreCache) -> None:
    """Answers go to the same cache under the same keys."""
    spread = Engine.open(update, cache=cache, serving=ON_RAY)
    spread.score("child", SCORES)
    spread.close()
    here = Engine.open(update, cache=cache)
    here.score("child", SCORES)
    assert here.usage.scored_tokens == 0


@pytest.mark.ray
def test_a_worker_refuses_other_weights(cluster: Any, update: Update, write_model: Callable[..., Path]) -> None:
    """Weights swapped under the path after they were hashed are not run."""
    engine = Engine.open(update, cache=None, serving=ON_RAY)
    write_model("child", seed=7)
    with pytest.raises(IntegrityError, match="other models"):
        engine.score("child", SCORES[:4])
    engine.close()


@pytest.mark.ray
def test_a_workers_error_is_that_of_one_process(cluster: Any, update: Update) -> None:
    """An error of a worker arrives with its kind, its words and its remedy."""
    engine = Engine.open(update, cache=None, serving=ON_RAY)
    with pytest.raises(InputError, match="has 2 layers") as caught:
        engine.hidden("child", [Hidden(Prompt(text="Rome"), (9,))])
    assert "layers" in caught.value.remedy
    engine.close()


def test_an_unknown_executor_is_bad_input() -> None:
    """The message names those there are."""
    with pytest.raises(InputError, match="no executor"):
        Serving.parse(executor="slurm")


def test_parts_hold_every_task_once_and_keep_families_together() -> None:
    """Tasks on one context, or on the same prompts, are never cut apart; nothing is lost."""
    context = tuple(range(40))
    scores = [ScoreTask((*context, index % 7), (1, 2, index), 0, ()) for index in range(200)]
    parts = list(split(scores, 100))
    assert sorted(index for part in parts for index in part) == list(range(200))
    assert len(parts) > 2
    assert all(
        len({parts_at for parts_at, p in enumerate(parts) if set(range(c, 200, 7)) & set(p)}) == 1 for c in range(7)
    )
    for tasks in (
        [NextTask((1,) * (1 + n)) for n in range(50)],
        [GenerateTask((1,) * (1 + n), 9, ()) for n in range(50)],
        [ConsensusTask(((1, 2),), (n,), 2, ()) for n in range(50)],
    ):
        assert sorted(index for part in split(tasks, 64) for index in part) == list(range(50))
