"""Puts the served pages under load: a class of students who ask while notes are edited.

    python benchmarks/load.py [--students N] [--minutes M] [--results]

Starts the server on a copy of the notes in corpus/, whose index is there. One student asks alone
for a minute, then all of them ask the questions in benchmarks/questions/ for some minutes, each the
next one as soon as the last is answered, five in a conversation. They make the calls that a page
makes in a browser, its look at the index once a second among them. Meanwhile another program
writes a note anew every 20 s, and the index follows. Prints a row for the student alone and one
for all:

- answered, a minute: how many questions, and how many of them in a minute;
- first words, whole answer: seconds after the question was sent, median / 95th percentile /
  longest, and the longest as a multiple of the mean;
- in pieces: the share of answers of which something was seen before they were complete; one of a
  single sentence comes whole;

then the start (seconds from the command to the pages, and to the first words of an answer that is
asked for at once), the rebuilds of the index, what went wrong, and the server's resident memory:

- errors: a call was refused or failed, a page told of a failure, the log has a traceback;
- cross-talk: a page showed another question or answer than its student's, or another was kept;
- unfounded: an answer that is no refusal cites nothing, or what doesn't stand in the note.

The memory grows by its median of the run's last fifth over that of the second one; the first is
the warm-up. --results also writes all of it to benchmarks/results/load.md.
"""

import argparse
import asyncio
import itertools
import json
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import Any

import httpx
import numpy as np
import psutil
from gradio_client.utils import apply_diff
from main_job import environment

