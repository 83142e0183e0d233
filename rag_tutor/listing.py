"""Finds the lists of the notes in their outline: the sub-headings or list items of a section,
wherever they stand, with what stands below those that are only names; knows nothing of how
passages are found or lists are shown.

The items of a long list stand in chunks of their own, of which a search finds some.
"""

import re
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from itertools import groupby, takewhile

from rag_tutor.chunking import clean_heading, is_title, label_of, plain_text
from rag_tutor.domain import Chunk, Citation, Passage, Reader
from rag_tutor.evidence import statement_spans
from rag_tutor.sentences import LIST_MARK, sentence_spans
from rag_tutor.words import content_words, words

_FEWEST, _MOST = 2, 20
# Of an item, as much is read; its beginning tells what it is.
_READ_CHARACTERS = 200
_STRUCTURAL = re.compile(
    r"(?:introduction|overview|summary|summary table|conclusions?|examples?|references|exercises)",
    re.IGNORECASE,
)
_SECTION = re.compile(r"#+ (?!\d)")
# On one line, code and formulas would be others.
_BLOCK = re.compile(r"```|~~~|\$\$")
_NAMED = re.compile(r"[^.:]{1,60}:\s")
# With more words than these, a list is longer than one reads: its names must do.
_MOST_WORDS, _MOST_OWN_WORDS = 200, 60
# With fewer words, the line above a list is a label.
_LEAST_LEAD_WORDS = 6
# Chosen on the questions for lists in benchmarks/questions and of the development set.
_RANK_WEIGHT = 1.0
_SECTIONS_PENALTY = 3.0
# For a section whose heading has all that is asked for.
_NAMED_BONUS = 4.0
# These ask for a list and name none.
_ASKING = frozenset(
    content_words(
        "list name give collect mention me notes different common typical main possible several"
        " two three four five six seven eight nine ten"
    )
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
    """The items of a section, in the order of the note."""

    heading: tuple[str, ...]
    items: tuple[Item, ...]

    @property
    def lead(self) -> Item | None:
        """The sentence that leads to the list and names what its heading names, if there is one."""
        first = self.items[0]
        text = first.chunk.text[: first.start - first.chunk.start]
        start, end = [(0, 0), *sentence_spans(text)][-1]
        sentence = Item(first.chunk, first.chunk.start + start, first.chunk.start + end)
        named = set(content_words(self.heading[-1])) & set(content_words(sentence.text))
        is_sentence = len(words(sentence.text)) >= _LEAST_LEAD_WORDS
        is_lead = is_sentence and sentence.text.rstrip("*_` ").endswith(":")
        return sentence if is_lead and named and not sentence.text.startswith("#") else None

    def holds(self, citation: Citation) -> bool:
        """Whether a citation is of one of the items."""
        place = citation.passage.chunk.document_id, citation.start
        return any((item.chunk.document_id, item.start) == place for item in self.items)

    @property
    def explained(self) -> "Listing":
        """The list with what stands below each item that is only a name, if that isn't too long."""
        texts = [_below(*pair) for pair in zip(self.items, [*self.items[1:], None], strict=True)]
        # Text that isn't indented belongs to an item only where all items have some.
        is_apart = all(text.strip() for text in texts)
        items = tuple(
            _with_text(item, text, is_apart) for item, text in zip(self.items, texts, strict=True)
        )
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
        (heading, _section(chunks_of(passage.chunk.document_id), passage.chunk, heading))
        for passage in passages
        for depth in (len(passage.chunk.heading), len(passage.chunk.heading) - 1)
        if (heading := passage.chunk.heading[:depth])
    )
    listings = [
        Listing(heading, tuple(_section_items(section, heading))) for heading, section in sections
    ]
    return [listing for listing in listings if _FEWEST <= len(listing.items) <= _MOST]


