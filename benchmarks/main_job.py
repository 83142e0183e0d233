"""Times the main job on the notes in corpus/ and shows ten answers.

    python benchmarks/main_job.py QUESTIONS.jsonl

Builds an index from nothing in a temporary folder, edits one note, saves a new one and asks for
it, asks every seventh of the questions, serves the pages, and prints a report in Markdown.
retrieval.py beside it measures what is found.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from rag_tutor.config import Settings
from rag_tutor.corpus import create_document
from rag_tutor.indexing import update_index
from rag_tutor.live import LiveIndex
from rag_tutor.tutor import Reply, Tutor, open_tutor

ROOT = Path(__file__).parent.parent
STEP, COUNT = 7, 10
SAVED_WORDS = 2_000


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    lines = Path(sys.argv[1]).read_text(encoding="utf-8").strip().split("\n")
    questions = [json.loads(line)["question"] for line in lines][::STEP][:COUNT]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(ROOT / "corpus", folder / "corpus")
        settings = Settings(corpus=folder / "corpus", index=folder / "index")
        tutor = open_tutor(settings)
        _report_building(settings, tutor)
        started = time.perf_counter()
        tutor.warm_up()
        print(f"- Load reader and generator: {time.perf_counter() - started:.1f} s")
        _report_saving(settings, tutor)
        _report_start(settings)
        _report_answers([list(tutor.reply(question))[-1] for question in questions])


def _report_building(settings: Settings, tutor: Tutor) -> None:
    full = update_index(settings.corpus, settings.index, tutor.encoder)
    print(f"- Index from nothing: {full.documents} notes, {full.chunks} chunks, {full.seconds} s")
    note = min(settings.corpus.glob("*.md"), key=lambda path: path.stat().st_size)
    note.write_text(note.read_text(encoding="utf-8") + "\nOne more line.\n", encoding="utf-8")
    edit = update_index(settings.corpus, settings.index, tutor.encoder)
    print(f"- Index after an edit of {note.name}: {edit.seconds} s")


def _report_saving(settings: Settings, tutor: Tutor) -> None:
    """Time from saving a new note until an answer cites it, as the pages do both."""
    longest = max(settings.corpus.glob("*.md"), key=lambda path: path.stat().st_size)
    words = longest.read_text(encoding="utf-8").split(" ")[: SAVED_WORDS - 20]
    own = "\n\n## What is a zorble?\n\nA zorble is a clockwork bird that sings at noon.\n"
    live = LiveIndex(tutor)
    live.start()
    live.wait(600)
    started = time.perf_counter()
    create_document(settings.corpus, "saved.md", " ".join(words) + own)
    live.update()
    live.wait(600)
    indexed = time.perf_counter() - started
    answer = list(tutor.reply("What is a zorble?"))[-1].turn.answer
    seconds = time.perf_counter() - started
    live.close()
    cited = {citation.passage.chunk.document_id for citation in answer.citations}
    is_cited = "cites" if "saved.md" in cited else "doesn't cite"
    print(
        f"- Save a note of {SAVED_WORDS:,} words: indexed after {indexed:.1f} s, "
        f"an answer that {is_cited} it after {seconds:.1f} s"
    )


def _report_start(settings: Settings) -> None:
    """Time from the command to the pages, on an index that is there."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [sys.executable, "-u", "app.py", "--port", port]
    started = time.perf_counter()
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(settings), stdout=subprocess.PIPE, text=True
    ) as process:
        ready = any("is ready" in line for line in process.stdout or ())
        seconds = time.perf_counter() - started
        process.terminate()
    print(f"- From `python app.py` to the pages: {seconds:.1f} s" if ready else "- It didn't start")


def environment(settings: Settings) -> dict[str, str]:
    """What the server is told: where its files are, and nothing of what its user has set."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("RAG_TUTOR_")}
    return inherited | {
        "RAG_TUTOR_CORPUS": str(settings.corpus),
        "RAG_TUTOR_INDEX": str(settings.index),
        "RAG_TUTOR_DATA": str(settings.index.parent / "data"),
    }


def _report_answers(replies: list[Reply]) -> None:
    first = median(reply.timings_ms["first_token"] for reply in replies)
    total = median(reply.timings_ms["total"] for reply in replies)
    print(f"- Median of {len(replies)} answers: first token {first:.0f} ms, whole {total:.0f} ms\n")
    for reply in replies:
        timings = " · ".join(f"{name} {value:.0f}" for name, value in reply.timings_ms.items())
        print(f"## {reply.turn.question}\n\n{timings} (ms)\n\n{reply.turn.answer.text}\n")


if __name__ == "__main__":
    main()
