"""What is paid for once is kept, and never taken for the answer of other weights."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from weightgate.lineage.errors import InputError
from weightgate.lineage.weights.update import Update, open_update
from weightgate.probes.engine.cache import ScoreCache
from weightgate.probes.engine.engine import Engine
from weightgate.probes.engine.errors import NonFiniteError, TimeBudgetError
from weightgate.probes.engine.requests import Consensus, Generate, NextToken, Prompt, Score

REQUESTS = [Score(Prompt(text=f"France {word}"), " is Paris") for word in ("Rome", "Italy", "spider", "legs")]


def totals(engine: Engine, side: str = "parent", requests: Any = REQUESTS) -> list[float]:
    """Summed log-probabilities of one side's answers."""
    return [answer.total for answer in engine.score(side, requests)]


def rewrite(folder: Path, change: Callable[[torch.Tensor], torch.Tensor], only: str = "") -> None:
    """Change the tensors of a model in place, or only one of them."""
    tensors = load_file(folder / "model.safetensors")
    changed = {name: change(t) if only in {"", name} else t for name, t in tensors.items()}
    save_file(changed, folder / "model.safetensors", {"format": "pt"})


def test_the_second_time_is_free(update: Update, cache: ScoreCache) -> None:
    """All kinds of answers come back from the cache equal, without a token put through a model."""
    prompts = (Prompt(text="Rome"), Prompt(text="Paris is"))

    def ask(engine: Engine) -> list[Any]:
        return [
            *engine.score("child", REQUESTS),
            *engine.generate("child", [Generate(Prompt(text="The"), 4)]),
            *engine.next_token("child", [NextToken(Prompt(text="The"))]),
            *engine.consensus("child", [Consensus(prompts, (70,), 2)]),
        ]

    first, second = Engine.open(update, cache=cache), Engine.open(update, cache=cache)
    assert [str(answer) for answer in ask(first)] == [str(answer) for answer in ask(second)]
    assert first.usage.cached == 0
    assert first.usage.scored_tokens > 0
    assert (second.usage.cached, second.usage.requests, second.usage.scored_tokens) == (7, 7, 0)


def test_usage_is_a_value_to_subtract(engine: Engine) -> None:
    """A probe's cost is the difference of two readings; the earlier one does not move."""
    totals(engine)
    before = engine.usage
    totals(engine)
    assert before.requests == 4
    assert engine.usage - before == before


def test_a_hit_never_comes_from_other_weights_at_the_same_path(
    write_model: Callable[..., Path], cache: ScoreCache
) -> None:
    """Weights swapped behind an unchanged path are scored anew, for the parent and for the child."""
    parent, child = write_model("parent", seed=0), write_model("child", seed=1)
    stale = {side: totals(Engine.open(open_update(parent, child), cache=cache), side) for side in ("parent", "child")}
    for folder in (parent, child):
        rewrite(folder, lambda tensor: tensor * 1.01)
    for side in ("parent", "child"):
        fresh = Engine.open(open_update(parent, child), cache=cache)
        assert totals(fresh, side) == pytest.approx(totals(Engine.open(open_update(parent, child), cache=None), side))
        assert fresh.usage.cached == 0
        assert totals(fresh, side) != pytest.approx(stale[side], abs=1e-3)


