"""Keeps an index on disk and searches it: which segments are in use, and what they hold together;
knows nothing of notes, models or questions.

    index/
      CURRENT            the name of the build in use; replaced in one step
      builds/NAME/       manifest.json: the segments, and what was deleted since from each
                         words.json: how many chunks hold each word, and how words are spelt
      segments/NAME/     some notes (segment.py)

An edit writes one small segment, which takes in small ones before it, and a new build, which
shares the other segments with the one before. All is written under new names before CURRENT names
the build, so that a crash leaves the old one in use. A store that is open goes on working when its
build is deleted. The rows of a store are in the order of the notes' names, whichever segments they
are in: how an index came about makes no difference to what it holds.
"""

import functools
import math
import re
import shlex
import shutil
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from rag_tutor.atomic import remove_left_overs, replace_file
from rag_tutor.domain import Chunk, Span, Vectors
from rag_tutor.errors import IndexMissingError, StaleIndexError
from rag_tutor.segment import (
    Rows,
    Segment,
    Version,
    joined,
    open_segment,
    read_json,
    sync_all,
    write_json,
    write_segment,
)
from rag_tutor.words import words

FORMAT = 4
# A full build makes segments of so many chunks, and no edit makes a larger one: this bounds the
# memory of the one and the time of the other.
SEGMENT_ROWS = 50_000
# A new segment takes in those before that have at most so many times its rows.
_TAKEN_TIMES = 4
_CURRENT = "CURRENT"
_BUILDS = "builds"
_SEGMENTS = "segments"
_NAME = re.compile(r"[0-9a-f]{32}")
# Of BM25, as bm25s, Anserini and others have them.
_K1, _B = 1.5, 0.75

# What reading a damaged chunk raises.
_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError)

Hits = list[tuple[int, float]]


@dataclass(frozen=True, slots=True)
class Kind:
    """What an index is built with: the encoder's name and dimension, and how notes are cut."""

    encoder: str
    dimension: int
    chunking: str


@dataclass(frozen=True, slots=True)
class Manifest(Kind):
    """What a build was made from. `documents` maps an id to its content hash."""

    documents: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Part:
    """A segment of a build, and its notes that were deleted since."""

    segment: Segment
    gone: frozenset[str]

    @property
    def notes(self) -> list[str]:
        return [note for note in self.segment.versions if note not in self.gone]

    @property
    def count(self) -> int:
        """How many of its rows are in use."""
        places = self.segment.places
        return self.segment.count - sum(places[note][1] - places[note][0] for note in self.gone)


@dataclass(slots=True)
class _Words:
    """How many words all chunks have together, how many chunks hold each word, and how often each
    stands in chunks and headings as it is spelt there, in lower case.
    """

    length: int
    holding: dict[str, int]
    spellings: dict[str, int]

    def count(self, rows: Rows, sign: int) -> None:
        """Add the words of some rows, or take them away with a `sign` of -1."""
        self.length += sign * sum(map(len, rows.words))
        holding = Counter(chain.from_iterable(map(set, rows.words)))
        texts = (" ".join([*chunk.heading, chunk.text]) for chunk in rows.chunks)
        spellings = Counter(word for text in texts for word in words(text))
        for total, counts in ((self.holding, holding), (self.spellings, spellings)):
            for word, count in counts.items():
                total[word] = total.get(word, 0) + sign * count
                if not total[word]:
                    del total[word]


