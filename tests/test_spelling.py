import pytest

from rag_tutor.spelling import corrected
from rag_tutor.words import content_words

SPELLINGS = {"mitochondria": 5, "chloroplast": 4, "membrane": 3, "plant": 6, "enzymes": 1}
VOCABULARY = frozenset(stem for word in SPELLINGS for stem in content_words(word))


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("what do mitocondria do?", "what do mitochondria do?"),
        ("Mitohcondira: why?", "Mitochondria: why?"),
        ("where is the chlorplast", "where is the chloroplast"),
        ("a membranne", "a membrane"),
    ],
    ids=["a letter left out", "two slips in a long word", "nothing else changed", "added"],
)
def test_a_slip_is_corrected_as_the_notes_spell_it(typed: str, meant: str) -> None:
    assert corrected(typed, SPELLINGS, VOCABULARY) == meant


@pytest.mark.parametrize(
    "question",
    [
        "how do planets move",  # a common word, one letter from "plant"
        "what is an enzyme?",  # another form of a word of the notes
        "what is a ribosome?",  # nothing like it in the notes
        "is ATPS 9000 chloroplast?",
        "membrain",  # two slips are too many for a short word
        "was ist eine Zellmembrane",
    ],
)
def test_other_words_stay_as_they_were_typed(question: str) -> None:
    assert corrected(question, SPELLINGS, VOCABULARY) == question


def test_of_two_words_equally_near_the_more_frequent_one_is_meant() -> None:
    spellings = {"kinases": 1, "kineses": 7}
    assert corrected("what are kinuses", spellings, frozenset()) == "what are kineses"


@pytest.mark.parametrize(
    ("typed", "of_the_notes"),
    [
        ("hypoglycemia", "hyperglycemia"),
        ("intracellular", "intercellular"),
        ("microeconomics", "macroeconomics"),
        ("exothermic", "endothermic"),
        ("nitrite", "nitrate"),
        ("alkenes", "alkanes"),
    ],
)
def test_a_term_is_no_slip_of_its_opposite(typed: str, of_the_notes: str) -> None:
    assert corrected(typed, {of_the_notes: 9}, frozenset()) == typed
