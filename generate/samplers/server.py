"""A sampler on any OpenAI-compatible completions server: vLLM, SGLang, TGI, `transformers serve`, …"""

from __future__ import annotations

import json
import math
import re
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

from generate.protocols import Request, SamplerStopped, Step
from generate.samplers.completion import (
    Completion,
    Uncounted,
    begins_before,
    cut_solution,
    ending,
    joined,
    listed_end,
    read_completion,
    share_out,
    step_of,
)
from generate.samplers.completions_client import (
    CompletionsClient,
    Refused,
    ServerFailed,
    Stopped,
    parse_url,
)
from tts_sim.draws import mix

NEUTRAL = {"top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, "frequency_penalty": 0.0}
OPTIONAL = ("seed", "logprobs", "include_stop_str_in_output", "no_stop_trim", "generation_config")
# `transformers serve` takes no top_k, would draw from the 50 likeliest tokens, and only if the model's file says so.
GENERATION_CONFIG = json.dumps({"do_sample": True, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0})
UNEXPECTED = "Unexpected fields in the request"  # its words
COUNTING = "1, 2, 3, 4,"  # what any language model goes on with
CONTINUED = 1 << 41  # keys of what continues a step: no draw has such a number


@dataclass(frozen=True)
class ServerSettings:
    """How a server is reached; `url` None: the one that the run was recorded with, if any."""

    url: str | None = None
    connections: int = 64
    timeout: float = 600.0
    retries: int = 5

    def __post_init__(self) -> None:
        for name, least in (("connections", 1), ("retries", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} {getattr(self, name)}: expected a whole number from {least}.")
        if not 0 < self.timeout < math.inf:
            raise ValueError(f"timeout {self.timeout}: expected a number of seconds above 0.")


class ServerSampler:
    """Continues prefixes by asking a server, `connections` requests at a time.

    A solution is one request where the server lists the tokens of its text (`logprobs`); its steps are then cut at the
    tokens that complete the delimiter. Where it does not, a solution is made step by step, so that each step's tokens
    are the server's own count. A single step ends at the stop string, which is put back where the server drops it.
    A server that also stops where a delimiter that began in its prompt is completed is asked to go on.
    The seed of a request comes from its key; whether the same seed gives the same text is up to the server. What a
    server refuses of the parameters that only some know is left out from then on. What the user must know of a server
    is told to `say`, once.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        delimiter: str,
        temperature: float,
        top_p: float = 1.0,
        max_tokens: int = 2048,
        connections: int = 64,
        timeout: float = 600.0,
        retries: int = 5,
        backoff: float = 1.0,
        api_key: str | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        if not delimiter:
            raise ValueError("step delimiter '': give at least one character, for instance '\\n\\n'.")
        if not temperature > 0:
            raise ValueError(
                f"temperature {temperature}: expected a number above 0 (greedy draws are asked for apart)."
            )
        if not 0 < top_p <= 1:
            raise ValueError(f"top_p {top_p}: expected a number above 0 and up to 1.")
        self.place, self.model = parse_url(url), model
        self.delimiter, self.temperature, self.top_p, self.max_tokens = delimiter, temperature, top_p, max_tokens
        self.connections, self.timeout, self.retries, self.backoff = connections, timeout, retries, backoff
        self._api_key, self._say = api_key, say or _to_stderr
        self._lock, self._trying = threading.Lock(), threading.Lock()
        self._said: set[str] = set()
        self._refused: set[str] = set()
        self._lists_tokens: bool | None = None
        self._keeps_stop: bool | None = None
        self._reads_back: bool | None = None  # stops at a stop string that began in the prompt
        self._takes_config = False

    def sample(self, requests: Sequence[Request]) -> list[list[Step]]:
        """See Sampler. The first request to a server is made alone, since it shows what the server offers."""
        found: list[list[Step] | None] = [None] * len(requests)
        with CompletionsClient(
            self.place,
            api_key=self._api_key,
            timeout=self.timeout,
            retries=self.retries,
            backoff=self.backoff,
        ) as client:
            try:
                alone = 1 if self._lists_tokens is None else 0
                for number, request in enumerate(requests[:alone]):
                    found[number] = self._draw(client, request)
                self._side_by_side(client, requests, found, alone)
            except ServerFailed as failure:
                done = sum(steps is not None for steps in found)
                raise SamplerStopped(
                    f"{failure} {done} of the {len(requests)} draws at hand were finished and are kept; run the same "
                    "command again to go on (with --server, if the address has changed).",
                    found,
                ) from None
        steps = [steps for steps in found if steps is not None]
        self._doubt_chance(requests, steps)
        return steps

    def _side_by_side(
        self,
        client: CompletionsClient,
        requests: Sequence[Request],
        found: list[list[Step] | None],
        start: int,
    ) -> None:
        """Fills `found` from `start`. Raises the first failure, once what was under way has ended."""
        failure: ServerFailed | None = None
        with ThreadPoolExecutor(max(1, min(self.connections, len(requests) - start))) as pool:
            places = {pool.submit(self._work, client, requests[place]): place for place in range(start, len(requests))}
            try:
                for future in as_completed(places):
                    try:
                        found[places[future]] = future.result()
                    except Stopped:
                        pass
                    except ServerFailed as error:
                        failure = failure or error
            except BaseException:
                client.abort()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        if failure is not None:
            raise failure

    def _work(self, client: CompletionsClient, request: Request) -> list[Step]:
        """The steps of one request; if it fails, the others are not begun."""
        try:
            return self._draw(client, request)
        except ServerFailed:
            client.stop()
            raise

    def _draw(self, client: CompletionsClient, request: Request) -> list[Step]:
        """The steps of one request."""
        if not request.split:
            answer = self._ask(client, request)
            return [step_of(answer, answer.text, 0, answer.tokens, ending(answer))]
        if not request.to_end:
            return [self._one_step(client, request, request.key, "", 0)]
        if self._lists_tokens is not False:
            answer = self._ask(client, request)
            if answer.pieces is not None:
                return self._cut(answer)
        steps: list[Step] = []
        key, written, tokens = request.key, "", 0
        while not steps or steps[-1].stop == "step":
            steps.append(self._one_step(client, request, key, written, tokens))
            key, written, tokens = mix(key, 1), written + steps[-1].text, tokens + steps[-1].tokens
        return steps

    def _one_step(self, client: CompletionsClient, request: Request, key: int, written: str, tokens: int) -> Step:
        """The step that follows `written`, which has so many tokens."""
        parts: list[Completion] = []
        while self._keeps_stop is not False:
            context = written + "".join(part.text for part in parts)
            spent = tokens + sum(part.tokens for part in parts)
            draw = mix(key, CONTINUED + len(parts)) if parts else key
            parts.append(self._ask(client, request, draw, context, spent, stop=self.delimiter))
            answer = joined(parts)
            closing = self._closing(client, request, answer)
            if closing is None:
                break
            text, reason = closing
            context = request.prompt + request.prefix + context
            if reason == "eos" and self._reads_back and begins_before(context, parts[-1].text, self.delimiter):
                continue
            if reason == "step" and request.prefix_tokens + tokens + answer.tokens >= self.max_tokens:
                reason = "length"
            return step_of(answer, text, 0, answer.tokens, reason)
        answer = self._ask(client, request, key, written, tokens)
        if answer.pieces is None:
            raise ServerFailed(
                f"server {self.place.url} drops the stop string, does not say whether it was met, and lists no tokens: "
                "the steps of its solutions cannot be told. Use a server that offers one of these."
            )
        self._once(
            f"server {self.place.url} drops the stop string and does not say whether it was met: single steps are cut "
            "from whole solutions, which costs more."
        )
        return self._cut(answer)[0]

    def _closing(self, client: CompletionsClient, request: Request, answer: Completion) -> tuple[str, str] | None:
        """Text of a step and what closed it; None where the server leaves open whether it met the stop string."""
        delimiter, text = self.delimiter, answer.text
        met = delimiter in text
        if answer.finish == "stop_sequence" or answer.match == delimiter:
            return text if met else text + delimiter, "step"
        if not met:
            if answer.finish == "length":
                return text, "length"
            if answer.finish in ("eos_token", "eos") or answer.says_match:
                return text, "eos"
            if reason := listed_end(answer.pieces, text, delimiter):
                return (text + delimiter, "step") if reason == "step" else (text, "eos")
        self._try_stop(client, request)
        if met:
            return text, "length" if answer.finish == "length" else "step"
        return (text, "eos") if self._keeps_stop else None

    def _try_stop(self, client: CompletionsClient, request: Request) -> None:
        """Finds out, once, what the server does with a stop string: a greedy text is made again up to its first letter.

        And again up to the prompt's last letter and its first: a server that reads back stops there, too.
        Raises ServerFailed if it is made whole again, or empty wherever it was tried.
        """
        with self._trying:
            if self._keeps_stop is not None:
                return
            for context in (request.prompt + request.prefix, request.prompt, COUNTING):
                plain = Request(context, "", 0, self.max_tokens - 16, greedy=True)
                whole = self._ask(client, plain)
                letter = whole.text.strip("\N{REPLACEMENT CHARACTER}")[:1]
                if letter:
                    break
            else:
                raise ServerFailed(
                    f"server {self.place.url} does not say whether it met the stop string, and its greedy answers are "
                    "empty: the steps of its solutions cannot be told."
                )
            stopped = self._ask(client, plain, stop=letter)
            if stopped.tokens >= whole.tokens > 1:
                raise ServerFailed(
                    f"server {self.place.url} goes on after a stop string: it does not heed 'stop', so single steps "
                    "cannot be made. Check how it was started."
                )
            if letter in stopped.text:
                border = context[-1:] + letter
                across = self._ask(client, plain, stop=border)
                began = not whole.text.startswith(letter) or across.tokens < whole.tokens
                self._reads_back = began and border not in across.text
            self._keeps_stop = letter in stopped.text

    def _cut(self, answer: Completion) -> list[Step]:
        """The steps of a solution whose tokens are listed."""
        steps = cut_solution(answer, self.delimiter)
        if steps is None:
            self._once(
                f"server {self.place.url}: the tokens of some solutions do not make up their text; the tokens of their "
                "steps are shared out by length, and have no log-probabilities."
            )
            return share_out(answer, self.delimiter)
        return steps

    def _ask(
        self,
        client: CompletionsClient,
        request: Request,
        key: int | None = None,
        written: str = "",
        tokens: int = 0,
        stop: str | None = None,
    ) -> Completion:
        """One completion after prompt, prefix and what is `written` already."""
        body: dict[str, Any] = {
            "model": self.model,
            "prompt": request.prompt + request.prefix + written,
            "max_tokens": max(1, self.max_tokens - request.prefix_tokens - tokens),
            "temperature": 0.0 if request.greedy else self.temperature,
            "seed": (request.key if key is None else key) >> 11,  # 53 bits: exact wherever JSON's numbers are doubles
            "logprobs": 1,
            **NEUTRAL,  # said, because servers take other defaults from the model's generation_config.json
        }
        if not request.greedy:
            body["top_p"] = self.top_p
        if stop is not None:
            body |= {"stop": [stop], "include_stop_str_in_output": True, "no_stop_trim": True}  # vLLM's name, SGLang's
        while True:
            if self._takes_config:
                body["generation_config"] = GENERATION_CONFIG
            sent = {name: value for name, value in body.items() if not self._left_out(name, value)}
            try:
                answer = client.complete(sent, read_completion)
                break
            except Refused as refusal:
                self._leave_out(sent, refusal)
            except Uncounted as fault:
                raise ServerFailed(f"server {self.place.url} {fault}.") from None
        if answer.tokens and self._lists_tokens is None:
            self._lists_tokens = answer.pieces is not None
        if answer.tokens and answer.logprobs is None:
            self._once(f"server {self.place.url} gives no log-probabilities: they are null in the cache.")
        return answer

    def _left_out(self, name: str, value: Any) -> bool:
        return name in self._refused and _can_go(name, value)

    def _leave_out(self, sent: dict[str, Any], refusal: Refused) -> None:
        """Notes the parameters that a refusal names and that can be left out; raises it again if there is none."""
        named = {name for name in sent if _can_go(name, sent[name]) and re.search(rf"\b{name}\b", refusal.reason)}
        if refusal.status not in (400, 422) or not named:
            raise refusal
        with self._lock:
            fresh, self._refused = sorted(named - self._refused), self._refused | named
            self._takes_config = self._takes_config or UNEXPECTED in refusal.reason
        if fresh:
            self._once(f"server {self.place.url} does not take {', '.join(fresh)}: left out.")

    def _doubt_chance(self, requests: Sequence[Request], found: Sequence[list[Step]]) -> None:
        """Says so if draws that should be independent are all the same: a server that does not sample, or one seed."""
        texts: dict[tuple[str, str], list[str]] = {}
        for request, steps in zip(requests, found, strict=True):
            if not request.greedy:
                texts.setdefault((request.prompt, request.prefix), []).append("".join(step.text for step in steps))
        repeated = [same for same in texts.values() if len(same) > 1]
        if sum(map(len, repeated)) >= 16 and all(len(set(same)) == 1 for same in repeated):
            self._once(
                f"server {self.place.url} answers every draw of a prompt with the same text: it may not sample at all "
                "(do_sample in the model's generation_config.json, for transformers serve), and then the cache is void."
            )

    def _once(self, message: str) -> None:
        with self._lock:
            fresh = message not in self._said
            self._said.add(message)
        if fresh:
            self._say(message)


def _can_go(name: str, value: Any) -> bool:
    """Whether a request means the same without the parameter, where a server does not know it."""
    return name in OPTIONAL or value == NEUTRAL.get(name)


def _to_stderr(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
