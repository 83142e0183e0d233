from pathlib import Path

import pytest

from rag_tutor.corpus import save_document
from rag_tutor.indexing import update_index
from rag_tutor.retrieval import Query, Retrieval, Weights, retrieve
from rag_tutor.sentences import sentence_spans
from rag_tutor.store import open_store
from tests.fakes import HashedEncoder, OverlapReader


def find(index: Path, question: str, limit: int, **weights: float) -> Retrieval:
    chosen = Weights(**weights)
    return retrieve(
        open_store(index), HashedEncoder(), OverlapReader(), [Query(question)], limit, chosen
    )


def test_the_passage_that_answers_comes_first(index: Path) -> None:
    found = find(index, "When was Napoleon crowned?", 3)
    assert "Napoleon was crowned" in found.passages[0].chunk.text
    assert found.passages[0].found_by == ("dense", "bm25")
    assert [passage.score for passage in found.passages] == sorted(
        (passage.score for passage in found.passages), reverse=True
    )


@pytest.mark.parametrize(
    "weights",
    [
        {"sentences": 0, "bm25": 0, "reader": 0},
        {"dense": 0, "bm25": 0, "reader": 0},
        {"dense": 0, "sentences": 0, "reader": 0},
        {"dense": 0, "sentences": 0, "bm25": 0.001},
    ],
)
def test_each_component_alone_finds_it_too(index: Path, weights: dict[str, float]) -> None:
    found = find(index, "When was Napoleon crowned?", 3, **weights)
    assert "Napoleon was crowned" in found.passages[0].chunk.text


def test_the_reader_reads_only_the_best_passages(corpus: Path, index: Path) -> None:
    for number in range(30):
        save_document(corpus, f"{number}.md", f"Napoleon fought battle number {number}.")
    update_index(corpus, index, HashedEncoder())
    reader = OverlapReader()
    queries = [Query("Napoleon battle")]
    retrieve(open_store(index), HashedEncoder(), reader, queries, 20, Weights(read=7))
    assert reader.read_texts == 7
    retrieve(open_store(index), HashedEncoder(), reader, queries, 20, Weights(reader=0))
    assert reader.read_texts == 7


def test_the_sentence_that_answers_has_the_highest_score(index: Path) -> None:
    found = find(index, "Why is damage to the membrane a problem?", 1)
    text = found.passages[0].chunk.text
    start, end = sentence_spans(text)[found.sentences[0].argmax()]
    assert text[start:end].startswith("Damage to the chloroplast membrane")


def test_of_a_follow_up_the_sentence_counts_that_answers_what_was_typed(
    corpus: Path, index: Path
) -> None:
    text = "The heart of a frog has three chambers.\nA frog breathes through its skin as well."
    save_document(corpus, "frogs.md", f"# Frogs\n\n{text}\n")
    update_index(corpus, index, HashedEncoder())
    queries = [
        Query("through what does it breathe as well?", 0.5),
        Query("through what does it breathe as well? (heart frog chambers three)"),
    ]
    found = retrieve(open_store(index), HashedEncoder(), OverlapReader(), queries, 1)
    (passage,), (scores,) = found.passages, found.sentences
    assert passage.chunk.document_id == "frogs.md"
    spans = sentence_spans(passage.chunk.text)
    best, _ = max(zip(spans, scores, strict=True), key=lambda pair: pair[1])
    assert passage.chunk.text[slice(*best)].startswith("A frog breathes")


def test_of_a_follow_up_without_words_the_sentence_counts_that_answers_the_whole_question(
    index: Path,
) -> None:
    whole = Query("why? (damage chloroplast membrane problem sugar)")
    alone, typed = (
        retrieve(open_store(index), HashedEncoder(), OverlapReader(), queries, 1)
        for queries in ([whole], [Query("why?", 0.5), whole])
    )
    assert typed.passages[0].chunk == alone.passages[0].chunk
    assert typed.sentences[0].tolist() == pytest.approx(alone.sentences[0].tolist())


def test_a_question_beyond_the_notes_is_less_relevant(index: Path) -> None:
    inside = find(index, "What is a chloroplast?", 3).relevance
    outside = find(index, "How do I bake sourdough bread?", 3).relevance
    assert outside < 0.3 < inside


def test_greek_letters_and_curly_apostrophes_are_found(
    corpus: Path, index: Path, encoder: HashedEncoder
) -> None:
    save_document(corpus, "repaired.md", "OpenAIâ€™s weighting is set by Î².")
    update_index(corpus, index, encoder)
    for question in ("openai's", "β"):
        first = find(index, question, 1).passages[0]
        assert first.chunk.document_id == "repaired.md"
        assert "bm25" in first.found_by


def test_repetitions_are_shown_once(corpus: Path, index: Path, encoder: HashedEncoder) -> None:
    sentence = "Napoleon was crowned emperor in 1804, in Paris."
    save_document(corpus, "copy.md", sentence)
    save_document(corpus, "copy of copy.md", f"**{sentence}**")
    update_index(corpus, index, encoder)
    found = find(index, "Napoleon crowned emperor", 9)
    names = [passage.chunk.document_id for passage in found.passages]
    assert sum(name.startswith("copy") for name in names) == 1
