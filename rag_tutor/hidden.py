"""Finds what a text hides from its reader: comments, elements that are marked as hidden, characters
without a shape; knows nothing of documents or of what the text says.

Nobody has read it, so it is no part of what the notes say, though it stands in them. Only what a
viewer of Markdown never shows counts as hidden, as text in the colour of its background doesn't.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator

from rag_tutor.domain import Span

# They join, part or turn the characters around them, or spell a text that can't be seen. In some
# scripts the two joiners belong to a word's spelling, but not behind a Latin letter.
_SHAPELESS = re.compile(
    "[\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e007f]|(?<=[\\x00-\\x7f])[\u200c\u200d]+"
)
# Code is shown as it is, and so is a comment in it. Of a link's definition only a title, which
# "[//]: # (…)" uses for comments, can hold a sentence.
_OPENING = re.compile(
    r"""
      ^[ \t]*(?P<fence>`{3,}|~{3,})[^\n]*\n(?:.*?^[ \t]*(?P=fence)|.*\Z)
    | (?<!`)(?P<ticks>`+)(?!`)[^\n]{1,500}?(?<!`)(?P=ticks)(?!`)
    | (?P<comment><!--)
    | (?P<definition>^[ ]{0,3}\[[^\]\n^][^\]\n]{0,99}\]:[ \t]*\S{1,500}[ \t]+
        (?:"[^"\n]*"|'[^'\n]*'|\([^)\n]*\))[ \t]*$)
    | <(?P<tag>[a-z][a-z0-9]*)(?P<attributes>\s[^<>]{1,500})?>
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE | re.IGNORECASE,
)
_CLOSING = re.compile(r"(?P<comment>-->)|</(?P<tag>[a-z][a-z0-9]*)\s*>", re.IGNORECASE)
_MARKED = re.compile(
    r"""(?:^|\s)(?:hidden(?=\s|=|/|$)|style\s*=\s*["'][^"']*"""
    r"(?:display\s*:\s*none|visibility\s*:\s*hidden|(?:opacity|font-size)\s*:\s*0(?![.\d])))",
    re.IGNORECASE,
)
_OWN_LINE = re.compile(r"(?:\A|\n) {0,3}\Z")


def blanked(text: str) -> str:
    """The text with spaces in the place of each hidden character but line ends: of the same length,
    so that offsets stay.
    """
    if "<" not in text and "]:" not in text:
        return text
    parts, at = [], 0
    for start, end in _hidden_spans(text):
        parts += [text[at:start], re.sub(r"[^\n]", " ", text[start:end])]
        at = end
    return "".join([*parts, text[at:]])


def visible(text: str) -> str:
    """The text without what is hidden in it."""
    return without_shapeless(blanked(text))


def without_shapeless(text: str) -> str:
    """The text without characters that have no shape of their own."""
    return _SHAPELESS.sub("", text)


def shapeless_as_spaces(text: str) -> str:
    """The text with a space for each character without a shape: of the same length."""
    return _SHAPELESS.sub(lambda found: " " * len(found[0]), text)


def _hidden_spans(text: str) -> Iterator[Span]:
    """The spans of what is hidden, in order."""
    closings: dict[str, list[int]] = {}
    for closing in _CLOSING.finditer(text):
        name = "comment" if closing["comment"] else f"/{closing['tag'].lower()}"
        closings.setdefault(name, []).append(closing.end())
    at = 0
    while found := _OPENING.search(text, at):
        at = found.end()
        if found["definition"]:
            yield found.span()
        elif found["comment"]:
            end = _first_after(closings.get("comment", []), at)
            # One that nothing closes hides all that follows, if it begins a line.
            if not end and _OWN_LINE.search(text, max(found.start() - 4, 0), found.start()):
                end = len(text)
            if end:
                yield found.start(), end
            at = end or at
        elif found["tag"] and _is_hidden(found["tag"], found["attributes"] or ""):
            end = _first_after(closings.get(f"/{found['tag'].lower()}", []), at)
            if end:
                yield found.start(), end
            at = end or at


def _is_hidden(tag: str, attributes: str) -> bool:
    return tag.lower() == "template" or bool(_MARKED.search(attributes))


def _first_after(places: list[int], at: int) -> int:
    """The first of sorted places behind another one; 0 if there is none."""
    following = bisect_left(places, at + 1)
    return places[following] if following < len(places) else 0
