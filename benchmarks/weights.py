"""Prints how retrieval changes with each of its weights, while the others stay as they are.

    python benchmarks/weights.py [--questions FILE …] [--data FOLDER] [--reader FOLDER]

The questions and conversations over the notes in corpus/ are by default those in
benchmarks/questions/; FOLDER holds public sets, as for benchmarks/retrieval.py. A column is the
MRR of a group of questions over the notes, or the nDCG@10 of a public set; with `--data`, the table
is written to benchmarks/results/ too. What the models make of a text is remembered, so that a row
takes seconds; `--reader` names another one than ours.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path

import ir_measures
from ir_measures import nDCG
from retrieval import (
    HERE,
    NOTES,
    RESULTS,
    Search,
    corpus_files,
    documents,
    public_index,
    read_queries,
    table,
)

from rag_tutor.config import DEFAULT_ENCODER, Settings, cache_folder
from rag_tutor.domain import Encoder, Generator, Reader, Reading, Span, Vectors
from rag_tutor.encoding import load_encoder
from rag_tutor.errors import ModelUnavailableError
from rag_tutor.evaluation import judge, summarise
from rag_tutor.indexing import update_index
from rag_tutor.reading import TokenReader, load_reader
from rag_tutor.retrieval import DEFAULT_WEIGHTS, Weights
from rag_tutor.tutor import Tutor

TRIED = {
    "dense": (0.25, 0.75, 1.0),
    "sentences": (0.0, 0.25, 0.75),
    "bm25": (0.1, 0.3, 0.4, 0.5),
    "reader": (0.0, 0.01, 0.02, 0.03, 0.08),
    "read": (4, 12, 20),
}
# Enough for nDCG@10: a document may have several chunks.
PUBLIC_DEPTH = 30

Measure = Callable[[Weights], dict[str, float]]


class RememberingReader:
    """A reader that reads a text once for a question."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._readings: dict[tuple[str, str], Reading] = {}
        self._carried: dict[tuple[str, str], list[tuple[str, float]]] = {}

    def read(
        self, question: str, texts: Sequence[str], sentences: Sequence[Sequence[Span]]
    ) -> list[Reading]:
        """As the reader itself."""
        new = [at for at, text in enumerate(texts) if (question, text) not in self._readings]
        found = self._reader.read(
            question, [texts[at] for at in new], [sentences[at] for at in new]
        )
        for at, reading in zip(new, found, strict=True):
            self._readings[question, texts[at]] = reading
        return [self._readings[question, text] for text in texts]

    def carried_words(self, question: str, conversation: str) -> list[tuple[str, float]]:
        """As the reader itself."""
        key = question, conversation
        if key not in self._carried:
            self._carried[key] = self._reader.carried_words(*key)
        return self._carried[key]


class RememberingEncoder:
    """An encoder that encodes a question once."""

    def __init__(self, encoder: Encoder) -> None:
        self.name = encoder.name
        self._encoder = encoder
        self._vectors: dict[str, Vectors] = {}

    def encode_query(self, text: str) -> Vectors:
        """As the encoder itself."""
        if text not in self._vectors:
            self._vectors[text] = self._encoder.encode_query(text)
        return self._vectors[text]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    own = sorted((HERE / "questions").glob("*.jsonl"))
    parser.add_argument("--questions", nargs="+", type=Path, default=own, metavar="FILE")
    parser.add_argument("--data", type=Path, metavar="FOLDER")
    parser.add_argument("--reader", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    encoder = load_encoder(DEFAULT_ENCODER)
    reader = TokenReader(options.reader) if options.reader else load_reader()
    measures = list(all_measures(options.questions, options.data, encoder, reader))
    rows = []
    for name, weights in settings_tried():
        found = {key: value for measure in measures for key, value in measure(weights).items()}
        rows.append([name, *(f"{value:.3f}" for value in found.values())])
        print(" ".join(rows[-1]), flush=True)
    report = table("Weights", ["", *found], rows)
    print(report)
    if options.data:
        (RESULTS / "weights.md").write_text(report + "\n", encoding="utf-8")


def settings_tried() -> Iterator[tuple[str, Weights]]:
    """The weights as they are, and with one of them changed."""
    yield "as they are", DEFAULT_WEIGHTS
    for field in fields(Weights):
        for value in TRIED.get(field.name, ()):
            yield f"{field.name} {value}", replace(DEFAULT_WEIGHTS, **{field.name: value})


def all_measures(
    questions: Sequence[Path], data: Path | None, encoder: Encoder, reader: Reader
) -> Iterator[Measure]:
    """A measure for the notes, and one for each public set."""
    models = RememberingEncoder(encoder), RememberingReader(reader)
    index = cache_folder() / "benchmarks" / "notes" / "index"
    update_index(NOTES, index, encoder)
    yield notes_measure(Settings(corpus=NOTES, index=index), questions, models)
    for path in sorted(data.glob("*/queries.jsonl")) if data else ():
        yield public_measure(path.parent, models)


def notes_measure(settings: Settings, questions: Sequence[Path], models: tuple) -> Measure:
    def measure(weights: Weights) -> dict[str, float]:
        search = searching(settings, weights, 10, models)
        groups = summarise(judge(questions, search, compare=False))
        return {name: found["mrr"] for name, found in groups.items()}

    return measure


def public_measure(folder: Path, models: tuple) -> Measure:
    settings = public_index(folder.name, corpus_files(folder / "corpus.jsonl"))
    queries, qrels = read_queries(folder)

    def measure(weights: Weights) -> dict[str, float]:
        search = searching(settings, weights, PUBLIC_DEPTH, models)
        run = [
            ir_measures.ScoredDoc(query, document, score)
            for query, text in queries.items()
            for document, score in documents(search(text, ()))
        ]
        found = ir_measures.calc_aggregate([nDCG @ 10], qrels, run)
        return {folder.name: found[nDCG @ 10]}

    return measure


def searching(settings: Settings, weights: Weights, depth: int, models: tuple) -> Search:
    encoder, reader = models
    tutor = Tutor(settings, lambda: encoder, lambda: reader, no_generator, weights)
    return lambda question, history: tutor.search(question, history, depth)


def no_generator() -> Generator:
    raise ModelUnavailableError("Nothing is written here.")


if __name__ == "__main__":
    main()
