"""Ties an answer to its passages: numbers them into a prompt, checks each sentence that was
written, quotes the notes; knows nothing of models or of how passages are found.

A written sentence counts as supported if one sentence of one passage says it in the same
words: that is what can be checked without a model, and it errs on the side of quoting.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rag_tutor.chunking import plain_text
from rag_tutor.domain import Citation, Message, Passage
from rag_tutor.evidence import Evidence, statement_spans
from rag_tutor.words import content_words, numbers, share_in_order

MARKER = re.compile(r"[ \t]*\[(\d{1,3}(?:,\s*\d{1,3})*)\]")
# The share of a sentence's content words that its source must hold, in the same order.
_SUPPORT = 0.8
_MIN_CONTENT_WORDS = 3

_NEGATION = re.compile(
    r"\b(?:not|no|never|none|nor|neither|without|cannot)\b|n['’]t\b", re.IGNORECASE
)
_NAME = re.compile(r"(?<=[^.!?\s]\s)[(\"'“]*([^\W\d_]*[A-Z][\w-]*)")
_LIST_MARK = re.compile(r"\A[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t]+")

_SYSTEM = "You answer a question with the words of the given notes. You add nothing."
_EXAMPLE: tuple[Message, Message] = (
    {
        "role": "user",
        "content": "Notes:\n[1] Paris is the capital of France. It lies on the Seine.\n"
        "Question: which river runs through Paris",
    },
    {"role": "assistant", "content": "Paris lies on the Seine. [1]"},
)


@dataclass(frozen=True, slots=True)
class _Statement:
    citation: Citation
    words: tuple[str, ...]
    text: str


class Support:
    """Finds which sentence of the passages says what a written sentence says."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self._statements = [
            _statement(number, passage, start, end)
            for number, passage in enumerate(passages, start=1)
            for start, end in statement_spans(passage.chunk.text)
        ]

    def find(self, sentence: str) -> Citation | None:
        """The citation that supports a sentence, which passage it claims notwithstanding."""
        text = plain_text(without_markers(sentence))
        wanted = content_words(text)
        if len(wanted) < _MIN_CONTENT_WORDS or not statement_spans(text):
            return None
        scored = [(share_in_order(wanted, each.words), each) for each in self._statements]
        fitting = [
            (share, each)
            for share, each in scored
            if share >= _SUPPORT and _agrees(text, each.text)
        ]
        return max(fitting, key=lambda pair: pair[0])[1].citation if fitting else None


def prompt(question: str, evidence: Sequence[Evidence]) -> list[Message]:
    """The messages that ask for an answer from numbered evidence.

    Chat-template tokens inside notes or the question are broken up, so that they stay text.
    """
    numbered: dict[int, list[str]] = {}
    for item in evidence:
        numbered.setdefault(item.number, []).append(_one_line(item.text))
    notes = "\n".join(f"[{number}] {' '.join(lines)}" for number, lines in numbered.items())
    content = f"Notes:\n{notes}\nQuestion: {question}".replace("<|", "< |")
    return [
        {"role": "system", "content": _SYSTEM},
        *_EXAMPLE,
        {"role": "user", "content": content},
    ]


def without_markers(text: str) -> str:
    """The text without its markers `[n]`."""
    return MARKER.sub("", text)


def quotation(item: Evidence, passages: Sequence[Passage]) -> tuple[str, Citation]:
    """A sentence of the notes as a Markdown block quote with its marker, and its citation."""
    passage = passages[item.number - 1]
    marker = f" [{item.number}]"
    if item.text.lstrip().startswith(("```", "~~~", "$$")):
        block = f"{item.text}\n\n{marker.strip()}"
    elif item.text.startswith("|"):
        block = "- " + _escape_markers(_row_as_text(item, passage)) + marker
    else:
        block = "- " + _escape_markers(_one_line(_LIST_MARK.sub("", item.text, count=1))) + marker
    quoted = "\n".join(f"> {line}".rstrip() for line in block.split("\n"))
    return quoted, Citation(item.number, passage, item.start, item.end)


def _statement(number: int, passage: Passage, start: int, end: int) -> _Statement:
    chunk = passage.chunk
    text = " ".join([*chunk.heading[-1:], plain_text(chunk.text[start:end])])
    citation = Citation(number, passage, chunk.start + start, chunk.start + end)
    return _Statement(citation, tuple(content_words(text)), text)


def _agrees(sentence: str, source: str) -> bool:
    """Whether numbers, names and negation of a sentence are those of its source."""
    names = {stem for name in _NAME.findall(sentence) for stem in content_words(name)}
    return (
        numbers(sentence) <= numbers(source)
        and names <= set(content_words(source))
        and bool(_NEGATION.search(sentence)) == bool(_NEGATION.search(source))
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _escape_markers(text: str) -> str:
    """A "[3]" that stands in a note is no marker of ours."""
    return re.sub(r"\[(\d[\d,\s]*)\]", r"\\[\1\\]", text)


def _row_as_text(item: Evidence, passage: Passage) -> str:
    """A row of a table as "first cell: column: value; ..." if its header is in the passage."""
    cells = _cells(item.text)
    above = passage.chunk.text[: item.start - passage.chunk.start].rsplit("\n\n", 1)[-1]
    header = _cells(above.split("\n", 1)[0]) if above.startswith("|") else []
    if len(header) != len(cells) or len(cells) < 2:
        return " · ".join(cells)
    pairs = (f"{name}: {cell}" for name, cell in zip(header[1:], cells[1:], strict=True))
    return f"{cells[0]} — {'; '.join(pairs)}"


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip().strip("|").split("|")]
