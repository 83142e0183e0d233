"""Starts RAG Tutor's pages as a student does: reads {"corpus", "index", "data", "asked"} as JSON
from stdin, prints seconds, and the bytes of memory that the server holds after the questions.

The questions are asked by the page's own events; every 50 ms it is looked what the page shows.
"""

import json
import os
import socket
import subprocess
import sys
import urllib.request
import uuid
from pathlib import Path
from time import perf_counter, sleep
from typing import Any
from urllib.error import URLError

import psutil

ROOT = Path(__file__).parent.parent.parent
PAUSE, LONGEST = 0.05, 120


class Page:
    """The chat page of a server, as a browser uses it."""

    def __init__(self, address: str) -> None:
        self._address = address
        config = json.loads(self._read("/config"))
        numbers = {each["props"].get("elem_id"): each["id"] for each in config["components"]}
        chat, send = numbers["conversation-id"], numbers["send"]
        self._status = numbers["status"]
        events = [each for each in config["dependencies"] if each["backend_fn"]]
        self._ask = next(each for each in events if [send, "click"] in each["targets"])
        self._show = next(
            each for each in events if each["inputs"] == [chat] and self._status in each["outputs"]
        )

    def seconds_to_answer(self, question: str) -> tuple[float, float]:
        """Ask in a new conversation: until the first words are shown, and until all are."""
        started, first, conversation = perf_counter(), 0.0, uuid.uuid4().hex
        self._call(self._ask, [question, conversation, 0, "", 0])
        while (now := perf_counter() - started) < LONGEST:
            status = self._call(self._show, [conversation])
            is_answered = "Answered in" in status
            first = first or (now if is_answered or "Writing" in status else 0.0)
            if is_answered:
                return first, now
            sleep(PAUSE)
        sys.exit(f"{question!r} wasn't answered in {LONGEST} s; the page says: {status}")

    def _call(self, event: dict[str, Any], data: list[object]) -> str:
        """What the line below the conversation says after an event."""
        body = {"fn_index": event["id"], "session_hash": "bench", "data": data}
        said = json.loads(self._read("/gradio_api/run/predict", json.dumps(body).encode()))
        return str(said["data"][event["outputs"].index(self._status)])

    def _read(self, path: str, body: bytes | None = None) -> bytes:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self._address + path, body, headers)  # noqa: S310
        with urllib.request.urlopen(request, timeout=LONGEST) as response:  # noqa: S310
            return bytes(response.read())


def main() -> None:
    job = json.load(sys.stdin)
    for name in ("corpus", "index", "data"):
        os.environ[f"RAG_TUTOR_{name.upper()}"] = job[name]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "app.py", "--port", port]
    started = perf_counter()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as server:
        try:
            while not is_served(address) and server.poll() is None:
                sleep(0.01)
            shown = perf_counter() - started
            page = Page(address)
            first = perf_counter() - started + page.seconds_to_answer(job["asked"][0])[0]
            for question in job["asked"][1:]:
                page.seconds_to_answer(question)
            resident = psutil.Process(server.pid).memory_info().rss
        finally:
            server.terminate()
    print(
        json.dumps(
            {
                "import": import_seconds(),
                "help": help_seconds(),
                "page": shown,
                "first": first,
                "resident": resident,
            }
        )
    )


def is_served(address: str) -> bool:
    try:
        urllib.request.urlopen(address, timeout=LONGEST).close()  # noqa: S310
    except URLError:
        return False
    return True


def import_seconds() -> float:
    """Without the start of Python itself."""
    code = "from time import perf_counter as now; t = now(); import rag_tutor; print(now() - t)"
    command = [sys.executable, "-c", code]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def help_seconds() -> float:
    started = perf_counter()
    command = [sys.executable, "-m", "rag_tutor", "--help"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return perf_counter() - started


if __name__ == "__main__":
    main()
