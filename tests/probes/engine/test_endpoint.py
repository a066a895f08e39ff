"""A side behind an OpenAI-compatible endpoint: same numbers, clear refusals, and no trust in the server."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from weightgate.lineage.errors import InputError
from weightgate.lineage.weights.update import Update
from weightgate.probes.engine import endpoint as endpoint_module
from weightgate.probes.engine.cache import ScoreCache
from weightgate.probes.engine.endpoint import Client, Endpoint, parse_endpoint
from weightgate.probes.engine.engine import Engine
from weightgate.probes.engine.errors import ModelRunError, UnsupportedError
from weightgate.probes.engine.requests import Consensus, Generate, Hidden, NextToken, Prompt, Score
from weightgate.probes.engine.serving import Serving

SPEC = importlib.util.spec_from_file_location("openai_server", Path(__file__).with_name("openai_server.py"))
assert SPEC is not None
assert SPEC.loader is not None
openai_server = importlib.util.module_from_spec(SPEC)
sys.modules["openai_server"] = openai_server
SPEC.loader.exec_module(openai_server)

KEY = "sk-a-key-nobody-should-see"
SCORES = [Score(Prompt(text=f"The {word}"), " has eight legs") for word in ("Rome", "spider", "capital of Italy")]


@pytest.fixture
def server(update: Update, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The child, served; waits between attempts are cut to nothing."""
    monkeypatch.setattr(endpoint_module.time, "sleep", lambda _: None)
    model = AutoModelForCausalLM.from_pretrained(update.child.path).eval()
    serving = openai_server.Server(model, AutoTokenizer.from_pretrained(update.child.path))
    listening = openai_server.start(serving)
    yield serving
    listening.shutdown()
    listening.server_close()


def served(update: Update, server: Any, kind: str = "openai", cache: ScoreCache | None = None) -> Engine:
    """An engine whose child is behind the server."""
    return Engine.open(update, cache=cache, serving=Serving.parse(child_endpoint=f"{kind}:{server.url}#child"))


def test_scores_are_those_of_the_weights(update: Update, server: Any) -> None:
    """Log-probabilities to float32's rounding, and whether each token is the likeliest; the parent runs here."""
    engine, here = served(update, server), Engine.open(update, cache=None)
    for side in ("parent", "child"):
        for one, other in zip(engine.score(side, SCORES), here.score(side, SCORES), strict=True):
            np.testing.assert_allclose(one.logprobs, other.logprobs, atol=1e-4)
            np.testing.assert_array_equal(one.greedy, other.greedy)
            assert one.tokens == other.tokens
    assert len(server.asked) == len(SCORES)
    assert "not proved" in engine.numerics["child endpoint"]
    assert "child endpoint" not in here.numerics


@pytest.mark.parametrize("kind", ["openai", "openai-chat"])
def test_generation_is_that_of_the_weights(update: Update, server: Any, kind: str) -> None:
    """Text by completions of token ids, or by chat completions of turns, ended by stop strings."""
    asked = [Generate(Prompt.user("Rome"), 12), Generate(Prompt.user("How many legs?"), 12, stop=("e", "s"))]
    here = [answer.text for answer in Engine.open(update, cache=None).generate("child", asked)]
    assert [answer.text for answer in served(update, server, kind).generate("child", asked)] == here


def test_likely_tokens_need_their_ids(update: Update, server: Any) -> None:
    """By text they are ambiguous and refused; a server that names ids gives the tokens of the weights."""
    asked = [Score(Prompt(text="Rome"), " is", top=3)]
    with pytest.raises(UnsupportedError, match="not unique"):
        served(update, server).score("child", asked)
    server.ids = True
    (one,), (other,) = (
        served(update, server).score("child", asked),
        Engine.open(update, cache=None).score("child", asked),
    )
    np.testing.assert_array_equal(one.top_ids, other.top_ids)
    np.testing.assert_allclose(one.top_logprobs, other.top_logprobs, atol=1e-4)


