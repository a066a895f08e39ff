"""Does the child still know what the parent knew? Multiple-choice questions, paired item by item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from weightgate.probes.evidence import Family, Finding, Item, Measurement, ProbeResult
from weightgate.probes.probe import Need, ProbeContext, measured
from weightgate.probes.regression.items import CORE, load_items
from weightgate.probes.regression.multiple_choice import Answer, answers, named_tasks, suite_tasks
from weightgate.probes.statistics import measurement, paired_mean, paired_proportion, proportion
from weightgate.probes.stopping import Bounds, Look, Stopping, at_look, level_at

Pair = tuple[Answer, Answer]
"""The same question before and after."""

LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteProbe:
    """Accuracy, probability of the right choice, and negative flips on short multiple-choice questions.

    Accuracy is the choice of highest log-probability, as lm-eval's ``acc``. The probability of the right choice, among
    the choices, moves before any answer flips and needs several times fewer questions for the same interval. Negative
    flips (Yan et al., CVPR 2021) are questions that were right and are wrong now: an unchanged average can hide them.
    ``suite`` is a JSONL file in the shipped suite's form, ``tasks`` are multiple-choice tasks of lm-eval; with neither
    the shipped suite is asked.
    """

    suite: str = ""
    tasks: tuple[str, ...] = ()

    name: ClassVar[str] = "regression.suite"
    version: ClassVar[str] = "1"
    family: ClassVar[Family] = "regression"
    title: ClassVar[str] = "Knowledge and skills"
    needs: ClassVar[tuple[Need, ...]] = ("model",)
    limits: ClassVar[tuple[str, ...]] = (
        "Short English questions with given choices: not writing, reasoning at length, code or other languages.",
        "The suite is public; a model may have been trained on it. Add questions of your own where it matters.",
        "A question the parent already gets wrong cannot be lost: look at the parent's own accuracy.",
    )

    def run(self, context: ProbeContext) -> ProbeResult:
        """Ask both sides the same questions through lm-eval."""
        if context.stopping is not None and not self.tasks:
            pairs, measurements = self._until_settled(context, context.stopping)
        else:
            pairs = [pair for tasks in self._tasks() for pair in _pairs(context, tasks)]
            measurements = self._measurements(pairs)
        return measured(self, measurements=measurements, items=self._items(pairs), findings=self._findings(pairs))

    def control(self) -> ProbeContext:
        """The tiny twin that was taught wrong answers to half of the shipped suite."""
        from weightgate.probes.twin.control import control_context

        return control_context("forgetful")

    def fires(self, result: ProbeResult) -> bool:
        """The probability of the right choice has fallen, interval and all."""
        return any(m.metric == f"{self.name}/p_correct" and m.interval.high < 0 for m in result.measurements)

    def _until_settled(self, context: ProbeContext, stopping: Stopping) -> tuple[list[Pair], list[Measurement]]:
        """Questions in their secret order, in parts, until the policy's margins are settled or all are asked."""
        items = load_items(Path(self.suite) if self.suite else CORE)
        pairs: list[Pair] = []
        measurements: list[Measurement] = []
        for look, new in stopping.looks([item.id for item in items]):
            asked = {pair[0].id: pair for pair in _pairs(context, suite_tasks([items[position] for position in new]))}
            pairs += [asked[items[position].id] for position in new]
            if len({before.topic for before, _ in pairs}) < 2:
                continue
            measurements = self._measurements(pairs, look)
            if stopping.settled(measurements):
                break
        return pairs, measurements

    def _tasks(self) -> list[dict[str, Any]]:
        tasks = [named_tasks(self.tasks)] if self.tasks else []
        if self.suite or not tasks:
            tasks.append(suite_tasks(load_items(Path(self.suite) if self.suite else CORE)))
        return tasks

    def _measurements(self, pairs: Sequence[Pair], look: Look | None = None) -> list[Measurement]:
        level = level_at(look, LEVEL)
        topics = [before.topic for before, _ in pairs]
        right = [before.right for before, _ in pairs], [after.right for _, after in pairs]
        p_gold = [before.p_gold for before, _ in pairs], [after.p_gold for _, after in pairs]
        lost = [before.right and not after.right for before, after in pairs]
        fixed = [
            measurement(
                paired_proportion(*right, topics, level=level),
                metric=f"{self.name}/accuracy",
                title="Questions answered right",
                unit="proportion",
                worse="lower",
                method="choice of highest log-probability (lm-eval acc)",
            ),
            measurement(
                paired_mean(*p_gold, topics, level=level, bound=1.0),
                metric=f"{self.name}/p_correct",
                title="Probability of the right choice",
                unit="probability",
                worse="lower",
                method="softmax over the summed log-probabilities of the choices",
            ),
            measurement(
                proportion(lost, topics, level=level),
                metric=f"{self.name}/negative_flips",
                title="Questions right before and wrong now",
                unit="proportion",
                worse="higher",
                method="share of all questions; the effect is the rate itself",
            ),
        ]
        changes = (_changes(*right), _changes(*p_gold), [float(one) for one in lost])
        bounds: tuple[Bounds, ...] = ((-1.0, 1.0), (-1.0, 1.0), (0.0, 1.0))
        return [at_look(look, *known) for known in zip(fixed, changes, bounds, strict=True)]

    def _items(self, pairs: Sequence[Pair]) -> list[Item]:
        return [
            Item(
                metric=f"{self.name}/{metric}",
                id=before.id,
                cluster=before.topic,
                prompt=before.prompt,
                before=float(getattr(before, field)),
                after=float(getattr(after, field)),
                before_text=before.choices[before.chosen] if told else None,
                after_text=after.choices[after.chosen] if told else None,
            )
            # The chosen answers are told once, with the metric that judges them.
            for metric, field, told in (("accuracy", "right", True), ("p_correct", "p_gold", False))
            for before, after in pairs
        ]

    def _findings(self, pairs: Sequence[Pair]) -> list[Finding]:
        """The topic that lost most, if its interval, corrected for having looked at every topic, lies below zero."""
        topics: dict[str, list[Pair]] = {}
        for pair in pairs:
            topics.setdefault(pair[0].topic, []).append(pair)
        large = {topic: members for topic, members in topics.items() if len(members) > 1}
        effects = {
            topic: paired_mean(
                [before.p_gold for before, _ in members],
                [after.p_gold for _, after in members],
                range(len(members)),
                level=1 - (1 - LEVEL) / len(large),
            )
            for topic, members in large.items()
        }
        worst = min(effects, key=lambda topic: effects[topic].effect, default=None)
        if worst is None or effects[worst].high >= 0:
            return []
        effect = effects[worst]
        lost = [before.prompt for before, after in large[worst] if before.right and not after.right]
        return [
            Finding(
                rule=f"{self.name}/topic",
                severity="info",
                title=f"The largest loss is in {worst}",
                detail=f"Probability of the right choice {effect.effect:+.3f} (corrected {LEVEL:.0%} interval "
                f"{effect.low:+.3f} to {effect.high:+.3f}) over {effect.n} questions. Lost: "
                + ("; ".join(lost[:5]) or "none outright"),
                where=worst,
                evidence=[before.id for before, after in large[worst] if before.right and not after.right],
            )
        ]


def _changes(before: Sequence[float], after: Sequence[float]) -> list[float]:
    return [float(a) - float(b) for b, a in zip(before, after, strict=True)]


def _pairs(context: ProbeContext, tasks: dict[str, Any]) -> list[Pair]:
    before = answers(context.engine, "parent", tasks)
    after = answers(context.engine, "child", tasks)
    return [(answer, after[key]) for key, answer in before.items()]
