"""Times the index as the notes grow: 1,000, 10,000 and 100,000 chunks, and more if asked.

    python benchmarks/growth.py [--chunks N …] [--results]

Writes notes whose words and headings are drawn, with a fixed seed, from the notes in corpus/, in
sections of one chunk each, and indexes them. Their vectors are sums of a random vector for each
word, which costs next to nothing: what is measured is all but the encoder, whose time for a chunk
doesn't depend on how many there are (see main_job.py). Such vectors lie alike in all directions,
without the clusters of a model's: of these a search that doesn't compare all misses the most. A
million chunks take 10 GB of disk. Prints a row for each size:

- build: seconds to index everything, and milliseconds of a chunk; edit: seconds after one more line
  in a note, and its share of the build: the median of 5 notes;
- disk, memory: bytes of a chunk there, the latter after the searches and without pages of files,
  which the system takes back when it needs them; open: seconds until the index can be searched;
- search: milliseconds to find the candidates for a question of five words, median and 95th
  percentile of 100; recall: the share of the 10 nearest chunks that the search by vectors finds.

--results also writes the table to benchmarks/results/growth.md.
"""

import argparse
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil

from rag_tutor.domain import Span, Vectors
from rag_tutor.indexing import update_index
from rag_tutor.retrieval import Query, Weights, retrieve
from rag_tutor.store import Store, open_store
from rag_tutor.words import content_words

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
SIZES = (1_000, 10_000, 100_000)
SECTIONS, SECTION_WORDS = 20, 90
QUESTIONS = 100
SLICE = 20_000
NEAREST, EDITS = 10, 5
COLUMNS = (
    *("chunks", "build s", "ms/chunk", "edit s", "of the build", "disk B/chunk"),
    *("open s", "search p50 ms", "search p95 ms", "memory B/chunk", "recall@10"),
)


