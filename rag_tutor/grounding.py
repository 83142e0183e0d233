"""Ties an answer to its passages: numbers them into a prompt, checks each sentence that was
written, quotes the notes; knows nothing of models or of how passages are found.

A written sentence counts as supported if one sentence of one passage, or its heading, holds
all of its words in the same order, its numbers whole, and is negated if it is: it may only
leave words out. That can be checked without a model, and errs on the side of quoting.
"""

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from rag_tutor.chunking import plain_text
from rag_tutor.domain import Citation, Message, Passage
from rag_tutor.evidence import Evidence, statement_spans
from rag_tutor.sentences import LIST_MARK, TABLE_RULE
from rag_tutor.words import claim_words, numbers, stand_in_order

MARKER = re.compile(r"[ \t]*\[(\d{1,3}(?:,\s*\d{1,3})*)\]")
_MIN_WORDS = 3

_NEGATION = re.compile(
    r"\b(?:not|no|never|none|nor|neither|without|cannot)\b|n['’]t\b", re.IGNORECASE
)

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
        text = plain_text(bare_sentence(sentence))
        claimed = claim_words(text)
        if len(claimed) < _MIN_WORDS or not statement_spans(text):
            return None
        for each in self._statements:
            if stand_in_order(claimed, each.words) and _agrees(text, each.text):
                return each.citation
        return None

    def may_follow(self, beginning: str) -> bool:
        """Whether a sentence that begins so can still be supported; its last word may grow."""
        whole_words = bare_sentence(beginning).rpartition(" ")[0]
        claimed = claim_words(plain_text(whole_words))
        return any(stand_in_order(claimed, each.words) for each in self._statements)


def prompt(question: str, evidence: Sequence[Evidence]) -> list[Message]:
    """The messages that ask for an answer from numbered evidence."""
    numbered: dict[int, list[str]] = {}
    for item in evidence:
        numbered.setdefault(item.number, []).append(_one_line(item.text))
    notes = "\n".join(f"[{number}] {' '.join(lines)}" for number, lines in numbered.items())
    return [
        {"role": "system", "content": _SYSTEM},
        *_EXAMPLE,
        {"role": "user", "content": f"Notes:\n{notes}\nQuestion: {question}"},
    ]


def without_markers(text: str) -> str:
    """The text without its markers `[n]`, those included that their removal would form."""
    while (shorter := MARKER.sub("", text)) != text:
        text = shorter
    return text


def bare_sentence(text: str) -> str:
    """A written sentence without its markers and the mark of a list item."""
    return LIST_MARK.sub("", without_markers(text).strip(), count=1)


def escape_markers(text: str) -> str:
    """Keep a "[3]" that stands in a note from being taken for a marker; it looks the same."""
    return re.sub(r"\[(?=\d[\d,\s]*\])", "[\u2060", text)


def quotation(item: Evidence, passages: Sequence[Passage]) -> tuple[str, Citation]:
    """A sentence of the notes as a Markdown block quote with its marker, and its citation.

    Markers stand outside code, which is quoted as it is.
    """
    passage = passages[item.number - 1]
    marker = f"[{item.number}]"
    text = textwrap.dedent(LIST_MARK.sub(lambda mark: " " * len(mark[0]), item.text, count=1))
    if text.startswith(("```", "~~~", "$$")):
        block = f"{text}\n\n{marker}"
    else:
        block = f"- {escape_markers(_row_as_text(item, passage) or _one_line(text))} {marker}"
    quoted = "\n".join(f"> {line}".rstrip() for line in block.split("\n"))
    return quoted, Citation(item.number, passage, item.start, item.end)


def _statement(number: int, passage: Passage, start: int, end: int) -> _Statement:
    chunk = passage.chunk
    text = " ".join([*chunk.heading[-1:], plain_text(chunk.text[start:end])])
    citation = Citation(number, passage, chunk.start + start, chunk.start + end)
    return _Statement(citation, tuple(claim_words(text)), text)


def _agrees(sentence: str, source: str) -> bool:
    """Whether a sentence's numbers are whole in its source, and both or neither are negated."""
    return numbers(sentence) <= numbers(source) and (
        bool(_NEGATION.search(sentence)) == bool(_NEGATION.search(source))
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _row_as_text(item: Evidence, passage: Passage) -> str:
    """A row of a table as "first cell — column: value; ..."; nothing for other sentences."""
    above = passage.chunk.text[: item.start - passage.chunk.start].rsplit("\n\n", 1)[-1]
    header, *rest = above.split("\n")
    in_table = bool(rest) and bool(TABLE_RULE.fullmatch(rest[0]))
    if not in_table and not item.text.startswith("|"):
        return ""
    cells, names = _cells(item.text), _cells(header)
    if not in_table or len(names) != len(cells) or len(cells) < 2:
        return " · ".join(cells)
    pairs = (f"{name}: {cell}" for name, cell in zip(names[1:], cells[1:], strict=True))
    return f"{cells[0]} — {'; '.join(pairs)}"


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip().strip("|").split("|")]
