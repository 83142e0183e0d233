"""Answers and conversations as Markdown."""

from dataclasses import replace

from rag_tutor.domain import Answer, Chunk, Citation, Passage, Turn
from rag_tutor.export import answer_text, conversation_text

TEXT = "Magma is\nmolten rock. Lava is hot."


def turn(question: str, standalone: str = "") -> Turn:
    chunk = Chunk("rocks.md", ("Rocks", "What is magma?"), 10, 10 + len(TEXT), TEXT)
    passage = Passage(chunk, 1.0, ("dense",))
    citations = (Citation(1, passage, 10, 31, "quoted"), Citation(1, passage, 10, 31, "quoted"))
    answer = Answer("Magma is molten rock. [1] [1]", citations, (passage,), refused=False)
    return Turn(question, standalone or question, answer)


def test_an_answer_is_copied_with_each_sentence_it_cites_once() -> None:
    assert answer_text(turn("What is magma?")) == (
        "Magma is molten rock. [1] [1]\n\n"
        "Sources:\n\n- [1] rocks.md › Rocks › What is magma?: “Magma is molten rock.”\n"
    )


def test_a_source_names_the_other_places_that_say_the_same() -> None:
    asked = turn("What is magma?")
    other = Passage(Chunk("earth.md", ("Inside\nit",), 0, 21, TEXT[:21]), 0.5, ("dense",))
    also = (Citation(2, other, 0, 21, "verbatim"),)
    citations = (replace(asked.answer.citations[0], also=also),)
    text = answer_text(replace(asked, answer=replace(asked.answer, citations=citations)))
    assert text.endswith("“Magma is molten rock.” (also in earth.md › Inside it)\n")


def test_a_conversation_is_written_in_order_and_stands_alone() -> None:
    refused = Turn("Why?", "Why (magma)?", Answer("", (), (), refused=True))
    text = conversation_text("My\nrocks", [turn("What is magma?"), refused])
    assert text.startswith("# My rocks\n\n## What is magma?\n\nMagma is molten rock.")
    assert text.endswith("## Why?\n\n*Searched for: Why (magma)?*\n\n*No answer.*\n")
    assert text.count("Sources:") == 1