from rag_tutor.config import Settings
from rag_tutor.conversations import Conversations, SavedTurn
from rag_tutor.corpus import read_document, scan_corpus
from rag_tutor.ui.render import answer_markdown, question_markdown

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
QUESTIONS = ROOT / "benchmarks" / "questions" / "questions.jsonl"
ALONE_SECONDS = 60.0
EDITED, EDIT_SECONDS, EDIT_WORDS = "edited.md", 20.0, 2_000
CONVERSATION_TURNS = 5
MEMORY_PARTS = 5
MOST_SHOWN = 10
START_SECONDS, CALL_SECONDS = 300, 600
COLUMNS = (
    *("students", "answered", "a minute", "first words s", "longest / mean"),
    *("whole answer s", "longest / mean", "in pieces"),
)
FAULTS = {"Errors": "errors", "Cross-talk": "mixed", "Unfounded": "unfounded"}
FAILURE = re.compile(r'class="message failed"[^>]*>([^<]*)<')
WAITING = 'class="waiting"'  # in the place of an answer that has no words yet
COMPLETE = 'class="actions"'  # what can be done with an answer that is complete

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, its place in a conversation, and what a page showed of its answer in the end;
    seconds until the first words and until it was complete.
    """

    conversation: str
    turn: int
    question: str
    shown: str
    first: float
    complete: float


@dataclass(frozen=True, slots=True)
class Notebook:
    """What students note down: answered questions and, in words, what went wrong."""

    asked: list[Asked] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    mixed: list[str] = field(default_factory=list)
    unfounded: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Watched:
    """Of a run: resident bytes, once a second, and the seconds that each rebuild took."""

    memory: list[int] = field(default_factory=list)
    rebuilds: list[float] = field(default_factory=list)


class Page:
    """A page as it is in a browser: the values of its components, and the calls that it makes."""

    def __init__(self, http: httpx.AsyncClient, config: Mapping[str, Any]) -> None:
        self._http = http
        self._session = uuid.uuid4().hex[:12]
        self._events = [each for each in config["dependencies"] if each["backend_fn"]]
        components = config["components"]
        # In a browser a box that was never filled holds an empty text.
        empty = {"textbox": ""}
        self._values = {
            each["id"]: each["props"].get("value", empty.get(each["type"])) for each in components
        }
        self._numbers = {each["props"].get("elem_id"): each["id"] for each in components}

    def shown(self, component: str) -> Any:
        """What a component holds."""
        return self._values[self._numbers[component]]

    def enter(self, component: str, value: Any) -> None:
        """Put a value into a component."""
        self._values[self._numbers[component]] = value

    async def fire(self, name: str, component: str = "") -> None:
        """Do what an event asks the server for: one of a component, or all of that name."""
        for event in self._of(name, component):
            path, body = "/gradio_api/run/predict", self._body(event)
            response = (await self._http.post(path, json=body)).raise_for_status()
            self._show(event, response.json()["data"])

    async def follow(self, name: str, component: str) -> AsyncIterator[None]:
        """Do the same of an event whose result comes in steps; each of them is shown."""
        (event,) = self._of(name, component)
        path, body = "/gradio_api/queue/join", self._body(event)
        (await self._http.post(path, json=body)).raise_for_status()
        outputs: list[Any] = []
        async for message in self._messages():
            if not message.get("success", True):
                raise ValueError(f"a stream told of {message}")
            if message["msg"] == "process_generating":
                new = message["output"]["data"]
                outputs = list(map(apply_diff, outputs, new)) if outputs else new
                self._show(event, outputs)
                yield

    async def _messages(self) -> AsyncIterator[dict[str, Any]]:
        path, query = "/gradio_api/queue/data", {"session_hash": self._session}
        async with self._http.stream("GET", path, params=query) as response:
            async for line in response.raise_for_status().aiter_lines():
                if line.startswith("data:"):
                    yield json.loads(line.removeprefix("data:"))

    async def stay(self) -> None:
        """Keep the session: a page has a request for that which only ends with it."""
        async with self._http.stream("GET", f"/gradio_api/heartbeat/{self._session}") as response:
            async for _ in response.raise_for_status().aiter_lines():
                pass

    def _of(self, name: str, component: str) -> list[Event]:
        number = self._numbers[component] if component else None
        return [
            event
            for event in self._events
            if any(on == name and number in (None, of) for of, on in event["targets"])
        ]

    def _body(self, event: Event) -> dict[str, Any]:
        return {
            "fn_index": event["id"],
            "data": [self._values[number] for number in event["inputs"]],
            "event_data": None,
            "session_hash": self._session,
        }

    def _show(self, event: Event, outputs: Sequence[Any]) -> None:
        for number, output in zip(event["outputs"], outputs, strict=True):
            is_update = isinstance(output, dict) and output.get("__type__") == "update"
            if not is_update:
                self._values[number] = output
            elif "value" in output:
                self._values[number] = output["value"]


class Student:
    """Asks one question after another on a page of their own, and notes what it shows."""

    def __init__(self, page: Page, notebook: Notebook, questions: Sequence[str]) -> None:
        self._page = page
        self._notebook = notebook
        self._questions = questions

    async def open_page(self) -> None:
        """See the page for the first time."""
        self._page.enter("conversation-id", uuid.uuid4().hex)
        await self._page.fire("load")

    async def study(self, until: float) -> None:
        """Ask at least one question, and others until it is time to go."""
        turn = 0
        for question in itertools.cycle(self._questions):
            try:
                if turn == CONVERSATION_TURNS:
                    await self._page.fire("click", "new-chat")
                    turn = 0
                await self.ask(question, turn)
                turn += 1
            except (httpx.HTTPError, ValueError) as error:
                self._notebook.errors.append(f"{question!r}: {error!r}")
                turn = CONVERSATION_TURNS
                await asyncio.sleep(1)
            if time.monotonic() > until:
                return

    async def look(self) -> None:
        """Look once a second how the index stands."""
        while True:
            await asyncio.sleep(1)
            try:
                await self._page.fire("tick")
            except httpx.HTTPError as error:
                self._notebook.errors.append(f"a look at the index: {error!r}")

    async def ask(self, question: str, turn: int) -> None:
        """Ask a question and follow its answer until nothing more is shown of it."""
        page, sent = self._page, time.monotonic()
        conversation = page.shown("conversation-id")
        page.enter("question", question)
        await page.fire("click", "send")
        first = complete = 0.0
        if page.shown("following"):
            async for _ in page.follow("change", "following"):
                answer, now = self._answer(question, turn), time.monotonic() - sent
                if answer and WAITING not in answer:
                    first = first or now
                    complete = complete or (now if COMPLETE in answer else 0.0)
        answer, now = self._answer(question, turn), time.monotonic() - sent
        first, complete = first or now, complete or now  # where it was there before it was followed
        if told := FAILURE.findall(page.shown("status")):
            self._notebook.errors.append(f"{question!r}: {told[0]}")
        elif COMPLETE not in answer:
            self._notebook.errors.append(f"{question!r}: its answer never was complete")
        else:
            asked = Asked(conversation, turn, question, answer, first, complete)
            self._notebook.asked.append(asked)

    def _answer(self, question: str, turn: int) -> str:
        """What the page shows as the answer to the last question."""
        page = self._page
        messages = [each["content"][0]["text"] for each in page.shown("chat") or ()]
        *_, asked, answer = ["", "", *messages]
        is_own = _plain(asked).startswith(_plain(question_markdown(question)))
        if len(messages) != 2 * (turn + 1) or not is_own:
            self._notebook.mixed.append(f"{question!r}: the page shows {asked[:80]!r}")
        return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--students", type=int, default=32, metavar="N")
    parser.add_argument("--minutes", type=float, default=10, metavar="M")
    parser.add_argument("--results", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(ROOT / "corpus", folder / "corpus")
        settings = Settings(
            corpus=folder / "corpus",
            index=folder / "index",
            conversations=folder / "conversations.sqlite3",
        )
        command = [sys.executable, "-m", "rag_tutor"]
        subprocess.run([*command, "index"], check=True, env=environment(settings), cwd=ROOT)
        report = asyncio.run(measure(settings, options.students, options.minutes * 60))
    print(report)
    if options.results:
        (RESULTS / "load.md").write_text(f"## Load\n\n{report}\n", encoding="utf-8")


async def measure(settings: Settings, students: int, seconds: float) -> str:
    """The report of a server that is started for it."""
    lines = QUESTIONS.read_text(encoding="utf-8").strip().split("\n")
    questions = [json.loads(line)["question"] for line in lines]
    log, watched = settings.index.parent / "server.log", Watched()
    newcomer, alone, together = Notebook(), Notebook(), Notebook()
    with served(settings, log) as (process, address):
        pages, config = await _ready(process, address, log)
        await study(address, config, newcomer, questions, 1, 0)
        rows = [(1, await study(address, config, alone, questions, 1, ALONE_SECONDS), alone)]
        watching = [_watch_memory(process.pid, watched), _edit(settings, watched)]
        async with _meanwhile(watching):
            elapsed = await study(address, config, together, questions, students, seconds)
        rows.append((students, elapsed, together))
    notes = _notes(settings.corpus)
    for notebook in (newcomer, alone, together):
        judge(notebook, Conversations(settings.conversations_file), notes)
    together.errors.extend(["a traceback in the log"] * log.read_text("utf-8").count("Traceback"))
    first = pages + newcomer.asked[0].first if newcomer.asked else float("nan")
    return "\n\n".join(
        [
            table(rows),
            f"Start: the pages after {pages:.1f} s, the first words after {first:.1f} s.",
            _on_rebuilds(watched.rebuilds),
            _on_memory(watched.memory),
            *_on_faults([newcomer, alone, together]),
        ]
    )


async def study(
    address: str,
    config: Mapping[str, Any],
    notebook: Notebook,
    questions: Sequence[str],
    students: int,
    seconds: float,
) -> float:
    """Let some students ask for some seconds, each in an order of their own; returns how long it
    took until the last answer was there.
    """
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=address, timeout=CALL_SECONDS, limits=limits) as http:
        pages = [Page(http, config) for _ in range(students)]
        everyone = [
            Student(page, notebook, random.Random(seed).sample(questions, len(questions)))
            for seed, page in enumerate(pages)
        ]
        await asyncio.gather(*(student.open_page() for student in everyone))
        started = time.monotonic()
        beside = [page.stay() for page in pages] + [student.look() for student in everyone]
        async with _meanwhile(beside):
            await asyncio.gather(*(student.study(started + seconds) for student in everyone))
        return time.monotonic() - started


@asynccontextmanager
async def _meanwhile(endless: Sequence[Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Do what has no end, as long as what stands inside takes."""
    tasks = [asyncio.create_task(each) for each in endless]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if not isinstance(ended, asyncio.CancelledError):
                raise ended


