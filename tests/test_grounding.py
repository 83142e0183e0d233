import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_tutor.chunking import chunk_document, searchable_text
from rag_tutor.corpus import read_document, scan_corpus
from rag_tutor.domain import Answer, Chunk, Passage, Turn
from rag_tutor.evidence import Evidence, rank_evidence, select_evidence, statement_spans
from rag_tutor.grounding import MARKER, Support, prompt, quotation, without_markers
from rag_tutor.ui.render import answer_markdown
from tests.fakes import HashedEncoder


def passage(text: str, heading: tuple[str, ...] = ("Topic",), start: int = 100) -> Passage:
    return Passage(Chunk("note.md", heading, start, start + len(text), text), 1.0, ("dense",))


def evidence_of(text: str, part: str, number: int = 1) -> tuple[Evidence, list[Passage]]:
    start = 100 + text.index(part)
    return Evidence(number, start, start + len(part), part, 1.0), [passage(text)] * number


NOTES = [
    passage("The Eiffel Tower was built in 1889 by Gustave Eiffel. It is 330 metres high."),
    passage("GANs are not easy to train. Diffusion models train stably but slowly."),
]


@pytest.mark.parametrize(
    ("sentence", "quote"),
    [
        (
            "The Eiffel Tower was built in 1889 by Gustave Eiffel.",
            "The Eiffel Tower was built in 1889 by Gustave Eiffel.",
        ),
        (
            "Gustave Eiffel's tower: the Eiffel Tower was built in 1889.",
            None,
        ),
        ("The Eiffel Tower was built in 1889. [2]", NOTES[0].chunk.text[:53]),
        ("Diffusion models train stably [1].", "Diffusion models train stably but slowly."),
        ("The Eiffel Tower was built in 1887 by Gustave Eiffel.", None),
        ("The Eiffel Tower was built in 1889 by Victor Hugo.", None),
        ("GANs are easy to train.", None),
        ("Slowly but stably train models of diffusion.", None),
        ("Diffusion models train poorly but slowly.", None),
        ("Victor Eiffel built the Eiffel Tower in 1889.", None),
        ("GANs train stably.", None),
        ("Bananas grow in warm countries.", None),
        ("Eiffel Tower built in 1889 by Gustave Eiffel:", None),
        ("Yes.", None),
        ("", None),
    ],
)
def test_a_sentence_is_supported_by_one_that_says_the_same(
    sentence: str, quote: str | None
) -> None:
    citation = Support(NOTES).find(sentence)
    assert (citation.quote if citation else None) == quote


def test_the_citation_names_the_passage_that_supports_not_the_one_claimed() -> None:
    citation = Support(NOTES).find("The Eiffel Tower was built in 1889 by Gustave Eiffel. [2]")
    assert citation is not None
    assert citation.number == 1
    assert citation.start == 100


@pytest.mark.parametrize(
    ("beginning", "may_follow"),
    [
        ("", True),
        ("The Eiff", True),
        ("The Eiffel Tower was bui", True),
        ("1. The Eiffel Tower was built in 18", True),
        ("The Eiffel Tower was painted in", False),
        ("The Eiffel Tower was built in 1887 by", False),
        ("Gustave Eiffel built the ", False),
    ],
)
def test_a_sentence_that_can_no_longer_be_supported_is_noticed(
    beginning: str, may_follow: bool
) -> None:
    assert Support(NOTES).may_follow(beginning) is may_follow


@given(st.sampled_from(NOTES), st.integers(0, 80))
def test_the_beginning_of_a_supported_sentence_may_follow(found: Passage, length: int) -> None:
    start, end = statement_spans(found.chunk.text)[0]
    sentence = found.chunk.text[start:end]
    assert Support(NOTES).find(sentence)
    assert Support(NOTES).may_follow(sentence[:length])


@given(st.text(max_size=80))
def test_nothing_is_supported_by_nothing(sentence: str) -> None:
    assert Support([]).find(sentence) is None


@given(st.text(alphabet="a[12], ", max_size=30))
def test_no_marker_is_left_after_removal(text: str) -> None:
    assert not MARKER.search(without_markers(text))


