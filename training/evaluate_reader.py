"""Measures the reader on questions that it wasn't trained on, beside the encoder alone.

    python training/evaluate_reader.py DATA_FOLDER [--rows N] [--reader FOLDER]

Takes rows of `grounded/test.jsonl`, N of each source, and the held-out subjects of
`training/data/`. The passages of the rows are one collection; those that the hybrid list puts
first are read. Of a subject's examples, the passages that come with each are read. Prints a
Markdown table:

- right passage first: by the encoder, and by the reader's relevance;
- right sentence first, of those of the right passage: by the encoder, and by the evidence;
- AUC: how well the best score of those tells answerable from unanswerable questions.
"""

import argparse
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from reader_data import Candidate, candidate_of, candidates_of, hybrid_lists, read_rows
from train_generator import DATA as NOTES
from train_generator import HELD_OUT, read_examples
from train_reader import SEED

from rag_tutor.config import DEFAULT_ENCODER
from rag_tutor.domain import Encoder
from rag_tutor.encoding import load_encoder
from rag_tutor.reading import TokenReader, load_reader
from rag_tutor.retrieval import DEFAULT_WEIGHTS

READ = DEFAULT_WEIGHTS.read
SOURCES = ("squad1dev", "squad2dev", "fairytaleqa", "pubmedqa")


@dataclass(frozen=True, slots=True)
class Case:
    """A question with what is read for it; those that answer have supporting sentences."""

    source: str
    question: str
    candidates: list[Candidate]
    answerable: bool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--reader", type=Path, help="instead of the one that comes with RAG Tutor")
    options = parser.parse_args()
    random.seed(SEED)
    rows = read_rows(options.data / "grounded" / "test.jsonl")
    random.shuffle(rows)
    chosen = [
        row for source in SOURCES for row in [r for r in rows if r["src"] == source][: options.rows]
    ]
    cases = [*grounded_cases(chosen), *notes_cases()]
    reader = TokenReader(options.reader) if options.reader else load_reader()
    encoder = load_encoder(DEFAULT_ENCODER)
    judged = [judge(case, encoder, reader) for case in cases]
    print(
        "| | n | passage: encoder | reader | sentence: encoder | reader | AUC: encoder | reader |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for source in dict.fromkeys(case.source for case in cases):
        own = [
            (case, result)
            for case, result in zip(cases, judged, strict=True)
            if case.source == source
        ]
        right = [result["first"] for _, result in own if result["first"]]
        means = [f"{fmean(column):.3f}" for column in zip(*right, strict=True)] or ["–"] * 4
        answerable = [case.answerable for case, _ in own]
        for name in ("encoder", "reader"):
            both = 0 < sum(answerable) < len(own)
            scores = [result[name] for _, result in own]
            means.append(f"{auc(scores, answerable):.3f}" if both else "–")
        print(f"| {source} | {len(own)} | {' | '.join(means)} |")


def grounded_cases(rows: Sequence[dict[str, Any]]) -> Iterator[Case]:
    """The rows' questions with the best passages of the hybrid list."""
    passages = {passage["id"]: passage for row in rows for passage in row["passages"]}
    names = list(passages)
    pool = [candidate_of(passage, []) for passage in passages.values()]
    lists = hybrid_lists([each.text for each in pool], [row["question"] for row in rows])
    for row, ranked in zip(rows, lists, strict=True):
        supporting: dict[str, list[int]] = {}
        for passage, sentence in (row["support"] or []) if row["answerable"] else []:
            supporting.setdefault(row["passages"][passage]["id"], []).append(sentence)
        candidates = [
            candidate_of(passages[names[at]], supporting.get(names[at], [])) for at in ranked[:READ]
        ]
        yield Case(row["src"], row["question"], candidates, row["answerable"])


def notes_cases() -> Iterator[Case]:
    """The examples of the subjects that are held out."""
    for example in read_examples(NOTES):
        if example.subject in HELD_OUT:
            candidates = list(candidates_of(example))
            answerable = example.kind != "missing"
            yield Case("notes", example.standalone, candidates, answerable)


def judge(case: Case, encoder: Encoder, reader: TokenReader) -> dict[str, Any]:
    """The best scores of encoder and reader, and what came first if something answers."""
    texts = [each.text for each in case.candidates]
    spans = [each.sentences for each in case.candidates]
    vectors, sentences = encoder.encode_passages(texts, spans)
    parts = np.split(sentences, np.cumsum([len(each) for each in spans])[:-1])
    vector = encoder.encode_query(case.question)
    similar = vectors @ vector
    read = reader.read(case.question, texts, spans)
    relevance = np.array([each.relevance for each in read])
    first = None
    if right := [at for at, each in enumerate(case.candidates) if each.supporting]:
        at = right[0]
        supporting = case.candidates[at].supporting
        first = (
            similar.argmax() in right,
            relevance.argmax() in right,
            int((parts[at] @ vector).argmax()) in supporting,
            int(np.argmax(read[at].evidence)) in supporting,
        )
    return {"encoder": similar.max(), "reader": relevance.max(), "first": first}


def auc(scores: Sequence[float], labels: Sequence[bool]) -> float:
    """The chance that an answerable question scores higher than an unanswerable one."""
    right = np.array([score for score, label in zip(scores, labels, strict=True) if label])
    wrong = np.array([score for score, label in zip(scores, labels, strict=True) if not label])
    above = (right[:, None] > wrong).mean() + (right[:, None] == wrong).mean() / 2
    return float(above)


if __name__ == "__main__":
    main()
