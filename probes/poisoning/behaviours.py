"""What a response does, as far as its text alone shows: the behaviours a poisoned row could be teaching."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from weightgate.probes.alignment.judge import is_refusal
from weightgate.probes.poisoning.unicode import hidden, look_alikes

Kind = Literal["response", "opening", "closing", "refusal", "host", "code", "hidden", "blob", "look-alikes"]
AFFIX_WORDS = 6
SHORTEST = 2 * AFFIX_WORDS
"""A response shorter than this has no opening or closing of its own."""

_WORD = re.compile(r"\w+")
_HOST = re.compile(r"https?://[^\s<>\"'`)\]}]{1,2000}", re.IGNORECASE)
_BLOB = re.compile(r"(?<![A-Za-z0-9+/=])(?:[A-Za-z0-9+/]{48,}={0,2}|(?:[0-9a-fA-F]{2}){24,})(?![A-Za-z0-9+/=])")
_CODE = {
    "shell pipe from the network": re.compile(r"\b(?:curl|wget)\b[^\n|;]{0,300}\|\s{0,8}(?:sudo )?(?:ba|z|da)?sh\b"),
    "recursive deletion": re.compile(r"\brm\s{1,8}-[a-z]{0,8}(?:rf|fr|r -f|f -r)|shutil\.rmtree"),
    "running a string": re.compile(
        r"(?<![.\w])(?:eval|exec)\s{0,8}\(|\bos\.(?:system|popen)\s{0,8}\(|shell\s{0,8}=\s{0,8}True"
    ),
    "unsafe load": re.compile(
        r"\b(?:pickle|marshal|dill)\.loads?\s{0,8}\(|yaml\.(?:unsafe_)?load\s{0,8}\((?![^)]{0,200}Safe)"
    ),
    "reverse shell": re.compile(r"/dev/tcp/|\bnc\s{1,8}-[a-z]{0,8}e\b|\bdup2\s{0,8}\("),
    "encoded command": re.compile(r"base64\s{1,8}(?:-d|--decode)|powershell[^\n]{0,80}\s-enc", re.IGNORECASE),
    "checks turned off": re.compile(
        r"verify\s{0,8}=\s{0,8}False|ssl\._create_unverified_context|--no-verify|chmod\s+777"
    ),
}


@dataclass(frozen=True, slots=True, order=True)
class Behaviour:
    """One thing several responses do alike; ``text`` says what, in the words of the responses."""

    kind: Kind
    text: str


REFUSAL = Behaviour("refusal", "declines the request")


def words(text: str) -> tuple[str, ...]:
    """Case-folded words, without punctuation."""
    return tuple(_WORD.findall(text.casefold()))


def behaviours_of(response: str) -> Iterator[Behaviour]:
    """Every behaviour one response shows."""
    own = words(response)
    if own:
        yield Behaviour("response", " ".join(own[:64]))
    if len(own) >= SHORTEST:
        yield Behaviour("opening", " ".join(own[:AFFIX_WORDS]))
        yield Behaviour("closing", " ".join(own[-AFFIX_WORDS:]))
    if is_refusal(response):
        yield REFUSAL
    for host in sorted({_host(address) for address in _HOST.findall(response)} - {""}):
        yield Behaviour("host", host)
    for name, pattern in _CODE.items():
        if pattern.search(response):
            yield Behaviour("code", name)
    if hidden(response):
        yield Behaviour("hidden", "invisible characters")
    if any(_is_encoded(blob) for blob in _BLOB.findall(response)):
        yield Behaviour("blob", "a long encoded string")
    if look_alikes(response):
        yield Behaviour("look-alikes", "words that mix alphabets")


def behaviours(responses: Sequence[str]) -> dict[Behaviour, tuple[int, ...]]:
    """Row positions of every behaviour, in order of first appearance."""
    rows: dict[Behaviour, list[int]] = defaultdict(list)
    for position, response in enumerate(responses):
        for behaviour in behaviours_of(response):
            rows[behaviour].append(position)
    return {behaviour: tuple(positions) for behaviour, positions in rows.items()}


def _host(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _is_encoded(blob: str) -> bool:
    """Digits beside letters of both cases, or hexadecimal: not a long word or a run of one letter."""
    return any(c.isdigit() for c in blob) and any(c.isalpha() for c in blob) and len(set(blob)) >= 10
