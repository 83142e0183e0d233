from collections.abc import Sequence

import pytest

from rag_tutor.chunking import chunk_document
from rag_tutor.domain import Chunk, Document, Passage, Reading, Span
from rag_tutor.listing import best_listing, listings_around
from rag_tutor.words import content_words

NOTE = """# Rocks

## Kinds of rock

There are three kinds.

### Igneous rock

It forms when magma cools down. Granite is one of them.

### Sedimentary rock

It forms when sand and mud harden. Sandstone is one of them.

### Metamorphic rock

It forms when heat and pressure change a rock. Marble is one of them.

## How to tell minerals apart

Look at these signs:

- **Streak:** the colour of the powder. It is surer than the colour of the piece.
  - use a plate of porcelain
- **Hardness:** what it scratches
- **Lustre:** how it shines

## Questions for the exam

### What is a rock?

A rock is made of minerals.

### What is a mineral?

A mineral has a crystal structure.
"""


def chunks_of(note: str) -> list[Chunk]:
    """Small chunks, so that each section has its own."""
    document = Document("rocks.md", "Rocks", note, "")
    return chunk_document(document, lambda text: len(text.split()), 40)


def texts(*heading: str) -> list[str]:
    """The items of the list around the first chunk of a section."""
    chunks = chunks_of(NOTE)
    first = next(chunk for chunk in chunks if chunk.heading[: len(heading)] == heading)
    listings = listings_around([Passage(first, 1.0, ())], lambda _: chunks)
    found = [listing for listing in listings if listing.heading == heading]
    return [item.text for listing in found for item in listing.items]


def test_the_items_of_a_section_are_its_sub_headings() -> None:
    assert texts("Rocks", "Kinds of rock") == [
        "### Igneous rock",
        "### Sedimentary rock",
        "### Metamorphic rock",
    ]


def test_or_its_list_items_each_with_its_first_sentence_and_none_within_another() -> None:
    assert texts("Rocks", "How to tell minerals apart", "Look at these signs") == [
        "- **Streak:** the colour of the powder.",
        "- **Hardness:** what it scratches",
        "- **Lustre:** how it shines",
    ]


def test_items_that_stand_in_different_chunks_are_one_list() -> None:
    items = "\n".join(f"- the {word} step of the work is done with care" for word in "abcdefghij")
    chunks = chunks_of(f"# Steps\n\n{items}\n")
    assert len(chunks) > 1
    (listing,) = listings_around([Passage(chunks[0], 1.0, ())], lambda _: chunks)
    assert len(listing.items) == 10


def test_a_section_elsewhere_with_the_same_heading_is_another_one() -> None:
    section = "## Steps\n\n- mix the flour\n- bake the bread\n\n"
    tools = "One needs an oven, a bowl and some time to wait for it. " * 20
    chunks = chunks_of(f"# Bread\n\n{section}## Tools\n\n{tools}\n\n{section}- cool it\n")
    first = next(chunk for chunk in chunks if chunk.heading[-1] == "Steps")
    listings = listings_around([Passage(first, 1.0, ())], lambda _: chunks)
    (steps,) = (each for each in listings if each.heading[-1] == "Steps")
    assert [item.text for item in steps.items] == ["- mix the flour", "- bake the bread"]


def test_no_item_is_listed_twice() -> None:
    items = "- mix the flour\n- bake the bread\n"
    chunks = chunks_of(
        f"# Steps\n\nThe short way:\n\n{items}\nThe same again:\n\n{items}- cool it\n"
    )
    (steps,) = listings_around([Passage(chunks[0], 1.0, ())], lambda _: chunks)
    assert [item.text for item in steps.items] == [
        "- mix the flour",
        "- bake the bread",
        "- cool it",
    ]


def test_questions_are_no_list_of_answers() -> None:
    assert texts("Rocks", "Questions for the exam") == []


