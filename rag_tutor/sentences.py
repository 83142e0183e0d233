"""Finds the sentences, list items, table rows and code blocks of a text; knows nothing of
documents or questions.

A sentence is the unit that is cited and checked, so every span is exact: offsets are
characters of the text that was passed in.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import accumulate, takewhile

from rag_tutor.domain import Span
from rag_tutor.hidden import blanked, shapeless_as_spaces

TABLE_RULE = re.compile(r"[ \t]*(?:\|[ \t]*)?:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*(?:\|[ \t]*)?")
_FENCE = re.compile(r"[ \t]*(?:[-*+•][ \t]+|\d{1,3}[.)][ \t]+)?(`{3,}|~{3,})[^`]*$")
_NEW_UNIT = re.compile(
    r"[ \t]*(?:[-*+•][ \t]+|\d{1,3}[.)][ \t]+|#{1,6}[ \t]|\||>|\*\*[^*\n]+\*\*:?[ \t]*$)"
)
LIST_MARK = re.compile(r"\A[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t]+")
_HEADING = re.compile(r"[ \t]*#{1,6}[ \t]")
_RULE = re.compile(r"[ \t]*(?:[-*_=][ \t]*){3,}")
# A full stop inside of these ends nothing.
_CODE_OR_FORMULA = re.compile(r"`[^`\n]+`|\$(?!\s)[^$\n]*[^$\s]\$(?!\d)")
_MARK = r"\[\d+(?:, ?\d+)*\]"
_SENTENCE_END = re.compile(
    rf"""[.!?…。！？]["'”’)\]*_`]*(?:[ \t]*{_MARK})*(?![ \t]*{_MARK})"""
    # What begins with an image, a tag, a token such as "<|end|>", or the mark of a source as chat
    # programs make it, begins anew.
    r"""(?=\s+["'“‘(\[/*_`$]*(?:[A-Z0-9ÄÖÜÀ-Þ\u3040-\u9fff]|!\[|<[A-Za-z!])"""
    r"""|\s*(?:<\s*[/|\uff5c]|<[a-z_]+>|\u3010))"""
)
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|cf|vs|etc|al|Dr|Mr|Mrs|Ms|Prof|St|Fig|Figs|Eq|Eqs|No|Nos|Sec|Ch|ca|approx"
    r"|resp|incl|Inc|Ltd|Jr|Sr|pp|vol|ed)|\b[A-Z])\.$"
)
_ITEM_NUMBER = re.compile(r"(?:#{1,6}[ \t]+)?\d{1,3}\.$")


def sentence_spans(text: str) -> list[Span]:
    """Return the spans of the sentences of `text`, in order and without overlap.

    A list item, a table row or a heading ends a sentence; a fenced code block or display
    formula is one span. White space around a sentence, rules, table lines and what is hidden are
    left out; only inside a sentence, something hidden is part of its span.
    """
    text = shapeless_as_spaces(blanked(text))
    spans: list[Span] = []
    for start, end, is_prose in _units(text):
        while start < end and text[start].isspace():
            start += 1
        while start < end and text[end - 1].isspace():
            end -= 1
        if is_prose:
            spans.extend(_split_prose(text, start, end))
        elif start < end:
            spans.append((start, end))
    return spans


def _units(text: str) -> Iterator[tuple[int, int, bool]]:
    """Runs of lines that belong together; True if they hold prose."""
    lines = text.split("\n")
    starts = [0, *accumulate(len(line) + 1 for line in lines)]
    starts[-1] = len(text)
    rows = _table_rows(lines)
    first = at = 0  # the unit that is being read begins at the line `first`
    while at < len(lines):
        line, after = lines[at], _end_of_block(lines, at)
        is_gap = not line.strip() or bool(_RULE.fullmatch(line) or TABLE_RULE.fullmatch(line))
        if after or is_gap or at in rows or _NEW_UNIT.match(line):
            yield starts[first], starts[at], True
            first = at
        if after or is_gap or at in rows or _HEADING.match(line):
            at = after or at + 1
            if not is_gap:
                yield starts[first], starts[at], bool(_HEADING.match(line))
            first = at
        else:
            at += 1
    yield starts[first], len(text), True


def _end_of_block(lines: Sequence[str], at: int) -> int:
    """The line after the code block or formula that opens at a line; 0 if none does."""
    if fence := _FENCE.match(lines[at]):
        mark = fence[1]
        closing = re.compile(rf"[ \t]*{re.escape(mark[0])}{{{len(mark)},}}[ \t]*")
        following = range(at + 1, len(lines))
        return next((line + 1 for line in following if closing.fullmatch(lines[line])), 0)
    if lines[at].lstrip().startswith("$$"):
        if lines[at].count("$$") == 2 and lines[at].rstrip().endswith("$$"):
            return at + 1
        if lines[at].count("$$") == 1:
            following = range(at + 1, len(lines))
            return next((line + 1 for line in following if "$$" in lines[line]), 0)
    return 0


def _table_rows(lines: Sequence[str]) -> set[int]:
    """The rows of tables, their header included: lines around a rule that has a bar."""
    rows: set[int] = set()
    for at in range(1, len(lines)):
        if "|" in lines[at] and TABLE_RULE.fullmatch(lines[at]) and "|" in lines[at - 1]:
            rows.add(at - 1)
            rows.update(takewhile(lambda row: "|" in lines[row], range(at + 1, len(lines))))
    return rows | {at for at, line in enumerate(lines) if line.lstrip().startswith("|")}


def _split_prose(text: str, start: int, end: int) -> Iterator[Span]:
    whole = [match.span() for match in _CODE_OR_FORMULA.finditer(text, start, end)]
    for match in _SENTENCE_END.finditer(text, start, end):
        stop = match.start() + 1
        if _ABBREVIATION.search(text, start, stop) or _ITEM_NUMBER.fullmatch(text[start:stop]):
            continue
        if any(opening < match.start() < closing - 1 for opening, closing in whole):
            continue
        yield start, match.end()
        start = match.end()
        while start < end and text[start].isspace():
            start += 1
    if start < end:
        yield start, end
