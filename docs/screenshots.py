"""Renders pictures of each page from the real app, at three widths, in light and dark.

    python docs/screenshots.py FOLDER

Serves a copy of corpus/ with the real models, asks questions about it, one of which its notes
don't answer, and writes PAGE-WIDTH-THEME.png into FOLDER. Those that the README shows are put
into docs/ too, with few colours, which makes them small.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parent.parent
CHROMIUM = "/usr/bin/chromium"
SIZES = {380: 780, 768: 1024, 1440: 900}
THEMES = ("light", "dark")
QUESTIONS = ("What is a large language model?", "How is it trained?")
UNANSWERED = "What did the exam ask about diffusion models last year?"
NOTE = "genai-course-notes.md"
README = {"chat-1440-light": "chat", "editor-1440-dark": "notes"}
MINUTE = 60_000
FIRST_INDEX = 10 * MINUTE  # on a machine that has other work to do


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with served() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for theme in THEMES:
            for width, height in SIZES.items():
                size = {"width": width, "height": height}
                context = browser.new_context(viewport=size, color_scheme=theme)
                page = context.new_page()
                page.goto(address)
                for name in visit(page):
                    page.mouse.move(0, height - 1)
                    page.wait_for_timeout(500)  # until smooth scrolling has come to rest
                    page.screenshot(path=folder / f"{name}-{width}-{theme}.png")
                context.close()
    for rendered, shown in README.items():
        picture = Image.open(folder / f"{rendered}.png").convert("RGB")
        picture.quantize(128).save(ROOT / "docs" / f"{shown}.png", optimize=True)
    print(f"{len(list(folder.glob('*.png')))} pictures are in {folder}.")


def visit(page: Page) -> Iterator[str]:
    """Go through the pages; each name is that of the page that is ready to be pictured."""
    page.wait_for_selector("#index-chip .up-to-date", timeout=FIRST_INDEX)
    page.wait_for_selector("#chat .example", timeout=MINUTE)
    yield "welcome"
    for question in QUESTIONS:
        ask(page, question)
    page.wait_for_selector("#chat .suggestion", timeout=MINUTE)
    yield "chat"
    page.locator("#chat a.citation").first.click()
    page.wait_for_selector("#chosen-sources .passage")
    yield "sources"
    ask(page, UNANSWERED)
    yield "refusal"
    page.get_by_role("tab", name="Notes").click()
    page.wait_for_selector("#notes li button")
    yield "notes"
    page.locator("#notes li button", has_text=NOTE).click()
    page.locator("#note-title", has_text=NOTE).wait_for()
    yield "editor"
    page.get_by_role("tab", name="Settings").click()
    page.wait_for_selector("#index-facts dd")
    yield "settings"


def ask(page: Page, question: str) -> None:
    """Ask, and wait until the answer is complete."""
    answers = page.locator("#chat .bot-row").count()
    page.fill("#question textarea", question)
    page.press("#question textarea", "Enter")
    page.locator("#chat .bot-row").nth(answers).wait_for()
    page.wait_for_selector("#send", timeout=MINUTE)


@contextmanager
def served() -> Iterator[str]:
    """Serve a copy of the notes until it is left; gives the address."""
    with tempfile.TemporaryDirectory() as name, socket.socket() as probe:
        folder = Path(name)
        shutil.copytree(ROOT / "corpus", folder / "corpus")
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        command = [sys.executable, "-u", "-m", "rag_tutor", "serve", "--port", str(port)]
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment(folder), stdout=subprocess.PIPE, text=True
        )
        try:
            if not any("is ready" in line for line in iter(process.stdout.readline, "")):
                sys.exit("The server didn't start; it says why above.")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(timeout=20)


def environment(folder: Path) -> dict[str, str]:
    """What the server is told: all is in one folder, and nothing is as its user has set it."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("RAG_TUTOR_")}
    own = {name: str(folder / name.lower()) for name in ("CORPUS", "INDEX", "DATA")}
    return inherited | {f"RAG_TUTOR_{name}": path for name, path in own.items()}


if __name__ == "__main__":
    main()
