"""Finds the list that a question asks for in the outline of the notes: sub-headings or list items
of one section, wherever they stand; knows nothing of how passages are found or lists are shown.

The items of a long list stand in chunks of their own, of which a search finds some.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rag_tutor.chunking import clean_heading, is_title, plain_text
from rag_tutor.domain import Chunk, Citation, Passage, Reader
from rag_tutor.sentences import LIST_MARK, sentence_spans

_FEWEST, _MOST = 2, 20
# Of an item, as much is read; its beginning tells what it is.
_READ_CHARACTERS = 120


_ASKS_FOR_SEVERAL = re.compile(
    r"\b(?:list|name (?:all|the|some)|give me|collect|every|all the|steps?|what are|which are"
    r"|(?:what|which) (?:\w+ ){0,2}(?:\w+s) (?:are|do|can|does|did|have|could|should)"
    r"|kinds?|types?|options|ways|techniques|methods|challenges|advantages|drawbacks"
    r"|applications|strategies|examples)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Item:
    """An item of a list: `text` is `[start, end)` of its document, and stands in `chunk`."""

    chunk: Chunk
    start: int
    end: int

    @property
    def text(self) -> str:
        """The item as the note has it."""
        return self.chunk.text[self.start - self.chunk.start : self.end - self.chunk.start]


@dataclass(frozen=True, slots=True)
class Listing:
    """The items of a section, in the order of the note, and how well they answer (a logit)."""

    heading: tuple[str, ...]
    items: tuple[Item, ...]
    relevance: float


def asks_for_several(question: str) -> bool:
    """Whether the answer to a question is a list."""
    return bool(_ASKS_FOR_SEVERAL.search(question))


def find_listing(
    question: str,
    passages: Sequence[Passage],
    chunks_of: Callable[[str], Sequence[Chunk]],
    reader: Reader,
) -> Listing | None:
    """The list around the passages that answers the question best by the reader's judgement.

    `chunks_of` gives all chunks of a document in order. None if no passage is part of a list.
    """
    sections = dict.fromkeys(
        (passage.chunk.document_id, passage.chunk.heading[:depth])
        for passage in passages
        for depth in (len(passage.chunk.heading), len(passage.chunk.heading) - 1)
        if depth > 0
    )
    lists = [
        (heading, items)
        for document_id, heading in sections
        if _FEWEST <= len(items := list_items(chunks_of(document_id), heading)) <= _MOST
    ]
    texts = [_outline(heading, items) for heading, items in lists]
    readings = reader.read(question, texts, [()] * len(texts))
    found = [
        Listing(heading, tuple(items), reading.relevance)
        for (heading, items), reading in zip(lists, readings, strict=True)
    ]
    return max(found, key=lambda listing: listing.relevance, default=None)


def list_items(chunks: Sequence[Chunk], heading: tuple[str, ...]) -> list[Item]:
    """The sub-headings of a section, or, if it has none, its list items."""
    depth = len(heading)
    own = [chunk for chunk in chunks if chunk.heading[:depth] == heading]
    below: dict[str, Chunk] = {}
    for chunk in own:
        if len(chunk.heading) > depth:
            below.setdefault(chunk.heading[depth], chunk)
    titles = [
        Item(chunk, chunk.start, chunk.start + len(line))
        for title, chunk in below.items()
        if clean_heading(line := chunk.text.split("\n", 1)[0]) == title
    ]
    # Questions that stand below each other are a list of exercises, not of answers.
    if len(titles) >= _FEWEST and not any(
        item.text.rstrip("*_` ").endswith("?") for item in titles
    ):
        return titles
    return [item for chunk in own if len(chunk.heading) == depth for item in _items(chunk)]


def _items(chunk: Chunk) -> Iterator[Item]:
    """The list items of a chunk that are in no other item; of each its first sentence."""
    text = chunk.text
    spans = [
        span
        for span in sentence_spans(text)
        if LIST_MARK.match(text[slice(*span)]) and not is_title(chunk, span)
    ]
    indents = [span[0] - text.rfind("\n", 0, span[0]) for span in spans]
    for (start, end), indent in zip(spans, indents, strict=True):
        if indent == min(indents):
            yield Item(chunk, chunk.start + start, chunk.start + end)


def _outline(heading: Sequence[str], items: Sequence[Item]) -> str:
    lines = (plain_text(LIST_MARK.sub("", item.text))[:_READ_CHARACTERS] for item in items)
    return "\n".join([" > ".join(heading), *lines])


def cited_items(
    listing: Listing, passages: Sequence[Passage]
) -> tuple[tuple[Passage, ...], list[Citation]]:
    """The passages with those of the items that aren't among them, and each item's citation."""
    known = [*passages]
    citations = []
    for item in listing.items:
        held = [passage.chunk for passage in known]
        if item.chunk not in held:
            known.append(Passage(item.chunk, passages[-1].score, ("outline",)))
            held.append(item.chunk)
        number = held.index(item.chunk) + 1
        citations.append(Citation(number, known[number - 1], item.start, item.end, "quoted"))
    return tuple(known), citations
