"""The write path: brings an index up to date with a folder of notes; knows nothing of
questions.

Only changed notes are cut again, and only those of their chunks are encoded that the old index
doesn't hold. The new index is written beside the old one and swapped in; until then, and after
any failure, the old one stays in use.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import filelock
import numpy as np

from rag_tutor import store
from rag_tutor.atomic import remove_left_overs
from rag_tutor.chunking import CHUNKING_VERSION, SearchableText, chunk_document, searchable_text
from rag_tutor.conversion import convert_missing
from rag_tutor.corpus import (
    Skipped,
    content_hash,
    document_of,
    needs_conversion,
    read_content,
    scan_corpus,
)
from rag_tutor.domain import Chunk, Document, Encoder, Vectors
from rag_tutor.errors import CorpusError, IndexMissingError, StaleIndexError, TutorError
from rag_tutor.weights import model_identity
from rag_tutor.words import content_words

MAX_CHUNK_TOKENS = 256
_CHUNKING = f"version {CHUNKING_VERSION}, {MAX_CHUNK_TOKENS} tokens"
# Small enough that a question needn't wait long for its turn at the encoder.
_SLICE = 16

Progress = Callable[[int, int], None]
# The id and the content hash of a note.
_Key = tuple[str, str]
_Status = Literal["indexed", "changed", "new", "removed", "not readable"]
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Changes:
    """The notes that an update found added, changed and removed; all chunks before and after."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    chunks_before: int
    chunks_after: int


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
    changes: Changes


@dataclass(frozen=True, slots=True)
class NoteState:
    """A note of the corpus as the index knows it; `reason` says why it isn't readable.

    `changed_at` is the file's time of change in seconds since 1970; 0 if it is gone.
    """

    document: str
    words: int
    chunks: int
    status: _Status
    reason: str
    changed_at: float


@dataclass(frozen=True, slots=True)
class _Rows:
    """The chunks of a note, their vectors and, for each, its words and those of its sentences."""

    chunks: Sequence[Chunk]
    vectors: Vectors
    sentences: Sequence[Vectors]
    words: Sequence[Sequence[str]]


def update_index(
    corpus: Path,
    index: Path,
    encoder: Encoder,
    full: bool = False,
    progress: Progress | None = None,
    converting: Progress | None = None,
) -> IndexReport:
    """Bring the index up to date; with `full`, convert what failed and encode every note again.

    `progress` is called with the number of chunks encoded and to encode, `converting` before
    that with the number of files; what they raise ends the update. A second process waits until
    the first is done. Raises CorpusError if there is no readable note, and TutorError if the
    disk refuses. Whatever is raised, the old index stays in use.
    """
    started = time.perf_counter()
    try:
        index.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(index / ".lock"):
            # Before anything is written: it may be what fills the disk.
            store.clean(index)
            remove_left_overs(corpus)
            convert_missing(corpus, scan_corpus(corpus)[0], converting, again=full)
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
    if any(needs_conversion(corpus, name) for name in scan_corpus(corpus)[0]):
        return False
    hashes, _, _ = _read_unknown(corpus, old.manifest.documents.items())
    return hashes == old.manifest.documents


def note_states(corpus: Path, index: Path) -> list[NoteState]:
    """Compare the notes on disk with the index, sorted by name; what is hidden is left out.

    Raises CorpusError.
    """
    _, documents, skipped = _read_unknown(corpus, frozenset())
    old = _open_old(index)
    hashes = old.manifest.documents if old else {}
    chunks = Counter(chunk.document_id for chunk in old.chunks) if old else Counter[str]()

    def state(name: str, words: int, status: _Status, reason: str = "") -> NoteState:
        return NoteState(name, words, chunks[name], status, reason, _changed_at(corpus / name))

    states = [
        state(document.id, len(document.text.split()), _status(document, hashes))
        for document in documents
    ]
    for item in skipped:
        if item.reason == "hidden":
            continue
        waits = needs_conversion(corpus, item.document)
        known: _Status = "changed" if item.document in hashes else "new"
        reason = "" if waits else item.reason
        states.append(state(item.document, 0, known if waits else "not readable", reason))
    gone = hashes.keys() - {each.document for each in states}
    states += [state(name, 0, "removed") for name in gone]
    return sorted(states, key=lambda each: each.document)


def _status(document: Document, hashes: dict[str, str]) -> _Status:
    if document.id not in hashes:
        return "new"
    return "indexed" if hashes[document.id] == document.content_hash else "changed"


def _changed_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except (OSError, ValueError):
        return 0.0


