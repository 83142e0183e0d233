import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_tutor.chunking import (
    MAX_CHUNK_CHARACTERS,
    chunk_document,
    clean_heading,
    plain_text,
    searchable_text,
)
from rag_tutor.domain import Chunk, Document


def count_words(text: str) -> int:
    return len(text.split()) + 2


def count_characters(text: str) -> int:
    """The hardest tokenizer: nothing can be cut between its tokens by chance."""
    return len(text) + 2


def chunks_of(
    text: str, max_tokens: int = 60, count: Callable[[str], int] = count_words
) -> list[Chunk]:
    return chunk_document(Document("note.md", "Note", text, ""), count, max_tokens)


markdown_lines = st.sampled_from(
    [
        "# One",
        "## Two `x`",
        "#### 3. What is three?",
        "12. **What is a bold question?**",
        "A plain title",
        "**Answer:**",
        "- item",
        "  - nested item",
        "1. first",
        "| a | b |",
        "|---|---|",
        "```python",
        "x = [1]",
        "```",
        "$$",
        "[link]: http://example.com",
        "> quoted",
        "---",
        "===",
        "A sentence with several words. And another one!",
        "",
        "\t indented",
        "<div>",
        "x" * 70,
        "\u2028 \x85 odd \x0c breaks",
        "🎓 ünï",
    ]
)
any_note = st.lists(markdown_lines, max_size=25).map("\n".join) | st.text(max_size=300)


@settings(max_examples=200, deadline=None)
@given(any_note, st.sampled_from([(count_words, 40), (count_characters, 220)]), st.integers(1, 3))
def test_chunks_are_exact_ordered_small_enough_and_lose_nothing(
    text: str, tokenizer: tuple[Callable[[str], int], int], size: int
) -> None:
    count, max_tokens = tokenizer[0], tokenizer[1] * size
    position = 0
    uncovered = ""
    headings: set[str] = set()
    for chunk in chunks_of(text, max_tokens, count):
        assert text[chunk.start : chunk.end] == chunk.text
        assert chunk.start >= position
        assert chunk.text == chunk.text.strip() != ""
        assert count(searchable_text(chunk).text) <= max_tokens
        uncovered += text[position : chunk.start]
        headings.update(chunk.heading)
        position = chunk.end
    uncovered += text[position:]
    # What no chunk holds is white space, a rule, or a heading that has only sections below it.
    for line in uncovered.split("\n"):
        if any(character.isalnum() for character in line):
            title = clean_heading(line)
            assert any(title.startswith(heading) for heading in headings if heading)


QUESTION = "What is it?"
ANSWER = "It is a thing that does something useful."


@pytest.mark.parametrize(
    "title",
    [
        f"#### 7. {QUESTION}",
        f"7. **{QUESTION}**",
        QUESTION,
        f"**{QUESTION}**",
        f"## **{QUESTION}**",
    ],
    ids=["heading", "numbered bold line", "plain title line", "bold line", "bold heading"],
)
@pytest.mark.parametrize("label", ["", "**`Answer:`**\n\n"])
def test_a_question_stays_with_its_answer(title: str, label: str) -> None:
    filler = "Some other text that is here to fill the chunk up. " * 8
    note = f"# Top\n\n{filler}\n\n{title}\n\n{label}{ANSWER}\n\n# Next\n\n{filler}"
    chunk = next(chunk for chunk in chunks_of(note) if ANSWER in chunk.text)
    assert QUESTION in chunk.text
    assert chunk.heading[-1] == QUESTION
    assert "Some other" not in chunk.text


def test_a_long_answer_names_its_question_in_every_chunk() -> None:
    note = f"# Top\n\n3. **{QUESTION}**\n\n" + "\n\n".join([ANSWER] * 20)
    chunks = chunks_of(note)
    assert len(chunks) > 2
    assert {chunk.heading for chunk in chunks} == {("Top", QUESTION)}


def test_sub_headings_below_a_numbered_question_belong_to_it() -> None:
    text = "word " * 40
    titles = ["## Models", f"2. **{QUESTION}**", "### Training", "3. **Next?**"]
    note = "\n\n".join(f"{title}\n\n{text}" for title in titles)
    headings = {chunk.heading for chunk in chunks_of(note)}
    assert ("Models", QUESTION, "Training") in headings
    assert ("Models", "Next?") in headings


