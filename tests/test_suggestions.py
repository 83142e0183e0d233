"""Questions to begin with, from notes of any kind."""

import time
from pathlib import Path

from rag_tutor.indexing import update_index
from rag_tutor.suggestions import starting_questions
from tests.conftest import MakeTutor
from tests.fakes import HashedEncoder

GENETICS = """# Genetics

## Heredity

Heredity is the passing of traits. Nothing explains it like heredity itself.

## Types of Mutation

The types of mutation are three: substitution, insertion and deletion.

## Summary

All of this matters.
"""


def test_questions_in_the_notes_are_used_as_they_are(make_tutor: MakeTutor, corpus: Path) -> None:
    asked = [f"Why is number {number} odd?" for number in range(6)]
    text = "\n\n".join(f"## {question}\n\nFor a reason." for question in asked)
    (corpus / "numbers.md").write_text(text, encoding="utf-8")
    found = starting_questions(make_tutor())
    assert len(set(found)) == 4
    known = {*asked, "What is a mitochondrion?", "What is a chloroplast?"}
    assert set(found) <= known


def test_a_note_of_empty_lines_holds_up_no_question(make_tutor: MakeTutor, corpus: Path) -> None:
    (corpus / "empty lines.md").write_text("\n" * 60_000 + "text", encoding="utf-8")
    started = time.perf_counter()
    assert starting_questions(make_tutor())
    assert time.perf_counter() - started < 5


def test_no_starting_question_is_offered_twice(make_tutor: MakeTutor) -> None:
    found = starting_questions(make_tutor())
    assert found
    assert len(set(found)) == len(found)


def test_other_headings_become_questions_that_the_notes_answer(
    make_tutor: MakeTutor, corpus: Path, index: Path, encoder: HashedEncoder
) -> None:
    (corpus / "biology.md").write_text(GENETICS, encoding="utf-8")
    update_index(corpus, index, encoder)
    tutor = make_tutor()
    found = starting_questions(tutor)
    assert set(found) == {"What is heredity?", "What are the types of mutation?"}
    for question in found:
        assert not tutor.search(question).answer.refused


def test_there_are_none_before_the_first_index(
    make_tutor: MakeTutor, corpus: Path, index: Path
) -> None:
    (corpus / "biology.md").write_text(GENETICS, encoding="utf-8")
    (index / "CURRENT").unlink()
    assert starting_questions(make_tutor()) == []
