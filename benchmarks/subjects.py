"""Measures answers from notes on other subjects, which no part of the tutor has learnt from.

    python benchmarks/subjects.py [--system NAME …] [--results]

Those of training/data/ that are left out of all training: their passages are put together to notes
again, indexed, and asked the questions that were written for them, follow-ups with their history.
The columns are those of answers.py; its key points are here the sentences of the written answers,
and its lists the questions of that kind. `missing` are questions that look as if the notes answered
them. --results also writes the table to benchmarks/results/subjects.md.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from answers import COLUMNS, RESULTS, SYSTEMS, Asked, measures, timed

from rag_tutor.chunking import plain_text
from rag_tutor.config import Settings
from rag_tutor.domain import Answer, Turn
from rag_tutor.grounding import bare_sentence, without_markers
from rag_tutor.indexing import update_index
from rag_tutor.sentences import sentence_spans
from rag_tutor.tutor import open_tutor
from rag_tutor.words import content_words

DATA = Path(__file__).parent.parent / "training" / "data"
# HELD_OUT of training/train_generator.py.
SUBJECTS = ("astronomy", "contract-law", "databases", "music-theory", "nutrition")

Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    systems = ("ours", "quotation")
    parser.add_argument("--system", nargs="+", choices=systems, default=list(systems))
    parser.add_argument("--results", action="store_true")
    options = parser.parse_args()
    lines = [
        " | ".join(["| system", "subject", *COLUMNS]) + " |",
        "|---" * (len(COLUMNS) + 2) + "|",
    ]
    print("\n".join(lines))
    for system in options.system:
        asked: dict[str, list[Asked]] = {}
        for subject in SUBJECTS:
            asked[subject] = list(ask_all(DATA / f"{subject}.jsonl", system))
        asked["all"] = [each for own in asked.values() for each in own]
        for subject, own in asked.items():
            lines.append(" | ".join([f"| {system}", subject, *measures(own)]) + " |")
            print(lines[-1], flush=True)
    if options.results:
        text = "\n".join(["## Other subjects", "", *lines, ""])
        (RESULTS / "subjects.md").write_text(text, encoding="utf-8")


def ask_all(path: Path, system: str) -> Iterator[Asked]:
    """Every question of a subject, asked of its own notes."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(corpus=Path(folder) / "corpus", index=Path(folder) / "index")
        write_notes([row for row in rows if "passage" in row], settings.corpus)
        update_index(settings.corpus, settings.index, open_tutor(settings).encoder)
        ask = SYSTEMS[system](settings)
        for row in rows:
            if "question" in row:
                history = [turn_of(**turn) for turn in row["history"]]
                yield timed(ask, path.stem, item_of(row), history)


def write_notes(passages: Sequence[Row], corpus: Path) -> None:
    """The notes that passages were cut from, each below its headings."""
    corpus.mkdir()
    notes: dict[str, list[str]] = {}
    above: dict[str, list[str]] = {}
    for passage in passages:
        name, headings = passage["note"], passage["heading"].split(" > ")
        before = above.get(name, [])
        common = takewhile(lambda pair: pair[0] == pair[1], zip(headings, before, strict=False))
        new = headings[len(list(common)) :] or headings[-1:]
        first = len(headings) - len(new) + 1
        titles = [f"{'#' * depth} {title}" for depth, title in enumerate(new, start=first)]
        notes.setdefault(name, []).extend([*titles, passage["text"]])
        above[name] = headings
    for name, parts in notes.items():
        (corpus / Path(name).with_suffix(".md").name).write_text("\n\n".join(parts) + "\n", "utf-8")


def item_of(row: Row) -> Row:
    """A question as answers.py has it."""
    text = row["answer"]
    sentences = [bare_sentence(text[start:end]) for start, end in sentence_spans(text)]
    return {
        "question": row["question"],
        "type": row["kind"],
        "answerable": row["kind"] != "missing",
        "answer": plain_text(without_markers(text)),
        "key_points": [plain_text(each) for each in sentences if content_words(each)],
    }


def turn_of(question: str, answer: str) -> Turn:
    return Turn(question, question, Answer(answer, (), (), refused=False))


if __name__ == "__main__":
    main()
