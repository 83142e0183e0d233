"""A part of an index on disk, written once and never changed: the chunks of some notes, with their
vectors and words; knows nothing of other parts, nor of what was deleted since.

    notes.json       each note, in the order of its chunks: content hash, their number, stamp
    chunks.jsonl     the chunks, one a line
    vectors.npy      their vectors: float32 of shape (rows, dimension)
    codes.faiss      the same as codes, half a byte for two numbers; only above 20,000 rows
    sentences.npy    the vectors of their sentences: float16 of shape (sentences, dimension)
    words.json       their different words
    postings.npy     for each word the rows that hold it, and how often: int32 of shape (2, n)
    starts.npz       where the lines, sentences and postings begin; how many words a row has

Up to 20,000 rows the nearest ones are found by comparing all vectors. Above, all codes are compared
(product quantisation: André, Kermarrec and Le Scouarnec, "Cache locality is not enough", VLDB 2015;
FAISS's fast scan), then the vectors of the best. That needs no clusters: of vectors that have none,
an inverted file that takes as long misses half of the nearest, and this hardly any.
Big files are mapped, not read: a segment may be deleted while it is in use, except on Windows,
where deleting it fails and the next build tries again.
"""

import json
import math
import mmap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import chain
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import faiss
import numpy as np
from numpy.typing import NDArray

from rag_tutor.atomic import sync_file, sync_folder
from rag_tutor.domain import Chunk, Span, Vectors

_FLAT_ROWS = 20_000
_CODED_NUMBERS = 2
_TRAINING_ROWS = 20_000
# So many candidates are compared by their vectors for each row wanted, and at least so many.
_CANDIDATES, _FEWEST_CANDIDATES = 4, 200

Stamp = tuple[int, ...]
Sentences = NDArray[np.float16]
Integers = NDArray[np.int64]
_CHUNK_FIELDS = tuple(field.name for field in fields(Chunk))


@dataclass(frozen=True, slots=True)
class Version:
    """A note's content hash, and a stamp of its file that no other content can bear, if any."""

    content_hash: str
    stamp: Stamp | None


@dataclass(frozen=True, slots=True)
class Rows:
    """Some notes and all of their chunks, those of a note together and in its order.

    `vectors` has shape (len(chunks), dimension); `sentences[i]`, of shape (n, dimension), and
    `words[i]`, in any order, are those of `chunks[i]`.
    """

    notes: Mapping[str, Version]
    chunks: Sequence[Chunk]
    vectors: Vectors
    sentences: Sequence[Sentences]
    words: Sequence[Sequence[str]]


def joined(parts: Sequence[Rows]) -> Rows:
    """All rows of some parts, of which at least one is given."""
    return Rows(
        dict(chain.from_iterable(part.notes.items() for part in parts)),
        [chunk for part in parts for chunk in part.chunks],
        np.concatenate([part.vectors for part in parts]),
        [vectors for part in parts for vectors in part.sentences],
        [words for part in parts for words in part.words],
    )


