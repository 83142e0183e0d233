"""Small stand-ins whose output depends on their input."""

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from rag_tutor.domain import Message, Reading, Span, Vectors
from rag_tutor.words import content_words


class HashedEncoder:
    """A bag of hashed words: texts that share words get near vectors. Counts what it encodes."""

    name = "hashed"
    dimension = 256
    max_tokens = 256

    def __init__(self) -> None:
        self.encoded: list[str] = []

    def count_tokens(self, text: str) -> int:
        return len(text.split()) + 2

    def encode_passages(
        self, texts: Sequence[str], sentences: Sequence[Sequence[Span]]
    ) -> tuple[Vectors, Vectors]:
        self.encoded.extend(texts)
        parts = [
            text[slice(*span)] for text, own in zip(texts, sentences, strict=True) for span in own
        ]
        return self._encode(texts), self._encode(parts)

    def _encode(self, texts: Sequence[str]) -> Vectors:
        vectors = [self.encode_query(text) for text in texts]
        return np.array(vectors, dtype=np.float32).reshape(len(texts), self.dimension)

    def encode_query(self, text: str) -> Vectors:
        vector = np.full(self.dimension, 1e-6, dtype=np.float32)
        for word in content_words(text):
            vector[int(hashlib.sha256(word.encode()).hexdigest(), 16) % self.dimension] += 1
        return vector / np.linalg.norm(vector)


class OverlapReader:
    """Takes a text or sentence to answer the better, the more of the question's words it holds,
    and carries over the capitalised words of a conversation. Counts the texts that it reads.
    """

    def __init__(self) -> None:
        self.read_texts = 0

    def read(
        self, question: str, texts: Sequence[str], sentences: Sequence[Sequence[Span]]
    ) -> list[Reading]:
        self.read_texts += len(texts)
        return [
            Reading(
                _overlap(question, text),
                tuple(_overlap(question, text[slice(*span)]) for span in spans),
            )
            for text, spans in zip(texts, sentences, strict=True)
        ]

    def carried_words(self, question: str, conversation: str) -> list[tuple[str, float]]:
        found = re.findall(r"\w+", conversation)
        return [(word, 0.9 if word[0].isupper() else 0.01) for word in found]


def _overlap(question: str, text: str) -> float:
    """From -8 to 4, as a logit; like the real reader's it is below 0 where half the words fit."""
    wanted = set(content_words(question))
    return 12 * len(wanted & set(content_words(text))) / max(len(wanted), 1) - 8


class ScriptedGenerator:
    """Says what it is told to, a word at a time, and remembers what it was asked."""

    name = "scripted"
    context_tokens = 2048
    knows_the_task = False

    def __init__(self, *replies: str) -> None:
        self.replies = list(replies)
        self.prompts: list[str] = []
        self.words_said = 0
        self.closed = False

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def stream(self, messages: Sequence[Message], max_tokens: int) -> Iterator[str]:
        self.prompts.append("\n".join(message["content"] for message in messages))
        reply = self.replies.pop(0) if self.replies else ""
        try:
            for word in reply.split(" ")[:max_tokens]:
                self.words_said += 1
                yield word + " "
        finally:
            self.closed = True


class QuotingGenerator(ScriptedGenerator):
    """Repeats the first note that it is shown."""

    def stream(self, messages: Sequence[Message], max_tokens: int) -> Iterator[str]:
        first_note = messages[-1]["content"].split("\n\n[2]")[0]
        self.replies.insert(0, first_note.split("\n", 1)[1])
        yield from super().stream(messages, max_tokens)


class ScriptedServer(ThreadingHTTPServer):
    """A server of language models that does what `reply` says with each question, and remembers
    what it was sent. It lists `models`, or has no list.
    """

    daemon_threads = True

    def __init__(self, reply: Callable[["ServerReply"], None]) -> None:
        super().__init__(("127.0.0.1", 0), ServerReply)
        self.reply = reply
        self.models: list[str] = []
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone is no news."""


class ServerReply(BaseHTTPRequestHandler):
    """One request to a ScriptedServer, and ways to answer it."""

    server: ScriptedServer

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self.server.asked.append({"path": self.path, **json.loads(self.rfile.read(length))})
        self.server.keys.append(self.headers["Authorization"])
        self.server.reply(self)

    def do_GET(self) -> None:
        if self.path != "/v1/models" or not self.server.models:
            self.send_error(404)
            return
        listed = [{"id": name} for name in self.server.models]
        self.refuse(200, json.dumps({"data": listed}), "application/json")

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def refuse(self, status: int, body: str, kind: str = "application/json") -> None:
        """Answer with a status and a body, at once."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(body.encode())

    def begin(self) -> None:
        """Begin a stream of events."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.end_headers()

    def write(self, text: str) -> None:
        """Send a piece of the reply."""
        self.send(json.dumps({"choices": [{"delta": {"content": text}}]}, ensure_ascii=False))

    def end(self) -> None:
        """Say that the reply is complete."""
        self.send('{"choices": [{"delta": {}, "finish_reason": "stop"}]}')
        self.send("[DONE]")

    def send(self, data: str) -> None:
        """Send an event."""
        self.wfile.write(f"data: {data}\n\n".encode())


@contextmanager
def serving(reply: Callable[[ServerReply], None]) -> Iterator[ScriptedServer]:
    """A ScriptedServer that listens."""
    server = ScriptedServer(reply)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def says(text: str) -> Callable[[ServerReply], None]:
    """A reply of a ScriptedServer that is some text, a word at a time."""

    def reply(to: ServerReply) -> None:
        to.begin()
        for word in text.split(" "):
            to.write(f"{word} ")
        to.end()

    return reply
