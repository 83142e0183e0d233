"""Measures the reader on questions that it wasn't trained on, beside the encoder alone.

    python training/evaluate_reader.py DATA_FOLDER [--rows N]

Takes rows of `grounded/test.jsonl`, N of each source. The passages of all of them are the
collection; those that the hybrid list puts first are read. Prints a Markdown table:

- right passage first: by the encoder, and by the reader's relevance;
- right sentence first, of those of the right passage: by the encoder, and by the evidence;
- AUC: how well the best score of those tells answerable from unanswerable questions.
"""

import argparse
import random
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from train_reader import SEED, candidate_of, hybrid_lists, read_rows

from rag_tutor.config import DEFAULT_ENCODER
from rag_tutor.encoding import load_encoder
from rag_tutor.reading import load_reader
from rag_tutor.retrieval import DEFAULT_WEIGHTS

READ = DEFAULT_WEIGHTS.read
SOURCES = ("squad1dev", "squad2dev", "fairytaleqa", "pubmedqa")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows", type=int, default=200)
    options = parser.parse_args()
    random.seed(SEED)
    rows = read_rows(options.data / "grounded" / "test.jsonl")
    random.shuffle(rows)
    chosen = [
        row for source in SOURCES for row in [r for r in rows if r["src"] == source][: options.rows]
    ]
    judged = judge(chosen)
    print("| | n | passage: encoder | reader | sentence: encoder | reader |")
    print("|---|---|---|---|---|---|")
    for source in SOURCES:
        own = [result for row, result in zip(chosen, judged, strict=True) if row["src"] == source]
        right = [result["first"] for result in own if result["first"]]
        if right:
            means = " | ".join(f"{fmean(column):.3f}" for column in zip(*right, strict=True))
            print(f"| {source} | {len(right)} | {means} |")
    answerable = [row["answerable"] for row in chosen]
    for name in ("encoder", "reader"):
        print(f"\nAUC, {name}: {auc([result[name] for result in judged], answerable):.3f}")


def judge(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The best scores of each row, and what came first if it has an answer with known support."""
    encoder, reader = load_encoder(DEFAULT_ENCODER), load_reader()
    passages = {passage["id"]: passage for row in rows for passage in row["passages"]}
    names = list(passages)
    pool = [candidate_of(passage, []) for passage in passages.values()]
    texts = [f"{each.title}\n{' '.join(each.sentences)}" for each in pool]
    spans = [sentence_places(each.title, each.sentences) for each in pool]
    vectors, sentences = encoder.encode_passages(texts, spans)
    ends = np.cumsum([len(each) for each in spans])
    parts = np.split(sentences, ends[:-1])
    results = []
    lists = hybrid_lists(texts, [row["question"] for row in rows])
    for row, ranked in zip(rows, lists, strict=True):
        best = ranked[:READ]
        vector = encoder.encode_query(row["question"])
        similar = vectors[best] @ vector
        read = reader.read(row["question"], [texts[at] for at in best], [spans[at] for at in best])
        relevance = np.array([each.relevance for each in read])
        first = None
        where = row["support"][0][0] if row["answerable"] and row["support"] else 0
        own = names.index(row["passages"][where]["id"])
        if row["answerable"] and row["support"] and own in best:
            at = best.index(own)
            supporting = {sentence for passage, sentence in row["support"] if passage == where}
            first = (
                similar.argmax() == at,
                relevance.argmax() == at,
                int((parts[own] @ vector).argmax()) in supporting,
                int(np.argmax(read[at].evidence)) in supporting,
            )
        results.append({"encoder": similar.max(), "reader": relevance.max(), "first": first})
    return results


def sentence_places(title: str, sentences: Sequence[str]) -> list[tuple[int, int]]:
    places, start = [], len(title) + 1
    for sentence in sentences:
        places.append((start, start + len(sentence)))
        start += len(sentence) + 1
    return places


def auc(scores: Sequence[float], labels: Sequence[bool]) -> float:
    """The chance that an answerable question scores higher than an unanswerable one."""
    right = np.array([score for score, label in zip(scores, labels, strict=True) if label])
    wrong = np.array([score for score, label in zip(scores, labels, strict=True) if not label])
    above = (right[:, None] > wrong).mean() + (right[:, None] == wrong).mean() / 2
    return float(above)


if __name__ == "__main__":
    main()
