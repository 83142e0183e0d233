"""Composes the answer of what was found: a list, what a generator writes and the passages support,
quotations; or says that nothing was found. Knows nothing of how passages are found or models are
loaded.
"""

from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import closing
from dataclasses import replace
from itertools import dropwhile

from rag_tutor.asking import asks_for_much, asks_for_several
from rag_tutor.checking import (
    Part,
    checked_parts,
    disagreeing_part,
    joined,
    leading_part,
    listed_parts,
    quoted_part,
)
from rag_tutor.config import AnswerLength
from rag_tutor.disagreement import disagreeing
from rag_tutor.domain import Answer, Citation, Generator, Message, Passage, Reader, Turn
from rag_tutor.evidence import Evidence, leads, near_best, rank_evidence, select_evidence
from rag_tutor.grounding import (
    Grounding,
    closest_headings,
    prompt,
    sentence_before,
    stands_alone,
)
from rag_tutor.listing import Listing, best_listing, listings_around
from rag_tutor.retrieval import Retrieval
from rag_tutor.store import Store
from rag_tutor.words import content_words, words

# Of what is asked for a fact and of what asks for more.
_MAX_QUOTATIONS: dict[AnswerLength, tuple[int, int]] = {
    "short": (1, 1),
    "normal": (3, 5),
    "detailed": (6, 8),
}
# The generator reads the best passages only: reading five takes twice as long.
_WRITTEN_FROM = 3
_MAX_TOKENS = 200
# What a chat template adds around the messages, at most.
_TEMPLATE_TOKENS = 64


def answer_parts(
    question: str,
    found: Retrieval,
    in_a_row: Sequence[tuple[str, Retrieval]],
    history: Sequence[Turn],
    is_full: bool,
    store: Store,
    reader: Reader,
    load_generator: Callable[[], Generator],
    length: AnswerLength,
) -> Iterator[Part]:
    """The parts of an answer: the list that is asked for, or what is written and supported,
    from the first sentence on that tells what was asked, then quotations of the other evidence.
    A short answer is one sentence or list, or one quotation.

    A generator that was trained to quote begins with what the reader finds best; nobody needs
    to wait for it to say so, unless one sentence isn't what was asked for. Of several questions
    `in_a_row`, each with what was found for it, it would answer one: they are answered in turn, by
    the notes alone.

    `is_full` tells that a question was typed as it stands. The generator is loaded if it is needed.
    Raises ModelUnavailableError.
    """
    if in_a_row and load_generator().knows_the_task:
        yield from _answered_in_a_row(in_a_row, question, found, store, reader, length)
        return
    passages = found.passages
    grounding = Grounding(passages)
    listings = listings_around(passages, store.chunks_of)
    is_for_several = asks_for_several(question)
    # For a follow-up, single sentences were right twice as often as the best list.
    if listings and is_full and is_for_several:
        listing = best_listing(question, listings, passages, reader)
        if listing:
            yield from _listed(listing, passages, grounding, length)
            return
    ranked = rank_evidence(question, passages, found.sentences, store.rarity)
    generator = load_generator()
    is_led = generator.knows_the_task and not is_for_several
    said = _lead(ranked, passages, listings) if is_led else []
    for citation in said:
        yield leading_part(grounding.with_repetitions(citation))
    if length == "short" and said:
        return
    messages = _fitting_prompt(question, passages[:_WRITTEN_FROM], history, generator)
    with closing(generator.stream(messages, _MAX_TOKENS)) as pieces:
        written = dropwhile(
            lambda part: part.form == "sentence" and not leads(ranked, part.citations, passages),
            checked_parts(pieces, grounding),
        )
        for place, part in enumerate(written):
            begun = [each for each in listings if each.holds(part.citations[0])]
            if begun and part.form == "item" and place == 0:
                # A small model seldom comes to the end of a list.
                yield from _listed(begun[0], passages, grounding, length)
                return
            if length == "short" and part.form != "item" and place > 0:
                break
            if not _places(part.citations) <= _places(said):
                yield part
                said.extend(part.citations)
    if length == "short" and said:
        return
    limit = _MAX_QUOTATIONS[length][asks_for_much(question)]
    evidence = [_citation(each, passages) for each in select_evidence([ranked], limit)]
    yield from _quoted(evidence, said, grounding)


def with_disagreements(
    parts: Iterator[Part], question: str, passages: Sequence[Passage]
) -> Iterator[Part]:
    """The parts of an answer; instead of one that other notes contradict, both sides."""
    shown: set[tuple[int, int]] = set()
    for part in parts:
        cited = part.citations[0]
        if _place(cited) in shown:
            continue
        others = disagreeing(question, cited, passages) if part.form != "item" else ()
        if others:
            sides = replace(cited, support="quoted"), *others
            shown.update(map(_place, sides))
            yield disagreeing_part(sides)
        else:
            yield part


def answer_of(parts: Sequence[Part], passages: Sequence[Passage]) -> Answer:
    """The answer so far; further passages of a list join the others in the order of its items."""
    citations = tuple(_cited(parts))
    read = [*passages]
    for citation in citations:
        if citation.number > len(read):
            read.append(citation.passage)
    return Answer(joined(parts), citations, tuple(read), refused=False)


