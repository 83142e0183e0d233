"""What is shown where notes contradict each other."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rag_tutor.disagreement import disagreeing
from rag_tutor.domain import Chunk, Citation, Passage
from rag_tutor.grounding import claimed_numbers, without_markers
from rag_tutor.sentences import sentence_spans
from rag_tutor.words import content_words

EXAMPLES = Path(__file__).parent.parent / "training" / "data"
CLOCK = "Huygens built the first pendulum clock in 1656."


def passage(text: str, heading: str) -> Passage:
    return Passage(Chunk("note.md", (heading,), 50, 50 + len(text), text), 1.0, ("dense",))


def cite(number: int, cited: Passage, sentence: str) -> Citation:
    start = 50 + cited.chunk.text.index(sentence)
    return Citation(number, cited, start, start + len(sentence), "quoted")


@pytest.mark.parametrize(
    ("question", "one", "other", "is_found"),
    [
        ("When was the pendulum clock built?", CLOCK, "Pendulum clock: Huygens, 1657", True),
        ("When was the clock built?", CLOCK, "When was the clock built?\n1657.", True),
        ("How many steps has sowing?", "Sowing has six steps.", "Sowing has 3 steps.", True),
        ("How long does it boil?", "It can boil for 10 minutes.", "Boil: 5–8 minutes", True),
        ("value of g?", "The value of g is 9.81 m/s.", "The value of g is 9.7 m/s.", True),
        ("value of g?", "The value of g is 9.81 m/s.", "The value of g is 9.8 m/s.", False),
        ("Who built the clock?", CLOCK, "Huygens built the pendulum clock in 1657.", False),
        ("When was the pendulum clock built?", CLOCK, "The pendulum clock is of 1656.", False),
        (
            "When was the pendulum clock built?",
            CLOCK,
            "The spring clock of Hooke is of 1658.",
            False,
        ),
        (
            "When was the pendulum clock built?",
            CLOCK,
            "Huygens left Paris for good in 1681.",
            False,
        ),
        ("How many steps has sowing?", "Sowing has six steps.", "Sowing takes 3 hours.", False),
    ],
)
def test_another_number_for_what_is_asked_is_a_disagreement(
    question: str, one: str, other: str, is_found: bool
) -> None:
    passages = [passage(one, "Lecture"), passage(other, "Cards")]
    found = disagreeing(question, cite(1, passages[0], one), passages)
    assert [each.number for each in found] == ([2] if is_found else [])
    assert all(other.endswith(each.quote) for each in found)


def test_a_section_does_not_contradict_itself() -> None:
    passages = [
        passage(CLOCK, "Lecture"),
        passage("A pendulum clock was built in 1658.", "Lecture"),
    ]
    assert (
        disagreeing("When was the pendulum clock built?", cite(1, passages[0], CLOCK), passages)
        == ()
    )


def examples() -> Iterator[tuple[dict[str, Any], list[Passage]]]:
    """The training examples, each with its passages."""
    for path in sorted(EXAMPLES.glob("*.jsonl")):
        known: dict[str, Passage] = {}
        for row in map(json.loads, filter(None, path.read_text(encoding="utf-8").split("\n"))):
            if "passage" in row:
                heading = (row["note"], row["heading"])
                chunk = Chunk(row["note"], heading, 0, len(row["text"]), row["text"])
                known[row["passage"]] = Passage(chunk, 1.0, ("dense",))
            else:
                yield row, [known[name] for name in row["passages"]]


def cited_sentences(answer: str, passages: list[Passage]) -> Iterator[Citation]:
    """For each sentence of an answer the one of its passage that shares most words with it."""
    for start, end in sentence_spans(answer):
        wanted = set(content_words(without_markers(answer[start:end])))
        found = [
            (len(wanted & set(content_words(text[slice(*span)]))), -span[0], number, span)
            for number in claimed_numbers(answer[start:end])
            for text in [passages[number - 1].chunk.text]
            for span in sentence_spans(text)
        ]
        if found:
            *_, number, span = max(found)
            yield Citation(number, passages[number - 1], *span, "quoted")


def test_of_examples_that_disagree_a_part_is_found_and_of_others_hardly_any() -> None:
    found: Counter[bool] = Counter()
    for row, passages in examples():
        cited = cited_sentences(row["answer"], passages)
        found[row["kind"] == "disagree"] += any(
            disagreeing(row["question"], each, passages) for each in cited
        )
    assert found[True] >= 28, found  # of 97
    assert found[False] <= 3, found  # of 2,612