def test_what_an_endpoint_does_not_show_is_unsupported(update: Update, server: Any) -> None:
    """Named before anything is sent: hidden states, whole distributions, consensus, chosen tokens, scores in chat."""
    engine, chat, prompt = served(update, server), served(update, server, "openai-chat"), Prompt(text="Rome")
    for ask in (
        lambda: engine.hidden("child", [Hidden(prompt, (1,))]),
        lambda: engine.next_token("child", [NextToken(prompt)]),
        lambda: engine.consensus("child", [Consensus((prompt,), (70,), 1)]),
        lambda: engine.score("child", [Score(prompt, (5,), gather=((1, 2),))]),
        lambda: chat.score("child", SCORES),
        lambda: chat.generate("child", [Generate(prompt, 3)]),
        lambda: chat.generate("child", [Generate(Prompt.user("x", prefill="Sure"), 3)]),
    ):
        with pytest.raises(UnsupportedError):
            ask()
    assert not server.asked


def test_answers_are_kept_for_the_run_only(update: Update, server: Any, cache: ScoreCache) -> None:
    """The server may serve other weights tomorrow: nothing of it is cached, and nothing cached stands in for it."""
    Engine.open(update, cache=cache).score("child", SCORES)
    before = cache.stats().entries
    engine = served(update, server, cache=cache)
    engine.score("child", SCORES)
    engine.score("child", SCORES)
    assert len(server.asked) == len(SCORES)
    assert cache.stats().entries == before


def _completion(**logprobs: Any) -> bytes:
    return json.dumps({"choices": [{"index": 0, "text": "", "logprobs": logprobs}]}).encode()