def refusal(question: str, passages: tuple[Passage, ...], vocabulary: Set[str]) -> Answer:
    """What is said instead of an answer: which words no note holds, and what comes closest."""
    text = "I can't find this in your notes."
    strange = [word for word in words(question) if set(content_words(word)) - vocabulary]
    if strange:
        text += (
            f" None of them mentions {' or '.join(f'“{word}”' for word in dict.fromkeys(strange))}."
        )
    closest = [f"- {line}" for line in closest_headings(passages)]
    if closest:
        text += "\n\nThe closest headings are:\n\n" + "\n".join(closest)
    return Answer(text, (), passages, refused=True)


def _answered_in_a_row(
    asked: Sequence[tuple[str, Retrieval]],
    question: str,
    found: Retrieval,
    store: Store,
    reader: Reader,
    length: AnswerLength,
) -> Iterator[Part]:
    """To each question in turn the list that it asks for, or the best sentence; then quotations of
    what else answers one of them or the whole.
    """
    passages = found.passages
    grounding = Grounding(passages)
    shown: list[Part] = []
    rankings = []
    for part, own in asked:
        listings = listings_around(own.passages, store.chunks_of)
        listing = None
        if listings and asks_for_several(part):
            listing = best_listing(part, listings, own.passages, reader)
        if listing:
            new = list(_listed(listing, answer_of(shown, passages).passages, grounding, length))
        else:
            rankings.append(_ranked(part, own, passages, store))
            said = _places(_cited(shown))
            leads = _lead(rankings[-1], passages, listings)
            new = [
                leading_part(grounding.with_repetitions(each))
                for each in leads
                if _place(each) not in said
            ]
        shown += new
        yield from new
    if length == "short" and shown:
        return
    rankings.append(_ranked(question, found, passages, store))
    chosen = select_evidence(rankings, len(asked) * _MAX_QUOTATIONS[length][False])
    yield from _quoted([_citation(each, passages) for each in chosen], _cited(shown), grounding)


def _fitting_prompt(
    question: str, passages: Sequence[Passage], history: Sequence[Turn], generator: Generator
) -> list[Message]:
    """The prompt with as many of the passages, the best first, as the generator can read."""
    room = generator.context_tokens - _MAX_TOKENS - _TEMPLATE_TOKENS
    for count in range(len(passages), 0, -1):
        messages = prompt(question, passages[:count], history, generator.knows_the_task)
        needed = sum(generator.count_tokens(message["content"]) for message in messages)
        if needed <= room:
            break
    return messages


def _listed(
    listing: Listing, passages: Sequence[Passage], grounding: Grounding, length: AnswerLength
) -> Iterator[Part]:
    citations = (listing if length == "short" else listing.explained).citations(passages)
    items = [grounding.with_repetitions(each) for each in citations]
    above = listing.lead
    lead = replace(citations[0], start=above.start, end=above.end) if above else None
    return listed_parts(listing.heading[-1], items, lead, names_only=length == "short")


def _citation(item: Evidence, passages: Sequence[Passage]) -> Citation:
    return Citation(item.number, passages[item.number - 1], item.start, item.end, "quoted")


def _cited(parts: Sequence[Part]) -> list[Citation]:
    return [citation for part in parts for citation in part.citations]


def _ranked(
    question: str, found: Retrieval, passages: Sequence[Passage], store: Store
) -> list[Evidence]:
    """The evidence in what was found, each with the number that its passage has among others."""
    ranked = rank_evidence(question, found.passages, found.sentences, store.rarity)
    chunks = [passage.chunk for passage in passages]
    numbers = [chunks.index(passage.chunk) + 1 for passage in found.passages]
    return [replace(each, number=numbers[each.number - 1]) for each in ranked]


def _lead(
    ranked: Sequence[Evidence], passages: Sequence[Passage], listings: Sequence[Listing]
) -> list[Citation]:
    """The best sentence that can be an answer's first, if there is one: not an item of a list."""
    near = (_citation(each, passages) for each in near_best(ranked))
    first = next(filter(stands_alone, near), None)
    return [first] if first and not any(each.holds(first) for each in listings) else []


def _quoted(
    evidence: Sequence[Citation], said: Sequence[Citation], grounding: Grounding
) -> Iterator[Part]:
    """Quotations of the evidence that wasn't said yet."""
    known = _places(said)
    before = said[-1] if said else None
    for citation in evidence:
        if _place(citation) in known:
            continue
        # "Instead, they …" is nothing without the sentence before it, which needn't be evidence.
        lead = None if stands_alone(citation) else sentence_before(citation)
        for each in [lead, citation] if lead and _place(lead) not in known else [citation]:
            known.add(_place(each))
            is_led = before is not None and _follows(each, before)
            yield quoted_part(grounding.with_repetitions(each), is_led)
            before = each


def _follows(citation: Citation, before: Citation) -> bool:
    """Whether a citation is of the sentence right after another, which leads to it."""
    chunk = citation.passage.chunk
    between = chunk.text[before.end - chunk.start : citation.start - chunk.start]
    is_near = citation.number == before.number and before.end <= citation.start
    return is_near and not words(between)


def _places(citations: Sequence[Citation]) -> set[tuple[int, int]]:
    return {_place(each) for citation in citations for each in (citation, *citation.also)}


def _place(citation: Citation) -> tuple[int, int]:
    # Not by its start: "Answer:" before a sentence is part of what was written, not of evidence.
    return citation.number, citation.end