class Segment:
    """An open segment. `versions` and `places` map a note to its version and its rows; `lengths`
    are the numbers of words of the rows.
    """

    def __init__(self, folder: Path) -> None:
        self.name = folder.name
        self.versions: dict[str, Version] = {}
        self.places: dict[str, Span] = {}
        self.count = 0
        for note, (content_hash, chunks, stamp) in read_json(folder / "notes.json").items():
            self.versions[note] = Version(content_hash, tuple(stamp) if stamp else None)
            self.places[note] = self.count, self.count + chunks
            self.count += chunks
        self.vectors: Vectors = _mapped_array(folder / "vectors.npy")
        self._codes = _codes(folder / "codes.faiss") if self.count > _FLAT_ROWS else None
        self._sentences: Sentences = _mapped_array(folder / "sentences.npy")
        self._postings: NDArray[np.int32] = _mapped_array(folder / "postings.npy")
        self._word_list: list[str] = read_json(folder / "words.json")
        self._words = {word: at for at, word in enumerate(self._word_list)}
        with np.load(folder / "starts.npz") as file:
            self._lines: Integers = file["lines"]
            self._sentence_starts: Integers = file["sentences"]
            self._posting_starts: Integers = file["postings"]
            self.lengths: Integers = file["lengths"]
        self._text = _mapped(folder / "chunks.jsonl")
        self._check()

    def _check(self) -> None:
        rows = {self.count, len(self.vectors), len(self.lengths)}
        rows |= {len(self._lines) - 1, len(self._sentence_starts) - 1}
        if self._codes:
            rows.add(self._codes.ntotal)
        ends = (self._lines[-1], self._sentence_starts[-1], self._posting_starts[-1])
        there = (len(self._text), len(self._sentences), self._postings.shape[1])
        are_whole = ends == there and len(self._posting_starts) == len(self._words) + 1
        if len(rows) != 1 or not are_whole or self.vectors.shape[1:] != self._sentences.shape[1:]:
            raise ValueError("its files don't belong together")

    @property
    def dimension(self) -> int:
        """The length of a vector."""
        return int(self.vectors.shape[1])

    def chunk(self, row: int) -> Chunk:
        """A chunk, read from the disk. Raises ValueError if it is damaged."""
        start, end = self._lines[row : row + 2].tolist()
        values: dict[str, Any] = json.loads(self._text[start:end])
        chunk = Chunk(**{**values, "heading": tuple(map(str, values["heading"]))})
        first, last = self.places.get(chunk.document_id, (0, 0))
        if not first <= row < last or chunk.end - chunk.start != len(chunk.text):
            raise ValueError("the text of a chunk doesn't fit its place")
        return chunk

    def sentence_vectors(self, row: int) -> Sentences:
        """The vectors of a chunk's sentences: shape (sentences, dimension)."""
        start, end = self._sentence_starts[row : row + 2]
        return self._sentences[start:end]

    @property
    def sentence_counts(self) -> Integers:
        """How many sentences each row has."""
        return np.diff(self._sentence_starts)

    def postings(self, word: str) -> NDArray[np.int32] | None:
        """The rows that hold a word, and how often each does: shape (2, n)."""
        at = self._words.get(word)
        if at is None:
            return None
        start, end = self._posting_starts[at : at + 2]
        return self._postings[:, start:end]

    def nearest(
        self, vector: Vectors, limit: int, are_kept: NDArray[np.bool_]
    ) -> tuple[Integers, Vectors]:
        """At most `limit` of the rows that are kept by falling similarity to a vector, and their
        similarities. Above 20,000 rows a few of the nearest may be missed.
        """
        candidates = max(limit * _CANDIDATES, _FEWEST_CANDIDATES) if self._codes else limit
        wanted = asked = min(candidates, int(are_kept.sum()))
        while True:
            scores, rows = self._compared(vector, asked)
            kept = are_kept[rows]
            if kept.sum() >= wanted or asked >= self.count:
                break
            asked = min(4 * asked, self.count)
        rows, scores = rows[kept], scores[kept]
        if self._codes:
            rows.sort()
            scores = self.vectors[rows] @ vector
            best = np.argsort(-scores, kind="stable")
            rows, scores = rows[best], scores[best]
        return rows[:limit], scores[:limit]

    def _compared(self, vector: Vectors, limit: int) -> tuple[Vectors, Integers]:
        if not limit:
            return np.zeros(0, np.float32), np.zeros(0, np.int64)
        if self._codes:
            scores, rows = self._codes.search(vector[np.newaxis], limit)
        else:
            scores, rows = faiss.knn(
                vector[np.newaxis], self.vectors, limit, metric=faiss.METRIC_INNER_PRODUCT
            )
        found = rows[0] >= 0
        return scores[0][found], rows[0][found]

    def rows_of(self, notes: Iterable[str]) -> Rows:
        """What it holds of some of its notes. Raises ValueError if a chunk is damaged."""
        versions = {note: self.versions[note] for note in notes}
        spans = [range(*self.places[note]) for note in versions]
        rows = np.fromiter(chain.from_iterable(spans), dtype=np.int64)
        return Rows(
            versions,
            [self.chunk(row) for row in rows.tolist()],
            self.vectors[rows],
            [self.sentence_vectors(row) for row in rows.tolist()],
            self._words_of(rows),
        )

    def _words_of(self, rows: Integers) -> list[list[str]]:
        """The words of some rows, in the order of the alphabet, each as often as it is there."""
        place = np.full(self.count, -1)
        place[rows] = np.arange(len(rows))
        words = np.repeat(np.arange(len(self._word_list)), np.diff(self._posting_starts))
        holders = place[self._postings[0]]
        chosen = np.flatnonzero(holders >= 0)
        chosen = chosen[np.argsort(holders[chosen], kind="stable")]
        repeated = np.repeat(words[chosen], self._postings[1, chosen]).tolist()
        ends = np.cumsum(self.lengths[rows]).tolist()
        listed = [self._word_list[word] for word in repeated]
        return [listed[start:end] for start, end in zip([0, *ends], ends, strict=False)]


_opened: WeakValueDictionary[Path, Segment] = WeakValueDictionary()