def best_listing(
    question: str, listings: Sequence[Listing], passages: Sequence[Passage], reader: Reader
) -> Listing | None:
    """The list that answers a question best: by the reader's logit, by the passages that stand in
    its section, the first counting most, and by whether its heading names what is asked for. A list
    for which their sum isn't above 0 is no answer, nor is one of which a single item is asked for;
    sections without numbers come last, which are rather the parts of an explanation.
    """
    readings = reader.read(question, [_outline(each) for each in listings], [()] * len(listings))
    asked = set(content_words(question)) - _ASKING
    fitting = [
        (
            reading.relevance
            + _RANK_WEIGHT * _share(listing, passages)
            + _NAMED_BONUS * (bool(asked) and asked <= set(content_words(listing.heading[-1]))),
            listing,
        )
        for listing, reading in zip(listings, readings, strict=True)
    ]
    scored = [
        (score - _SECTIONS_PENALTY * all(_SECTION.match(item.text) for item in each.items), each)
        for score, each in fitting
        if score > 0 and not _is_about_an_item(asked, each)
    ]
    return max(scored, key=lambda pair: pair[0])[1] if scored else None


def _is_about_an_item(asked: Set[str], listing: Listing) -> bool:
    """Whether what is asked for is named by one item, and by nothing above the list."""
    above = {word for title in listing.heading for word in content_words(title)}
    names = [set(content_words(_name(item))) for item in listing.items]
    return any(sum(word in name for name in names) == 1 for word in asked - above)


def _name(item: Item) -> str:
    """What an item is called: all of a title, or what stands before the colon."""
    first = item.text.split("\n", 1)[0]
    found = _NAMED.match(plain_text(LIST_MARK.sub("", first)))
    return label_of(first) or (found[0] if found else "")


def _section(chunks: Sequence[Chunk], chunk: Chunk, heading: tuple[str, ...]) -> tuple[Chunk, ...]:
    """The chunks around one that stand below the same heading; not those of a section elsewhere
    that has the same one.
    """
    depth = len(heading)
    runs = groupby(chunks, key=lambda each: each.heading[:depth] == heading)
    sections = (tuple(run) for is_below, run in runs if is_below)
    return next(section for section in sections if chunk in section)


def _below(item: Item, following: Item | None) -> str:
    """The text between an item and the next one, as far as it is in the same chunk."""
    chunk = item.chunk
    end = following.start - chunk.start if following and following.chunk == chunk else None
    return chunk.text[item.end - chunk.start : end]


def _with_text(item: Item, below: str, is_apart: bool) -> Item:
    """The item, if it is only a name, with what is its own of the text below it: the items of a
    list in it, if each is one sentence, or else the first sentence.
    """
    is_heading = not LIST_MARK.match(item.text)
    if "\n" in item.text or not label_of(item.text):
        return item
    inside = "" if is_heading else _indented(below)
    if not (is_heading or inside or is_apart):
        return item
    spans = sentence_spans(inside)
    if not all(LIST_MARK.match(inside[slice(*span)]) for span in spans) or not spans:
        spans = statement_spans(inside or below)[:1]
    if not spans or _BLOCK.search(below[: spans[-1][1]]) or words(below[: spans[0][0]]):
        return item
    if len(below[: spans[-1][1]].split()) > _MOST_OWN_WORDS:
        return item
    return replace(item, end=item.end + spans[-1][1])


def _indented(text: str) -> str:
    """The lines below an item up to the first that isn't indented."""
    kept = list(takewhile(lambda line: not line.strip() or line[0].isspace(), text.split("\n")))
    return "\n".join(kept) if any(line.strip() for line in kept) else ""


def _share(listing: Listing, passages: Sequence[Passage]) -> float:
    """The sum over the passages of a list's section of 1 over their rank."""
    section = listing.items[0].chunk.document_id, listing.heading
    depth = len(listing.heading)
    return sum(
        1 / rank
        for rank, passage in enumerate(passages, start=1)
        if (passage.chunk.document_id, passage.chunk.heading[:depth]) == section
    )


def _section_items(own: Sequence[Chunk], heading: tuple[str, ...]) -> list[Item]:
    """The sub-headings of a section, or, if it has none, its list items; none of them twice."""
    depth = len(heading)
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
    if len(titles) < sum(not _STRUCTURAL.fullmatch(title) for title in below):
        return []  # a sub-heading without text of its own stands in no chunk: no list is whole
    # Questions that stand below each other are a list of exercises, not of answers.
    if len(titles) >= _FEWEST and not any(
        item.text.rstrip("*_` ").endswith("?") for item in titles
    ):
        return titles
    items = [item for chunk in own if len(chunk.heading) == depth for item in _list_items(chunk)]
    different = {tuple(words(item.text)): item for item in reversed(items)}
    return sorted(different.values(), key=lambda item: item.start)


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
