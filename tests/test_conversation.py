import pytest

from rag_tutor.conversation import check_question, standalone_question
from rag_tutor.domain import Answer, Turn
from rag_tutor.errors import ConversationError
from rag_tutor.words import content_words

TOPICS = frozenset(content_words("mitochondrion energy chloroplast membrane GAN loss"))
WORDS = TOPICS | {"sugar", "light"}


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


@pytest.mark.parametrize(
    "follow_up",
    [
        "and why is that a problem?",
        "What does it do?",
        "how about the second one",
        "Which of these is larger?",
        "Why?",
        "what's the low-rank one exactly?",
        "Who came up with the method?",
    ],
)
def test_a_follow_up_takes_the_topic_with_it(follow_up: str) -> None:
    history = (turn("What is a mitochondrion, please?"),)
    assert standalone_question(follow_up, history, TOPICS, WORDS) == f"{follow_up} (mitochondrion)"


@pytest.mark.parametrize(
    "question",
    [
        "Who crowned Napoleon?",
        "What does the Zorbian method do?",
        "Explain the method of least squares",
        "New topic: when did it rain?",
        "Btw, what is that in French?",
    ],
)
def test_a_new_subject_takes_nothing_with_it(question: str) -> None:
    assert (
        standalone_question(question, (turn("What is a mitochondrion?"),), TOPICS, WORDS)
        == question
    )


def test_the_first_question_stays_as_typed() -> None:
    assert standalone_question("and why is that?", (), TOPICS, WORDS) == "and why is that?"


def test_the_newest_words_come_first_and_none_twice() -> None:
    history = (turn("What is a GAN?"), turn("Which loss does the GAN use?"))
    standalone = standalone_question("is that a good loss?", history, TOPICS, WORDS)
    assert standalone == "is that a good loss? (GAN)"


def test_a_question_without_a_topic_gives_its_words_that_the_notes_know() -> None:
    history = (turn("Does sugar melt fast?"),)
    assert standalone_question("and why?", history, TOPICS, WORDS) == "and why? (sugar)"
