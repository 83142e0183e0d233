"""Suggests what to ask: headings of the notes as questions that the notes answer. Knows nothing
of how they are shown.
"""

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from rag_tutor.chunking import clean_heading, headings
from rag_tutor.corpus import read_document, scan_corpus
from rag_tutor.domain import Chunk, Citation, Turn
from rag_tutor.errors import CorpusError, IndexMissingError
from rag_tutor.heading_questions import question_about, written_capitals
from rag_tutor.tutor import Tutor
from rag_tutor.words import content_words

_MOST = 3
_FARTHEST = 8
_MAX_TRIED = 8
_STARTING = 4
_MOST_READ = 5_000
_QUESTION = re.compile(r"^[ \t]*(?:#{1,6}\s|\d{1,3}[.)]\s|\*\*).{10,80}\?[*_ \t]*$", re.MULTILINE)
# What a question is asked with says nothing of its subject.
_ASKING = frozenset(content_words("explain know involve mean differ difference"))


def starting_questions(tutor: Tutor) -> list[str]:
    """A few questions from all over the notes to begin with; other ones each time.

    Headings that are questions come first; the others become questions, of which those are taken
    that the notes answer. Raises TutorError as `Tutor.search` does.
    """
    try:
        names, _ = scan_corpus(tutor.settings.corpus)
    except CorpusError:
        return []
    build = _build(tutor)
    capitals = _capitals(tutor, build)
    headings = [each for name in names for each in _question_headings(tutor.settings.corpus, name)]
    asked = (question_about(heading, "", "", capitals) for heading in headings)
    found = list(dict.fromkeys(filter(None, asked)))
    if len(found) < _STARTING:
        found = list(dict.fromkeys([*found, *_answered_headings(tutor, build)]))
    return random.sample(found, min(_STARTING, len(found)))


def suggest_questions(tutor: Tutor, turns: Sequence[Turn]) -> Iterator[str]:
    """At most three follow-ups to the last turn, one at a time as they are found.

    Each leads to its own passage when it is asked next, and none has been asked before.
    Raises TutorError as `Tutor.search` does.
    """
    asked = {_key(text) for turn in turns for text in (turn.question, turn.standalone)}
    found = tried = 0
    capitals = _capitals(tutor, tutor.store.build)
    for heading, chunk in _neighbours(tutor.store.chunks_of, turns[-1]):
        question = _question(heading, chunk, capitals)
        if not question or _key(question) in asked:
            continue
        asked.add(_key(question))
        tried += 1
        if _is_answered(tutor, question, turns, chunk):
            found += 1
            yield question
        if found == _MOST or tried == _MAX_TRIED:
            return


def _neighbours(
    chunks_of: Callable[[str], Sequence[Chunk]], turn: Turn
) -> Iterator[tuple[str, Chunk]]:
    """The headings around the cited sentences, the nearest chunks first, and their chunks."""
    cited = dict.fromkeys(citation.passage.chunk for citation in turn.answer.citations)
    notes = {chunk: chunks_of(chunk.document_id) for chunk in cited}
    above = {_heading_above(citation) for citation in turn.answer.citations}
    above.update(heading for chunk in cited for heading in chunk.heading)
    for distance in range(_FARTHEST + 1):
        for chunk, note in notes.items():
            if chunk not in note:  # which was edited since
                continue
            row = note.index(chunk)
            for near in dict.fromkeys((row + distance, row - distance)):
                if 0 <= near < len(note):
                    for heading in _headings(note[near]):
                        if heading not in above:
                            yield heading, note[near]


def _headings(chunk: Chunk) -> list[str]:
    return [*chunk.heading[-1:], *(heading.title for heading in headings(chunk.text))]


def _heading_above(citation: Citation) -> str:
    """The heading right above a cited sentence."""
    chunk = citation.passage.chunk
    inside = headings(chunk.text[: citation.start - chunk.start] + "\n\nx")
    return inside[-1].title if inside else "".join(chunk.heading[-1:])


def _question(heading: str, chunk: Chunk, capitals: Mapping[str, bool]) -> str:
    above = chunk.heading[:-1] if heading in chunk.heading[-1:] else chunk.heading
    return question_about(heading, "".join(above[-1:]), chunk.text, capitals)


def _is_answered(tutor: Tutor, question: str, turns: Sequence[Turn], chunk: Chunk) -> bool:
    answer = tutor.search(question, turns).answer
    return not answer.refused and chunk in [passage.chunk for passage in answer.passages]


def _key(question: str) -> frozenset[str]:
    return frozenset(content_words(question)) - _ASKING


def _question_headings(corpus: Path, name: str) -> list[str]:
    try:
        text = read_document(corpus, name).text
    except CorpusError:
        return []
    found = [clean_heading(match[0].strip()) for match in _QUESTION.finditer(text)]
    return [heading for heading in found if heading[0].isalpha()]


def _build(tutor: Tutor) -> str:
    """The index in use, or "" before the first one."""
    try:
        return tutor.store.build
    except IndexMissingError:
        return ""


@lru_cache(maxsize=1)  # for one build, since it reads all notes
def _capitals(tutor: Tutor, build: str) -> Mapping[str, bool]:
    return written_capitals(chunk.text for chunk in _some_chunks(tutor)) if build else {}


@lru_cache(maxsize=1)  # for one build, since it takes a search for each heading
def _answered_headings(tutor: Tutor, build: str) -> tuple[str, ...]:
    """Questions made of headings from anywhere in the notes, which the notes answer."""
    if not build:
        return ()
    places = [(heading, chunk) for chunk in _some_chunks(tutor) for heading in _headings(chunk)]
    found: dict[str, None] = {}
    capitals = _capitals(tutor, build)
    for heading, chunk in random.sample(places, min(_MAX_TRIED, len(places))):
        question = _question(heading, chunk, capitals)
        if question and question not in found and _is_answered(tutor, question, (), chunk):
            found[question] = None
    return tuple(found)


def _some_chunks(tutor: Tutor) -> Sequence[Chunk]:
    """All chunks, or of very many some from all over the notes: reading a million takes minutes."""
    chunks = tutor.store.chunks
    return chunks[:: -(-len(chunks) // _MOST_READ)]
