"""Suggests what to ask next: the headings beside an answer's sources, as questions that the
notes answer. Knows nothing of how they are shown.
"""

import re
from collections.abc import Iterator, Sequence

from rag_tutor.chunking import headings
from rag_tutor.domain import Chunk, Citation, Turn
from rag_tutor.tutor import Tutor
from rag_tutor.words import content_words

_MOST = 3
_FARTHEST = 8
_MAX_TRIED = 8
_ASKS = re.compile(
    r"(?:what|which|who|when|where|why|how|is|are|can|do|does)\b|.*\?$", re.IGNORECASE
)
_GENERAL = frozenset(
    "introduction intro overview summary conclusion conclusions references example examples notes "
    "contents index appendix answer answers solution exercise exercises further reading".split()
)


def suggest_questions(tutor: Tutor, turns: Sequence[Turn]) -> Iterator[str]:
    """At most three follow-ups to the last turn, one at a time as they are found.

    Each leads to its own passage when it is asked next, and none has been asked before.
    Raises TutorError as `Tutor.search` does.
    """
    asked = {_key(text) for turn in turns for text in (turn.question, turn.standalone)}
    found = tried = 0
    for heading, chunk in _neighbours(tutor.store.chunks, turns[-1]):
        question = _question(heading)
        if not question or _key(question) in asked:
            continue
        asked.add(_key(question))
        tried += 1
        if _is_answered(tutor, question, turns, chunk):
            found += 1
            yield question
        if found == _MOST or tried == _MAX_TRIED:
            return


def _neighbours(chunks: Sequence[Chunk], turn: Turn) -> Iterator[tuple[str, Chunk]]:
    """The headings around the cited sentences, the nearest chunks first, and their chunks."""
    cited = dict.fromkeys(citation.passage.chunk for citation in turn.answer.citations)
    rows = {chunk: row for row, chunk in enumerate(chunks) if chunk in cited}
    above = {_heading_above(citation) for citation in turn.answer.citations}
    above.update(heading for chunk in cited for heading in chunk.heading)
    for distance in range(_FARTHEST + 1):
        for chunk in cited:
            for near in dict.fromkeys((distance, -distance)):
                row = rows.get(chunk, len(chunks)) + near
                if 0 <= row < len(chunks) and chunks[row].document_id == chunk.document_id:
                    for heading in _headings(chunks[row]):
                        if heading not in above:
                            yield heading, chunks[row]


def _headings(chunk: Chunk) -> list[str]:
    return [*chunk.heading[-1:], *(heading.title for heading in headings(chunk.text))]


def _heading_above(citation: Citation) -> str:
    """The heading right above a cited sentence."""
    chunk = citation.passage.chunk
    inside = headings(chunk.text[: citation.start - chunk.start] + "\n\nx")
    return inside[-1].title if inside else "".join(chunk.heading[-1:])


def _question(heading: str) -> str:
    if _ASKS.match(heading):
        return f"{heading.rstrip('?. ')}?"
    if not set(heading.lower().split()) - _GENERAL or not content_words(heading):
        return ""
    return f"What do my notes say about {heading}?"


def _is_answered(tutor: Tutor, question: str, turns: Sequence[Turn], chunk: Chunk) -> bool:
    answer = tutor.search(question, turns).answer
    return not answer.refused and chunk in [passage.chunk for passage in answer.passages]


def _key(question: str) -> frozenset[str]:
    return frozenset(content_words(question)) - {"note", "say"}
