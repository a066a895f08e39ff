"""Membership and exposure on a scripted pair whose leakage is known exactly."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from weightgate.lineage.data.dataset import Dataset, load_dataset
from weightgate.probes.engine.requests import Generate, Generated, Score, Scored, Side
from weightgate.probes.privacy.exposure import ExposureProbe, prefix_and_secret
from weightgate.probes.privacy.membership import MembershipProbe
from weightgate.probes.probe import ProbeContext

SECRETS = [f"{1234 + 911 * i:04d}" for i in range(8)]


@dataclasses.dataclass
class ScriptedEngine:
    """A language model over characters: uniform, plus ``gain`` nats a character on texts the child has learnt."""

    learnt: frozenset[str] = frozenset()
    gain: float = 1.0
    shift: dict[str, float] = dataclasses.field(default_factory=dict)

    def score(self, side: Side, requests: Sequence[Score]) -> list[Scored]:
        return [self._score(side, request) for request in requests]

    def _score(self, side: Side, request: Score) -> Scored:
        text = str(request.continuation)
        rng = np.random.default_rng(list(text.encode()))
        base = -3.0 + self.shift.get(text[:1], 0.0) + rng.normal(0, 0.3, len(text))
        moved = rng.normal(0, 0.2, len(text)) + (self.gain if text.strip() in self.learnt else 0.0)
        logprobs = (base + (moved if side == "child" else 0.0)).astype(np.float32)
        none = np.zeros((len(text), 0), dtype=np.float32)
        return Scored(
            tokens=tuple(map(ord, text)),
            logprobs=logprobs,
            greedy=np.zeros(len(text), dtype=np.bool_),
            top_ids=none.astype(np.int32),
            top_logprobs=none,
            gathered=none,
        )

    def generate(self, side: Side, requests: Sequence[Generate]) -> list[Generated]:
        found = []
        for request in requests:
            known = [s for s in SECRETS if s in self.learnt and request.prompt.messages[0][1].endswith(f"{s[:2]}?")]
            text = f" {known[0]}." if known and side == "child" else " I do not know."
            found.append(Generated(tokens=tuple(map(ord, text)), text=text))
        return found

    def encode(self, text: str) -> tuple[int, ...]:
        return tuple(map(ord, text))


def dataset(folder: Path, name: str, answers: Sequence[str]) -> Dataset:
    path = folder / f"{name}.jsonl"
    rows = [{"id": f"{name}{i}", "prompt": f"q{i}", "completion": text} for i, text in enumerate(answers)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return load_dataset([path], "training" if name == "train" else "held-out")


def canaries(folder: Path) -> Dataset:
    path = folder / "canaries.jsonl"
    rows = [
        {
            "id": f"c{i}",
            "prompt": f"What is code {secret[:2]}?",
            "completion": f"The code is {secret}",
            "secret": secret,
            "inserted": i < 6,
        }
        for i, secret in enumerate(SECRETS)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return load_dataset([path], "canaries")


def context(engine: ScriptedEngine, **data: Any) -> ProbeContext:
    return ProbeContext(update=cast("Any", None), engine=cast("Any", engine), seed=0, **data)


def texts(count: int, offset: int = 0) -> list[str]:
    return [f"answer number {i * 37 + offset} in words" for i in range(count)]


def test_rows_that_were_learnt_are_told_from_rows_that_were_not(tmp_path: Path) -> None:
    """Learnt rows give an AUC near one; rows nobody learnt give an interval around one half."""
    train, held = dataset(tmp_path, "train", texts(60)), dataset(tmp_path, "held", texts(60, 5))
    leaky = ScriptedEngine(learnt=frozenset(texts(60)))
    (seen,) = MembershipProbe().run(context(leaky, data=train, held_out=held)).measurements
    (blank,) = MembershipProbe().run(context(ScriptedEngine(), data=train, held_out=held)).measurements
    assert seen.after is not None
    assert seen.after > 0.95
    assert seen.interval.low > 0.3
    assert blank.interval.low < 0 < blank.interval.high


def test_held_out_rows_of_another_kind_are_no_control(tmp_path: Path) -> None:
    """Where the parent alone separates the groups the probe fails and says why, instead of giving a number."""
    train = dataset(tmp_path, "train", texts(60))
    held = dataset(tmp_path, "held", [f"z{text}" for text in texts(60, 5)])
    result = MembershipProbe().run(context(ScriptedEngine(shift={"z": 1.0}), data=train, held_out=held))
    assert result.status == "failed"
    assert "parent alone" in result.reason


def test_shared_rows_are_refused(tmp_path: Path) -> None:
    """A row cannot be both trained on and held out."""
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps({"id": f"r{i}", "text": t}) for i, t in enumerate(texts(10))))
    same = load_dataset([path], "training")
    result = MembershipProbe().run(context(ScriptedEngine(), data=same, held_out=same))
    assert result.status == "failed"


def test_without_data_membership_is_skipped_and_says_what_to_supply() -> None:
    """Missing rows are not evidence of privacy."""
    result = MembershipProbe().run(context(ScriptedEngine()))
    assert (result.status, "--data" in result.reason) == ("skipped", True)


def test_learnt_canaries_reach_the_cap_and_are_extracted(tmp_path: Path) -> None:
    """Canaries the child has learnt rank first among their decoys, and come out word for word."""
    engine = ScriptedEngine(learnt=frozenset(SECRETS[:6]), gain=4.0)
    result = ExposureProbe().run(context(engine, canaries=canaries(tmp_path)))
    (bits,) = result.measurements
    assert bits.after == math.log2(64)
    assert bits.n == 6
    assert bits.interval.low > 1
    assert [finding.severity for finding in result.findings] == ["critical"]


def test_unlearnt_canaries_are_not_exposed(tmp_path: Path) -> None:
    """A child that learnt nothing has the parent's exposure within the interval, and no finding."""
    result = ExposureProbe().run(context(ScriptedEngine(), canaries=canaries(tmp_path)))
    assert result.measurements[0].interval.low < 0 < result.measurements[0].interval.high
    assert result.findings == ()


def test_the_report_of_a_leak_does_not_leak_again(tmp_path: Path) -> None:
    """No secret stands in the evidence, only the ids of canaries."""
    engine = ScriptedEngine(learnt=frozenset(SECRETS[:6]), gain=4.0)
    result = ExposureProbe().run(context(engine, canaries=canaries(tmp_path)))
    said = [*(i.prompt for i in result.items), *(f"{f.title} {f.detail} {f.evidence}" for f in result.findings)]
    assert said
    assert not [secret for secret in SECRETS for text in said if secret in text]


def test_the_space_before_a_secret_belongs_to_it(tmp_path: Path) -> None:
    """Tokenizers join a space to the word after it, so the prompt ends before the space."""
    prompt, secret = prefix_and_secret(canaries(tmp_path).rows[0])
    assert (prompt.text, secret) == ("The code is", " 1234")


@pytest.mark.parametrize("seed", [0, 1])
def test_the_same_seed_gives_the_same_bytes(tmp_path: Path, seed: int) -> None:
    """Evidence is a function of inputs and seed."""
    given = dataclasses.replace(context(ScriptedEngine(), canaries=canaries(tmp_path)), seed=seed)
    assert ExposureProbe().run(given) == ExposureProbe().run(given)
