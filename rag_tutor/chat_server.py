"""Has a server write the replies, as a Generator, over the protocol that OpenAI's interface made
common (Ollama, llama.cpp, vLLM, LM Studio and others speak it); knows nothing of notes or
citations, nor how a server is started.

A model is named by the server's address and its own name: http://127.0.0.1:11434/v1#llama3.2.
Nothing is sent before the first reply is asked for, and nothing anywhere else: redirections
aren't followed, and a server on this machine isn't reached through a proxy.
"""

import ipaddress
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx

from rag_tutor.domain import Message, TextStream
from rag_tutor.errors import ModelUnavailableError

KEY = "RAG_TUTOR_API_KEY"
EXAMPLE = "http://127.0.0.1:11434/v1#llama3.2"
_CONNECT_SECONDS = 5.0
# A server on a CPU may have to load the model and read the whole prompt before it writes.
_PATIENCE_SECONDS = 180.0
# No server tells how much its model reads; nearly all of them read this much unless told less.
_CONTEXT_TOKENS = 4096
_MAX_MESSAGE = 200
_MAX_OFFERED = 10
# What begins or ends a turn or a text in the templates of common models; see _as_data.
_CONTROL = re.compile(
    r"<(?=[|\uff5c]|/?s>|(?:start|end)_of_turn>|(?:bos|eos|BOS_TOKEN|EOS_TOKEN)>|</?SYS>>)"
    r"|\[(?=/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\])"
)


class ServedModel:
    """A model of a server, whose `address` ends where /chat/completions begins.

    `patience` is how many seconds may pass between two pieces of a reply.
    """

    def __init__(
        self, address: str, model: str, key: str = "", patience: float = _PATIENCE_SECONDS
    ) -> None:
        self.name = f"{address}#{model}"
        self.knows_the_task = False
        self.context_tokens = _CONTEXT_TOKENS
        self._address = address
        self._model = model
        self._key = key
        self._patience = patience

    def count_tokens(self, text: str) -> int:
        """More tokens than a text is likely to take, as its server can't be asked: one for every
        two bytes. English takes half as many.
        """
        return len(text.encode()) // 2 + 1

    def stream(self, messages: Sequence[Message], max_tokens: int) -> TextStream:
        """Yield the reply in pieces, decoded greedily. Closing the iterator closes the connection,
        by which a server knows that it can stop.

        Raises ModelUnavailableError, also after pieces that were good.
        """
        wanted = {
            "model": self._model,
            "messages": [_as_data(message) for message in messages],
            "max_tokens": max_tokens,
            "temperature": 0,
            "stream": True,
        }
        with self._posted(wanted) as response:
            for event in _events(response.iter_bytes()):
                if event == "[DONE]":
                    return
                piece, is_last = self._read(event)
                if piece:
                    yield piece
                if is_last:
                    return
        raise ModelUnavailableError(
            f"The server at {self._address} ended its answer before it was complete. "
            "Look at what the server prints, and ask again."
        )

    @contextmanager
    def _posted(self, wanted: dict[str, Any]) -> Iterator[httpx.Response]:
        """The beginning of a reply; whatever fails, also later on, is told."""
        try:
            with (
                _client(self._address, self._key, self._patience) as client,
                client.stream("POST", f"{self._address}/chat/completions", json=wanted) as response,
            ):
                self._require_events(response)
                yield response
        except httpx.ConnectTimeout as error:
            raise self._unreachable("it takes too long to connect") from error
        except httpx.ConnectError as error:
            raise self._unreachable(str(error)) from error
        except httpx.TimeoutException as error:
            raise ModelUnavailableError(
                f"The server at {self._address} has sent nothing for {self._patience:g} seconds. "
                "Look at what it prints; a smaller model answers faster."
            ) from error
        except httpx.HTTPError as error:
            raise ModelUnavailableError(
                f"The connection to the server at {self._address} broke off: {error}. "
                "See whether it still runs, and ask again."
            ) from error

    def _unreachable(self, reason: str) -> ModelUnavailableError:
        return ModelUnavailableError(
            f"No server can be reached at {self._address}: {reason}. Start it, or name another "
            "generator with --generator."
        )

    def _require_events(self, response: httpx.Response) -> None:
        """Raise ModelUnavailableError unless a reply follows, event by event."""
        kind = response.headers.get("content-type", "")
        if response.status_code == 200 and kind.startswith("text/event-stream"):
            return
        if response.status_code == 200:
            raise self._puzzling(f"its answer is {kind or 'of no kind'}, not a stream of events")
        if response.status_code in (401, 403):
            does = "refuses the key in" if self._key else "asks for a key: set"
            raise ModelUnavailableError(
                f"The server at {self._address} {does} {KEY} (status {response.status_code})."
            )
        response.read()
        said = self._told(response.text)
        if response.status_code == 404:
            raise ModelUnavailableError(
                f"The server at {self._address} doesn't know the model {self._model!r}, or the "
                f"address is another one; most end in /v1. It says: {said}."
                f"{_offered(self._address, self._key)}"
            )
        raise ModelUnavailableError(
            f"The server at {self._address} answers with status {response.status_code}: {said}. "
            "Look at what it prints."
        )

    def _read(self, event: str) -> tuple[str, bool]:
        """The piece of text in an event, and whether it is the last one."""
        try:
            fields = json.loads(event)
            if error := fields.get("error"):
                raise ModelUnavailableError(
                    f"The server at {self._address} failed while it wrote: "
                    f"{self._told(json.dumps({'error': error}))}. Look at what it prints."
                )
            pieces = [choice["delta"].get("content") or "" for choice in fields["choices"]]
            is_last = any(choice.get("finish_reason") for choice in fields["choices"])
            return "".join(pieces), is_last
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise self._puzzling(f"{_shortened(event)!r} is no part of an answer") from error

    def _puzzling(self, reason: str) -> ModelUnavailableError:
        return ModelUnavailableError(
            f"What the server at {self._address} sends can't be read: {reason}. Check that the "
            "address is that of an OpenAI-compatible interface; most end in /v1."
        )

    def _told(self, body: str) -> str:
        """What a server says of a failure, in one line without the key."""
        try:
            fields = json.loads(body)
            error = fields.get("error") or fields.get("detail") or fields.get("message") or body
            text = str(error.get("message") or error) if isinstance(error, dict) else str(error)
        except (ValueError, AttributeError, RecursionError):
            text = body
        if self._key:
            text = text.replace(self._key, "…")
        return _shortened(text).rstrip(".") or "nothing more"


