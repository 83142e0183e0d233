"""Finds the lists of the notes in their outline: the sub-headings or list items of a section,
wherever they stand; knows nothing of how passages are found or lists are shown.

The items of a long list stand in chunks of their own, of which a search finds some.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from rag_tutor.chunking import clean_heading, is_title, plain_text
from rag_tutor.domain import Chunk, Citation, Passage, Reader
from rag_tutor.evidence import statement_spans
from rag_tutor.sentences import LIST_MARK, sentence_spans

_FEWEST, _MOST = 2, 20
# Of an item, as much is read; its beginning tells what it is.
_READ_CHARACTERS = 200
_STRUCTURAL = re.compile(
    r"(?:introduction|overview|summary|summary table|conclusions?|examples?|references|exercises)",
    re.IGNORECASE,
)
_SECTION = re.compile(r"#+ (?!\d)")
# A heading, or a label whose text stands below it.
_NAME = re.compile(r"#|.*[:*_]$", re.DOTALL)
_BELOW = re.compile(r"[\s>*+-]*")
# With more words than these, a list is longer than one reads: its names must do.
_MOST_WORDS, _MOST_OWN_WORDS = 200, 60
# Chosen on the questions for lists in benchmarks/questions and of the development set.
_RANK_WEIGHT = 1.0
_SECTIONS_PENALTY = 3.0


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
    """The items of a section, in the order of the note."""

    heading: tuple[str, ...]
    items: tuple[Item, ...]

    def holds(self, citation: Citation) -> bool:
        """Whether a citation is of one of the items."""
        place = citation.passage.chunk.document_id, citation.start
        return any((item.chunk.document_id, item.start) == place for item in self.items)

    @property
    def explained(self) -> "Listing":
        """The list with what stands below each item that is only a name, if that isn't too long."""
        nexts = [*self.items[1:], None]
        items = tuple(map(_with_statement, self.items, nexts))
        is_short = sum(len(item.text.split()) for item in items) <= _MOST_WORDS
        return Listing(self.heading, items) if is_short else self

    def citations(self, passages: Sequence[Passage]) -> list[Citation]:
        """Each item's citation; those that no passage holds are numbered from the last one on."""
        known = [*passages]
        found = []
        for item in self.items:
            held = [passage.chunk for passage in known]
            if item.chunk not in held:
                known.append(Passage(item.chunk, passages[-1].score, ("outline",)))
                held.append(item.chunk)
            number = held.index(item.chunk) + 1
            found.append(Citation(number, known[number - 1], item.start, item.end, "quoted"))
        return found


def listings_around(
    passages: Sequence[Passage], chunks_of: Callable[[str], Sequence[Chunk]]
) -> list[Listing]:
    """The lists of the sections that passages stand in. `chunks_of` gives all chunks of a document
    in order.
    """
    sections = dict.fromkeys(
        (passage.chunk.document_id, passage.chunk.heading[:depth])
        for passage in passages
        for depth in (len(passage.chunk.heading), len(passage.chunk.heading) - 1)
        if depth > 0
    )
    listings = [
        Listing(heading, tuple(_section_items(chunks_of(document_id), heading)))
        for document_id, heading in sections
    ]
    return [listing for listing in listings if _FEWEST <= len(listing.items) <= _MOST]


def best_listing(
    question: str, listings: Sequence[Listing], passages: Sequence[Passage], reader: Reader
) -> Listing | None:
    """The list that answers a question best: by the reader's logit, and by the passages that stand
    in its section, the first counting most. None if their sum is above 0 for no list; of several,
    sections without numbers come last, which are rather the parts of an explanation.
    """
    readings = reader.read(question, [_outline(each) for each in listings], [()] * len(listings))
    fitting = [
        (reading.relevance + _RANK_WEIGHT * _share(listing, passages), listing)
        for listing, reading in zip(listings, readings, strict=True)
    ]
    scored = [
        (score - _SECTIONS_PENALTY * all(_SECTION.match(item.text) for item in each.items), each)
        for score, each in fitting
        if score > 0
    ]
    return max(scored, key=lambda pair: pair[0])[1] if scored else None


def _with_statement(item: Item, following: Item | None) -> Item:
    """The item, with what stands right below it if it is only a name: of a heading a sentence, of
    a label all that is its own, if that is short.
    """
    chunk = item.chunk
    if not _NAME.match(item.text.strip()):
        return item
    start = item.end - chunk.start
    is_near = following and following.chunk == chunk
    end = following.start - chunk.start if following and is_near else len(chunk.text)
    below = [span for span in statement_spans(chunk.text) if start <= span[0] < end]
    if not below or not _BELOW.fullmatch(chunk.text, start, below[0][0]):
        return item
    is_short = len(chunk.text[start : below[-1][1]].split()) <= _MOST_OWN_WORDS
    last = below[-1] if is_near and is_short and LIST_MARK.match(item.text) else below[0]
    return replace(item, end=chunk.start + last[1])


def _share(listing: Listing, passages: Sequence[Passage]) -> float:
    """The sum over the passages of a list's section of 1 over their rank."""
    section = listing.items[0].chunk.document_id, listing.heading
    depth = len(listing.heading)
    return sum(
        1 / rank
        for rank, passage in enumerate(passages, start=1)
        if (passage.chunk.document_id, passage.chunk.heading[:depth]) == section
    )


def _section_items(chunks: Sequence[Chunk], heading: tuple[str, ...]) -> list[Item]:
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
        and not _STRUCTURAL.fullmatch(title)
    ]
    # Questions that stand below each other are a list of exercises, not of answers.
    if len(titles) >= _FEWEST and not any(
        item.text.rstrip("*_` ").endswith("?") for item in titles
    ):
        return titles
    return [item for chunk in own if len(chunk.heading) == depth for item in _list_items(chunk)]


def _list_items(chunk: Chunk) -> Iterator[Item]:
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


def _outline(listing: Listing) -> str:
    """The heading, and of each item as much as is read of it, with what stands below it."""
    lines = [" > ".join(listing.heading)]
    for item, following in zip(listing.items, [*listing.items[1:], None], strict=True):
        is_near = following and following.chunk == item.chunk
        start = item.start - item.chunk.start
        end = following.start - item.chunk.start if following and is_near else None
        text = plain_text(item.chunk.text[start:end][:_READ_CHARACTERS])
        lines.append(" ".join(LIST_MARK.sub("", text).split()))
    return "\n".join(lines)
