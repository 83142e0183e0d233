"""Finds the sentences, list items, table rows and code blocks of a text; knows nothing of
documents or questions.

A sentence is the unit that is cited and checked, so every span is exact: offsets are
characters of the text that was passed in.
"""

import re
from collections.abc import Iterator

Span = tuple[int, int]

_FENCE = re.compile(r"[ \t]*(```+|~~~+|\$\$)")
_NEW_UNIT = re.compile(
    r"[ \t]*(?:[-*+•][ \t]+|\d{1,3}[.)][ \t]+|#{1,6}[ \t]|\||>|\*\*[^*\n]+\*\*:?[ \t]*$)"
)
_HEADING = re.compile(r"[ \t]*#{1,6}[ \t]")
_RULE_OR_TABLE_LINE = re.compile(r"[ \t]*(?:[-*_=][ \t]*){3,}$|[ \t]*\|[ \t:|+-]+$")
_SENTENCE_END = re.compile(
    r"""[.!?…]["'”’)\]*_`]*(?:[ \t]*\[\d+\])*(?![ \t]*\[\d+\])(?=\s+["'“‘(\[*_`$]*[A-Z0-9ÄÖÜÀ-Þ])"""
)
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|cf|vs|etc|al|Dr|Mr|Mrs|Ms|Prof|St|Fig|Figs|Eq|Eqs|No|Nos|Sec|Ch|ca|approx"
    r"|resp|incl|Inc|Ltd|Jr|Sr|pp|vol|ed)|\b[A-Z])\.$"
)
_ITEM_NUMBER = re.compile(r"(?:#{1,6}[ \t]+)?\d{1,3}\.$")


def sentence_spans(text: str) -> list[Span]:
    """Return the spans of the sentences of `text`, in order and without overlap.

    A list item, a table row or a heading ends a sentence; a fenced code block or display
    formula is one span. White space around a sentence, rules and table lines are left out.
    """
    spans: list[Span] = []
    for start, end, is_prose in _units(text):
        if is_prose:
            spans.extend(_split_prose(text, start, end))
        else:
            spans.append((start, end))
    return spans


def _units(text: str) -> Iterator[tuple[int, int, bool]]:
    """Runs of lines that belong together, trimmed; True if they hold prose."""
    start = end = 0
    fence = ""
    position = 0
    for line in text.splitlines(keepends=True):
        line_start, position = position, position + len(line)
        mark = _FENCE.match(line)
        if fence:
            end = position
            if mark and mark.group(1).startswith(fence):
                yield from _trimmed(text, start, end, False)
                fence, start = "", position
        elif mark and line.strip() and line.count("$$") != 2:
            yield from _trimmed(text, start, end, True)
            fence, start, end = mark.group(1), line_start, position
        elif not line.strip() or _RULE_OR_TABLE_LINE.match(line.rstrip("\n")):
            yield from _trimmed(text, start, end, True)
            start = end = position
        else:
            if _NEW_UNIT.match(line.rstrip("\n")):
                yield from _trimmed(text, start, end, True)
                start = line_start
            elif start >= end:
                start = line_start
            end = position
            if _HEADING.match(line):
                yield from _trimmed(text, start, end, True)
                start = end
    yield from _trimmed(text, start, end, not fence)


def _trimmed(text: str, start: int, end: int, is_prose: bool) -> Iterator[tuple[int, int, bool]]:
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    if start < end:
        yield start, end, is_prose


def _split_prose(text: str, start: int, end: int) -> Iterator[Span]:
    if text[start] == "|":
        yield start, end
        return
    for match in _SENTENCE_END.finditer(text, start, end):
        stop = match.start() + 1
        if _ABBREVIATION.search(text, start, stop) or _ITEM_NUMBER.fullmatch(text[start:stop]):
            continue
        yield start, match.end()
        start = match.end()
        while start < end and text[start].isspace():
            start += 1
    if start < end:
        yield start, end
