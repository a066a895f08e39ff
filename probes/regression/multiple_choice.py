"""Multiple-choice tasks through lm-eval (Biderman et al. 2024, arXiv:2405.14782), one side of an update at a time.

lm-eval builds the prompts and decides what is asked; the scoring engine answers. None of lm-eval's caches is used: they
are keyed without the weights. A suite is handed over in memory, so nothing is downloaded and no cache folder is needed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weightgate.lineage.errors import InputError, MissingExtraError
from weightgate.probes.engine.engine import Engine
from weightgate.probes.engine.lm_eval_model import lm_eval_model
from weightgate.probes.engine.requests import Side
from weightgate.probes.regression.items import SuiteItem

SUITE = "weightgate_suite"

Key = tuple[str, str, str, str]
"""Task, and lm-eval's hashes of the document, the prompt and the target. Row numbers are not trusted to pair by."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one side made of one question."""

    id: str
    topic: str
    prompt: str
    choices: tuple[str, ...]
    gold: int
    logprobs: NDArray[np.float64]  # (choices,) summed over the tokens of a choice, in nats

    @property
    def chosen(self) -> int:
        """The choice of highest log-probability, as lm-eval's ``acc`` takes it."""
        return int(self.logprobs.argmax())

    @property
    def right(self) -> bool:
        """Whether the right choice was taken."""
        return self.chosen == self.gold

    @property
    def p_gold(self) -> float:
        """Probability of the right choice, given that one of the choices is said."""
        weights = np.exp(self.logprobs - self.logprobs.max())
        return float(weights[self.gold] / weights.sum())


def suite_tasks(items: Sequence[SuiteItem]) -> dict[str, Any]:
    """A suite as lm-eval's loaded tasks: the bare question, then one space and a choice.

    Raises:
        MissingExtraError: lm-eval is not installed.
    """
    rows = [item.model_dump(mode="json") for item in items]
    with _lm_eval():
        from datasets import Dataset
        from lm_eval.tasks import TaskManager

        return dict(
            TaskManager(include_defaults=False).load(
                {
                    "task": SUITE,
                    "custom_dataset": lambda **_: {"test": Dataset.from_list(rows)},
                    "output_type": "multiple_choice",
                    "test_split": "test",
                    "doc_to_text": lambda row: row["question"],
                    "doc_to_choice": lambda row: row["choices"],
                    "doc_to_target": lambda row: row["label"],
                    "target_delimiter": " ",
                    "num_fewshot": 0,
                    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
                }
            )
        )


def named_tasks(names: Sequence[str]) -> dict[str, Any]:
    """Tasks that come with lm-eval, by name; their data must be in the local data-set cache or within reach.

    Raises:
        InputError: an unknown name, or a task that is not multiple choice with one right choice.
        MissingExtraError: lm-eval is not installed.
    """
    with _lm_eval():
        from lm_eval.tasks import TaskManager

        manager = TaskManager()
        # A name that is not registered would be taken for a file, whose YAML may name Python code to run.
        if unknown := [name for name in names if name not in manager.all_tasks]:
            raise InputError(f"lm-eval has no task {unknown[0]!r}", remedy="`lm-eval ls tasks` lists them")
        try:
            loaded = dict(manager.load(list(names)))
        except Exception as error:  # whatever a data set's loader raises
            raise InputError(
                f"lm-eval cannot load {', '.join(names)}: {error}", remedy="check that the data sets can be reached"
            ) from error
    only_single_choice(loaded)
    for task in loaded["tasks"].values():
        if task.get_config("num_fewshot") is None:
            task.set_config(key="num_fewshot", value=0)
        task.set_fewshot_seed(seed=0)
    return loaded


def only_single_choice(tasks: Mapping[str, Any]) -> None:
    """Check that every loaded task asks for one right choice.

    Raises:
        InputError: a task does not.
    """
    for name, task in tasks["tasks"].items():
        if task.OUTPUT_TYPE != "multiple_choice" or task.multiple_input or task.multiple_target:
            raise InputError(
                f"the task {name!r} is not multiple choice with one right choice",
                remedy="name multiple-choice tasks; other tasks have no probability of the right answer",
            )


def answers(engine: Engine, side: Side, tasks: Mapping[str, Any]) -> Mapping[Key, Answer]:
    """One side's answers to every question of ``tasks``, each question once.

    Raises:
        InputError: a question whose right answer is none of its choices.
        WeightgateError: as the engine's methods.
    """
    with _lm_eval():
        from lm_eval import evaluate

        results = evaluate(lm_eval_model(engine, side), dict(tasks), bootstrap_iters=0, log_samples=True)
    found: dict[Key, Answer] = {}
    for name, samples in results["samples"].items():
        for sample in samples:
            key = (name, sample["doc_hash"], sample["prompt_hash"], sample["target_hash"])
            found[key] = _answer(name, tasks["tasks"][name], sample)
    return MappingProxyType(found)


def _answer(name: str, task: Any, sample: Mapping[str, Any]) -> Answer:
    document = sample["doc"]
    choices = tuple(str(choice) for choice in task.doc_to_choice(document))
    target = sample["target"]
    gold = choices.index(target) if isinstance(target, str) and target in choices else target
    if isinstance(gold, bool) or not isinstance(gold, int) or not 0 <= gold < len(choices):
        raise InputError(
            f"task {name}, question {sample['doc_id']}: the right answer is none of its choices",
            remedy="correct the task's data; lm-eval would count it as always wrong",
        )
    # A task that also asks for the choices without their question lists those after the others.
    logprobs = np.array([logprob for logprob, _ in sample["filtered_resps"][: len(choices)]], dtype=np.float64)
    if name == SUITE:
        return Answer(document["id"], document["topic"], document["question"], choices, gold, logprobs)
    identity = f"{name}/{sample['doc_hash'][:16]}"
    return Answer(identity, identity, str(sample["arguments"][0][0]), choices, gold, logprobs)


@contextmanager
def _lm_eval() -> Iterator[None]:
    """lm-eval without the notices and bars it prints whatever it is told; problems are raised."""
    try:
        import lm_eval.api.model
        import lm_eval.api.task
    except ImportError as error:
        raise MissingExtraError("running lm-eval's tasks", "probes") from error
    modules: tuple[Any, ...] = (lm_eval.api.model, lm_eval.api.task)
    logger = logging.getLogger("lm_eval")
    bars, level = [module.tqdm for module in modules], logger.level
    logger.setLevel(logging.ERROR)
    for module in modules:
        module.tqdm = lambda rows, *_, **__: rows
    try:
        yield
    finally:
        logger.setLevel(level)
        for module, bar in zip(modules, bars, strict=True):
            module.tqdm = bar
