"""The write path: brings an index up to date with a folder of notes; knows nothing of
questions.

Only changed notes are cut and encoded again. The new index is written beside the old one
and swapped in; until then, and after any failure, the old one stays in use.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import filelock
import numpy as np

from rag_tutor import store
from rag_tutor.chunking import CHUNKING_VERSION, chunk_document, searchable_text
from rag_tutor.corpus import Skipped, read_document, scan_corpus
from rag_tutor.domain import Chunk, Document, Encoder, Vectors
from rag_tutor.errors import CorpusError, IndexMissingError, StaleIndexError, TutorError
from rag_tutor.weights import model_identity
from rag_tutor.words import content_words

MAX_CHUNK_TOKENS = 256
_CHUNKING = f"version {CHUNKING_VERSION}, {MAX_CHUNK_TOKENS} tokens"
_SLICE = 32

Progress = Callable[[int, int], None]
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What an update did: numbers of notes and chunks, notes passed over, and its time."""

    documents: int
    chunks: int
    added: int
    changed: int
    removed: int
    unchanged: int
    skipped: tuple[Skipped, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class NoteState:
    """A note of the corpus as the index knows it; `reason` says why it isn't readable."""

    document: str
    words: int
    chunks: int
    status: Literal["indexed", "changed", "new", "removed", "not readable"]
    reason: str


@dataclass(frozen=True, slots=True)
class _Rows:
    """The chunks of a note, their vectors and, for each, those of its sentences."""

    chunks: Sequence[Chunk]
    vectors: Vectors
    sentences: Sequence[Vectors]


def update_index(
    corpus: Path,
    index: Path,
    encoder: Encoder,
    full: bool = False,
    progress: Progress | None = None,
) -> IndexReport:
    """Bring the index up to date; with `full`, encode every note again.

    `progress` is called with the number of chunks encoded and to encode. A second process
    waits until the first is done. Raises CorpusError if there is no readable note, and
    TutorError if the disk refuses; then the old index stays in use.
    """
    started = time.perf_counter()
    try:
        index.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(index / ".lock"):
            return _update(corpus, index, encoder, full, progress, started)
    except OSError as error:
        raise TutorError(
            f"The index at {index} can't be written: {error}. An older one stays in use. "
            "Make room or mend the folder's rights, or name another folder with --index."
        ) from error


def is_current(corpus: Path, index: Path, encoder_name: str) -> bool:
    """Whether the index holds exactly the notes as they are now. Loads no model."""
    old = _open_old(index)
    if (
        not old
        or old.manifest.encoder != model_identity(encoder_name)
        or old.manifest.chunking != _CHUNKING
    ):
        return False
    documents, _ = _read_all(corpus)
    return {document.id: document.content_hash for document in documents} == old.manifest.documents


def note_states(corpus: Path, index: Path) -> list[NoteState]:
    """Compare the notes on disk with the index, sorted by name. Raises CorpusError."""
    documents, skipped = _read_all(corpus)
    old = _open_old(index)
    hashes = old.manifest.documents if old else {}
    chunks = Counter(chunk.document_id for chunk in old.chunks) if old else Counter[str]()
    names = {document.id for document in documents}
    states = [_state(document, hashes, chunks) for document in documents]
    states += [NoteState(item.document, 0, 0, "not readable", item.reason) for item in skipped]
    states += [NoteState(name, 0, chunks[name], "removed", "") for name in hashes.keys() - names]
    return sorted(states, key=lambda state: state.document)


def _state(document: Document, hashes: dict[str, str], chunks: Counter[str]) -> NoteState:
    status: Literal["indexed", "changed", "new"] = "new"
    if document.id in hashes:
        status = "indexed" if hashes[document.id] == document.content_hash else "changed"
    return NoteState(document.id, len(document.text.split()), chunks[document.id], status, "")


def _update(
    corpus: Path,
    index: Path,
    encoder: Encoder,
    full: bool,
    progress: Progress | None,
    started: float,
) -> IndexReport:
    documents, skipped = _read_all(corpus)
    if not documents:
        raise CorpusError(_nothing_readable(corpus, skipped))
    old = _open_old(index)
    before = old.manifest.documents if old else {}
    hashes = {document.id: document.content_hash for document in documents}
    known = {} if full else _reusable(old, encoder)
    fresh = [document for document in documents if _key(document) not in known]
    known |= _encode(fresh, encoder, progress)
    rows = [known[_key(document)] for document in documents]
    if not any(row.chunks for row in rows):
        raise CorpusError(f"The notes in {corpus} hold no text. Write something into one of them.")
    if fresh or hashes != before:
        _write(index, encoder, hashes, rows)
    same = [name for name in hashes if before.get(name) == hashes[name]]
    report = IndexReport(
        documents=len(documents),
        chunks=sum(len(row.chunks) for row in rows),
        added=len(hashes.keys() - before.keys()),
        changed=len(hashes.keys() & before.keys()) - len(same),
        removed=len(before.keys() - hashes.keys()),
        unchanged=len(same),
        skipped=tuple(skipped),
        seconds=round(time.perf_counter() - started, 3),
    )
    _log.info("index of %d notes, %d chunks, %d encoded", len(documents), report.chunks, len(fresh))
    return report


def _read_all(corpus: Path) -> tuple[list[Document], list[Skipped]]:
    names, skipped = scan_corpus(corpus)
    documents = []
    for name in names:
        try:
            document = read_document(corpus, name)
        except CorpusError as error:
            skipped.append(Skipped(name, str(error)))
            continue
        if document.text.strip():
            documents.append(document)
        else:
            skipped.append(Skipped(name, "empty"))
    return documents, skipped


def _encode(
    documents: Sequence[Document], encoder: Encoder, progress: Progress | None
) -> dict[tuple[str, str], _Rows]:
    max_tokens = min(MAX_CHUNK_TOKENS, encoder.max_tokens)
    chunks = [chunk_document(each, encoder.count_tokens, max_tokens) for each in documents]
    texts = [searchable_text(chunk) for row in chunks for chunk in row]
    vectors = np.empty((len(texts), encoder.dimension), dtype=np.float32)
    sentences = [vectors[:0]] * len(texts)
    # Texts of one length together need the least padding; the longest first shows early
    # if memory is short.
    order = sorted(range(len(texts)), key=lambda row: -len(texts[row].text))
    for start in range(0, len(order), _SLICE):
        if progress:
            progress(start, len(order))
        rows = order[start : start + _SLICE]
        spans = [texts[row].sentences for row in rows]
        vectors[rows], parts = encoder.encode_passages([texts[row].text for row in rows], spans)
        ends = np.cumsum([len(own) for own in spans])
        for row, part in zip(rows, np.split(parts, ends[:-1]), strict=True):
            sentences[row] = part
    if progress:
        progress(len(order), len(order))
    starts = np.cumsum([0, *map(len, chunks)])
    return {
        _key(document): _Rows(
            own, vectors[start : start + len(own)], sentences[start : start + len(own)]
        )
        for document, own, start in zip(documents, chunks, starts[:-1], strict=True)
    }


def _write(index: Path, encoder: Encoder, hashes: dict[str, str], rows: Sequence[_Rows]) -> None:
    chunks = [chunk for row in rows for chunk in row.chunks]
    manifest = store.Manifest(
        format=store.FORMAT,
        encoder=encoder.name,
        dimension=encoder.dimension,
        chunking=_CHUNKING,
        documents=hashes,
    )
    store.write_store(
        index,
        manifest,
        chunks,
        np.concatenate([row.vectors for row in rows]),
        [vectors for row in rows for vectors in row.sentences],
        [content_words(searchable_text(chunk).text) for chunk in chunks],
    )


def _reusable(old: store.Store | None, encoder: Encoder) -> dict[tuple[str, str], _Rows]:
    """What the old index holds of each note, by id and content hash, if it is of this kind."""
    kind = (encoder.name, encoder.dimension, _CHUNKING)
    if old is None or (old.manifest.encoder, old.manifest.dimension, old.manifest.chunking) != kind:
        return {}
    rows: dict[str, list[int]] = {name: [] for name in old.manifest.documents}
    for row, chunk in enumerate(old.chunks):
        rows[chunk.document_id].append(row)
    return {
        (name, old.manifest.documents[name]): _Rows(
            [old.chunks[row] for row in own],
            old.vectors(own),
            [old.sentence_vectors(row) for row in own],
        )
        for name, own in rows.items()
    }


def _open_old(index: Path) -> store.Store | None:
    """The index in use, or none where there is no usable one."""
    try:
        return store.open_store(index)
    except (IndexMissingError, StaleIndexError) as error:
        _log.info("building from nothing: %s", error)
        return None


def _key(document: Document) -> tuple[str, str]:
    return document.id, document.content_hash


def _nothing_readable(corpus: Path, skipped: Sequence[Skipped]) -> str:
    found = "; ".join(f"{item.document}: {item.reason}" for item in skipped[:5])
    return f"There is no readable note in {corpus}. Put Markdown or text files in it." + (
        f" Passed over: {found}" if found else ""
    )