class Store:
    """An open index: `chunks[row]`, with the vectors and the words of each row. The chunks of a
    note stand together, in its order, and the notes in the order of their names.

    `versions` are those of its notes; `spellings` are the words of chunks and headings in lower
    case, and how often they stand there.
    """

    def __init__(
        self, index: Path, build: str, kind: Kind, parts: Sequence[_Part], words: _Words
    ) -> None:
        self.index = index
        self.build = build
        self.kind = kind
        self.parts = parts
        self.words = words
        self.versions: dict[str, Version] = {}
        self._places: dict[str, Span] = {}
        self._lay_out()
        self.spellings: Mapping[str, int] = words.spellings
        hashes = {note: version.content_hash for note, version in self.versions.items()}
        self.manifest = Manifest(**asdict(kind), documents=hashes)

    def _lay_out(self) -> None:
        """Give each row its place, in the order of the notes' names."""
        notes = sorted((note, at) for at, part in enumerate(self.parts) for note in part.notes)
        total, firsts, sizes = 0, [], []
        for note, at in notes:
            segment = self.parts[at].segment
            start, end = segment.places[note]
            self._places[note] = total, total + end - start
            self.versions[note] = segment.versions[note]
            total += end - start
            firsts.append(start)
            sizes.append(end - start)
        if len(self.versions) != len(notes):
            raise ValueError("a note is in two of its segments")
        counts = np.array(sizes, dtype=np.int64)
        offsets = np.array(firsts, dtype=np.int64) - np.cumsum(counts) + counts
        self._part_of_row = np.repeat(np.array([at for _, at in notes], dtype=np.int16), counts)
        self._row_in_part = np.repeat(offsets, counts) + np.arange(total)
        self.row_count = total
        # Of each part's rows; -1 for those that are gone.
        self._rows: list[NDArray[np.int64]] = []
        for at, part in enumerate(self.parts):
            rows = np.full(part.segment.count, -1)
            own = np.flatnonzero(self._part_of_row == at)
            rows[self._row_in_part[own]] = own
            self._rows.append(rows)

    @property
    def folders(self) -> list[Path]:
        """The folder of the build and those of its segments."""
        segments = [self.index / _SEGMENTS / part.segment.name for part in self.parts]
        return [self.index / _BUILDS / self.build, *segments]

    @property
    def chunks(self) -> Sequence[Chunk]:
        """The chunks, each read from the disk when it is asked for.

        Asking for one that is damaged raises StaleIndexError.
        """
        return _Chunks(self)  # not kept: a store that nobody needs is to close its files at once

    def chunks_of(self, document_id: str) -> Sequence[Chunk]:
        """The chunks of a note, in its order; none of a note that it doesn't know."""
        start, end = self._places.get(document_id, (0, 0))
        return self.chunks[start:end]

    def chunk_count(self, document_id: str) -> int:
        """How many chunks a note has; 0 if it isn't known."""
        start, end = self._places.get(document_id, (0, 0))
        return end - start

    def place(self, row: int) -> tuple[Segment, int]:
        """The segment of a row, and its row there."""
        return self.parts[self._part_of_row[row]].segment, int(self._row_in_part[row])

    def nearest(self, vector: Vectors, limit: int) -> Hits:
        """Rows by falling cosine similarity to a vector of shape (dimension,)."""
        found: Hits = []
        for part, rows in zip(self.parts, self._rows, strict=True):
            own, scores = part.segment.nearest(vector, limit, rows >= 0)
            found += zip(rows[own].tolist(), scores.tolist(), strict=True)
        return sorted(found, key=lambda hit: (-hit[1], hit[0]))[:limit]

    def bm25_scores(self, words: Sequence[str]) -> Vectors:
        """BM25 scores of all rows for some words: shape (rows,).

        Lucene's variant with exact lengths, by Kamphuis, de Vries, Boytsov and Lin, "Which BM25 Do
        You Mean?", ECIR 2020, to the bit as bm25s computes it, of rows that have one more word.
        """
        total = self.row_count
        # The last one is of the rows that are gone: their place is -1.
        scores = np.zeros(total + 1, dtype=np.float32)
        for word in words:
            holding = self.words.holding.get(word)
            if not holding:
                continue
            idf = np.float64(np.float32(math.log(1 + (total - holding + 0.5) / (holding + 0.5))))
            for part, places, damping in zip(self.parts, self._rows, self._damping, strict=True):
                postings = part.segment.postings(word)
                if postings is not None:
                    rows, counts = postings
                    share = counts / (damping[rows] + counts)
                    scores[places[rows]] += (idf * share).astype(np.float32)
        return scores[:-1]

    @functools.cached_property
    def _damping(self) -> list[NDArray[np.floating[Any]]]:
        """How much BM25 damps the words of each part's rows, by their lengths."""
        # One more, so that notes which hold no word have a mean above 0.
        mean = (self.words.length + self.row_count) / max(self.row_count, 1)
        lengths = (part.segment.lengths + 1 for part in self.parts)
        return [_K1 * ((1 - _B) + _B * own / mean) for own in lengths]

    def vectors(self, rows: Sequence[int]) -> Vectors:
        """The vectors of some rows: float32 of shape (len(rows), dimension)."""
        found = np.empty((len(rows), self.kind.dimension), dtype=np.float32)
        for at, (segment, row) in enumerate(map(self.place, rows)):
            found[at] = segment.vectors[row]
        return found

    def sentence_vectors(self, row: int) -> Vectors:
        """The vectors of a chunk's sentences: float32 of shape (sentences, dimension)."""
        segment, own = self.place(row)
        return segment.sentence_vectors(own).astype(np.float32)

    def rarity(self, word: str) -> float:
        """How much a word tells: minus the logarithm of the share of chunks that hold it."""
        holding = self.words.holding.get(word, 0)
        return -math.log((holding + 0.5) / (self.row_count + 0.5))

    @property
    def vector_count(self) -> int:
        """How many vectors it holds: of chunks and of their sentences."""
        sentences = (
            int(part.segment.sentence_counts[rows >= 0].sum())
            for part, rows in zip(self.parts, self._rows, strict=True)
        )
        return self.row_count + sum(sentences)

    @property
    def vocabulary(self) -> Set[str]:
        """All words of the notes, stemmed."""
        return self.words.holding.keys()

    def rows_of(self, notes: Set[str]) -> list[Rows]:
        """All that it holds of some notes. Raises StaleIndexError if a chunk is damaged."""
        wanted = (
            (part.segment, notes & part.segment.versions.keys() - part.gone) for part in self.parts
        )
        return [_rows_of(self.index, segment, sorted(own)) for segment, own in wanted if own]


