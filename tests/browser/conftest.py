"""A real server on a few small notes, with the real models, and a real browser."""

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, Request, expect, sync_playwright

from tests.fakes import ServerReply, serving

CHROMIUM = "/usr/bin/chromium"
QUIET = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
START_SECONDS = 300  # where other programs leave little of the processor
LOGIN = ("ada", "a long “pass:word”")
# Two cores also run the models, and maybe other programs: whoever waits too long has failed, but
# nothing fails because it takes long.
PATIENCE = 60_000
expect.set_options(timeout=PATIENCE)

RIVERS = """# Rivers

## What is a meander?

A meander is a bend in the course of a river. The water **erodes the outer bank** of the bend
because it flows faster there.

## What is an oxbow lake?

An oxbow lake is a curved lake that forms when a river cuts through the neck of a meander.
The old bend is left behind without a current.
"""

WEATHER = """# Weather

## What is dew?

Dew is water that settles on cold grass.

## What is hail?

Hail is rain that froze on its way.
"""

VOLCANOES = """# Volcanoes

## What is magma?

Magma is molten rock below the surface of the earth. Magma that reaches the surface is called
lava.

## What kinds of volcanoes are there?

| Kind | Slope |
|---|---|
| Shield volcano | gentle, because its lava is runny |
| Stratovolcano | steep, because its lava is thick |

## Where does an earthquake begin?

An earthquake begins at its focus, deep in the crust, where rocks break.
"""

LAB = r"""# Lab notes

## What is kinetic energy?

Kinetic energy is $E_k = \frac{1}{2} m v^2$, the energy of a body that moves.
A kit to measure it costs $5 or $6.

## How is a list sorted in Python?

```python
numbers = [3, 1, 2]
print(sorted(numbers))
```
"""

HOSTILE_NAME = '<img src=x onerror="window.hacked=1">.md'
HOSTILE = """# <script>window.hacked=1</script> Quartz

## What is quartz?

Quartz is a hard mineral made of silicon and oxygen <img src=x onerror="window.hacked=1">.
Quartz crystals [grow](javascript:window.hacked=1) in veins ![vein](http://example.com/vein.png).

</textarea><script>window.hacked=1</script>
"""


@dataclass(slots=True)
class Server:
    """Where the pages are, the folder of notes behind them, the options and the process."""

    port: int
    corpus: Path
    environment: dict[str, str]
    log: Path
    options: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "rag_tutor", "serve", "--port", str(self.port)]
        command += self.options
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                command, env=self.environment, stdout=output, stderr=output
            )
        _wait_until_ready(self.process, self.port, self.log)

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait(timeout=60)


@dataclass(slots=True)
class Script:
    """What a generator writes: the first part, and the rest once it goes on; or it fails."""

    first: str = (
        "An oxbow lake is a curved lake that forms when a river cuts through the neck of a"
        " meander. [1] The old bend"
    )
    rest: str = " is left behind without a current. [1]"
    goes_on: threading.Event = field(default_factory=threading.Event)
    fails: bool = False


@dataclass(slots=True)
class Desk:
    """A browser window on the pages, and all that it asked any host for."""

    page: Page
    requests: list[str] = field(default_factory=list)

    def ask(self, question: str) -> None:
        """Ask, and wait until the answer is complete."""
        before = self.answers()
        self.page.fill("#question textarea", question)
        self.page.press("#question textarea", "Enter")
        self.page.wait_for_function(
            """before => {
              const answer = [...document.querySelectorAll("#chat .bot-row")][before];
              return answer?.querySelector(".actions") && document.querySelector("#send");
            }""",
            arg=before,
            timeout=2 * PATIENCE,
        )

    def send(self, question: str) -> None:
        """Ask, and wait until that is seen; a quick answer may be complete then."""
        before = self.questions().count()
        self.page.fill("#question textarea", question)
        self.page.press("#question textarea", "Enter")
        expect(self.questions()).to_have_count(before + 1)

    def finish(self) -> None:
        """Wait until the answer is complete."""
        self.page.wait_for_selector("#send", timeout=2 * PATIENCE)

    def questions(self) -> Locator:
        """The questions in the chat."""
        return self.page.locator("#chat .user-row")

    def edit_first(self) -> None:
        """Put the first question into the question box."""
        self.questions().first.hover()
        self.questions().first.locator("a.edit").click()

    def chats(self) -> Locator:
        """The conversations in the list."""
        return self.page.locator("#history-list .open .title")

    def answers(self) -> int:
        """How many answers are in the chat."""
        return self.page.locator("#chat .bot-row").count()

    def wait_until_indexed(self) -> None:
        """Wait until the index holds the notes as they are."""
        self.page.wait_for_selector("#index-chip .up-to-date", timeout=120_000)

    def open_notes(self) -> None:
        """Go to the notes page and wait for its list."""
        self.page.click("[role=tab]:has-text('Notes')")
        self.page.wait_for_selector("#notes li button")

    def open_note(self, name: str) -> None:
        """Open a note of the list in the editor."""
        self.page.locator("#notes li button", has_text=name).click()
        expect(self.page.locator("#note-title h2")).to_have_text(name)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("study")
    corpus = folder / "corpus"
    corpus.mkdir()
    (corpus / "rivers.md").write_text(RIVERS, encoding="utf-8")
    (corpus / "lab.md").write_text(LAB, encoding="utf-8")
    (corpus / "volcanoes.md").write_text(VOLCANOES, encoding="utf-8")
    (corpus / HOSTILE_NAME).write_text(HOSTILE, encoding="utf-8")
    port = _free_port()
    environment = dict(os.environ)
    environment |= {"RAG_TUTOR_CORPUS": str(corpus), "RAG_TUTOR_INDEX": str(folder / "index")}
    environment |= {"RAG_TUTOR_DATA": str(folder / "data")}
    # A proxy that answers nothing, as on some networks: the pages must do without it.
    environment |= {"HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}
    server = Server(port, corpus, environment, folder / "server.log")
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if not shutil.which(CHROMIUM):
        pytest.fail(f"The browser tests need Debian's Chromium at {CHROMIUM}.")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)