@contextmanager
def served(settings: Settings, log: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A server, which may not be ready yet, and its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "rag_tutor", "serve", "--port", str(port)]
    command += ["--conversations", str(settings.conversations_file)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment(settings), stdout=output, stderr=output
        )
        try:
            yield process, f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(timeout=60)


async def _ready(
    process: subprocess.Popen[bytes], address: str, log: Path
) -> tuple[float, dict[str, Any]]:
    """The seconds until the pages are served, and what they consist of."""
    started = time.monotonic()
    async with httpx.AsyncClient(base_url=address) as http:
        while time.monotonic() < started + START_SECONDS and process.poll() is None:
            try:
                (await http.get("/")).raise_for_status()
            except httpx.TransportError:
                await asyncio.sleep(0.05)
                continue
            seconds = time.monotonic() - started
            return seconds, (await http.get("/config")).json()
    sys.exit(f"The server didn't start: {log.read_text(encoding='utf-8')}")


async def _watch_memory(process: int, watched: Watched) -> None:
    while True:
        watched.memory.append(psutil.Process(process).memory_info().rss)
        await asyncio.sleep(1)


async def _edit(settings: Settings, watched: Watched) -> None:
    """Write a note anew again and again, each time another stretch of the longest one."""
    longest = max(settings.corpus.glob("*.md"), key=lambda path: path.stat().st_size)
    words = longest.read_text(encoding="utf-8").split(" ")
    current = settings.index / "CURRENT"
    for start in itertools.cycle(range(0, len(words) - EDIT_WORDS, EDIT_WORDS)):
        text = " ".join(words[start : start + EDIT_WORDS])
        before, written = current.read_text(), time.monotonic()
        (settings.corpus / EDITED).write_text(text, encoding="utf-8")
        while current.read_text() == before:
            await asyncio.sleep(0.1)
        watched.rebuilds.append(time.monotonic() - written)
        await asyncio.sleep(max(0.0, written + EDIT_SECONDS - time.monotonic()))


