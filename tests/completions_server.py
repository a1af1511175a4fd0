"""A completions server in a thread, which speaks like one of the known ones and fails when told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

Written = Iterator[tuple[int, float]]  # tokens and their log-probabilities, without end or up to the end of sequence
Writer = Callable[[dict[str, Any]], Written]
BROKEN = "\N{REPLACEMENT CHARACTER}"
COMMON = {"model", "prompt", "max_tokens", "temperature", "top_p", "seed", "logprobs", "stop", "frequency_penalty"}


class ModelWriter:
    """Draws tokens from a language model, token after token, with the request's seed."""

    def __init__(self, path: str) -> None:
        torch.set_num_threads(1)
        self.tokenizer = AutoTokenizer.from_pretrained(path)
        self.model = AutoModelForCausalLM.from_pretrained(path).eval()

    def __call__(self, body: dict[str, Any]) -> Written:
        chance = torch.Generator().manual_seed(body.get("seed", 0))
        ids = self.tokenizer(body["prompt"])["input_ids"]
        while True:
            with torch.inference_mode():
                logits = self.model(torch.tensor([ids])).logits[0, -1].double()
            if body["temperature"] == 0:
                token = int(logits.argmax())
            else:
                shares = torch.softmax(logits / body["temperature"], dim=-1)
                token = int(torch.multinomial(shares, 1, generator=chance))
            ids.append(token)
            yield token, float(torch.log_softmax(logits, dim=-1)[token])


class TextWriter:
    """Writes what `choose` makes of a request, in the tokenizer's tokens; their log-probabilities are -1, -2, …"""

    def __init__(self, tokenizer: Any, choose: Callable[[dict[str, Any]], str]) -> None:
        self.tokenizer, self.choose = tokenizer, choose

    def __call__(self, body: dict[str, Any]) -> Written:
        ids = [*self.tokenizer(self.choose(body))["input_ids"], self.tokenizer.eos_token_id]
        yield from ((token, -1.0 - place) for place, token in enumerate(ids))


@dataclass
class Dialect:
    """What a server does with stop strings, log-probabilities and parameters."""

    name: str
    keeps: str | bool = False  # the stop string stays in the text: always, or when this parameter asks for it
    whole_token: bool = False  # a kept stop string comes with the rest of its token
    says: str | None = None  # the field that names what ended the text
    stop_finish: str = "stop"
    lists: bool = True  # log-probabilities
    lists_end: bool = True  # also of the end of sequence and of a stop string that is dropped
    refuses: Callable[[dict[str, Any]], str | None] = lambda body: None
    heeds_stop: bool = True
    reads_back: bool = False  # a stop string may begin in the prompt


def unexpected(*known: str) -> Callable[[dict[str, Any]], str | None]:
    """Refuses all but the known parameters, and names them."""

    def refuse(body: dict[str, Any]) -> str | None:
        strange = set(body) - set(known)
        return f"Unexpected fields in the request: {strange}" if strange else None

    return refuse


def full_nucleus(body: dict[str, Any]) -> str | None:
    """TGI takes a nucleus below 1 only."""
    return "Input validation error: `top_p` must be > 0.0 and < 1.0" if body.get("top_p") == 1 else None


DIALECTS = {
    dialect.name: dialect
    for dialect in (
        Dialect("vllm", keeps="include_stop_str_in_output", says="stop_reason"),
        Dialect("vllm without inclusion", says="stop_reason"),
        Dialect("sglang", keeps="no_stop_trim", whole_token=True, says="matched_stop"),
        Dialect("tgi", keeps=True, whole_token=True, stop_finish="stop_sequence", lists=False, refuses=full_nucleus),
        Dialect(
            "transformers",
            keeps=True,
            whole_token=True,
            lists=False,
            refuses=unexpected(*COMMON, "generation_config"),
            reads_back=True,
        ),
        Dialect("lists all", lists_end=True, refuses=unexpected(*COMMON)),
        Dialect("plain", lists_end=False),
    )
}


@dataclass
class Fault:
    """What goes wrong with a request: a status, or slow, cut, half, truncated, empty, unfinished; None: nothing."""

    kind: int | str | None = None
    headers: dict[str, str] = field(default_factory=dict)


