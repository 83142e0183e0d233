"""The index on disk, searched: what a million chunks need is tried with as few as will do."""

import random
from collections.abc import Callable
from pathlib import Path

import bm25s
import numpy as np
import pytest

from rag_tutor.chunking import searchable_text
from rag_tutor.corpus import save_document
from rag_tutor.domain import Chunk, Vectors
from rag_tutor.errors import StaleIndexError
from rag_tutor.indexing import update_index
from rag_tutor.segment import Rows, Version
from rag_tutor.store import Kind, Store, open_store, write_store
from rag_tutor.words import content_words
from tests.fakes import HashedEncoder

WORDS = "cell wall light sugar plant energy membrane king war paris crown the of and".split()


def sentence(chance: random.Random) -> str:
    return " ".join(chance.choices(WORDS, k=12)).capitalize() + "."


def test_words_are_scored_as_bm25s_does(tmp_path: Path, encoder: HashedEncoder) -> None:
    chance, corpus = random.Random(1), tmp_path / "notes"
    for number in range(30):
        save_document(corpus, f"{number}.md", sentence(chance) * chance.randint(1, 5) + "?!")
    save_document(corpus, "no word.md", "?!... (( ))")
    update_index(corpus, tmp_path / "index", encoder)
    for number in range(8):
        save_document(corpus, f"{number}.md", sentence(chance))
        update_index(corpus, tmp_path / "index", encoder)
    store = open_store(tmp_path / "index")
    assert len(store.folders) > 2
    oracle = bm25s.BM25()
    rows = [content_words(searchable_text(chunk).text) for chunk in store.chunks]
    # It knows no notes without any word.
    oracle.index([[*row, "\0"] for row in rows], show_progress=False)
    for asked in (["cell"], ["cell", "wall", "cell"], content_words(" ".join(WORDS))):
        assert (store.bm25_scores(asked) == oracle.get_scores(asked)).all()
    assert not store.bm25_scores(["unknown"]).any()


def directions(count: int, dimension: int = 256) -> Vectors:
    drawn = np.random.default_rng(3).standard_normal((count, dimension)).astype(np.float32)
    vectors: Vectors = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return vectors


def rows_of(vectors: Vectors) -> Rows:
    """Notes of a hundred chunks each, with these vectors."""
    names = [f"{row // 100:05}.md" for row in range(len(vectors))]
    chunks = [Chunk(name, (), 0, 1, "x") for name in names]
    notes = {name: Version("hash", None) for name in names}
    return Rows(
        notes, chunks, vectors, [vectors[:0].astype(np.float16)] * len(chunks), [[]] * len(chunks)
    )


def test_of_very_many_chunks_nearly_all_of_the_nearest_are_found(tmp_path: Path) -> None:
    vectors = directions(20_100)
    write_store(tmp_path, Kind("drawn", 256, ""), [rows_of(vectors)])
    store = open_store(tmp_path)
    gone = frozenset(f"{number:05}.md" for number in range(60))
    write_store(tmp_path, store.kind, [], store, gone)
    edited = open_store(tmp_path)
    assert (store.row_count, edited.row_count) == (20_100, 14_100)
    for opened, kept in ((store, vectors), (edited, vectors[6_000:])):
        found = 0
        for asked in directions(50):
            scores = kept @ asked
            hits = opened.nearest(asked, 10)
            assert [score for _, score in hits] == pytest.approx(
                [scores[row] for row, _ in hits], abs=1e-6
            )
            found += len({row for row, _ in hits} & {*np.argsort(-scores)[:10].tolist()})
        assert found > 0.95 * 500


def test_edits_leave_few_segments_behind(tmp_path: Path, encoder: HashedEncoder) -> None:
    chance, corpus, index = random.Random(2), tmp_path / "notes", tmp_path / "index"
    for number in range(40):
        save_document(corpus, f"{number}.md", sentence(chance))
    update_index(corpus, index, encoder)
    most = 0
    for step in range(30):
        save_document(corpus, f"{step % 50}.md", sentence(chance))
        update_index(corpus, index, encoder)
        most = max(most, len(open_store(index).parts))
        assert len(list((index / "segments").iterdir())) == len(open_store(index).parts)
    assert 1 < most < 5


def damaged_text(folder: Path) -> None:
    chunks = folder / "chunks.jsonl"
    chunks.write_bytes(chunks.read_bytes().replace(b"Napoleon", b'Napol"on'))


def other_place(folder: Path) -> None:
    chunks = folder / "chunks.jsonl"
    chunks.write_bytes(chunks.read_bytes().replace(b'"start": 0', b'"start": 9'))


@pytest.mark.parametrize("damage", [damaged_text, other_place])
def test_a_damaged_chunk_says_what_to_do(
    corpus: Path, index: Path, encoder: HashedEncoder, damage: Callable[[Path], None]
) -> None:
    (folder,) = (index / "segments").iterdir()
    damage(folder)
    with pytest.raises(StaleIndexError, match="rag-tutor index --full --index"):
        list(open_store(index).chunks)
    save_document(corpus, "history.txt", "Changed.")
    with pytest.raises(StaleIndexError, match="rag-tutor index --full --index"):
        update_index(corpus, index, encoder)
    update_index(corpus, index, encoder, full=True)
    assert "Changed." in [chunk.text for chunk in open_store(index).chunks]


def test_what_both_hold_of_an_edit_is_opened_once(
    corpus: Path, index: Path, encoder: HashedEncoder
) -> None:
    for number in range(30):
        save_document(corpus, f"{number}.md", f"Napoleon fought battle number {number}.")
    update_index(corpus, index, encoder)
    before: Store = open_store(index)
    save_document(corpus, "history.txt", "Changed.")
    update_index(corpus, index, encoder)
    after = open_store(index)
    assert before.parts[0].segment is after.parts[0].segment
    assert len(after.parts) == 2