def _update(
    corpus: Path,
    index: Path,
    encoder: Encoder,
    full: bool,
    progress: Progress | None,
    started: float,
) -> IndexReport:
    old = _open_old(index)
    before = old.manifest.documents if old else {}
    known = {} if full else _reusable(old, encoder)
    hashes, fresh, skipped = _read_unknown(corpus, known.keys())
    if not hashes:
        raise CorpusError(_nothing_readable(corpus, skipped))
    past = [rows for key, rows in known.items() if key not in hashes.items()]
    known |= _encode(fresh, encoder, _by_text(past), progress)
    rows = [known[key] for key in hashes.items()]
    if not any(row.chunks for row in rows):
        raise CorpusError(f"The notes in {corpus} hold no text. Write something into one of them.")
    if fresh or hashes != before:
        _write(index, encoder, hashes, rows)
    same = [name for name in hashes if before.get(name) == hashes[name]]
    changes = Changes(
        added=tuple(sorted(hashes.keys() - before.keys())),
        changed=tuple(sorted(hashes.keys() & before.keys() - set(same))),
        removed=tuple(sorted(before.keys() - hashes.keys())),
        chunks_before=len(old.chunks) if old else 0,
        chunks_after=sum(len(row.chunks) for row in rows),
    )
    report = IndexReport(
        documents=len(hashes),
        chunks=changes.chunks_after,
        added=len(changes.added),
        changed=len(changes.changed),
        removed=len(changes.removed),
        unchanged=len(same),
        skipped=tuple(skipped),
        seconds=round(time.perf_counter() - started, 3),
        changes=changes,
    )
    _log.info("index of %d notes, %d chunks, %d encoded", len(hashes), report.chunks, len(fresh))
    return report


def _read_unknown(
    corpus: Path, known: Set[_Key]
) -> tuple[dict[str, str], list[Document], list[Skipped]]:
    """The content hashes of all notes with text, by name; those notes of them that aren't known,
    for repairing text takes long; and what is passed over.
    """
    names, skipped = scan_corpus(corpus)
    hashes: dict[str, str] = {}
    documents: list[Document] = []
    for name in names:
        try:
            content = read_content(corpus, name)
            key = name, content_hash(content)
            if key in known:
                hashes[name] = key[1]
                continue
            document = document_of(name, content)
        except CorpusError as error:
            skipped.append(Skipped(name, str(error)))
            continue
        if document.text.strip():
            hashes[name] = document.content_hash
            documents.append(document)
        else:
            skipped.append(Skipped(name, "empty"))
    return hashes, documents, skipped


def _encode(
    documents: Sequence[Document],
    encoder: Encoder,
    known: Mapping[SearchableText, tuple[Vectors, Vectors]],
    progress: Progress | None,
) -> dict[_Key, _Rows]:
    """The rows of some documents; a text that is `known` keeps its vectors."""
    max_tokens = min(MAX_CHUNK_TOKENS, encoder.max_tokens)
    chunks = [chunk_document(each, encoder.count_tokens, max_tokens) for each in documents]
    texts = [searchable_text(chunk) for row in chunks for chunk in row]
    vectors = np.empty((len(texts), encoder.dimension), dtype=np.float32)
    sentences = [vectors[:0]] * len(texts)
    for row, text in enumerate(texts):
        if text in known:
            vectors[row], sentences[row] = known[text]
    # Texts of one length together need the least padding; the longest first shows early
    # if memory is short.
    fresh = [row for row, text in enumerate(texts) if text not in known]
    order = sorted(fresh, key=lambda row: -len(texts[row].text))
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
    words = [content_words(text.text) for text in texts]
    starts = np.cumsum([0, *map(len, chunks)])
    return {
        (document.id, document.content_hash): _Rows(
            own,
            vectors[start : start + len(own)],
            sentences[start : start + len(own)],
            words[start : start + len(own)],
        )
        for document, own, start in zip(documents, chunks, starts[:-1], strict=True)
    }


def _by_text(rows: Sequence[_Rows]) -> dict[SearchableText, tuple[Vectors, Vectors]]:
    """The vectors of chunks and of their sentences by the text that was encoded."""
    return {
        searchable_text(chunk): (vector, sentences)
        for each in rows
        for chunk, vector, sentences in zip(each.chunks, each.vectors, each.sentences, strict=True)
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
        [words for row in rows for words in row.words],
    )


def _reusable(old: store.Store | None, encoder: Encoder) -> dict[_Key, _Rows]:
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
            [old.words(row) for row in own],
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


def _nothing_readable(corpus: Path, skipped: Sequence[Skipped]) -> str:
    found = "; ".join(f"{item.document}: {item.reason}" for item in skipped[:5])
    return f"There is no readable note in {corpus}. Put Markdown or text files in it." + (
        f" Passed over: {found}" if found else ""
    )