class CompletionsServer:
    """Serves in a `with`. `fault` is asked at each request with its number from 1; all bodies and answers are kept."""

    def __init__(
        self,
        writer: Any,
        dialect: str | Dialect = "vllm",
        fault: Callable[[int], Fault | None] = lambda number: None,
        key: str | None = None,
    ) -> None:
        self.writer, self.fault, self.key = writer, fault, key
        self.dialect = DIALECTS[dialect] if isinstance(dialect, str) else dialect
        self.bodies: list[dict[str, Any]] = []
        self.wrote: list[str] = []  # the text of each completion, whatever of it was said
        self.keys: set[str | None] = set()
        self.connections = 0
        self.closed = threading.Event()
        self._lock, self._model = threading.Lock(), threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> CompletionsServer:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closed.set()
        self._server.shutdown()
        self._server.server_close()

    def answer(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Status and JSON for one request."""
        dialect = self.dialect
        if reason := dialect.refuses(body):
            return 422, {"detail": reason}
        with self._model:
            ids, logprobs, text, matched, ended = self._write(body)
        kept, finish = text, "stop" if ended or matched is not None else "length"
        shown = len(ids) - ended if not dialect.lists_end else len(ids)
        if matched is not None:
            finish = dialect.stop_finish
            if dialect.keeps is True or body.get(str(dialect.keeps)):
                text = text if dialect.whole_token else text[: text.index(matched) + len(matched)]
            else:
                text = text[: text.index(matched)]
                shown = shown if dialect.lists_end else len(self.writer.tokenizer(text)["input_ids"])
        with self._lock:
            self.wrote.append(kept)
        choice: dict[str, Any] = {"index": 0, "text": text, "finish_reason": finish, "logprobs": None}
        if dialect.says:
            choice[dialect.says] = matched
        if dialect.lists and body.get("logprobs"):
            pieces = [self.writer.tokenizer.decode([token]) for token in ids[:shown]]
            choice["logprobs"] = {"tokens": pieces, "token_logprobs": logprobs[:shown]}
        return 200, {"choices": [choice], "usage": {"completion_tokens": len(ids)}}

    def _write(self, body: dict[str, Any]) -> tuple[list[int], list[float], str, str | None, bool]:
        tokenizer = self.writer.tokenizer
        ids: list[int] = []
        logprobs: list[float] = []
        text = ""
        stops = body.get("stop", []) if self.dialect.heeds_stop else []
        for token, logprob in self.writer(body):
            ids.append(token)
            logprobs.append(logprob)
            if token == tokenizer.eos_token_id:
                return ids, logprobs, text, None, True
            text = tokenizer.decode(ids)
            before = body["prompt"] if self.dialect.reads_back else ""
            matched = next((stop for stop in stops if stop in _tail(before, len(stop) - 1) + text), None)
            if matched is not None or len(ids) == body["max_tokens"]:
                return ids, logprobs, text, matched, False
        raise AssertionError("a writer goes on until the end of sequence")


def _tail(text: str, letters: int) -> str:
    return text[max(0, len(text) - letters) :]


def _handler(owner: CompletionsServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            with owner._lock:
                owner.connections += 1

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            self.reply(200, json.dumps({"data": [{"id": "tiny"}]}).encode())

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with owner._lock:
                owner.bodies.append(body)
                owner.keys.add(self.headers["Authorization"])
                fault = owner.fault(len(owner.bodies)) or Fault()
            if owner.key is not None and self.headers["Authorization"] != f"Bearer {owner.key}":
                return self.reply(401, b'{"error": {"message": "no such key"}}')
            if self.path != "/v1/completions" or body["model"] != "tiny":
                return self.reply(404, b'{"error": {"message": "not here"}}')
            if isinstance(fault.kind, int):
                return self.reply(fault.kind, b'{"error": {"message": "boom"}}', fault.headers)
            if fault.kind == "slow":
                owner.closed.wait(60)
            if fault.kind == "cut":  # the server dies before it answers
                self.close_connection = True
                return None
            status, found = owner.answer(body)
            if fault.kind == "empty":
                found = {"choices": []}
            if fault.kind == "unfinished":
                found["choices"][0]["finish_reason"] = "abort"
            data = json.dumps(found).encode()
            if fault.kind == "half":  # and here while it answers
                self.reply(status, data, length=len(data), sent=data[: len(data) // 2])
                self.close_connection = True
                return None
            return self.reply(status, data[: len(data) // 2] if fault.kind == "truncated" else data)

        def reply(
            self,
            status: int,
            data: bytes,
            headers: dict[str, str] | None = None,
            length: int | None = None,
            sent: bytes | None = None,
        ) -> None:
            try:
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data) if length is None else length))
                self.end_headers()
                self.wfile.write(data if sent is None else sent)
            except OSError:  # the client has gone
                self.close_connection = True

    return Handler