class _Chunks(Sequence[Chunk]):
    def __init__(self, store: Store) -> None:
        self._store = store

    def __len__(self) -> int:
        return self._store.row_count

    @overload
    def __getitem__(self, row: int) -> Chunk: ...

    @overload
    def __getitem__(self, row: slice) -> list[Chunk]: ...

    def __getitem__(self, row: int | slice) -> Chunk | list[Chunk]:
        if isinstance(row, slice):
            return [self[each] for each in range(len(self))[row]]
        segment, own = self._store.place(range(len(self))[row])
        try:
            return segment.chunk(own)
        except _UNREADABLE as error:
            raise _damaged(self._store.index, error) from error


def current_build(index: Path) -> str:
    """The name of the build in use. Raises IndexMissingError or StaleIndexError."""
    try:
        return (index / _CURRENT).read_text(encoding="utf-8").strip()
    except FileNotFoundError as error:
        raise IndexMissingError(f"There is no index at {index} yet. {_command(index)}") from error
    except NotADirectoryError as error:
        raise StaleIndexError(f"{index} is a file. Name a folder with --index.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(index, error) from error


def open_store(index: Path) -> Store:
    """Open the build in use. Raises IndexMissingError, or StaleIndexError if it is damaged."""
    build = current_build(index)
    try:
        return _open(index, build)
    except Exception as error:  # a damaged file can make the libraries raise anything
        # Another process may have swapped builds between the two reads.
        if current_build(index) == build:
            raise _damaged(index, error) from error
        return open_store(index)


def write_store(
    index: Path,
    kind: Kind,
    fresh: Iterable[Rows],
    base: Store | None = None,
    gone: Set[str] = frozenset(),
) -> str:
    """Write a new build, put it in use and delete what it doesn't need; returns its name.

    It holds the notes of `base` but for those that are `gone`, and the fresh ones, of which none
    is in `base` still; each of `fresh` becomes a segment.
    The caller holds the index's lock. Raises OSError, and StaleIndexError if a chunk of `base` that
    has to be read is damaged; whatever is raised, the build in use is as it was.
    """
    build = uuid.uuid4().hex
    words = _Words(0, {}, {})
    parts: list[_Part] = []
    if base:
        words = _Words(base.words.length, {**base.words.holding}, {**base.words.spellings})
        for rows in base.rows_of(gone):
            words.count(rows, -1)
        parts = _without(base.parts, gone)
    try:
        for rows in fresh:
            words.count(rows, 1)
            taken = _taken(parts, len(rows.chunks))
            earlier = [_rows_of(index, part.segment, part.notes) for part in taken]
            folder = index / _SEGMENTS / uuid.uuid4().hex
            write_segment(folder, joined([*earlier, rows]))
            parts = [part for part in parts if part not in taken]
            parts.append(_Part(open_segment(folder), frozenset()))
        _write_build(index / _BUILDS / build, kind, parts, words)
        replace_file(index / _CURRENT, build.encode())
    finally:
        clean(index)
    return build


def clean(index: Path) -> None:
    """Delete what the build in use doesn't need: what was replaced or never finished.

    The caller holds the index's lock.
    """
    remove_left_overs(index)
    try:
        build = current_build(index)
        needed = {build, *_segments(index, build)}
    except IndexMissingError:
        needed = set()
    except StaleIndexError:
        return  # which one is in use can't be told
    for folder in (*(index / _BUILDS).glob("*"), *(index / _SEGMENTS).glob("*")):
        if folder.name not in needed and _NAME.fullmatch(folder.name):
            shutil.rmtree(folder, ignore_errors=True)


def _write_build(folder: Path, kind: Kind, parts: Sequence[_Part], words: _Words) -> None:
    folder.mkdir(parents=True)
    segments = {part.segment.name: sorted(part.gone) for part in parts}
    write_json(folder / "manifest.json", {"format": FORMAT, **asdict(kind), "segments": segments})
    write_json(
        folder / "words.json",
        {"length": words.length, "holding": words.holding, "spellings": words.spellings},
    )
    sync_all(folder)


def _open(index: Path, build: str) -> Store:
    manifest = _read_manifest(index, build)
    segments: dict[str, list[str]] = manifest.pop("segments")
    kind = Kind(**manifest)
    words = _Words(**read_json(index / _BUILDS / build / "words.json"))
    parts = []
    for name, gone in segments.items():
        segment = open_segment(index / _SEGMENTS / name)
        if segment.dimension != kind.dimension or not segment.versions.keys() >= set(gone):
            raise ValueError("its files don't belong together")
        parts.append(_Part(segment, frozenset(gone)))
    return Store(index, build, kind, parts, words)


def _segments(index: Path, build: str) -> list[str]:
    """The names of a build's segments; none of a build that can't be used."""
    try:
        return [*_read_manifest(index, build)["segments"]]
    except Exception:  # noqa: BLE001 - as in open_store
        return []


def _read_manifest(index: Path, build: str) -> dict[str, Any]:
    manifest: dict[str, Any] = read_json(index / _BUILDS / build / "manifest.json")
    if manifest.pop("format") != FORMAT:
        raise ValueError(f"it has another format than {FORMAT}")
    return manifest


def _without(parts: Iterable[_Part], gone: Set[str]) -> list[_Part]:
    """The parts without some notes, and without those that have no other."""
    left = [_Part(part.segment, part.gone | gone & part.segment.versions.keys()) for part in parts]
    return [part for part in left if len(part.gone) < len(part.segment.versions)]


def _taken(parts: Sequence[_Part], count: int) -> list[_Part]:
    """The parts that a new segment of `count` rows takes in: those of which most is gone, and,
    the smallest first, those that aren't much larger than what it has by then.
    """
    taken = []
    for part in sorted(parts, key=lambda part: part.count):
        is_left = part.count < part.segment.count / 2
        if (is_left or part.count <= _TAKEN_TIMES * count) and count + part.count <= SEGMENT_ROWS:
            taken.append(part)
            count += part.count
    return taken


def _rows_of(index: Path, segment: Segment, notes: Iterable[str]) -> Rows:
    try:
        return segment.rows_of(notes)
    except _UNREADABLE as error:
        raise _damaged(index, error) from error


def _damaged(index: Path, error: Exception) -> StaleIndexError:
    reason = str(error) or type(error).__name__
    return StaleIndexError(
        f"The index at {index} can't be used ({reason}). {_command(index, '--full ')}"
    )


def _command(index: Path, option: str = "") -> str:
    return f"Run: rag-tutor index {option}--index {shlex.quote(str(index))}"