class DrawnEncoder:
    """Gives each word a random direction, and a text the sum of its words'."""

    name = "drawn"
    dimension = 384
    max_tokens = 256

    def __init__(self) -> None:
        self._directions = np.random.default_rng(7).standard_normal((4096, self.dimension))

    def count_tokens(self, text: str) -> int:
        """As many as words, and the special ones."""
        return len(text.split()) + 2

    def encode_passages(
        self, texts: Sequence[str], sentences: Sequence[Sequence[Span]]
    ) -> tuple[Vectors, Vectors]:
        """Vectors of the texts and of their sentences."""
        parts = [
            text[slice(*span)] for text, own in zip(texts, sentences, strict=True) for span in own
        ]
        return self._encode(texts), self._encode(parts)

    def encode_query(self, text: str) -> Vectors:
        """The vector of a question."""
        rows = [zlib.crc32(word.encode()) % len(self._directions) for word in content_words(text)]
        total = self._directions[rows].sum(axis=0) + 1e-6
        return (total / np.linalg.norm(total)).astype(np.float32)

    def _encode(self, texts: Sequence[str]) -> Vectors:
        vectors = [self.encode_query(text) for text in texts]
        return np.array(vectors, dtype=np.float32).reshape(len(texts), self.dimension)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--chunks", nargs="+", type=int, default=SIZES, metavar="N")
    parser.add_argument("--results", action="store_true")
    parser.add_argument("--search", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.search:
        print(" | ".join(search(options.search)))
        return
    lines = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    print("\n".join(lines))
    for size in options.chunks:
        lines.append(f"| {' | '.join(measure(size))} |")
        print(lines[-1], flush=True)
    if options.results:
        RESULTS.mkdir(exist_ok=True)
        text = "\n".join(["## Growth", "", *lines, ""])
        (RESULTS / "growth.md").write_text(text, encoding="utf-8")


def measure(size: int) -> list[str]:
    """The row of one size."""
    drawn, vocabulary = random.Random(size), _words()
    encoder = DrawnEncoder()
    with tempfile.TemporaryDirectory() as name:
        corpus, index = Path(name) / "corpus", Path(name) / "index"
        corpus.mkdir()
        for number in range(size // SECTIONS):
            (corpus / f"{number:05}.md").write_text(_note(drawn, vocabulary), encoding="utf-8")
        report = update_index(corpus, index, encoder)
        edits = [_edit(corpus / f"{number:05}.md", index, encoder) for number in range(EDITS)]
        disk = sum(path.stat().st_size for path in index.rglob("*") if path.is_file())
        # In a process of its own, whose memory is that of this index only.
        command = [sys.executable, __file__, "--search", str(index)]
        searched = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    edit = statistics.median(edits)
    cells = (
        *(f"{report.chunks:,}", f"{report.seconds:.1f}"),
        f"{1000 * report.seconds / report.chunks:.2f}",
        *(f"{edit:.2f}", f"{edit / report.seconds:.4f}", f"{disk / report.chunks:,.0f}"),
    )
    return [*cells, searched.strip()]


def _edit(note: Path, index: Path, encoder: DrawnEncoder) -> float:
    """Seconds until an edit of a note is in the index."""
    note.write_text(note.read_text(encoding="utf-8") + "\nOne more line.\n", encoding="utf-8")
    return update_index(note.parent, index, encoder).seconds


def search(index: Path) -> list[str]:
    """The cells of what is measured in an index that is there."""
    before, started = _resident(), time.perf_counter()
    store = open_store(index)
    opened = time.perf_counter() - started
    drawn, vocabulary = random.Random(7), _words()
    questions = [" ".join(drawn.choices(vocabulary, k=5)) for _ in range(QUESTIONS)]
    times = _searches(store, DrawnEncoder(), questions)
    memory = _resident() - before
    return [
        *(f"{opened:.2f}", *(f"{np.quantile(times, share):.1f}" for share in (0.5, 0.95))),
        f"{memory / len(store.chunks):,.0f}",
        f"{_recall(store, DrawnEncoder(), questions):.3f}",
    ]


def _recall(store: Store, encoder: DrawnEncoder, questions: Sequence[str]) -> float:
    """The mean share of the nearest chunks that are found, against comparing all."""
    vectors = np.array([encoder.encode_query(question) for question in questions])
    best = np.full((len(vectors), NEAREST), -1.0)
    for start in range(0, len(store.chunks), SLICE):
        rows = range(len(store.chunks))[start : start + SLICE]
        both = np.concatenate([best, vectors @ store.vectors(rows).T], axis=1)
        best = -np.sort(-both, axis=1)[:, :NEAREST]
    # What is as near as the tenth, but for rounding, is one of the nearest.
    found = [
        sum(score > least - 1e-5 for _, score in store.nearest(vector, NEAREST)) / NEAREST
        for vector, least in zip(vectors, best[:, -1], strict=True)
    ]
    return statistics.mean(found)


def _searches(store: Store, encoder: DrawnEncoder, questions: Sequence[str]) -> list[float]:
    """Milliseconds of each search; what the reader does is the same at any size."""
    times = []
    for question in questions:
        started = time.perf_counter()
        retrieve(store, encoder, _Nobody(), [Query(question)], 5, Weights(reader=0))
        times.append((time.perf_counter() - started) * 1000)
    return times


class _Nobody:
    """A reader that is never asked."""


def _words() -> list[str]:
    texts = (path.read_text(encoding="utf-8") for path in sorted((ROOT / "corpus").glob("*.md")))
    return [word for text in texts for word in re.findall(r"[^\W\d_]{2,}", text)]


def _note(drawn: random.Random, vocabulary: Sequence[str]) -> str:
    sections = []
    for _ in range(SECTIONS):
        heading = " ".join(drawn.choices(vocabulary, k=4))
        sentences = [
            " ".join(drawn.choices(vocabulary, k=15)).capitalize() + "."
            for _ in range(SECTION_WORDS // 15)
        ]
        sections.append(f"## {heading}\n\n{' '.join(sentences)}\n")
    return "\n".join(sections)


def _resident() -> int:
    """Bytes of memory that this process holds, without those that are files' (on Linux)."""
    memory = psutil.Process().memory_info()
    return int(memory.rss - memory.shared)


if __name__ == "__main__":
    main()
