"""Headings become the questions that a student would ask."""

import pytest

from rag_tutor.heading_questions import question_about, written_capitals


@pytest.mark.parametrize(
    ("heading", "text", "question"),
    [
        # A question is used as it is.
        ("What is a meander?", "", "What is a meander?"),
        ("Question 3: Why is the sky blue?", "", "Why is the sky blue?"),
        ("23 What is a meander?", "", "What is a meander?"),
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
        ("Explaining osmosis in detail", "osmosis", "What is osmosis?"),
        ("Gaming", "In the gaming industry, gaming pays.", "What is gaming?"),
        ("Human Judgment", "- Human Judgment: it is human to judge", "What is human judgment?"),
        ("Explain the French Revolution.", "", "Explain the French Revolution."),
        ("Describe a fjord. What made it?", "", "Describe a fjord. What made it?"),
        # What names no subject asks nothing.
        ("Cells consist of two parts", "", ""),
        ("Plants make sugar by", "", ""),
        ("Sleep is critical because", "", ""),
        ("The choice depends on the soil", "", ""),
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
    assert question_about(heading, "", text, written_capitals([text])) == question


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
    text = "Some call free trade a blessing."
    assert question_about(heading, above, text, written_capitals([text])) == question


NOTES = """# Notes on Everything And More

Typical Uses of Neural Networks

7. Ethical and Societal Considerations:
- **Ethical and Societal Considerations**: We discuss ethical considerations of neural networks.
The training of networks by Marie Curie began with typical tasks. In Paris, they use Python; some
write python as in `Tokens`. Their large language models read the Bible, see
www.example.com/Models. The fine-tuning of large models is done in Python. To load large models
from the Hugging Face hub, face a small task.
"""


@pytest.mark.parametrize(
    ("heading", "question"),
    [
        ("What Is An RNN?", "What is an RNN?"),
        ("What Is A Large Language Model", "What is a large language model?"),
        ("What Are Some Typical Uses of Python in Paris?",
         "What are some typical uses of Python in Paris?"),
        ("Uses of Vitamin A in Large Networks",
         "What are the uses of vitamin A in large networks?"),
        ("How To Train A Neural Network", "How do I train a neural network?"),
        ("Ethical and Societal Considerations",
         "Can you explain ethical and societal considerations?"),
        ("Fine-Tuning of Large Language Models (LLMs)",
         "What is the fine-tuning of large language models (LLMs)?"),
        ("Large Models by Marie Curie", "Can you explain large models by Marie Curie?"),
        ("How are Large Models (LMs) used?", "How are Large Models (LMs) used?"),
        ("Why does Wernicke's area matter?", "Why does Wernicke's area matter?"),
        ("Typical Uses of Hugging Face", "Can you explain typical uses of Hugging Face?"),
        ("Marie Curie", "What should I know about Marie Curie?"),
    ],
)  # fmt: skip
def test_a_title_becomes_a_sentence_with_the_capitals_of_the_notes(
    heading: str, question: str
) -> None:
    assert question_about(heading, "", "", written_capitals([NOTES])) == question