def is_server(name: str) -> bool:
    """Whether a generator is named by a server's address."""
    return name.startswith(("http://", "https://"))


def what_leaves(name: str) -> str:
    """What a generator on another machine is sent, as a sentence; nothing for all others."""
    if not is_server(name) or _is_on_this_machine(name):
        return ""
    host = re.split("[/?#]", name.split("//", 1)[1], maxsplit=1)[0].rpartition("@")[2]
    return f"Questions, answers and passages of your notes are sent to {host}."


def served_model(name: str) -> ServedModel:
    """The model of a server that a name such as http://127.0.0.1:11434/v1#model means.

    The key is that in RAG_TUTOR_API_KEY, if any. Raises ModelUnavailableError for a name that
    isn't of this form.
    """
    address, _, model = name.partition("#")
    address = address.rstrip("/")
    _require_plain(address)
    key = os.environ.get(KEY, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise ModelUnavailableError(f"{KEY} holds characters that no key has. Set it anew.")
    if not model:
        raise ModelUnavailableError(
            f"{address} names a server, but none of its models. Write it as {address}#model."
            f"{_offered(address, key)}"
        )
    return ServedModel(address, model, key)


def _require_plain(address: str) -> None:
    """Raise ModelUnavailableError unless an address is of a host, with a port and path at most."""
    try:
        url = httpx.URL(address)
    except httpx.InvalidURL as error:
        raise ModelUnavailableError(
            f"{address!r} is no address of a server: {error}. Write it as {EXAMPLE}."
        ) from error
    if url.userinfo:
        # A name is shown and kept in the settings; a password isn't repeated even here.
        raise ModelUnavailableError(
            f"The address of the server {url.host} holds a password, and would be shown and kept. "
            f"Write it as {EXAMPLE}, and the key into {KEY}."
        )
    if not url.host or url.query:
        raise ModelUnavailableError(
            f"{address!r} is no address of a server. Write it as {EXAMPLE}."
        )


def _is_on_this_machine(address: str) -> bool:
    try:
        host = httpx.URL(address).host
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except (httpx.InvalidURL, ValueError):
        return False


def _client(address: str, key: str, patience: float) -> httpx.Client:
    return httpx.Client(
        headers={"Authorization": f"Bearer {key}"} if key else {},
        timeout=httpx.Timeout(patience, connect=_CONNECT_SECONDS),
        trust_env=not _is_on_this_machine(address),
    )


def _offered(address: str, key: str) -> str:
    """A sentence that lists a server's models; nothing if it doesn't list any."""
    try:
        with _client(address, key, _CONNECT_SECONDS) as client:
            listed = client.get(f"{address}/models").raise_for_status().json()["data"]
            names = [str(each["id"]) for each in listed]
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return ""  # the message that this belongs to says what is wrong
    more = ", …" if len(names) > _MAX_OFFERED else "."
    return f" It offers {', '.join(names[:_MAX_OFFERED])}{more}" if names else ""


def _as_data(message: Message) -> Message:
    """Break up control tokens in a message: a note that holds one can't end the user's turn."""
    content = _CONTROL.sub(lambda mark: f"{mark[0]} ", message["content"])
    return {"role": message["role"], "content": content}


def _events(chunks: Iterator[bytes]) -> Iterator[str]:
    """The data of server-sent events, of one line each.

    Only a line feed ends a line here; in what a model writes, other characters that end lines in
    Python may stand as they are.
    """
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from _data(lines)
    yield from _data([rest])


def _data(lines: Sequence[bytes]) -> Iterator[str]:
    for line in lines:
        if line.startswith(b"data:"):
            yield line.removeprefix(b"data:").decode(errors="replace").strip()


def _shortened(text: str) -> str:
    """The beginning of a text, in one line."""
    line = " ".join(text.split())
    return line if len(line) <= _MAX_MESSAGE else f"{line[:_MAX_MESSAGE]}…"