@pytest.mark.parametrize(
    ("text", "part", "quoted"),
    [
        ("One. It is so.", "It is so.", "> - It is so. [1]"),
        ("- **Role:** it acts", "- **Role:** it acts", "> - **Role:** it acts [1]"),
        (
            "- ```py\n  x = 1\n  ```",
            "- ```py\n  x = 1\n  ```",
            "> ```py\n> x = 1\n> ```\n>\n> [1]",
        ),
        ("A | B\n---|---\nlow | high", "low | high", "> - low — B: high [1]"),
        ("As shown in [3], so.", "As shown in [3], so.", "> - As shown in [\u20603], so. [1]"),
        ("```py\nx = y[0]\n```", "```py\nx = y[0]\n```", "> ```py\n> x = y[0]\n> ```\n>\n> [1]"),
        (
            "| Aspect | A | B |\n|---|---|---|\n| Cost | low | high |",
            "| Cost | low | high |",
            "> - Cost — A: low; B: high [1]",
        ),
        ("| Cost | low | high |", "| Cost | low | high |", "> - Cost · low · high [1]"),
        ("A line\nthat wraps.", "A line\nthat wraps.", "> - A line that wraps. [1]"),
    ],
    ids=[
        "sentence",
        "item",
        "code in an item",
        "row without bars around",
        "marker in a note",
        "code",
        "row",
        "row without header",
        "wrapped",
    ],
)
def test_a_quotation_is_marked_as_one_and_cites_its_exact_place(
    text: str, part: str, quoted: str
) -> None:
    item, passages = evidence_of(text, part)
    markdown, citation = quotation(item, passages)
    assert markdown == quoted
    assert citation.quote == part


def test_the_prompt_shows_evidence_below_the_number_of_its_passage() -> None:
    item, _ = evidence_of("Some text. It is so.", "It is so.", 3)
    assert "[3] It is so.\nQuestion: Is it?" in prompt("Is it?", [item])[-1]["content"]


@pytest.mark.parametrize(
    "text",
    [
        "# A heading that is quite long",
        "12. **What is the bold question here?**",
        "What is the question here?",
        "The steps are as follows:",
        "![a picture of something nice](x.png)",
        "Image source: https://example.com/a/b and more",
        "A Title Line Without Any Stop",
        "Too short.",
        "| Column one | Column two | x |\n|---|---|---|",
    ],
)
def test_what_states_nothing_is_no_evidence(text: str) -> None:
    assert statement_spans(text) == []


def test_a_label_before_an_answer_is_not_quoted() -> None:
    text = "**`Answer:`** The cell makes energy here."
    [(start, end)] = statement_spans(text)
    assert text[start:end] == "The cell makes energy here."


LIST = (
    "Ways to schedule the rate:\n\n- Step decay lowers the rate by steps\n"
    "- Cosine annealing follows a cosine curve\n- Warm-up raises the rate at first\n\n"
    "Choose the way to schedule the rate with care."
)


def select(question: str, *passages: Passage) -> list[str]:
    encoder = HashedEncoder()
    texts = [searchable_text(passage.chunk) for passage in passages]
    scores = [
        encoder.encode_passages([text.text], [text.sentences])[1] @ encoder.encode_query(question)
        for text in texts
    ]
    ranked = rank_evidence(question, passages, scores, lambda word: 1.0)
    return [item.text for item in select_evidence(question, ranked, passages, 2)]


def test_a_question_for_several_gets_the_whole_list() -> None:
    chosen = select("List the ways to schedule the learning rate by steps", passage(LIST))
    assert [line[:6] for line in chosen] == ["- Step", "- Cosi", "- Warm"]


def test_a_question_for_one_thing_gets_the_best_sentence_first() -> None:
    chosen = select("What is cosine annealing?", NOTES[0], passage(LIST))
    assert "- Cosine annealing follows a cosine curve" in chosen


def test_the_same_statement_is_chosen_once() -> None:
    same = passage("Step decay lowers the rate by steps.", start=900)
    chosen = select("What is step decay?", passage("Step decay lowers the rate by steps."), same)
    assert len(chosen) == 1


def test_no_statements_give_no_evidence() -> None:
    assert select("What is it?", passage("# Only a heading")) == []


def test_every_statement_of_the_notes_can_be_quoted_with_one_marker() -> None:
    folder = Path(__file__).parent.parent / "corpus"
    quoted = 0
    for name in scan_corpus(folder)[0]:
        document = read_document(folder, name)
        for chunk in chunk_document(document, lambda text: len(text) // 4, 256):
            found = Passage(chunk, 1.0, ("dense",))
            for start, end in statement_spans(chunk.text):
                part = chunk.text[start:end]
                item = Evidence(1, chunk.start + start, chunk.start + end, part, 1.0)
                markdown, citation = quotation(item, [found])
                outside_code = re.sub(
                    r"> ```[^\n]*\n.*?\n> *```|`[^`]*`", "", markdown, flags=re.DOTALL
                )
                assert MARKER.findall(outside_code) == ["1"]
                assert document.text[citation.start : citation.end] == part == citation.quote
                quoted += 1
    assert quoted > 1_000


def test_a_bracketed_number_of_a_note_is_shown_as_it_is() -> None:
    item, passages = evidence_of("As shown in [3], so it is.", "As shown in [3], so it is.")
    markdown, citation = quotation(item, passages)
    turn = Turn("q", "q", Answer(markdown, (citation,), tuple(passages), refused=False))
    shown = answer_markdown(turn, 0)
    assert "[\u20603]" in shown
    assert shown.count('class="citation"') == 1
