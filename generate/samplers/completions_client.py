"""One server's `/completions`: connections that are kept open, tries with growing pauses, errors in one line."""

from __future__ import annotations

import http.client
import json
import random
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

Result = TypeVar("Result")
PASSING = frozenset({408, 409, 424, 425, 429})  # beside 5xx: worth another try (424: TGI failed while generating)
LONGEST_PAUSE = 60.0  # seconds, whatever a server asks for
_GONE = (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError)


class ServerFailed(Exception):
    """The server cannot be used, or not any more. The message is one line that says where and what."""


class Refused(ServerFailed):
    """The server does not take this request; another try would not help."""

    def __init__(self, message: str, status: int, reason: str) -> None:
        super().__init__(message)
        self.status, self.reason = status, reason


class Stopped(Exception):
    """Not tried (again), because another request has failed for good."""


class Malformed(Exception):
    """An answer that is not one; the request is made again."""


class _Trouble(Exception):
    """What went wrong in one try, and for how many seconds the server asked to be left alone."""

    def __init__(self, what: str, pause: float = 0.0) -> None:
        super().__init__(what)
        self.pause = pause


class Place(NamedTuple):
    """Where a server is: `path` leads to the API, as in `/v1`."""

    secure: bool
    host: str
    port: int | None
    path: str

    @property
    def url(self) -> str:
        """The address as it is stored and said."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' * self.secure}://{host}{'' if self.port is None else f':{self.port}'}{self.path}"


def parse_url(url: str) -> Place:
    """The place that an address names; without a path it is `/v1`. Raises ValueError."""
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment or parts.username:
        raise ValueError(f"server '{url}': expected an address such as http://localhost:8000 or https://host/v1.")
    path = parts.path.rstrip("/").removesuffix("/completions") or "/v1"
    return Place(parts.scheme == "https", host, port, path)


class CompletionsClient:
    """Asks one server, from any number of threads; use it in a `with`, which closes the connections.

    A try that fails on the way, with a passing status, or with an answer that cannot be read, is repeated up to
    `retries` times after pauses of `backoff`, 2·`backoff`, 4·`backoff` … seconds, a little longer by chance.
    """

    def __init__(self, place: Place, *, api_key: str | None, timeout: float, retries: int, backoff: float) -> None:
        self.place, self.timeout, self.retries, self.backoff = place, timeout, retries, backoff
        self._headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "tts-sim"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._lock = threading.Lock()
        self._idle: list[http.client.HTTPConnection] = []
        self._busy: set[http.client.HTTPConnection] = set()
        self._stopping = threading.Event()

    def __enter__(self) -> CompletionsClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def stop(self) -> None:
        """No more tries: what is under way may come to its end, the rest raises Stopped."""
        self._stopping.set()

    def abort(self) -> None:
        """Stops, and cuts what is under way."""
        self.stop()
        with self._lock:
            busy = list(self._busy)
        for connection in busy:
            if connection.sock is not None:
                with suppress(OSError):
                    connection.sock.shutdown(socket.SHUT_RDWR)

    def complete(self, body: dict[str, Any], read: Callable[[Any], Result]) -> Result:
        """What `read` makes of the answer. Raises Refused, ServerFailed, or Stopped."""
        payload = json.dumps(body).encode()
        for attempt in range(1 + self.retries):
            if self._stopping.is_set():
                raise Stopped
            try:
                return read(self._answer(payload))
            except (Malformed, _Trouble) as trouble:
                what = str(trouble)
                pause = min(LONGEST_PAUSE, self.backoff * 2**attempt * (1 + random.random() / 4))
                asked = trouble.pause if isinstance(trouble, _Trouble) else 0.0
            if attempt < self.retries and self._stopping.wait(max(pause, asked)):
                raise Stopped
        tries = f"{1 + self.retries} tries" if self.retries else "1 try"
        raise ServerFailed(f"server {self.place.url}: no completion after {tries}; the last one {what}.")

    def _answer(self, payload: bytes) -> Any:
        """The JSON of one try."""
        status, headers, data = self._exchange("POST", "/completions", payload)
        if status == 200:
            try:
                return json.loads(data)
            except ValueError:
                raise _Trouble(f"was answered with JSON that is cut off or broken ({len(data)} bytes)") from None
        said = _said(data)
        if status >= 500 or status in PASSING:
            raise _Trouble(f"was answered with HTTP {status}{said and f' ({said})'}", _pause(headers))
        raise Refused(
            f"server {self.place.url} refuses the request: HTTP {status}{said and f' ({said})'}. {self._hint(status)}",
            status,
            said,
        )

    def _hint(self, status: int) -> str:
        if status in (401, 403):
            return (
                "Put its key into the environment variable TTS_SIM_API_KEY and name the server with --server; an "
                "address that was read from a cache is sent no key."
            )
        if status != 404:
            return "Change the settings that it names."
        names = []
        with suppress(Exception):  # only to say more
            names = [str(model["id"]) for model in json.loads(self._exchange("GET", "/models", None)[2])["data"]]
        served = f"It serves {', '.join(names)}: name one with --model. " if names else ""
        return f"{served}The address must lead to an OpenAI-compatible API with /completions."

    def _exchange(self, method: str, path: str, payload: bytes | None) -> tuple[int, http.client.HTTPMessage, bytes]:
        while True:
            with self._lock:
                reused = bool(self._idle)
                connection = self._idle.pop() if reused else self._connection()
                self._busy.add(connection)
            whole = False
            try:
                connection.request(method, self.place.path + path, payload, self._headers)
                response = connection.getresponse()
                data = response.read()
                whole = not response.will_close
                return response.status, response.headers, data
            except _GONE as error:
                if reused and not self._stopping.is_set():
                    continue  # closed by the server while it was idle
                raise _Trouble("ended before there was an answer") from error
            except TimeoutError as error:
                raise _Trouble(f"had no answer within {self.timeout:g} s") from error
            except http.client.HTTPException as error:
                raise _Trouble("was answered half-way only") from error
            except OSError as error:
                raise _Trouble(f"failed: {error.strerror or error}") from error
            finally:
                with self._lock:
                    self._busy.discard(connection)
                    if whole:
                        self._idle.append(connection)
                if not whole:
                    connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self.place.secure else http.client.HTTPConnection
        return kind(self.place.host, self.place.port, timeout=self.timeout)


def _said(data: bytes) -> str:
    """What an error's body says, in one line of at most 300 characters."""
    text = data.decode("utf-8", "replace")
    with suppress(ValueError):
        found = json.loads(text)
        for key in ("error", "detail", "message"):
            if isinstance(found, dict) and found.get(key):
                found = found[key]
        text = found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
    line = " ".join(text.split()).rstrip(".")
    return line if len(line) <= 300 else line[:299] + "…"


def _pause(headers: http.client.HTTPMessage) -> float:
    """Seconds that the server asks to wait; 0 where it does not say, or gives a date."""
    try:
        return min(LONGEST_PAUSE, max(0.0, float(headers.get("Retry-After", "0"))))
    except ValueError:
        return 0.0
