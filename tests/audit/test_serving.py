"""The gate on models that run elsewhere: equal evidence from Ray; skipped probes where a server shows too little."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from weightgate.audit.gate import gate
from weightgate.lineage.signing.keys import generate
from weightgate.probes.engine.serving import Serving

if TYPE_CHECKING:
    from conftest import Command
    from weightgate.probes.twin.models import Twin

SERVER = Path(__file__).parents[1] / "probes" / "engine" / "openai_server.py"
ASKED = ("alignment.refusal*", "poisoning.target_inversion")


def load_server() -> Any:
    """The module of the small server."""
    spec = importlib.util.spec_from_file_location("openai_server", SERVER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["openai_server"] = module
    spec.loader.exec_module(module)
    return module


def audit(twin: Twin, out: Path, serving: Serving) -> Any:
    """The record of a gate on the eroded twin with two probes."""
    key = out.parent / "key.pem"
    if not key.exists():
        generate(key)
    record, _ = gate(
        twin.parent, twin.children["eroded"], key=key, out=out, probes=ASKED, controls=False, serving=serving
    )
    return record


@pytest.mark.ray
def test_ray_gives_the_same_evidence(twin: Twin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run on two workers with an empty cache, every result and the decision are those of one process."""
    ray = pytest.importorskip("ray")
    here = audit(twin, tmp_path / "here", Serving())
    monkeypatch.setenv("WEIGHTGATE_CACHE", str(tmp_path / "cache"))
    environment = {"env_vars": {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}}
    ray.init("local", num_cpus=2, include_dashboard=False, object_store_memory=80 << 20, log_to_driver=False,
             logging_level="ERROR", runtime_env=environment)  # fmt: skip
    try:
        spread = audit(twin, tmp_path / "spread", Serving.parse(executor="ray"))
    finally:
        ray.shutdown()
    assert sum(cost.scored_tokens for cost in spread.costs) > 0
    assert spread.results == here.results
    assert spread.decision == here.decision
    assert spread.engine == here.engine


def test_a_server_that_shows_too_little_skips_probes(twin: Twin, tmp_path: Path) -> None:
    """What needs text and log-probabilities is measured; what needs more is skipped and says what to give."""
    module = load_server()
    child = twin.children["eroded"]
    model = AutoModelForCausalLM.from_pretrained(child).eval()
    listening = module.start(server := module.Server(model, AutoTokenizer.from_pretrained(child)))
    try:
        record = audit(twin, tmp_path / "run", Serving.parse(child_endpoint=f"openai:{server.url}#child"))
    finally:
        listening.shutdown()
    refusal, inversion = record.results
    assert refusal.status == "measured"
    assert (inversion.status, "give the weights" in inversion.reason) == ("skipped", True)
    assert record.decision.verdict != "approve"
    assert "not proved" in record.engine["child endpoint"]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--executor", "slurm"),
        ("--backend", "tgi"),
        ("--child-endpoint", "http://127.0.0.1:1/v1"),
        ("--parent-endpoint", "openai:http://u:secret@h/v1#m"),
    ],
)
def test_options_that_make_no_sense_are_bad_input(twin: Twin, weightgate: Command, option: str, value: str) -> None:
    """Exit 2 before anything is read, with a remedy, and no password repeated."""
    said = weightgate("gate", twin.parent, twin.parent, option, value)
    assert said.code == 2
    assert "try:" in said.err
    assert "secret" not in said.err


def test_vllm_without_vllm_is_a_missing_extra(twin: Twin, weightgate: Command) -> None:
    """The message says what to install."""
    if importlib.util.find_spec("vllm"):
        pytest.skip("vLLM is installed")
    said = weightgate("gate", twin.parent, twin.children["benign"], "--backend", "vllm")
    assert said.code == 2
    assert "weightgate[vllm]" in said.err
