"""Times the main job on the notes in corpus/ and shows ten answers.

    python benchmarks/main_job.py QUESTIONS.jsonl

Builds an index from nothing in a temporary folder, edits one note, asks every seventh of the
questions, and prints a report in Markdown. retrieval.py beside it measures what is found.
"""

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from rag_tutor.config import Settings
from rag_tutor.indexing import update_index
from rag_tutor.tutor import Reply, Tutor, open_tutor

ROOT = Path(__file__).parent.parent
STEP, COUNT = 7, 10


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
        _report_answers([list(tutor.reply(question))[-1] for question in questions])


def _report_building(settings: Settings, tutor: Tutor) -> None:
    full = update_index(settings.corpus, settings.index, tutor.encoder)
    print(f"- Index from nothing: {full.documents} notes, {full.chunks} chunks, {full.seconds} s")
    note = min(settings.corpus.glob("*.md"), key=lambda path: path.stat().st_size)
    note.write_text(note.read_text(encoding="utf-8") + "\nOne more line.\n", encoding="utf-8")
    edit = update_index(settings.corpus, settings.index, tutor.encoder)
    print(f"- Index after an edit of {note.name}: {edit.seconds} s")


def _report_answers(replies: list[Reply]) -> None:
    first = median(reply.timings_ms["first_token"] for reply in replies)
    total = median(reply.timings_ms["total"] for reply in replies)
    print(f"- Median of {len(replies)} answers: first token {first:.0f} ms, whole {total:.0f} ms\n")
    for reply in replies:
        timings = " · ".join(f"{name} {value:.0f}" for name, value in reply.timings_ms.items())
        print(f"## {reply.turn.question}\n\n{timings} (ms)\n\n{reply.turn.answer.text}\n")


if __name__ == "__main__":
    main()
