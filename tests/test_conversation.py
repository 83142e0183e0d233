import pytest

from rag_tutor.conversation import check_question, standalone_question, with_names
from rag_tutor.domain import Answer, Turn
from rag_tutor.errors import ConversationError
from rag_tutor.words import content_words
from tests.fakes import OverlapReader

VOCABULARY = frozenset(content_words("mitochondrion energy chloroplast membrane GAN loss"))


def turn(question: str) -> Turn:
    return Turn(question, question, Answer("", (), (), refused=False))


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ("", "is empty"),
        ("  \n ", "is empty"),
        ("x" * 100_000, "100,000 characters"),
        ("?!... ;-)", "no words"),
        ("***", "no words"),
        ("half a \ud800 character", "not valid Unicode"),
    ],
    ids=["empty", "white space", "endless", "punctuation", "stars", "surrogate"],
)
def test_questions_that_cannot_be_asked_say_why(question: str, message: str) -> None:
    with pytest.raises(ConversationError, match=message):
        check_question(question)


def standalone(question: str, *history: str) -> str:
    return standalone_question(
        question, [turn(one) for one in history], OverlapReader(), VOCABULARY
    )


def test_a_follow_up_takes_over_the_words_that_a_person_would() -> None:
    assert standalone("and why is that?", "how does a Mitochondrion work") == (
        "and why is that? (Mitochondrion)"
    )


@pytest.mark.parametrize(
    "question", ["New topic: when did it rain?", "Btw, what is that?", "something else: why rain?"]
)
def test_a_new_topic_takes_nothing_with_it(question: str) -> None:
    assert standalone(question, "how does a Mitochondrion work") == question


def test_a_question_that_needs_nothing_from_before_takes_nothing_over() -> None:
    question = "Which membrane surrounds the chloroplast inside a plant cell?"
    assert standalone(question, "how does a Mitochondrion work") == question


LISTED = """Loss of a VAE:

- **Reconstruction loss**: how well it rebuilds. [1]
- KL divergence: how far it is from the prior. [1]

From your notes:

> - **Beta:** weighs them. [2]"""
QUOTED = """From your notes:

> - *Loss:* **Reconstruction loss:** how well it rebuilds. [1]
> - **`KL divergence`** is how far it is from the prior. [2]"""
UNNAMED = """Loss of a VAE:

- It measures how well the input is rebuilt, and it is what most people mean by the loss. [1]
- KL divergence: how far it is from the prior. [1]"""


@pytest.mark.parametrize(
    ("question", "asked", "answer", "named"),
    [
        ("what is the second one for?", "parts of it?", LISTED, "what is KL divergence for?"),
        ("And the first?", "parts of it?", LISTED, "And Reconstruction loss?"),
        ("and the last one", "parts of it?", LISTED, "and KL divergence"),
        ("why the second of them?", "parts of it?", QUOTED, "why KL divergence?"),
        (
            "is the latter newer",
            "what's the difference between a GAN and a VAE?",
            "",
            "is a VAE newer",
        ),
        ("and the former?", "GAN vs VAE - which is better?", LISTED, "and GAN?"),
        ("the first one, please", "compare rocks with ice when wet", "", "rocks, please"),
        ("why the first kind?", "word vs sentence embeddings", "", "why word embeddings?"),
        # Nothing is the fourth, or what it is isn't named.
        ("and the fourth?", "parts of it?", LISTED, "and the fourth?"),
        ("and the second one?", "parts of it?", UNNAMED, "and the second one?"),
        ("and the second one?", "parts of it?", "", "and the second one?"),
        ("who made the first computer?", "parts of it?", LISTED, "who made the first computer?"),
    ],
)
def test_the_second_one_is_what_was_named_second(
    question: str, asked: str, answer: str, named: str
) -> None:
    before = Turn(asked, asked, Answer(answer, (), (), refused=False))
    assert with_names(question, [before]) == named


def test_the_first_question_stays_as_typed() -> None:
    assert standalone("and why is that?") == "and why is that?"


def test_the_newest_words_come_first_and_none_twice() -> None:
    asked = standalone("is that a good one?", "a GAN", "Loss of the GAN", "GAN and Membrane")
    assert asked == "is that a good one? (GAN Membrane Loss)"


def test_words_that_the_question_has_or_the_notes_lack_are_not_taken_over() -> None:
    asked = standalone("what does the gan do?", "Does Paris like the GAN and its Loss?")
    assert asked == "what does the gan do? (Loss)"


def test_of_many_words_the_most_probable_are_taken_over() -> None:
    names = [f"Word{number}" for number in range(30)]
    vocabulary = frozenset(content_words(" ".join(names)))
    history = [turn(" ".join(names))]
    asked = standalone_question("and?", history, OverlapReader(), vocabulary)
    assert asked == "and? (Word0 Word1 Word2 Word3 Word4)"