@pytest.mark.parametrize(
    "block",
    [
        "| a | b |\n|---|---|\n" + "\n".join(f"| row {n} | value |" for n in range(5)),
        "```python\n" + "\n\n".join(f"step_{n} = {n}" for n in range(6)) + "\n```",
        "$$\nE = m c^2\n\n+ 0\n$$",
        "\n".join(f"- point number {n} of the list" for n in range(5)),
        "\n".join(f"{n}. step number {n} of the list" for n in range(1, 6)),
    ],
    ids=["table", "code", "formula", "list", "numbered list"],
)
def test_a_block_that_fits_stays_whole(block: str) -> None:
    filler = "\n\n".join(["Filler sentence with some words in it here."] * 5)
    assert any(block in chunk.text for chunk in chunks_of(f"{filler}\n\n{block}\n\n{filler}"))


def test_a_list_that_does_not_fit_is_cut_between_items() -> None:
    items = [f"- point number {n} of a long list of points" for n in range(30)]
    for chunk in chunks_of("\n".join(items)):
        assert all(line in items for line in chunk.text.split("\n"))


def test_a_rule_between_sections_ends_no_chunk() -> None:
    note = "\n\n".join(["# A", ANSWER * 8, "---", "# B", ANSWER * 8])
    assert [chunk.text[-7:] for chunk in chunks_of(note, 80)] == ["useful."] * 2


def test_repeated_sentences_keep_their_own_places() -> None:
    note = "\n\n".join(["# A", "Same words here.", "# B", "Same words here."])
    starts = [chunk.start for chunk in chunks_of(note, 8)]
    assert len(set(starts)) == 2


@pytest.mark.parametrize(
    "text",
    [
        "[" * 200_000,
        "# " + "[a](" * 50_000,
        "**" * 100_000,
        (" " * 2_000 + "x\n") * 100,
        ("-" * 2_000 + "x\n") * 800,
    ],
)
def test_odd_endless_lines_are_cut_in_bounded_time(text: str) -> None:
    started = time.perf_counter()
    assert chunks_of(text + "\n\nfoo")[-1].text.endswith("foo")
    assert time.perf_counter() - started < 10


def test_a_small_note_keeps_the_heading_it_has() -> None:
    assert [chunk.heading for chunk in chunks_of("# Biology\n\nCells divide.")] == [("Biology",)]


def test_a_heading_over_two_lines_is_one_heading() -> None:
    [chunk] = chunks_of("Long\nheading\n===\n\nText below it.")
    assert chunk.heading == ("Long heading",)


def test_one_endless_line_is_cut_in_bounded_time() -> None:
    chunks = chunks_of("x" * 1_000_000)
    assert max(len(chunk.text) for chunk in chunks) <= MAX_CHUNK_CHARACTERS
    assert sum(len(chunk.text) for chunk in chunks) == 1_000_000


def test_a_note_of_headings_only_can_be_found() -> None:
    assert [chunk.text for chunk in chunks_of("# One\n\n## Two\n\n## Three")] == [
        "# One\n\n## Two\n\n## Three"
    ]


def test_an_endless_heading_leaves_room_for_text() -> None:
    note = "# " + "heading " * 500 + "\n\n" + ANSWER * 20
    assert all(count_words(searchable_text(chunk).text) <= 60 for chunk in chunks_of(note))


@pytest.mark.parametrize(
    ("line", "title"),
    [
        ("#### 7.  What is **it**? ##", "What is it?"),
        ("12. **Bold `code`:**", "Bold code"),
        ("[A link](http://x.y) here", "A link here"),
        ("3D models", "3D models"),
    ],
)
def test_headings_are_cleaned(line: str, title: str) -> None:
    assert clean_heading(line) == title


def test_plain_text_drops_what_only_draws() -> None:
    markdown = "| **A** |  b |\n|-----|:--:|\n| see [x](http://y) | `z` |\n\n\n```py\nq\n```"
    assert plain_text(markdown) == "| A | b |\n| see x | z |\n```py\nq\n```"
