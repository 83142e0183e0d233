"""Finds what became of the notes that an answer cites; knows nothing of how they are shown."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from rag_tutor.conversations import SavedTurn
from rag_tutor.corpus import read_document
from rag_tutor.domain import Citation, Document, Span
from rag_tutor.errors import CorpusError

Change = Literal["changed", "sentence gone", "not readable", "note gone"]


@dataclass(frozen=True, slots=True)
class Place:
    """A cited sentence in its note as the note is now; without a span it isn't there any more."""

    document: Document
    span: Span | None


def read_note(corpus: Path, document_id: str) -> Document:
    """Read a note, once for each state of its file. Raises CorpusError."""
    try:
        stat = (corpus / document_id).stat()
    except (OSError, ValueError) as error:
        raise CorpusError(f"{document_id} isn't among the notes any more.") from error
    return _read(corpus, document_id, stat.st_mtime_ns, stat.st_size)


def find_place(corpus: Path, document_id: str, start: int, quote: str) -> Place:
    """Find a quoted sentence in its note, the nearest to its old place. Raises CorpusError."""
    document = read_note(corpus, document_id)
    return Place(document, _nearest(document.text, start, quote))


def changes(corpus: Path, saved: SavedTurn) -> dict[str, Change]:
    """The cited notes of an answer that aren't as they were when it was given, and how."""
    found: dict[str, Change] = {}
    for citation in saved.turn.answer.citations:
        name = citation.passage.chunk.document_id
        change = _change(corpus, saved.hashes.get(name, ""), citation)
        if change and found.get(name) != "sentence gone":
            found[name] = change
    return found


def _change(corpus: Path, content_hash: str, citation: Citation) -> Change | None:
    chunk = citation.passage.chunk
    try:
        document = read_note(corpus, chunk.document_id)
    except CorpusError:
        return "not readable" if (corpus / chunk.document_id).exists() else "note gone"
    if document.content_hash == content_hash:
        return None
    if citation.quote not in document.text:
        return "sentence gone"
    return "changed" if content_hash else None


def _nearest(text: str, start: int, quote: str) -> Span | None:
    if not quote:
        return None
    before = text.rfind(quote, 0, start + len(quote))
    after = text.find(quote, start)
    found = [at for at in (before, after) if at >= 0]
    if not found:
        return None
    at = min(found, key=lambda at: abs(at - start))
    return at, at + len(quote)


@lru_cache(maxsize=32)
def _read(corpus: Path, document_id: str, modified_ns: int, size: int) -> Document:
    return read_document(corpus, document_id)