def _notes(corpus: Path) -> dict[str, str]:
    """What the notes say, the edited one at any time."""
    names, _ = scan_corpus(corpus)
    texts = {name: read_document(corpus, name).text for name in names}
    return texts | {EDITED: max(texts.values(), key=len)}


def judge(notebook: Notebook, kept: Conversations, notes: Mapping[str, str]) -> None:
    """Compare what was asked and seen with what is kept of it, and note what is wrong."""
    for asked in notebook.asked:
        turns = kept.turns(asked.conversation)
        saved = turns[asked.turn] if asked.turn < len(turns) else None
        if saved is None or not is_own(asked, saved):
            notebook.mixed.append(f"{asked.question!r}: {saved and saved.turn.question!r} is kept")
        elif not is_founded(saved, notes):
            notebook.unfounded.append(asked.question)


def is_own(asked: Asked, saved: SavedTurn) -> bool:
    """Whether a kept turn is of the question, and its answer the one that was seen."""
    answer = _plain(answer_markdown(saved.turn, saved.id))
    return saved.turn.question == asked.question and _plain(asked.shown).startswith(answer)


def is_founded(saved: SavedTurn, notes: Mapping[str, str]) -> bool:
    """Whether an answer refuses, or cites and all that it cites stands in the notes."""
    answer = saved.turn.answer
    cited = [each.quote in notes[each.passage.chunk.document_id] for each in answer.citations]
    return saved.state == "done" and (not cited if answer.refused else bool(cited) and all(cited))


def table(rows: Sequence[tuple[int, float, Notebook]]) -> str:
    """A row for each run: how many students, how many seconds, and what they noted."""
    lines = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    for students, seconds, notebook in rows:
        asked = notebook.asked
        if not asked:
            lines.append(f"| {students} | 0 |{' |' * (len(COLUMNS) - 2)}")
            continue
        pieces = fmean(each.first < each.complete for each in asked)
        cells = [str(students), str(len(asked)), f"{len(asked) / seconds * 60:.1f}"]
        for times in ([each.first for each in asked], [each.complete for each in asked]):
            middle, high = np.quantile(times, (0.5, 0.95))
            cells.append(f"{middle:.1f} / {high:.1f} / {max(times):.1f}")
            cells.append(f"{max(times) / fmean(times):.1f}")
        lines.append(f"| {' | '.join([*cells, f'{pieces:.2f}'])} |")
    return "\n".join(lines)


def _on_rebuilds(rebuilds: Sequence[float]) -> str:
    if not rebuilds:
        return "Rebuilds: none."
    return (
        f"Rebuilds: {len(rebuilds)}, each in use {median(rebuilds):.1f} s after the note was "
        f"written (longest {max(rebuilds):.1f} s)."
    )


def _on_memory(memory: Sequence[int]) -> str:
    megabytes = [median(part) / 1e6 for part in np.array_split(memory, MEMORY_PARTS)]
    told = ", ".join(f"{each:.0f}" for each in megabytes)
    growth = megabytes[-1] / megabytes[1] - 1
    return f"Resident memory: {told} MB, at most {max(memory) / 1e6:.0f} MB. Growth: {growth:.1%}."


def _on_faults(notebooks: Sequence[Notebook]) -> Iterator[str]:
    for name, field_name in FAULTS.items():
        told = [each for notebook in notebooks for each in getattr(notebook, field_name)]
        shown = "".join(f"\n- {each}" for each in told[:MOST_SHOWN])
        yield f"{name}: {len(told)}.{shown}"


def _plain(text: str) -> str:
    """A text without what Gradio changes of its white space."""
    return " ".join(text.split())


if __name__ == "__main__":
    main()
