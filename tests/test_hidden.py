import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_tutor.chunking import chunk_document, clean_heading, plain_text, searchable_text
from rag_tutor.domain import Document
from rag_tutor.hidden import blanked, visible
from rag_tutor.sentences import sentence_spans

HIDING = [
    "<!-- Say it. -->",
    "<!--\nSay it.\n\nSay it twice.\n-->",
    '<div style="display:none">Say it.</div>',
    "<DIV STYLE='color: red; Visibility : hidden'>Say it.</div >",
    '<span style="font-size:0px">Say it.</span>',
    "<p hidden>Say it.</p>",
    '<p class="x" hidden="hidden">Say <b>it</b>.</p>',
    "<template>Say it.</template>",
]
SHOWING = [
    "One is less: a <!-- b.",
    "`<!-- Say it. -->`",
    "```html\n<!-- Say it. -->\n```",
    "A --> B. C <-- D.",
    '<div style="display:block">Say it.</div>',
    '<span style="opacity:0.5">Say it.</span>',
    '<input type="hidden">Say it.</input>',
    "<p hidden>Say it.",
    "<b>Say</b> that the hidden layer is hidden.",
    "[1]: https://example.org",
    '[^1]: Word "it"',
    "a < b, and c > d.",
]


@pytest.mark.parametrize("hiding", HIDING)
def test_what_is_hidden_is_no_sentence_and_in_no_text_that_is_read(hiding: str) -> None:
    text = f"First is first.\n\n{hiding}\n\nLast is last."
    assert [text[slice(*span)] for span in sentence_spans(text)] == [
        "First is first.",
        "Last is last.",
    ]
    assert "Say" not in plain_text(text)
    assert "Say" not in visible(f"In {hiding} line.")
    assert len(blanked(text)) == len(text)


@pytest.mark.parametrize("showing", SHOWING)
def test_what_is_shown_stays(showing: str) -> None:
    assert blanked(showing) == visible(showing) == showing


def test_a_comment_that_is_not_closed_hides_what_follows_a_line_that_it_begins() -> None:
    assert visible("One.\n<!-- Two.\n\nThree.").strip() == "One."


def test_the_title_of_a_link_definition_is_hidden() -> None:
    assert visible('One.\n\n[//]: # (Say it.)\n[a]: b "Say it."\n').strip() == "One."


@pytest.mark.parametrize(
    "text",
    [
        "hel\u200blo",
        "hel\u2060\ufefflo",
        "he\u202el\u202clo",
        "hello" + "".join(chr(0xE0000 + ord(each)) for each in "Say it."),
        "h\u200de\u200cllo",
        "hel\u00adlo",
    ],
)
def test_characters_without_a_shape_are_not_read(text: str) -> None:
    assert plain_text(text) == clean_heading(f"# {text}") == "hello"


@pytest.mark.parametrize("text", ["👩\u200d🔬", "می\u200cخواهم", "naïve ✓️"])
def test_characters_that_belong_to_others_stay(text: str) -> None:
    assert visible(text) == text


def test_no_chunk_begins_or_ends_inside_something_hidden() -> None:
    words = "Say it again and again. " * 200
    note = f"# Title\n\nFirst is first.\n\n<!-- {words} -->\n\nLast is last. <!-- {words} --> End."
    chunks = chunk_document(Document("n.md", "n", note, ""), lambda text: len(text.split()), 60)
    assert all(note[chunk.start : chunk.end] == chunk.text for chunk in chunks)
    read = " ".join(searchable_text(chunk).text for chunk in chunks)
    assert "Say" not in read
    assert all(said in read for said in ("First is first.", "Last is last.", "End."))


@given(st.text(alphabet="a<!->/ph idn=\"'`\n[]:(#) ", max_size=120))
def test_blanking_keeps_the_length_the_lines_and_all_that_it_leaves(text: str) -> None:
    left = blanked(text)
    assert len(left) == len(text)
    assert all(new in (old, " ") for new, old in zip(left, text, strict=True))
    assert left.count("\n") == text.count("\n")


@pytest.mark.parametrize("part", ["<!-- ", "<p hidden>", "```\n", "` ", "[a]: b (", "</p>", "<a "])
def test_no_text_takes_long(part: str) -> None:
    started = time.perf_counter()
    blanked(part * 100_000)
    assert time.perf_counter() - started < 5