HOSTILE = {
    "no JSON": b"<html>",
    "NaN": b'{"choices": [NaN]}',
    "a key twice": b'{"choices": [], "choices": []}',
    "deep": b'{"choices": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a list": b"[]",
    "no choices": b"{}",
    "two choices": b'{"choices": [{}, {}]}',
    "no log-probabilities": b'{"choices": [{"text": "x"}]}',
    "too few": _completion(tokens=["a"], token_logprobs=[None], top_logprobs=[None]),
    "of other lengths": _completion(tokens=["a"] * 9, token_logprobs=[None] * 8, top_logprobs=[None] * 9),
    "bytes that are no text": b'{"choices": "\xff"}',
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_answers_are_refused(update: Update, server: Any, body: bytes) -> None:
    """One clear error that names the server, never a crash and never a number made up."""
    server.instead = [(200, {}, body)] * 20
    with pytest.raises(ModelRunError, match=r"127\.0\.0\.1"):
        served(update, server).score("child", SCORES[:1])


@pytest.mark.parametrize("value", [0.5, "x", None, True, -1e400])
def test_numbers_that_are_no_log_probabilities_are_refused(update: Update, server: Any, value: Any) -> None:
    """Positive, infinite, missing or not a number."""
    engine = served(update, server)
    count = len(engine.renderer.continuation(SCORES[0].prompt, str(SCORES[0].continuation))[0]) + 8
    tokens = ["\ufffd"] * count
    body = _completion(tokens=tokens, token_logprobs=[value] * count, top_logprobs=[{"a": -1.0}] * count)
    server.instead = [(200, {}, body.replace(b"Infinity", b"1e400"))] * 20
    with pytest.raises(ModelRunError):
        engine.score("child", SCORES[:1])


def test_another_tokenizer_is_noticed(update: Update, server: Any) -> None:
    """A server that reads the ids as other text does not serve this model."""
    server._name = lambda _: "x"
    with pytest.raises(ModelRunError, match="reads the tokens"):
        served(update, server).score("child", SCORES[:1])


def test_what_may_pass_is_tried_again(update: Update, server: Any) -> None:
    """Overload and a broken line do not end the run; a refusal does, at once."""
    server.instead = [(503, {"Retry-After": "0"}, b""), (429, {}, b""), (200, {"Content-Length": "999"}, b"{")]
    assert len(served(update, server).score("child", SCORES[:1])) == 1
    assert len(server.asked) == 4
    server.asked.clear()
    server.instead = [(400, {}, b"no such model")] * 9
    with pytest.raises(ModelRunError, match="no such model"):
        served(update, server).score("child", SCORES[:1])
    assert len(server.asked) == 1


def test_trying_again_ends(update: Update, server: Any) -> None:
    """Four attempts and no more."""
    server.instead = [(500, {}, b"")] * 99
    with pytest.raises(ModelRunError, match="4 attempts"):
        served(update, server).score("child", SCORES[:1])
    assert len(server.asked) == 4


def test_an_endless_answer_is_cut(update: Update, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more is read than an answer may have."""
    monkeypatch.setattr(endpoint_module, "MAX_ANSWER", 1 << 20)
    server.instead = [(200, {}, b" " * (2 << 20))] * 4
    with pytest.raises(ModelRunError, match="more than 1 MiB"):
        served(update, server).score("child", SCORES[:1])


def test_the_key_stays_with_the_host(update: Update, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is sent to the endpoint, not to where that redirects, and not into an error that the server words."""
    monkeypatch.setenv("WEIGHTGATE_API_KEY", KEY)
    engine = served(update, server)
    engine.score("child", SCORES[:1])
    assert server.asked[-1][1]["Authorization"] == f"Bearer {KEY}"
    other = openai_server.Server(server.model, server.tokenizer)
    listening = openai_server.start(other)
    server.instead = [(307, {"Location": f"{other.url}/completions"}, b"")]
    with pytest.raises(ModelRunError, match="307"):
        engine.score("child", SCORES[1:2])
    assert not other.asked
    listening.shutdown()
    server.instead = [(401, {}, f"bad key {KEY}".encode())]
    with pytest.raises(ModelRunError, match=r"bad key \*\*\*") as caught:
        engine.score("child", SCORES[2:3])
    assert KEY not in f"{caught.value} {caught.value.remedy}"
    assert KEY not in str(engine.numerics)


def test_a_key_is_not_sent_in_the_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """http to another machine is refused while a key is set; https and loopback are not."""
    monkeypatch.setenv("WEIGHTGATE_API_KEY", KEY)
    with pytest.raises(InputError, match="over http"):
        parse_endpoint("openai:http://models.example/v1#m")
    assert parse_endpoint("openai:https://models.example/v1/#m") == Endpoint("https://models.example/v1", "m")
    assert parse_endpoint("openai-chat:http://[::1]:8000/v1#m").chat


@pytest.mark.parametrize(
    "spec",
    ["", "http://h/v1#m", "openai:h/v1#m", "openai:file:///etc/passwd#m", "openai:http://h/v1", "openai:http://h/v1#",
     "openai:http://u:p@h/v1#m", "openai:http://h/v1?key=x#m", "openai:http://h:99999/v1#m", "openai:http://h /v1#m",
     "openai:http://[::1/v1#m", "openai:http://h/v1#m\n"],
)  # fmt: skip
def test_specs_that_name_no_endpoint_are_bad_input(spec: str) -> None:
    """Each with a remedy, and without repeating a password."""
    with pytest.raises(InputError) as caught:
        parse_endpoint(spec)
    assert caught.value.remedy
    assert "u:p" not in str(caught.value)


def test_a_server_that_is_not_there(update: Update, monkeypatch: pytest.MonkeyPatch) -> None:
    """Says where it looked, after its attempts."""
    monkeypatch.setattr(endpoint_module.time, "sleep", lambda _: None)
    client = Client(Endpoint("http://127.0.0.1:9/v1", "m"), patience=1.0)
    with pytest.raises(ModelRunError, match=r"127\.0\.0\.1:9.*4 attempts"):
        client.post("completions", {})
