"""Finds where notes disagree: sentences of different sections that answer a question with
different years or amounts; knows nothing of models or of how answers are shown.

They do if each, with the headings and the question above it, holds most of the question's words,
and at least half of what the shorter one says stands in the other one or in the question. That is
made to be right rather than complete: of the examples in training/data it finds a third of those
whose notes disagree, and sees it in one of the 2,612 others.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rag_tutor.chunking import is_title, plain_text
from rag_tutor.domain import Citation, Passage
from rag_tutor.evidence import without_label
from rag_tutor.sentences import LIST_MARK, sentence_spans
from rag_tutor.words import content_words

# Chosen on the examples in training/data.
_COVERED = 0.6
_SHARED = 0.5
_WHEN = re.compile(r"\b(?:when|years?|dated?)\b", re.IGNORECASE)
_AMOUNT = re.compile(
    r"\bhow (?:many|much|long|old|big|large|high|fast|far|deep|often|heavy|tall|wide|hot|cold"
    r"|strong)\b|%"
    r"|\b(?:value|number|percent(?:age)?|share|size|limit|max(?:imum)?|min(?:imum)?|normal|default"
    r"|target|age|rate|length|speed|temperature|amount|dose|duration|threshold|population|height"
    r"|weight|cost|price|range|ratio)\b",
    re.IGNORECASE,
)
# They ask, and needn't stand in an answer.
_ASKING = frozenset(
    content_words(
        "year date value number many much long old big high fast far often default normal maximum"
        " max minimum limit come up go exactly first"
    )
)
_SPELLED = {
    word: str(number)
    for number, word in enumerate(
        "two three four five six seven eight nine ten eleven twelve".split(), start=2
    )
} | {"fifteen": "15", "twenty": "20", "thirty": "30", "fifty": "50"}
_SPELLED_NUMBER = re.compile(rf"\b(?:{'|'.join(_SPELLED)})\b", re.IGNORECASE)
_YEAR = re.compile(
    r"(?<![\d.,£$€])\b(1\d{3}|20\d{2}|\d{2,4}(?= ?(?:BC|AD)))\b(?![.,]?\d| ?(?:%|km|m\b|people))"
)
_NUMBER = r"\d+(?:[.,]\d+)*"
# A number or a range, and the unit behind it, if that is what the next word is.
_QUANTITY = re.compile(
    rf"(?<![\w.,])({_NUMBER}(?:\s?[-–/]\s?{_NUMBER})?)[\s*_`]*"
    r"(?!(?:of|and|or|to|in|is|for|the|an?|by|if|as|at|on|from|are|with)\b)(%|°?[A-Za-z][\w/]*)?"
)
_SHORT_UNITS = {"yr": "year", "yrs": "year", "h": "hour", "hrs": "hour", "percent": "%"}


@dataclass(frozen=True, slots=True)
class _Statement:
    """A sentence; `words` without numbers, `context` with those of what stands above it too."""

    citation: Citation
    text: str
    words: frozenset[str]
    context: frozenset[str]

    @property
    def section(self) -> tuple[str, tuple[str, ...]]:
        chunk = self.citation.passage.chunk
        return chunk.document_id, chunk.heading


def disagreeing(
    question: str, citation: Citation, passages: Sequence[Passage]
) -> tuple[Citation, ...]:
    """The sentences that answer a question with another number than a cited one, of each passage
    the first; a question that doesn't ask for a number has none.
    """
    wanted = frozenset(content_words(question)) - _ASKING
    if not wanted or not (_WHEN.search(question) or _AMOUNT.search(question)):
        return ()
    statements = [
        each
        for number, passage in enumerate(passages, start=1)
        for each in _statements(number, passage)
    ]
    place = citation.number, citation.end
    found: dict[int, Citation] = {}
    for own in statements:
        if (own.citation.number, own.citation.end) == place:
            for other in statements:
                if _disagree(question, wanted, own, other):
                    found.setdefault(other.citation.number, other.citation)
    return tuple(found.values())


def _statements(number: int, passage: Passage) -> Iterator[_Statement]:
    chunk = passage.chunk
    text = chunk.text
    for before, sentence in pairwise([(0, 0), *sentence_spans(text)]):
        span = without_label(text, sentence)
        if _is_question(text[slice(*sentence)]) or is_title(chunk, sentence):
            continue
        plain = plain_text(LIST_MARK.sub("", text[slice(*span)], count=1))
        said = frozenset(content_words(re.sub(_NUMBER, " ", _SPELLED_NUMBER.sub(" ", plain))))
        asked = text[slice(*before)] if _is_question(text[slice(*before)]) else ""
        above = content_words(" ".join([*chunk.heading, plain_text(asked)]))
        start, end = chunk.start + span[0], chunk.start + span[1]
        citation = Citation(number, passage, start, end, "quoted")
        yield _Statement(citation, plain, said, said.union(above))


def _is_question(sentence: str) -> bool:
    return sentence.rstrip("*_` ").endswith("?")


def _disagree(question: str, wanted: frozenset[str], one: _Statement, other: _Statement) -> bool:
    if one.section == other.section:
        return False
    if any(len(wanted & each.context) < _COVERED * len(wanted) for each in (one, other)):
        return False
    shorter, longer = sorted((one, other), key=lambda each: len(each.words))
    if len(shorter.words & (longer.words | wanted)) < _SHARED * len(shorter.words):
        return False
    if _WHEN.search(question):
        years, others = set(_YEAR.findall(one.text)), set(_YEAR.findall(other.text))
        return bool(years and others) and not years & others
    return _other_amount(_quantities(one.text), _quantities(other.text))


def _other_amount(one: Sequence[tuple[str, str]], other: Sequence[tuple[str, str]]) -> bool:
    """Whether the only amount of a unit, or the only one of all, is another one."""
    units = {unit for _, unit in one if unit} & {unit for _, unit in other if unit}
    for unit in units:
        values, others = ({value for value, own in each if own == unit} for each in (one, other))
        if len(values) == len(others) == 1 and not _equal(values.pop(), others.pop()):
            return True
    if len(one) != 1 or len(other) != 1:
        return False
    [(value, unit)], [(other_value, other_unit)] = one, other
    return not (unit and other_unit) and not _equal(value, other_value)


def _quantities(text: str) -> list[tuple[str, str]]:
    """The numbers and ranges of a text, each with its unit, or ""."""
    text = _SPELLED_NUMBER.sub(lambda word: _SPELLED[word[0].lower()], text)
    found = []
    for number, unit in _QUANTITY.findall(text):
        value = re.sub(r"\s|(?<=\d),(?=\d{3})", "", number).replace("–", "-")
        stem = "".join(content_words(unit)[:1]) or unit
        found.append((value, _SHORT_UNITS.get(unit.lower(), stem)))
    return found


def _equal(one: str, other: str) -> bool:
    """Whether two amounts are the same, or one is the other one rounded."""
    places = sorted(len(each.partition(".")[2]) for each in (one, other))
    try:
        values = float(one), float(other)
    except ValueError:  # a range
        return one == other
    if places[0] == places[1]:
        return values[0] == values[1]
    return round(values[0], places[0]) == round(values[1], places[0])
