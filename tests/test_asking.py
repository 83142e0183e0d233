import pytest

from rag_tutor.asking import (
    asks_for_much,
    asks_for_several,
    questions_in,
    tells_what_is_asked,
)


@pytest.mark.parametrize(
    ("question", "several"),
    [
        ("List the kinds of rock", True),
        ("what are the steps of glycolysis", True),
        ("Which methods can I use?", True),
        ("What is a rock?", False),
        ("What are rocks?", False),
        ("What are the differences between the kinds of rock?", False),
        ("Why is marble hard?", False),
        ("What kind of rock is marble?", False),
        ("Does every volcano erupt?", False),
        ("Which types of rock are there?", True),
    ],
)
def test_a_question_asks_for_several_or_for_one(question: str, several: bool) -> None:
    assert asks_for_several(question) == several


@pytest.mark.parametrize(
    ("question", "much"),
    [
        ("granite vs basalt", True),
        ("How does a volcano erupt?", True),
        ("What is magma and where does it come from?", True),
        ("Is it hard? Is it old?", True),
        ("Which kinds of rock are there?", True),
        ("How old is granite?", False),
        ("What is magma?", False),
        ("Who described black and white marble?", False),
    ],
)
def test_a_question_asks_for_a_fact_or_for_more(question: str, much: bool) -> None:
    assert asks_for_much(question) == much


@pytest.mark.parametrize(
    ("question", "asked"),
    [
        (
            "What is magma and where does it come from?",
            ["What is magma", "where does it come from?"],
        ),
        (
            "Is marble hard? And how is granite made?",
            ["Is marble hard?", "how is granite made?"],
        ),
        (
            "which rock floats, and in which country is it found and what is its use",
            ["which rock floats", "in which country is it found", "what is its use"],
        ),
        ("what is slate, how is it split", ["what is slate", "how is it split"]),
        (
            "Basalt or granite: which one is darker and which one is lighter?",
            ["Basalt or granite: which one is darker", "which one is lighter?"],
        ),
        (
            "Explain how geysers work and why some have died.",
            ["Explain how geysers work", "why some have died."],
        ),
    ],
)
def test_several_questions_in_a_row_are_told_apart(question: str, asked: list[str]) -> None:
    assert questions_in(question) == asked


@pytest.mark.parametrize(
    "question",
    [
        "If I heat limestone, what happens?",
        "In a volcano, what is the vent?",
        "Who described granite, and when?",
        "What is a rock that floats and sinks?",
        "What is basalt? List its uses.",
        "I read a book on pumice. What is it?",
        "When magma cools, which rock is formed?",
        "What is pumice, which floats on water?",
        "and why?",
    ],
)
def test_one_question_stays_whole(question: str) -> None:
    assert questions_in(question) == [question]


@pytest.mark.parametrize(
    ("question", "sentence", "tells"),
    [
        ("Who found it?", "It was found by Marie Curie in a shed.", True),
        ("Who found it?", "Basalt and Granite are rocks.", False),
        ("Whose idea was it", "The idea (Hutton et al.) is old.", True),
        ("When did it erupt?", "It erupted in 1980 at dawn.", True),
        ("When did it erupt?", "It erupted 57 times.", False),
        ("how many plates are there", "There are seven large plates.", True),
        ("how many plates are there", "There are some large plates.", False),
        ("What is magma?", "Marie Curie saw 7 kinds of it in 1903.", False),
    ],
)
def test_a_sentence_tells_who_when_or_how_many(question: str, sentence: str, tells: bool) -> None:
    assert tells_what_is_asked(question, sentence) == tells