class WordReader:
    """Finds a text relevant by the words of the question that it holds."""

    def read(
        self, question: str, texts: Sequence[str], sentences: Sequence[Sequence[Span]]
    ) -> list[Reading]:
        wanted = set(content_words(question))
        return [Reading(len(wanted & set(content_words(text))), ()) for text in texts]

    def carried_words(self, question: str, conversation: str) -> list[tuple[str, float]]:
        return []


def test_a_list_is_found_from_one_of_its_items_and_cites_them_all() -> None:
    chunks = chunks_of(NOTE)
    one = next(chunk for chunk in chunks if chunk.heading[-1] == "Sedimentary rock")
    found = (Passage(one, 0.5, ("dense",)),)
    listings = listings_around(found, lambda _: chunks)
    listing = best_listing("What kinds of rock are there?", listings, found, WordReader())
    assert listing is not None
    assert listing.heading == ("Rocks", "Kinds of rock")
    citations = listing.citations(found)
    assert [citation.number for citation in citations] == [2, 1, 3]
    assert citations[1].passage == found[0]
    for citation, item in zip(citations, listing.items, strict=True):
        assert listing.holds(citation)
        assert NOTE[citation.start : citation.end] == citation.quote == item.text


def explained(*heading: str) -> list[str]:
    """The items of a section's list, with what explains them."""
    chunks = chunks_of(NOTE)
    first = next(chunk for chunk in chunks if chunk.heading[: len(heading)] == heading)
    listings = listings_around([Passage(first, 1.0, ())], lambda _: chunks)
    (listing,) = (each for each in listings if each.heading == heading)
    return [item.text for item in listing.explained.items]


def test_an_item_that_is_only_a_name_is_explained_by_the_sentence_below_it() -> None:
    assert explained("Rocks", "Kinds of rock") == [
        "### Igneous rock\n\nIt forms when magma cools down.",
        "### Sedimentary rock\n\nIt forms when sand and mud harden.",
        "### Metamorphic rock\n\nIt forms when heat and pressure change a rock.",
    ]


def test_what_stands_below_a_label_is_taken_whole() -> None:
    fields = (
        "- **Fields:**\n  - Finance: it predicts stock prices.\n  - Medicine: it finds new drugs."
    )
    chunks = chunks_of(f"# Uses\n\n{fields}\n- None other.")
    (listing,) = listings_around([Passage(chunks[0], 1.0, ())], lambda _: chunks)
    assert [item.text for item in listing.explained.items] == [fields, "- None other."]


@pytest.mark.parametrize(
    "below",
    [
        "\n\nOne of them is no planet any more.",
        "\n  ```\n  radius = 6_052\n  ```",
        "\n  $$r = 6052$$",
        "\n  " + "It is very long. " * 30,
    ],
)
def test_a_name_stays_alone_where_nothing_that_can_be_listed_is_its_own(below: str) -> None:
    chunks = chunks_of(f"# Planets\n\n- **Mars:**\n- **Venus:**{below}\n")
    (listing,) = listings_around([Passage(chunks[0], 1.0, ())], lambda _: chunks)
    assert [item.text for item in listing.explained.items] == ["- **Mars:**", "- **Venus:**"]


def test_below_a_label_with_longer_texts_the_first_sentence_must_do() -> None:
    label = "- **Venus:**\n  - It is a hot planet."
    chunks = chunks_of(f"# Planets\n\n{label} It turns slowly.\n  - It has no moon.\n- Mars\n")
    (listing,) = listings_around([Passage(chunks[0], 1.0, ())], lambda _: chunks)
    assert [item.text for item in listing.explained.items] == [label, "- Mars"]


def test_paragraphs_between_all_labels_are_theirs() -> None:
    mars, venus = "- **Mars:**\n\nIt is a red planet.", "- **Venus:**\n\nIt is a hot planet."
    chunks = chunks_of(f"# Planets\n\n{mars} It is small.\n\n{venus}\n")
    (listing,) = listings_around([Passage(chunks[0], 1.0, ())], lambda _: chunks)
    assert [item.text for item in listing.explained.items] == [mars, venus]


def test_an_item_that_says_something_stays_as_it_is() -> None:
    heading = ("Rocks", "How to tell minerals apart", "Look at these signs")
    assert explained(*heading) == texts(*heading)


