from collections import defaultdict
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from rag_tutor.corpus import save_document
from rag_tutor.indexing import update_index
from rag_tutor.retrieval import Query, rank_fusion, retrieve
from rag_tutor.store import open_store
from tests.fakes import HashedEncoder


@given(st.lists(st.tuples(st.lists(st.integers(0, 9), unique=True), st.floats(0, 2)), max_size=4))
def test_rank_fusion_adds_up_reciprocal_ranks(lists: list[tuple[list[int], float]]) -> None:
    expected: dict[int, float] = defaultdict(float)
    for row in range(10):
        for ranking, weight in lists:
            if row in ranking:
                expected[row] += weight / (61 + ranking.index(row))
    fused = rank_fusion([ranking for ranking, _ in lists], [weight for _, weight in lists])
    assert fused.keys() == expected.keys()
    assert all(abs(fused[row] - expected[row]) < 1e-12 for row in fused)


def test_the_passage_that_answers_comes_first(index: Path, encoder: HashedEncoder) -> None:
    found = retrieve(open_store(index), encoder, [Query("When was Napoleon crowned?")], 3)
    assert "Napoleon was crowned" in found.passages[0].chunk.text
    assert found.passages[0].found_by == ("dense", "bm25")
    assert [passage.score for passage in found.passages] == sorted(
        (passage.score for passage in found.passages), reverse=True
    )


def test_a_question_beyond_the_notes_is_less_relevant(index: Path, encoder: HashedEncoder) -> None:
    store = open_store(index)
    inside = retrieve(store, encoder, [Query("What is a chloroplast?")], 3).relevance
    outside = retrieve(store, encoder, [Query("How do I bake sourdough bread?")], 3).relevance
    assert outside < 0.3 < inside


def test_greek_letters_and_curly_apostrophes_are_found(
    corpus: Path, index: Path, encoder: HashedEncoder
) -> None:
    save_document(corpus, "repaired.md", "OpenAIâ€™s weighting is set by Î².")
    update_index(corpus, index, encoder)
    store = open_store(index)
    for question in ("openai's", "β"):
        first = retrieve(store, encoder, [Query(question)], 1).passages[0]
        assert first.chunk.document_id == "repaired.md"
        assert "bm25" in first.found_by


def test_repetitions_are_shown_once(corpus: Path, index: Path, encoder: HashedEncoder) -> None:
    sentence = "Napoleon was crowned emperor in 1804, in Paris."
    save_document(corpus, "copy.md", sentence)
    save_document(corpus, "copy of copy.md", f"**{sentence}**")
    update_index(corpus, index, encoder)
    found = retrieve(open_store(index), encoder, [Query("Napoleon crowned emperor")], 9)
    names = [passage.chunk.document_id for passage in found.passages]
    assert sum(name.startswith("copy") for name in names) == 1
