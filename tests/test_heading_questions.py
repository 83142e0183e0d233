"""Headings become the questions that a student would ask."""

import pytest

from rag_tutor.heading_questions import question_about


@pytest.mark.parametrize(
    ("heading", "text", "question"),
    [
        # A question is used as it is.
        ("What is a meander?", "", "What is a meander?"),
        ("Question 3: Why is the sky blue?", "", "Why is the sky blue?"),
        ("what kinds of volcanoes are there", "", "What kinds of volcanoes are there?"),
        ("Which layers are frozen", "", "Which layers are frozen?"),
        ("Can bias be removed", "", "Can bias be removed?"),
        # What answers a question leads to it.
        ("How to sort a list", "", "How do I sort a list?"),
        ("When to use a heap", "", "When should I use a heap?"),
        ("How attention works", "", "Can you explain how attention works?"),
        ("What inertia is", "", "Can you explain what inertia is?"),
        # What is compared, and what something has.
        ("Mitosis vs. Meiosis", "mitosis, meiosis", "How do mitosis and meiosis differ?"),
        ("TCP versus UDP", "", "How do TCP and UDP differ?"),
        ("Advantages of Trade", "Some advantages of trade", "What are the advantages of trade?"),
        ("The Structure of DNA", "its structure", "What is the structure of DNA?"),
        ("Difference between Ser and Estar", "a difference; Ser is, Estar is",
         "What is the difference between Ser and Estar?"),
        ("Pros and cons of tariffs", "pros and cons", "What are the pros and cons of tariffs?"),
        ("Examples of acids", "examples", "What are some examples of acids?"),
        # What is named, as the text below writes it.
        ("Backpropagation", "With backpropagation, errors flow back.", "What is backpropagation?"),
        ("Introduction to Osmosis", "osmosis", "What is osmosis?"),
        ("Chapter 4: Osmosis: how water moves", "osmosis", "What is osmosis?"),
        ("Decision Tree", "A decision tree is grown.", "What is a decision tree?"),
        ("Chain rule", "By the chain rule it follows.", "What is the chain rule?"),
        ("Decision Trees", "Here decision trees are grown.", "What are decision trees?"),
        ("Enzymes", "Some enzymes cut.", "Can you explain enzymes?"),
        ("Bias and variance", "bias, variance", "Can you explain bias and variance?"),
        ("Limits in practice", "limits", "Can you explain limits in practice?"),
        ("LSTM", "An LSTM is a network.", "What is an LSTM?"),
        ("Marie Curie", "Marie Curie found radium.", "What should I know about Marie Curie?"),
        ("Genetics", "In genetics, traits matter.", "What is genetics?"),
        ("Solving for x", "solving it", "What does solving for x involve?"),
        ("Ice is lighter than water", "", "What does “Ice is lighter than water” mean?"),
        ("Napoleon in Egypt", "In Egypt, Napoleon won.",
         "What should I know about Napoleon in Egypt?"),
        ("Gaming", "In the gaming industry, gaming pays.", "What is gaming?"),
        ("Human Judgment", "- Human Judgment: it is human to judge", "What is human judgment?"),
        ("Explain the French Revolution.", "", "Explain the French Revolution."),
        # What names no subject asks nothing.
        ("Cells consist of two parts", "", ""),
        ("Plants make sugar by", "", ""),
        ("To keep a cell alive, several things matter", "", ""),
        ("Challenges", "", ""),
        ("Summary", "", ""),
        ("Further reading", "", ""),
        ("Page 2", "", ""),
        ("Week 3:", "", ""),
        ("***", "", ""),
    ],
)  # fmt: skip
def test_a_heading_becomes_the_question_that_a_student_would_ask(
    heading: str, text: str, question: str
) -> None:
    assert question_about(heading, "", text) == question


@pytest.mark.parametrize(
    ("heading", "above", "question"),
    [
        ("Advantages", "Free Trade", "What are the advantages of free trade?"),
        ("Key Components:", "Introduction to Free Trade", "What are the components of free trade?"),
        ("History", "Free Trade", "What is the history of free trade?"),
        ("Role in Europe", "Free Trade", ""),
    ],
)
def test_what_something_has_is_asked_of_the_heading_above(
    heading: str, above: str, question: str
) -> None:
    assert question_about(heading, above, "Some call free trade a blessing.") == question