def open_segment(folder: Path) -> Segment:
    """Open a segment; one that is open is shared. Raises anything if it is damaged."""
    segment = _opened.get(folder)
    if segment is None:
        segment = _opened[folder] = Segment(folder)
    return segment


def write_segment(folder: Path, rows: Rows) -> None:
    """Write a segment into a new folder. Raises OSError."""
    folder.mkdir(parents=True)
    counts = Counter(chunk.document_id for chunk in rows.chunks)
    notes = {
        note: (version.content_hash, counts[note], version.stamp)
        for note, version in rows.notes.items()
    }
    write_json(folder / "notes.json", notes)
    lines = [_line(chunk) for chunk in rows.chunks]
    (folder / "chunks.jsonl").write_bytes(b"".join(lines))
    _write_array(folder / "vectors.npy", rows.vectors)
    if len(rows.chunks) > _FLAT_ROWS:
        _write_codes(folder / "codes.faiss", rows.vectors)
    sentences = np.concatenate([rows.vectors[:0].astype(np.float16), *rows.sentences])
    _write_array(folder / "sentences.npy", sentences)
    words, posting_starts, postings = _inverted(rows.words)
    write_json(folder / "words.json", words)
    _write_array(folder / "postings.npy", postings)
    np.savez(
        folder / "starts.npz",
        lines=_starts(map(len, lines)),
        sentences=_starts(map(len, rows.sentences)),
        postings=posting_starts,
        lengths=np.array([len(row) for row in rows.words], dtype=np.int64),
    )
    sync_all(folder)


def write_json(path: Path, value: object) -> None:
    """Write a value as JSON in UTF-8."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    path.write_text(text, encoding="utf-8")


def read_json(path: Path) -> Any:
    """A value that `write_json` wrote. Raises OSError or ValueError."""
    return json.loads(path.read_text(encoding="utf-8"))


def sync_all(folder: Path) -> None:
    """Make a new folder and the files in it durable."""
    for path in folder.iterdir():
        sync_file(path)
    sync_folder(folder)
    sync_folder(folder.parent)


def _line(chunk: Chunk) -> bytes:
    values = {name: getattr(chunk, name) for name in _CHUNK_FIELDS}
    return json.dumps(values, ensure_ascii=False).encode() + b"\n"


def _inverted(
    words: Sequence[Sequence[str]],
) -> tuple[list[str], Integers, NDArray[np.int32]]:
    """The different words, where the postings of each begin, and all postings."""
    different = sorted(set(chain.from_iterable(words)))
    places = {word: at for at, word in enumerate(different)}
    of_rows = np.repeat(np.arange(len(words)), [len(row) for row in words])
    of_words = np.fromiter((places[word] for row in words for word in row), dtype=np.int64)
    pairs, counts = np.unique(of_words * len(words) + of_rows, return_counts=True)
    of_words, of_rows = np.divmod(pairs, max(len(words), 1))
    starts = np.searchsorted(of_words, np.arange(len(different) + 1))
    return different, starts, np.array([of_rows, counts], dtype=np.int32)


def _write_codes(path: Path, vectors: Vectors) -> None:
    dimension = vectors.shape[1]
    parts = dimension // math.gcd(dimension, _CODED_NUMBERS)
    codes = faiss.IndexPQFastScan(dimension, parts, 4, faiss.METRIC_INNER_PRODUCT)
    codes.train(np.ascontiguousarray(vectors[:: -(-len(vectors) // _TRAINING_ROWS)]))
    codes.add(vectors)
    # Serialised here, written by Python: FAISS opens no path with letters outside ASCII on Windows.
    path.write_bytes(faiss.serialize_index(codes).data)


def _codes(path: Path) -> Any:
    return faiss.deserialize_index(np.frombuffer(path.read_bytes(), dtype=np.uint8))


def _write_array(path: Path, array: NDArray[Any]) -> None:
    array = np.ascontiguousarray(array)
    with path.open("wb") as file:
        header = np.lib.format.header_data_from_array_1_0(array)
        np.lib.format.write_array_header_1_0(file, header)
        # NumPy's own way doesn't tell that the disk is full.
        file.write(array.data)


def _starts(sizes: Iterable[int]) -> Integers:
    return np.cumsum([0, *sizes], dtype=np.int64)


def _mapped_array(path: Path) -> NDArray[Any]:
    # As a plain array, since each slice of NumPy's own type for it costs microseconds.
    mapped: NDArray[Any] = np.load(path, mmap_mode="r").view(np.ndarray)
    return mapped


def _mapped(path: Path) -> mmap.mmap | bytes:
    with path.open("rb") as file:
        if not path.stat().st_size:  # which can't be mapped
            return b""
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
