"""An OpenAI-compatible endpoint: how it is named, and requests to it that end within limits. Needs no torch.

The server is not trusted: redirects are not followed, answers are bounded in size and time and parsed strictly, and the
key never leaves for another host, over an open line, or into a message.
"""

from __future__ import annotations

import ipaddress
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from weightgate.lineage.errors import InputError
from weightgate.lineage.strict_json import parse
from weightgate.probes.engine.errors import ModelRunError

KEY_VARIABLE = "WEIGHTGATE_API_KEY"
MAX_ANSWER = 64 << 20
"""Bytes an answer may have."""
_COMPLETIONS, _CHAT = "openai:", "openai-chat:"
_RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_ATTEMPTS = 4
_LONGEST_WAIT = 30.0
_QUOTED = 300
_REMEDY = "write openai:https://HOST/v1#MODEL, or openai-chat: for a server of chat completions only"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a model is served, and as what."""

    url: str
    """Base of the interface, without a slash at the end: http://127.0.0.1:8000/v1."""
    model: str
    chat: bool = False
    """Whether only chat completions are served."""

    def __str__(self) -> str:
        return f"{_CHAT if self.chat else _COMPLETIONS}{self.url}#{self.model}"


def parse_endpoint(spec: str) -> Endpoint:
    """Read ``openai:URL#MODEL`` or ``openai-chat:URL#MODEL``.

    Raises:
        InputError: neither of the two, no model, a URL with a password or query in it, or http to another machine
            with a key set.
    """
    scheme = next((scheme for scheme in (_COMPLETIONS, _CHAT) if spec.startswith(scheme)), None)
    address, _, model = spec.removeprefix(scheme or "").partition("#")
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError as error:
        raise InputError(f"{spec[:_QUOTED]!r} holds no usable URL: {error}", remedy=_REMEDY) from error
    if scheme is None or parts.scheme not in {"http", "https"} or not host:
        raise InputError(f"{spec[:_QUOTED]!r} names no endpoint", remedy=_REMEDY)
    if not model or not model.isprintable():
        raise InputError(f"{spec[:_QUOTED]!r} names no model", remedy=_REMEDY)
    if parts.username or parts.password or parts.query or any(c.isspace() or not c.isprintable() for c in address):
        raise InputError(
            "an endpoint's URL has a user, a password, a query or blanks", remedy=f"put the key in {KEY_VARIABLE}"
        )
    if os.environ.get(KEY_VARIABLE) and parts.scheme == "http" and not _is_loopback(host):
        raise InputError(
            f"{KEY_VARIABLE} is set and {host} would be sent it over http, for everybody to read",
            remedy="use https, or unset it",
        )
    return Endpoint(address.rstrip("/"), model, chat=scheme == _CHAT)


class Client:
    """Posts to one endpoint. ``patience`` is what one attempt may take, ``pause`` the first wait, in seconds."""

    def __init__(self, endpoint: Endpoint, *, patience: float = 120.0, pause: float = 0.5) -> None:
        self._endpoint = endpoint
        self._patience = patience
        self._pause = pause
        self._key = os.environ.get(KEY_VARIABLE, "")
        handlers: list[Any] = [_NoRedirect()]
        if _is_loopback(urlsplit(endpoint.url).hostname or ""):
            handlers.append(urllib.request.ProxyHandler({}))
        self._opener = urllib.request.build_opener(*handlers)

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The object answered to ``body``; what may pass is tried again, a few times.

        Raises:
            ModelRunError: no answer, an error, or an answer that is not a JSON object of bearable size.
        """
        data = json.dumps({"model": self._endpoint.model, **body}).encode()
        problem = ""
        for attempt in range(_ATTEMPTS):
            try:
                return self._answer(self._send(path, data))
            except urllib.error.HTTPError as error:
                problem = f"HTTP {error.code}: {self._quoted(error)}"
                wait = _retry_after(error.headers) if error.code in _RETRIED else None
                if error.code not in _RETRIED:
                    raise self._failed(path, problem) from None
            except (OSError, HTTPException) as error:  # refused, reset, timed out, cut short
                problem, wait = f"{type(error).__name__}: {error}", None
            if attempt + 1 < _ATTEMPTS:
                time.sleep(wait if wait is not None else self._pause * 2**attempt)
        raise self._failed(path, f"{problem} ({_ATTEMPTS} attempts)")

    def refuse(self, path: str, problem: str) -> ModelRunError:
        """The error for an answer that cannot be used."""
        return self._failed(path, f"unusable answer: {problem}")

    def _send(self, path: str, data: bytes) -> bytes:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        request = urllib.request.Request(f"{self._endpoint.url}/{path}", data, headers)  # noqa: S310 - scheme is checked
        deadline = time.monotonic() + self._patience
        with self._opener.open(request, timeout=self._patience) as answer:
            parts, size = [], 0
            while part := answer.read1(1 << 16):
                parts.append(part)
                size += len(part)
                if size > MAX_ANSWER:
                    raise self.refuse(path, f"more than {MAX_ANSWER >> 20} MiB")
                if time.monotonic() > deadline:
                    raise TimeoutError("the answer trickles in too slowly")
            if answer.length:
                raise HTTPException("the answer was cut short")
        return b"".join(parts)

    def _answer(self, data: bytes) -> dict[str, Any]:
        try:
            document = parse(data, "the answer")
        except InputError as error:
            raise self.refuse("", str(error)) from error
        if not isinstance(document, dict):
            raise self.refuse("", f"a JSON {type(document).__name__}, not an object")
        return document

    def _quoted(self, error: urllib.error.HTTPError) -> str:
        try:
            return error.read(_QUOTED).decode(errors="replace")
        except (OSError, HTTPException):
            return ""

    def _failed(self, path: str, problem: str) -> ModelRunError:
        said = problem.replace(self._key, "***") if self._key else problem
        where = f"{self._endpoint.url}/{path}".rstrip("/")
        return ModelRunError(
            f"{where}: {said[: 2 * _QUOTED]}", remedy="check the server, and that it serves this model"
        )


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an error: the key and the prompts are for the host that was named."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """None makes the redirect an error."""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _retry_after(headers: Message) -> float | None:
    """Seconds the server asks to wait, within reason."""
    try:
        return min(_LONGEST_WAIT, max(0.0, float(headers.get("Retry-After", ""))))
    except ValueError:
        return None