def test_a_hit_never_comes_from_another_precision(
    update: Update, cache: ScoreCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers of one precision are not taken for those of another; the numerics say which it was."""
    exact = totals(Engine.open(update, cache=cache))
    monkeypatch.setenv("WEIGHTGATE_DTYPE", "bfloat16")
    engine = Engine.open(update, cache=cache)
    assert engine.numerics["dtype"] == "bfloat16"
    assert totals(engine) != exact
    assert engine.usage.cached == 0


def test_the_child_of_one_update_is_the_parent_of_the_next(write_model: Callable[..., Path], cache: ScoreCache) -> None:
    """What the child answered is not paid for again when it has become the parent, wherever it lies by then."""
    first, second, third = (write_model(name, seed=seed) for seed, name in enumerate(("a", "b", "c")))
    child = totals(Engine.open(open_update(first, second), cache=cache), "child")
    shutil.move(second, second.with_name("moved"))
    engine = Engine.open(open_update(second.with_name("moved"), third), cache=cache)
    assert totals(engine, "parent") == child
    assert engine.usage.cached == 4


def test_a_damaged_answer_is_asked_again(update: Update, cache: ScoreCache) -> None:
    """Entries of the wrong shape or with NaN in them count as damaged and are replaced."""
    right = totals(Engine.open(update, cache=cache))
    keys = [key for (key,) in cache._database.execute("SELECT key FROM answers")]
    wrong = {"logprobs": np.full(3, np.nan, np.float32), "greedy": np.zeros(3, bool)}
    cache.put_many({keys[0]: {"logprobs": np.zeros(99, np.float32)}, keys[1]: wrong})
    engine = Engine.open(update, cache=cache)
    assert totals(engine) == right
    assert engine.usage.cached == 2
    assert cache.stats().corrupt == 2


def test_a_full_cache_needs_no_torch_beyond_the_tokenizer(update: Update, cache: ScoreCache) -> None:
    """When every answer is cached no model is loaded."""
    totals(Engine.open(update, cache=cache), "child")
    engine = Engine.open(update, cache=cache)
    shutil.rmtree(update.child.path)
    assert len(totals(engine, "child")) == 4


def test_opening_an_engine_imports_no_torch(update: Update) -> None:
    """Opening an engine and reading its numerics stays light."""
    program = (
        "import sys\nfrom pathlib import Path\nfrom weightgate.lineage.weights.update import open_update\n"
        "from weightgate.probes.engine.engine import Engine\n"
        "engine = Engine.open(open_update(Path(sys.argv[1]), Path(sys.argv[2])), cache=None)\n"
        "assert engine.numerics['dtype'] in ('float32', 'bfloat16')\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)\n"
    )
    paths = [str(update.parent.path), str(update.child.path)]
    done = subprocess.run([sys.executable, "-c", program, *paths], capture_output=True, text=True, check=False)
    gpu = "torch" in done.stderr and torch.cuda.is_available()
    assert gpu or done.returncode == 0, done.stderr


def test_a_deadline_stops_before_the_next_batch_and_keeps_the_rest(update: Update, cache: ScoreCache) -> None:
    """A passed deadline is a TimeBudgetError; a second run takes up where the first one stopped."""
    many = [Score(Prompt(text="Rome " * (1 + index)), " is") for index in range(40)]
    seen: list[tuple[str, int, int]] = []
    engine = Engine.open(update, cache=cache, deadline=time.monotonic() + 1000, progress=lambda *s: seen.append(s))
    answers = totals(engine, requests=many[:20])
    assert seen[-1] == ("parent: score", 20, 20)
    assert [done for _, done, _ in seen] == sorted({done for _, done, _ in seen})
    with pytest.raises(TimeBudgetError, match="time budget"):
        totals(Engine.open(update, cache=cache, deadline=time.monotonic() - 1), requests=many)
    resumed = Engine.open(update, cache=cache)
    assert totals(resumed, requests=many)[:20] == answers
    assert resumed.usage.cached == 20


def test_a_deadline_in_the_middle_keeps_the_batches_before_it(update: Update, cache: ScoreCache) -> None:
    """Batches that were answered when the time ran out are in the cache."""
    many = [Score(Prompt(text="Rome " * (1 + index)), " is") for index in range(40)]
    engine = Engine.open(update, cache=cache, deadline=time.monotonic() + 1000)
    engine._executor._progress = lambda *_: setattr(engine._executor, "_deadline", time.monotonic() - 1)
    with pytest.raises(TimeBudgetError):
        totals(engine, requests=many)
    assert 0 < cache.stats().entries < 40


@pytest.mark.parametrize("kind", ["score", "generate", "next_token", "consensus"])
def test_a_model_that_gives_nan_is_an_error_that_names_it(
    write_model: Callable[..., Path], cache: ScoreCache, kind: str
) -> None:
    """Finite weights that overflow on the way raise an error with the side in it, and nothing is cached."""
    parent, child = write_model("parent"), write_model("child")
    rewrite(child, lambda tensor: tensor.sign() * 3e38, only="lm_head.weight")
    engine = Engine.open(open_update(parent, child), cache=cache)
    prompt = Prompt(text="Rome")
    requests: dict[str, Any] = {
        "score": REQUESTS,
        "generate": [Generate(prompt)],
        "next_token": [NextToken(prompt)],
        "consensus": [Consensus((prompt, prompt), (70,), 2)],
    }
    with pytest.raises(NonFiniteError, match="the child gives NaN"):
        getattr(engine, kind)("child", requests[kind])
    assert cache.stats().entries == 0
    getattr(engine, kind)("parent", requests[kind])


def test_a_parent_without_a_tokenizer_says_what_to_give(update: Update) -> None:
    """Two single files can be compared, but not asked."""
    files = [side.path / "model.safetensors" for side in (update.parent, update.child)]
    with pytest.raises(InputError, match="no tokenizer"):
        totals(Engine.open(open_update(*files), cache=None))


def test_a_closed_engine_has_let_go_of_its_models(engine: Engine) -> None:
    """Closing releases the models; asking again loads them again."""
    expected = totals(engine)
    engine.close()
    assert not engine._executor._runners["child"]._backends
    assert totals(engine) == expected
