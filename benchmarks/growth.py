"""Times the index as the notes grow: 1,000, 10,000 and 100,000 chunks.

    python benchmarks/growth.py [--chunks N …] [--results]

Writes notes whose words and headings are drawn, with a fixed seed, from the notes in corpus/, in
sections of one chunk each, and indexes them. Their vectors are sums of a random vector for each
word, which costs next to nothing: what is measured is all but the encoder, whose time for a chunk
doesn't depend on how many there are (see main_job.py). Prints a row for each size:

- build, edit: seconds to index everything, and after one more line in one note;
- disk, memory: bytes of a chunk there; open: seconds until the index is in memory;
- search: milliseconds to find the candidates for a question of five words, median and 95th
  percentile of 100; spelling: seconds for the first question's spelling, once for an index.

--results also writes the table to benchmarks/results/growth.md.
"""

import argparse
import random
import re
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
COLUMNS = (
    *("chunks", "build s", "edit s", "disk B/chunk", "open s", "memory B/chunk"),
    *("search p50 ms", "search p95 ms", "spelling s"),
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
        note = corpus / "00000.md"
        note.write_text(note.read_text(encoding="utf-8") + "\nOne more line.\n", encoding="utf-8")
        edit = update_index(corpus, index, encoder)
        disk = sum(path.stat().st_size for path in index.rglob("*") if path.is_file())
        # In a process of its own, whose memory is that of this index only.
        command = [sys.executable, __file__, "--search", str(index)]
        searched = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    cells = (
        *(f"{report.chunks:,}", f"{report.seconds:.1f}", f"{edit.seconds:.2f}"),
        f"{disk / report.chunks:,.0f}",
    )
    return [*cells, searched.strip()]


def search(index: Path) -> list[str]:
    """The cells of what is measured in an index that is there."""
    before, started = _resident(), time.perf_counter()
    store = open_store(index)
    opened, memory = time.perf_counter() - started, _resident() - before
    times = _searches(store, DrawnEncoder(), random.Random(7), _words())
    started = time.perf_counter()
    store.spellings  # noqa: B018 (made when it is first asked for)
    spelling = time.perf_counter() - started
    return [
        *(f"{opened:.2f}", f"{memory / len(store.chunks):,.0f}"),
        *(f"{np.quantile(times, share):.1f}" for share in (0.5, 0.95)),
        f"{spelling:.2f}",
    ]


def _searches(
    store: Store, encoder: DrawnEncoder, drawn: random.Random, vocabulary: Sequence[str]
) -> list[float]:
    """Milliseconds of each search; what the reader does is the same at any size."""
    times = []
    for _ in range(QUESTIONS):
        query = Query(" ".join(drawn.choices(vocabulary, k=5)))
        started = time.perf_counter()
        retrieve(store, encoder, _Nobody(), [query], 5, Weights(reader=0))
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
    """Bytes of memory that this process holds."""
    return int(psutil.Process().memory_info().rss)


if __name__ == "__main__":
    main()