def test_the_names_of_a_long_list_must_do() -> None:
    sections = "\n\n".join(f"### {name}\n\nIt is {'very ' * 30}long." for name in "abcdefg")
    chunks = chunks_of(f"# Steps\n\n{sections}\n")
    (listing,) = listings_around([Passage(chunks[0], 1.0, ())], lambda _: chunks)
    assert len(listing.items) == 7
    assert listing.explained == listing


class SternReader(WordReader):
    """Finds that no text answers."""

    def read(
        self, question: str, texts: Sequence[str], sentences: Sequence[Sequence[Span]]
    ) -> list[Reading]:
        return [Reading(-3.0, ()) for _ in texts]


def test_no_list_is_an_answer_that_the_reader_and_the_search_find_far_off() -> None:
    chunks = chunks_of(NOTE)
    found = (Passage(chunks[-1], 0.5, ("dense",)),)
    listings = listings_around(found, lambda _: chunks)
    assert best_listing("Who was Napoleon?", listings, found, SternReader()) is None


def test_the_section_that_is_named_after_what_is_asked_goes_first() -> None:
    chunks = chunks_of(NOTE)
    found = tuple(Passage(chunk, 0.5, ("dense",)) for chunk in reversed(chunks))
    listings = listings_around(found, lambda _: chunks)
    listing = best_listing("List three kinds of rock", listings, found, SternReader())
    assert listing is not None
    assert listing.heading[-1] == "Kinds of rock"


@pytest.mark.parametrize(
    ("question", "is_answer"),
    [
        ("Which signs tell minerals apart?", True),
        ("Which two things does the streak of a mineral tell?", False),
        ("What signs of hardness are there?", False),
    ],
)
def test_a_list_of_which_one_item_is_asked_for_is_no_answer(question: str, is_answer: bool) -> None:
    chunks = chunks_of(NOTE)
    found = tuple(Passage(chunk, 0.5, ("dense",)) for chunk in chunks)
    listings = listings_around(found, lambda _: chunks)
    signs = [each for each in listings if each.heading[-1] == "Look at these signs"]
    assert bool(best_listing(question, signs, found, WordReader())) is is_answer


def test_a_list_that_would_lack_a_sub_heading_is_none() -> None:
    long = " ".join(["Magma cools below the ground, and crystals grow in it."] * 40)
    note = (
        f"# Rocks\n\n## Kinds of rock\n\n### Igneous\n\n#### Below the ground\n\n{long}\n\n"
        f"### Sedimentary\n\nFrom sand.\n\n### Metamorphic\n\nFrom other rock.\n"
    )
    chunks = chunks_of(note)
    found = listings_around([Passage(chunks[-1], 1.0, ())], lambda _: chunks)
    assert not [each for each in found if each.heading[-1] == "Kinds of rock"]


def test_an_item_that_is_a_word_of_its_heading_is_an_item() -> None:
    note = "# DNA, RNA and proteins\n\nThey are:\n\n1. DNA\n2. RNA\n3. Lipids\n"
    chunks = chunks_of(note)
    (listing,) = listings_around([Passage(chunks[0], 1.0, ())], lambda _: chunks)
    assert [item.text for item in listing.items] == ["1. DNA", "2. RNA", "3. Lipids"]


@pytest.mark.parametrize(
    ("above", "is_lead"),
    [
        ("A GAN is two networks that compete:", True),
        ("**Answer:**", False),
        ("It has these two parts, which compete:", False),
    ],
    ids=["names the subject", "a label", "names nothing"],
)
def test_the_sentence_that_leads_to_a_list_and_names_its_subject_is_known(
    above: str, is_lead: bool
) -> None:
    note = f"# What is a GAN?\n\n{above}\n\n- Generator: it makes\n- Discriminator: it tells\n"
    chunks = chunks_of(note)
    (listing,) = listings_around([Passage(chunks[0], 1.0, ())], lambda _: chunks)
    assert (listing.lead and listing.lead.text) == (above if is_lead else None)