@pytest.fixture
def desk(server: Server, browser: Browser) -> Iterator[Desk]:
    yield from _open_desk(server, browser, width=1280)


@pytest.fixture
def other_desk(server: Server, browser: Browser) -> Iterator[Desk]:
    yield from _open_desk(server, browser, width=1280)


@pytest.fixture
def phone(server: Server, browser: Browser) -> Iterator[Desk]:
    yield from _open_desk(server, browser, width=380)


@pytest.fixture
def halting_desk(server: Server, browser: Browser, tmp_path: Path) -> Iterator[tuple[Desk, Script]]:
    """A window on pages whose generator writes a script and halts in the midst of it."""
    script = Script()

    def reply(to: ServerReply) -> None:
        if script.fails:
            to.refuse(500, "{}")
            return
        to.begin()
        to.write(script.first)
        assert script.goes_on.wait(600)
        to.write(script.rest)
        to.end()

    with serving(reply) as model:
        environment = {
            "RAG_TUTOR_GENERATOR": f"{model.address}#halting",
            "RAG_TUTOR_DATA": str(tmp_path),
            "NO_PROXY": "127.0.0.1",
        }
        try:
            for own in _own_server(server.corpus, server.environment | environment, tmp_path):
                for desk in _open_desk(own, browser, width=1280):
                    yield desk, script
        finally:
            script.goes_on.set()


@pytest.fixture
def small_desk(server: Server, browser: Browser, tmp_path: Path) -> Iterator[tuple[Desk, Path]]:
    """A window on pages with notes of their own, which hold four questions, and their folder."""
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "rivers.md").write_text(RIVERS, encoding="utf-8")
    (corpus / "weather.md").write_text(WEATHER, encoding="utf-8")
    environment = {"RAG_TUTOR_CORPUS": str(corpus), "RAG_TUTOR_INDEX": str(tmp_path / "index")}
    environment |= {"RAG_TUTOR_DATA": str(tmp_path)}
    for own in _own_server(corpus, server.environment | environment, tmp_path):
        for desk in _open_desk(own, browser, width=1280):
            yield desk, corpus


@pytest.fixture(scope="session")
def closed_server(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on the same notes that asks for a log-in."""
    folder = tmp_path_factory.mktemp("closed")
    password = folder / "password"
    password.write_text(f"{LOGIN[1]}\r\n", encoding="utf-8")
    environment = server.environment | {"RAG_TUTOR_DATA": str(folder)}
    environment |= {"RAG_TUTOR_INDEX": str(folder / "index")}
    yield from _own_server(server.corpus, environment, folder, ("--auth", f"{LOGIN[0]}:{password}"))


def _own_server(
    corpus: Path, environment: dict[str, str], folder: Path, options: tuple[str, ...] = ()
) -> Iterator[Server]:
    own = Server(_free_port(), corpus, environment, folder / "server.log", options)
    try:
        own.start()
        yield own
    finally:
        own.stop()


def _open_desk(server: Server, browser: Browser, width: int) -> Iterator[Desk]:
    context = browser.new_context(viewport={"width": width, "height": 780})
    context.set_default_timeout(PATIENCE)
    desk = Desk(context.new_page())

    def note(request: Request) -> None:
        desk.requests.append(request.url)

    context.on("request", note)
    desk.page.goto(server.address)
    desk.page.wait_for_selector("#chat .example")
    desk.wait_until_indexed()
    yield desk
    context.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        said = log.read_text(encoding="utf-8", errors="replace")
        if process.poll() is not None:
            pytest.fail(f"The server ended: {said}")
        if f"RAG Tutor is ready: http://127.0.0.1:{port}" in said:
            response = httpx.get(f"http://127.0.0.1:{port}", timeout=60)
            assert response.status_code in (200, 401)  # or a log-in
            return
        time.sleep(0.1)
    pytest.fail(f"The server wasn't ready after {START_SECONDS} s.")
