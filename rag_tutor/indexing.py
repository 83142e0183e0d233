"""The write path: brings an index up to date with a folder of notes; knows nothing of
questions.

Only changed notes are read and cut again, and only those of their chunks are encoded that the old
index doesn't hold. The new index is written beside the old one, with which it shares what didn't
change, and swapped in; until then, and after any failure, the old one stays in use.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    stamp_of,
)
from rag_tutor.domain import Chunk, Document, Encoder, Vectors
from rag_tutor.errors import CorpusError, IndexMissingError, StaleIndexError, TutorError
from rag_tutor.segment import Rows, Sentences, Version
from rag_tutor.weights import model_identity
from rag_tutor.words import content_words

MAX_CHUNK_TOKENS = 256
_CHUNKING = f"version {CHUNKING_VERSION}, {MAX_CHUNK_TOKENS} tokens"
# Small enough that a question needn't wait long for its turn at the encoder.
_SLICE = 16

Progress = Callable[[int, int], None]
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
        or old.kind.encoder != model_identity(encoder_name)
        or old.kind.chunking != _CHUNKING
    ):
        return False
    if any(needs_conversion(corpus, name) for name in scan_corpus(corpus)[0]):
        return False
    versions, _, _ = _read_unknown(corpus, old.versions)
    return _hashes(versions) == old.manifest.documents


def note_states(corpus: Path, index: Path) -> list[NoteState]:
    """Compare the notes on disk with the index, sorted by name; what is hidden is left out.

    Raises CorpusError.
    """
    _, documents, skipped = _read_unknown(corpus, {})
    old = _open_old(index)
    hashes = old.manifest.documents if old else {}

    def state(name: str, words: int, status: _Status, reason: str = "") -> NoteState:
        chunks = old.chunk_count(name) if old else 0
        return NoteState(name, words, chunks, status, reason, _changed_at(corpus / name))

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
    kind = store.Kind(encoder.name, encoder.dimension, _CHUNKING)
    base = old if old and old.kind == kind and not full else None
    versions, fresh, skipped = _read_unknown(corpus, base.versions if base else {})
    if not versions:
        raise CorpusError(_nothing_readable(corpus, skipped))
    hashes = _hashes(versions)
    gone = {name for name in before if before[name] != hashes.get(name)} if base else set()
    max_tokens = min(MAX_CHUNK_TOKENS, encoder.max_tokens)
    chunks = [chunk_document(each, encoder.count_tokens, max_tokens) for each in fresh]
    count = sum(map(len, chunks))
    if base:
        count += base.row_count - sum(map(base.chunk_count, gone))
    if not count:
        raise CorpusError(f"The notes in {corpus} hold no text. Write something into one of them.")
    if fresh or gone:
        known = _by_text(base.rows_of(gone)) if base else {}
        new = {each.id: versions[each.id] for each in fresh}
        rows = _encode(new, chunks, encoder, known, progress)
        store.write_store(index, kind, rows, base, gone)
    same = [name for name in hashes if before.get(name) == hashes[name]]
    changes = Changes(
        added=tuple(sorted(hashes.keys() - before.keys())),
        changed=tuple(sorted(hashes.keys() & before.keys() - set(same))),
        removed=tuple(sorted(before.keys() - hashes.keys())),
        chunks_before=old.row_count if old else 0,
        chunks_after=count,
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
    corpus: Path, known: Mapping[str, Version]
) -> tuple[dict[str, Version], list[Document], list[Skipped]]:
    """The versions of all notes with text, by name; those notes of them that aren't known; and
    what is passed over. Known notes whose file bears the same stamp aren't read.
    """
    names, skipped = scan_corpus(corpus)
    versions: dict[str, Version] = {}
    documents: list[Document] = []
    for name in names:
        stamp, old = stamp_of(corpus, name), known.get(name)
        if old and stamp and old.stamp == stamp:
            versions[name] = old
            continue
        try:
            content = read_content(corpus, name)
            if old and old.content_hash == content_hash(content):
                versions[name] = old
                continue
            document = document_of(name, content)
        except CorpusError as error:
            skipped.append(Skipped(name, str(error)))
            continue
        if document.text.strip():
            versions[name] = Version(document.content_hash, stamp)
            documents.append(document)
        else:
            skipped.append(Skipped(name, "empty"))
    return versions, documents, skipped


def _hashes(versions: Mapping[str, Version]) -> dict[str, str]:
    return {name: version.content_hash for name, version in versions.items()}


def _encode(
    versions: Mapping[str, Version],
    chunks: Sequence[Sequence[Chunk]],
    encoder: Encoder,
    known: Mapping[SearchableText, tuple[Vectors, Sentences]],
    progress: Progress | None,
) -> Iterator[Rows]:
    """The rows of some notes, of so many at a time as make a segment; a text that is `known` keeps
    its vectors. `chunks` are those of each note.
    """
    done, total = 0, sum(map(len, chunks))
    for notes, own in _in_segments(versions, chunks):
        texts = [searchable_text(chunk) for chunk in own]
        vectors = np.empty((len(texts), encoder.dimension), dtype=np.float32)
        sentences: list[Sentences] = [vectors[:0].astype(np.float16)] * len(texts)
        for row, text in enumerate(texts):
            if text in known:
                vectors[row], sentences[row] = known[text]
        # Texts of one length together need the least padding; the longest first shows early
        # if memory is short.
        fresh = [row for row, text in enumerate(texts) if text not in known]
        order = sorted(fresh, key=lambda row: -len(texts[row].text))
        total -= len(texts) - len(fresh)
        for start in range(0, len(order), _SLICE):
            if progress:
                progress(done + start, total)
            rows = order[start : start + _SLICE]
            spans = [texts[row].sentences for row in rows]
            vectors[rows], parts = encoder.encode_passages([texts[row].text for row in rows], spans)
            ends = np.cumsum([len(spans_of_one) for spans_of_one in spans])
            halves = np.split(parts.astype(np.float16), ends[:-1])
            for row, part in zip(rows, halves, strict=True):
                sentences[row] = part
        done += len(order)
        if progress:
            progress(done, total)
        yield Rows(notes, own, vectors, sentences, [content_words(text.text) for text in texts])


def _in_segments(
    versions: Mapping[str, Version], chunks: Sequence[Sequence[Chunk]]
) -> Iterator[tuple[dict[str, Version], list[Chunk]]]:
    """Notes with their chunks, so many at a time as make a segment."""
    notes: dict[str, Version] = {}
    rows: list[Chunk] = []
    for (name, version), own in zip(versions.items(), chunks, strict=True):
        if rows and len(rows) + len(own) > store.SEGMENT_ROWS:
            yield notes, rows
            notes, rows = {}, []
        notes[name] = version
        rows.extend(own)
    if notes:
        yield notes, rows


def _by_text(rows: Sequence[Rows]) -> dict[SearchableText, tuple[Vectors, Sentences]]:
    """The vectors of chunks and of their sentences by the text that was encoded."""
    return {
        searchable_text(chunk): (vector, sentences)
        for each in rows
        for chunk, vector, sentences in zip(each.chunks, each.vectors, each.sentences, strict=True)
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
