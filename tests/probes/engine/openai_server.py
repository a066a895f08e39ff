"""A small server of the OpenAI interface, on loopback, with a real model behind it.

Written from the interface's reference: POST completions (prompt as token ids, echo, logprobs, max_tokens, stop) and
chat/completions (messages, max_tokens, stop). Tests may put an answer of their own in place of the next ones.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch

Answer = tuple[int, dict[str, str], bytes]
"""Status, headers, body."""


@dataclass
class Server:
    """What is served, what was asked, and answers to give instead."""

    model: Any
    tokenizer: Any
    ids: bool = False
    """Whether ``return_tokens_as_token_ids`` is known."""
    asked: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    instead: list[Answer] = field(default_factory=list)
    url: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> Answer:
        """The next answer set, or what the model says."""
        with self._lock:
            self.asked.append((path, headers, body))
            if self.instead:
                return self.instead.pop(0)
            routes: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
                "/v1/completions": self._completions,
                "/v1/chat/completions": self._chat,
            }
            if path not in routes:
                return 404, {}, b'{"error": {"message": "no such route"}}'
            return 200, {}, json.dumps(routes[path](body)).encode()

    def _completions(self, body: dict[str, Any]) -> dict[str, Any]:
        prompt = body["prompt"]
        tokens = self._continue(prompt, body["max_tokens"])
        shown = [*prompt, *tokens] if body.get("echo") else tokens
        text = self._cut(self.tokenizer.decode(tokens, clean_up_tokenization_spaces=False), body.get("stop", []))
        choice: dict[str, Any] = {"index": 0, "text": text, "finish_reason": "length", "logprobs": None}
        if body.get("logprobs") is not None:
            name = self._name if not (self.ids and body.get("return_tokens_as_token_ids")) else "token_id:{}".format
            choice["logprobs"] = self._logprobs(shown, body["logprobs"], name)
        return {"object": "text_completion", "model": body["model"], "choices": [choice]}

    def _chat(self, body: dict[str, Any]) -> dict[str, Any]:
        text = self.tokenizer.apply_chat_template(body["messages"], tokenize=False, add_generation_prompt=True)
        tokens = self._continue(self.tokenizer.encode(text, add_special_tokens=False), body["max_tokens"])
        said = self._cut(self.tokenizer.decode(tokens, clean_up_tokenization_spaces=False), body.get("stop", []))
        message = {"role": "assistant", "content": said}
        return {"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}

    def _logprobs(self, tokens: list[int], top: int, name: Callable[[int], str]) -> dict[str, Any]:
        with torch.inference_mode():
            logprobs = self.model(torch.tensor([tokens])).logits[0].float().log_softmax(-1)
        values: list[float | None] = [None]
        tops: list[dict[str, float] | None] = [None]
        for place, token in enumerate(tokens[1:]):
            values.append(float(logprobs[place, token]))
            best = logprobs[place].topk(top)
            tops.append({name(int(i)): float(v) for v, i in zip(*best, strict=True)} | {name(token): values[-1]})
        return {"tokens": [name(t) for t in tokens], "token_logprobs": values, "top_logprobs": tops}

    def _continue(self, prompt: list[int], count: int) -> list[int]:
        tokens = list(prompt)
        with torch.inference_mode():
            for _ in range(count):
                tokens.append(int(self.model(torch.tensor([tokens])).logits[0, -1].argmax()))
                if tokens[-1] == self.tokenizer.eos_token_id:
                    return tokens[len(prompt) : -1]
        return tokens[len(prompt) :]

    def _name(self, token: int) -> str:
        return str(self.tokenizer.decode([token], clean_up_tokenization_spaces=False))

    @staticmethod
    def _cut(text: str, stops: list[str]) -> str:
        return text[: min((text.find(stop) for stop in stops if stop in text), default=len(text))]


def start(server: Server) -> ThreadingHTTPServer:
    """Serve on a free port of loopback; the caller shuts it down."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, headers, data = server.answer(self.path, dict(self.headers), body)
            self.send_response(status)
            for name, value in (
                {"Content-Length": str(len(data)), "Content-Type": "application/json"} | headers
            ).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name in the library
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    server.url = f"http://127.0.0.1:{listening.server_port}/v1"
    return listening
