"""Keeps chunks, their vectors (FAISS) and their words (BM25) on disk and searches them; knows
nothing of notes, models or questions.

    index/
      CURRENT            the name of the build in use; replaced in one step
      builds/NAME/       manifest.json, chunks.jsonl, vectors.faiss, sentences.npz, words.npz, bm25/

A build is written whole under a new name before CURRENT names it, so that a crash leaves
the old one in use. A store holds all it needs in memory: a build may be deleted under it.
"""

import functools
import json
import logging
import math
import re
import shlex
import shutil
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import bm25s
import faiss
import numpy as np
from numpy.typing import NDArray

from rag_tutor.atomic import remove_left_overs, replace_file, sync_file, sync_folder
from rag_tutor.domain import Chunk, Span, Vectors
from rag_tutor.errors import IndexMissingError, StaleIndexError
from rag_tutor.words import words

FORMAT = 3
_CURRENT = "CURRENT"
_BUILDS = "builds"
_BUILD_NAME = re.compile(r"[0-9a-f]{32}")

Hits = list[tuple[int, float]]

logging.getLogger("bm25s").setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a build was made from. `documents` maps an id to its content hash."""

    format: int
    encoder: str
    dimension: int
    chunking: str
    documents: dict[str, str]


class Store:
    """An index in memory: `chunks[row]`, with the vectors and the words of each row. The chunks of
    a note stand together, in its order.
    """

    def __init__(
        self,
        build: str,
        manifest: Manifest,
        chunks: Sequence[Chunk],
        vectors: Any,
        sentences: NDArray[np.float16],
        sentence_starts: NDArray[np.int64],
        words: NDArray[np.int32],
        word_starts: NDArray[np.int64],
        bm25: bm25s.BM25,
    ) -> None:
        self.build = build
        self.manifest = manifest
        self.chunks = chunks
        self._vectors = vectors
        self._sentences = sentences
        self._sentence_starts = sentence_starts
        self._words = words
        self._word_starts = word_starts
        self._bm25 = bm25
        self._places: dict[str, Span] = {}
        for row, chunk in enumerate(chunks):
            start, _ = self._places.get(chunk.document_id, (row, row))
            self._places[chunk.document_id] = start, row + 1

    def chunks_of(self, document_id: str) -> Sequence[Chunk]:
        """The chunks of a note, in its order."""
        start, end = self._places[document_id]
        return self.chunks[start:end]

    def nearest(self, vector: Vectors, limit: int) -> Hits:
        """Rows by falling cosine similarity to a vector of shape (dimension,)."""
        scores, rows = self._vectors.search(vector[np.newaxis], min(limit, len(self.chunks)))
        return list(zip(rows[0].tolist(), scores[0].tolist(), strict=True))

    def bm25_scores(self, words: Sequence[str]) -> Vectors:
        """BM25 scores of all rows for some words (bm25s, Lucene's variant): shape (rows,)."""
        known = [word for word in words if word in self._bm25.vocab_dict]
        scores = self._bm25.get_scores(known) if known else np.zeros(len(self.chunks))
        return np.asarray(scores, dtype=np.float32)

    def vectors(self, rows: Sequence[int]) -> Vectors:
        """The vectors of some rows: float32 of shape (len(rows), dimension)."""
        found: Vectors = self._vectors.reconstruct_batch(np.asarray(rows, dtype=np.int64))
        return found

    def sentence_vectors(self, row: int) -> Vectors:
        """The vectors of a chunk's sentences: float32 of shape (sentences, dimension)."""
        start, end = self._sentence_starts[row : row + 2]
        return self._sentences[start:end].astype(np.float32)

    def words(self, row: int) -> list[str]:
        """The words of a chunk, as they were given when the index was written."""
        start, end = self._word_starts[row : row + 2]
        return [self._word_list[word] for word in self._words[start:end]]

    @functools.cached_property
    def _word_list(self) -> list[str]:
        places = self._bm25.vocab_dict
        return sorted(places, key=places.__getitem__)

    def rarity(self, word: str) -> float:
        """How much a word tells: minus the logarithm of the share of chunks that hold it."""
        column = self._bm25.vocab_dict.get(word)
        indptr = self._bm25.scores["indptr"]
        holding = 0 if column is None else int(indptr[column + 1] - indptr[column])
        return -math.log((holding + 0.5) / (len(self.chunks) + 0.5))

    @property
    def vector_count(self) -> int:
        """How many vectors it holds: of chunks and of their sentences."""
        return len(self.chunks) + len(self._sentences)

    @property
    def vocabulary(self) -> Set[str]:
        """All words of the notes, stemmed."""
        stems: Set[str] = self._bm25.vocab_dict.keys()
        return stems

    @functools.cached_property
    def spellings(self) -> Mapping[str, int]:
        """The words of the chunks and headings in lower case, and how often they stand there."""
        texts = (" ".join([*chunk.heading, chunk.text]) for chunk in self.chunks)
        return Counter(word for text in texts for word in words(text))


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


def build_folder(index: Path, build: str) -> Path:
    """The folder of a build."""
    return index / _BUILDS / build


def open_store(index: Path) -> Store:
    """Load the build in use. Raises IndexMissingError, or StaleIndexError if it is damaged."""
    build = current_build(index)
    try:
        return _load(build_folder(index, build))
    except Exception as error:  # a damaged file can make the libraries raise anything
        # Another process may have swapped builds between the two reads.
        if current_build(index) == build:
            raise _damaged(index, error) from error
        return open_store(index)


def write_store(
    index: Path,
    manifest: Manifest,
    chunks: Sequence[Chunk],
    vectors: Vectors,
    sentences: Sequence[Vectors],
    words: Sequence[Sequence[str]],
) -> str:
    """Write a new build, put it in use and delete the others; returns its name.

    `vectors` has shape (len(chunks), dimension); `sentences[i]`, of shape (n, dimension), and
    `words[i]` are those of `chunks[i]`.
    The caller holds the index's lock. Raises OSError; then the build in use is as it was.
    """
    name = uuid.uuid4().hex
    folder = build_folder(index, name)
    folder.mkdir(parents=True)
    try:
        _write(folder, manifest, chunks, vectors, sentences, words)
        replace_file(index / _CURRENT, name.encode())
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    clean(index)
    return name


def clean(index: Path) -> None:
    """Delete all builds but the one in use, which were replaced or never finished.

    The caller holds the index's lock.
    """
    remove_left_overs(index)
    try:
        current = current_build(index)
    except IndexMissingError:
        current = ""
    except StaleIndexError:
        return  # which one is in use can't be told
    for build in (index / _BUILDS).glob("*"):
        if build.name != current and _BUILD_NAME.fullmatch(build.name):
            shutil.rmtree(build, ignore_errors=True)


def _write(
    folder: Path,
    manifest: Manifest,
    chunks: Sequence[Chunk],
    vectors: Vectors,
    sentences: Sequence[Vectors],
    words: Sequence[Sequence[str]],
) -> None:
    flat = faiss.IndexFlatIP(manifest.dimension)
    flat.add(np.ascontiguousarray(vectors))
    # Serialised here, written by Python: FAISS opens no path with letters outside ASCII on Windows.
    (folder / "vectors.faiss").write_bytes(faiss.serialize_index(flat).tobytes())
    np.savez(
        folder / "sentences.npz",
        vectors=np.concatenate([vectors[:0], *sentences]).astype(np.float16),
        starts=np.cumsum([0, *map(len, sentences)], dtype=np.int64),
    )
    bm25 = bm25s.BM25()
    # The extra word keeps BM25 from failing on notes that hold no word at all.
    bm25.index([[*row, "\0"] for row in words], show_progress=False)
    bm25.save(folder / "bm25")
    np.savez(
        folder / "words.npz",
        words=np.array([bm25.vocab_dict[word] for row in words for word in row], dtype=np.int32),
        starts=np.cumsum([0, *map(len, words)], dtype=np.int64),
    )
    names = [field.name for field in fields(Chunk)]
    lines = (
        json.dumps({name: getattr(chunk, name) for name in names}, ensure_ascii=False)
        for chunk in chunks
    )
    (folder / "chunks.jsonl").write_text("\n".join(lines), encoding="utf-8")
    text = json.dumps(asdict(manifest), ensure_ascii=False, indent=1)
    (folder / "manifest.json").write_text(text, encoding="utf-8")
    for path in folder.rglob("*"):
        if path.is_file():
            sync_file(path)
    for path in (folder / "bm25", folder, folder.parent):
        sync_folder(path)


def _load(folder: Path) -> Store:
    manifest = _manifest(folder)
    lines = (folder / "chunks.jsonl").read_text(encoding="utf-8").split("\n")
    chunks = tuple(_chunk(json.loads(line)) for line in lines if line)
    serialised = np.frombuffer((folder / "vectors.faiss").read_bytes(), dtype=np.uint8)
    vectors = faiss.deserialize_index(serialised)
    bm25 = bm25s.BM25.load(folder / "bm25")
    with np.load(folder / "sentences.npz") as file:
        sentences, starts = file["vectors"], file["starts"]
    with np.load(folder / "words.npz") as file:
        words, word_starts = file["words"], file["starts"]
    rows = {len(chunks), vectors.ntotal, bm25.scores["num_docs"]}
    rows |= {len(starts) - 1, len(word_starts) - 1}
    shapes = {(vectors.d,), sentences.shape[1:]}
    is_whole = (starts[-1], word_starts[-1]) == (len(sentences), len(words))
    if len(rows) != 1 or shapes != {(manifest.dimension,)} or not is_whole:
        raise ValueError("its files don't belong together")
    if not {chunk.document_id for chunk in chunks} <= manifest.documents.keys():
        raise ValueError("it holds chunks of unknown notes")
    return Store(
        folder.name, manifest, chunks, vectors, sentences, starts, words, word_starts, bm25
    )


def _manifest(folder: Path) -> Manifest:
    fields: Mapping[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    manifest = Manifest(**fields)
    if manifest.format != FORMAT:
        raise ValueError(f"it has format {manifest.format}, not {FORMAT}")
    if not isinstance(manifest.documents, dict):
        raise TypeError("its manifest lists no notes")
    return manifest


def _chunk(fields: dict[str, Any]) -> Chunk:
    chunk = Chunk(**{**fields, "heading": tuple(map(str, fields["heading"]))})
    if not isinstance(chunk.text, str) or chunk.end - chunk.start != len(chunk.text):
        raise ValueError("the text of a chunk doesn't fit its place")
    return chunk


def _damaged(index: Path, error: Exception) -> StaleIndexError:
    reason = str(error) or type(error).__name__
    return StaleIndexError(
        f"The index at {index} can't be used ({reason}). {_command(index, '--full ')}"
    )


def _command(index: Path, option: str = "") -> str:
    return f"Run: rag-tutor index {option}--index {shlex.quote(str(index))}"
