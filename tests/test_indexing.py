import json
import os
import random
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from rag_tutor.corpus import save_document
from rag_tutor.domain import Span, Vectors
from rag_tutor.errors import CorpusError, IndexMissingError, StaleIndexError, TutorError
from rag_tutor.indexing import IndexReport, is_current, note_states, update_index
from rag_tutor.store import Store, open_store
from rag_tutor.words import content_words
from tests.fakes import HashedEncoder


def texts(index: Path) -> str:
    return "\n".join(chunk.text for chunk in open_store(index).chunks)


def build_folder(index: Path) -> Path:
    return index / "builds" / (index / "CURRENT").read_text()


def segment_folder(index: Path) -> Path:
    (folder,) = (index / "segments").iterdir()
    return folder


def check_same(one: Store, other: Store) -> None:
    """Two indexes hold the same and find the same, to the bit."""
    assert one.manifest == other.manifest
    assert [*one.chunks] == [*other.chunks]
    assert {name: [*one.chunks_of(name)] for name in one.versions} == {
        name: [*other.chunks_of(name)] for name in one.versions
    }
    rows = range(len(one.chunks))
    assert (one.vectors(rows) == other.vectors(rows)).all()
    assert all((one.sentence_vectors(row) == other.sentence_vectors(row)).all() for row in rows)
    assert one.vector_count == other.vector_count
    assert one.spellings == other.spellings
    assert one.vocabulary == other.vocabulary
    for word in one.vocabulary:
        assert one.rarity(word) == other.rarity(word)
        asked = [word, "word", word]
        assert (one.bm25_scores(asked) == other.bm25_scores(asked)).all()
    for row in rows[:20]:
        vector = one.vectors([row])[0]
        hits, others = one.nearest(vector, 9), other.nearest(vector, 9)
        assert [score for _, score in hits] == [score for _, score in others]
        # Of those equally near, any may be the last one.
        assert all(row in dict(others) for row, score in hits if score > hits[-1][1])


def test_the_first_build_takes_every_note(
    tmp_path: Path, corpus: Path, encoder: HashedEncoder
) -> None:
    seen: list[tuple[int, int]] = []
    report = update_index(
        corpus, tmp_path / "new", encoder, progress=lambda *step: seen.append(step)
    )
    assert (report.documents, report.added, report.unchanged) == (2, 2, 0)
    assert report.chunks == len(open_store(tmp_path / "new").chunks) == len(encoder.encoded)
    assert seen[0][0] == 0
    assert seen[-1] == (report.chunks, report.chunks)


def test_only_the_edited_note_is_encoded_again(
    corpus: Path, index: Path, encoder: HashedEncoder
) -> None:
    save_document(corpus, "history.txt", "Cleopatra ruled Egypt.\n")
    report = update_index(corpus, index, encoder)
    assert (report.changed, report.unchanged) == (1, 1)
    assert encoder.encoded == ["Cleopatra ruled Egypt."]
    assert "Napoleon" not in texts(index)
    assert "mitochondrion" in texts(index)


def test_vectors_that_are_kept_stay_with_their_chunks(
    corpus: Path, index: Path, encoder: HashedEncoder
) -> None:
    save_document(corpus, "a first note.md", "Cleopatra ruled Egypt.\n")
    update_index(corpus, index, encoder)
    store = open_store(index)
    for row, chunk in enumerate(store.chunks):
        best, score = store.nearest(store.vectors([row])[0], 1)[0]
        assert (best, round(score, 3)) == (row, 1.0)
        found = store.nearest(encoder.encode_query(chunk.text), 1)[0][0]
        assert store.chunks[found].document_id == chunk.document_id


def test_a_renamed_and_a_deleted_note_leave_nothing_behind(
    corpus: Path, index: Path, encoder: HashedEncoder
) -> None:
    (corpus / "history.txt").rename(corpus / "past.txt")
    (corpus / "biology.md").unlink()
    report = update_index(corpus, index, encoder)
    assert (report.added, report.removed) == (1, 2)
    assert {chunk.document_id for chunk in open_store(index).chunks} == {"past.txt"}


def test_an_unchanged_corpus_makes_no_new_build(
    corpus: Path, index: Path, encoder: HashedEncoder
) -> None:
    before = build_folder(index)
    assert update_index(corpus, index, encoder).unchanged == 2
    assert build_folder(index) == before
    assert is_current(corpus, index, encoder.name)
    update_index(corpus, index, encoder, full=True)
    assert build_folder(index) != before
    assert not before.exists()


def test_an_index_is_current_only_for_the_same_notes_and_encoder(
    corpus: Path, index: Path, encoder: HashedEncoder
) -> None:
    assert not is_current(corpus, index, "another encoder")
    save_document(corpus, "new.md", "text")
    assert not is_current(corpus, index, encoder.name)


def test_only_the_changed_chunks_of_a_note_are_encoded(
    corpus: Path, index: Path, encoder: HashedEncoder
) -> None:
    sections = [f"## Part {number}\n\n{'word ' * 150}{number}\n" for number in range(5)]
    save_document(corpus, "long.md", "\n".join(sections))
    update_index(corpus, index, encoder)
    encoder.encoded.clear()
    sections[2] += "\nOne more sentence.\n"
    save_document(corpus, "long.md", "\n".join(sections))
    update_index(corpus, index, encoder)
    assert len(encoder.encoded) == 1
    assert "One more sentence" in encoder.encoded[0]
    fresh = HashedEncoder()
    update_index(corpus, index.parent / "fresh", fresh)
    kept, anew = open_store(index), open_store(index.parent / "fresh")
    check_same(kept, anew)


@pytest.mark.parametrize("seed", range(3))
def test_an_index_holds_the_same_however_it_came_about(tmp_path: Path, seed: int) -> None:
    chance, corpus, index = random.Random(seed), tmp_path / "notes", tmp_path / "index"
    words = "cell wall light sugar plant energy membrane king war paris crown".split()

    def save(name: str) -> None:
        sections = [
            f"## {' '.join(chance.sample(words, 2))}\n\n{' '.join(chance.choices(words, k=9))}."
            for _ in range(chance.randint(0, 9))
        ]
        save_document(corpus, name, "\n\n".join(["# Note", *sections]))

    for number in range(20):
        save(f"{number}.md")
    update_index(corpus, index, HashedEncoder())
    most = 0
    for _ in range(12):
        names = sorted(path.name for path in corpus.iterdir())
        for name in chance.sample(names, chance.randint(1, 3)):
            match chance.choice(["save", "rename", "delete", "add"]):
                case "save":
                    save(name)
                case "rename":
                    (corpus / name).rename(corpus / f"{chance.random()}.md")
                case "delete":
                    (corpus / name).unlink()
                case "add":
                    save(f"{chance.random()}.md")
        update_index(corpus, index, HashedEncoder())
        most = max(most, len(open_store(index).parts))
    assert most > 1
    update_index(corpus, tmp_path / "fresh", HashedEncoder())
    check_same(open_store(index), open_store(tmp_path / "fresh"))


def test_a_change_that_leaves_size_and_time_as_they_were_is_seen(
    corpus: Path, index: Path, encoder: HashedEncoder
) -> None:
    note = corpus / "history.txt"
    time.sleep(2.1)  # until then a file's times aren't trusted
    update_index(corpus, index, encoder, full=True)
    assert open_store(index).versions["history.txt"].stamp
    assert is_current(corpus, index, encoder.name)
    status = note.stat()
    note.write_text(note.read_text().replace("Napoleon", "Bonapart"))
    os.utime(note, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert not is_current(corpus, index, encoder.name)
    update_index(corpus, index, encoder)
    assert "Bonapart" in texts(index)


def test_a_renamed_note_is_not_encoded_again(
    corpus: Path, index: Path, encoder: HashedEncoder
) -> None:
    (corpus / "biology.md").rename(corpus / "cells.md")
    report = update_index(corpus, index, encoder)
    assert (report.changes.added, report.changes.removed) == (("cells.md",), ("biology.md",))
    assert encoder.encoded == []


class FailingEncoder(HashedEncoder):
    def encode_passages(
        self, texts: Sequence[str], sentences: Sequence[Sequence[Span]]
    ) -> tuple[Vectors, Vectors]:
        raise MemoryError


def test_a_build_that_fails_leaves_the_old_one_in_use(corpus: Path, index: Path) -> None:
    before = build_folder(index)
    save_document(corpus, "history.txt", "Changed.")
    with pytest.raises(MemoryError):
        update_index(corpus, index, FailingEncoder())
    assert build_folder(index) == before
    assert "Napoleon" in texts(index)


def test_left_overs_of_a_killed_build_are_cleaned(
    corpus: Path, index: Path, encoder: HashedEncoder
) -> None:
    left_overs = [index / folder / ("0" * 32) for folder in ("builds", "segments")]
    for left_over in left_overs:
        left_over.mkdir()
        (left_over / "chunks.jsonl").write_text("{")
    (index / "builds" / "mine").mkdir()
    assert "Napoleon" in texts(index)
    save_document(corpus, "new.md", "text")
    update_index(corpus, index, encoder)
    assert not any(left_over.exists() for left_over in left_overs)
    assert (index / "builds" / "mine").exists()


def test_an_open_store_goes_on_working_after_a_rebuild(
    corpus: Path, index: Path, encoder: HashedEncoder
) -> None:
    old = open_store(index)
    save_document(corpus, "history.txt", "Changed.")
    update_index(corpus, index, encoder)
    best = old.bm25_scores(content_words("Napoleon")).argmax()
    assert "Napoleon" in old.chunks[best].text
    assert old.nearest(encoder.encode_query("Napoleon"), 1)


def test_two_builds_at_once_follow_each_other(corpus: Path, index: Path) -> None:
    reports: list[IndexReport] = []
    save_document(corpus, "new.md", "text")

    def build() -> None:
        reports.append(update_index(corpus, index, HashedEncoder()))

    threads = [threading.Thread(target=build) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(report.added for report in reports) == [0, 0, 0, 1]
    assert len(list((index / "builds").iterdir())) == 1


def test_no_readable_note_is_an_error_that_keeps_the_index(
    corpus: Path, index: Path, encoder: HashedEncoder
) -> None:
    for note in corpus.iterdir():
        note.write_bytes(b"")
    with pytest.raises(CorpusError, match=r"biology\.md: empty"):
        update_index(corpus, index, encoder)
    assert "Napoleon" in texts(index)


def test_one_bad_note_does_not_stop_the_rest(
    corpus: Path, index: Path, encoder: HashedEncoder
) -> None:
    (corpus / "binary.md").write_bytes(b"\x00\x01\x02" * 99)
    (corpus / "only headings.md").write_text("# One\n\n## Two\n")
    report = update_index(corpus, index, encoder)
    assert report.documents == 3
    assert [item.document for item in report.skipped] == ["binary.md"]


def test_notes_without_any_word_can_be_indexed_and_searched(
    tmp_path: Path, encoder: HashedEncoder
) -> None:
    folder = tmp_path / "signs"
    folder.mkdir()
    (folder / "signs.md").write_text("?!... ((( )))")
    update_index(folder, tmp_path / "index", encoder)
    store = open_store(tmp_path / "index")
    assert not store.bm25_scores(["word"]).any()
    assert len(store.nearest(encoder.encode_query("word"), 5)) == 1


def test_notes_that_hold_only_rules_leave_the_old_index_in_use(
    corpus: Path, index: Path, encoder: HashedEncoder
) -> None:
    before = build_folder(index)
    for note in corpus.iterdir():
        note.write_text("---\n")
    with pytest.raises(CorpusError, match="hold no text"):
        update_index(corpus, index, encoder)
    assert build_folder(index) == before


def foreign(index: Path) -> None:
    (build_folder(index) / "manifest.json").write_text('{"made_by": "another program"}')


def another_format(index: Path) -> None:
    manifest = build_folder(index) / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"format": 99}))


def half_written(index: Path) -> None:
    vectors = segment_folder(index) / "vectors.npy"
    vectors.write_bytes(vectors.read_bytes()[:500])


def missing_chunks(index: Path) -> None:
    chunks = segment_folder(index) / "chunks.jsonl"
    chunks.write_text("\n".join(chunks.read_text().split("\n")[:1]))


def no_words(index: Path) -> None:
    (segment_folder(index) / "words.json").unlink()


def no_spellings(index: Path) -> None:
    (build_folder(index) / "words.json").write_text("{}")


def no_segment(index: Path) -> None:
    shutil.rmtree(segment_folder(index))


def no_notes(index: Path) -> None:
    (segment_folder(index) / "notes.json").write_text("{}")


def unknown_notes(index: Path) -> None:
    manifest = build_folder(index) / "manifest.json"
    fields = json.loads(manifest.read_text())
    fields["segments"] = {name: ["unknown.md"] for name in fields["segments"]}
    manifest.write_text(json.dumps(fields))


def no_list(index: Path) -> None:
    manifest = build_folder(index) / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"segments": []}))


def nested(index: Path) -> None:
    (build_folder(index) / "manifest.json").write_text("[" * 100_000)


def fewer_words(index: Path) -> None:
    words = segment_folder(index) / "words.json"
    words.write_text(json.dumps(json.loads(words.read_text())[:-1]))


def fewer_postings(index: Path) -> None:
    postings = segment_folder(index) / "postings.npy"
    np.save(postings, np.load(postings)[:, :-1])


def flipped_words(index: Path) -> None:
    path = segment_folder(index) / "postings.npy"
    path.write_bytes(b"\xff" + path.read_bytes()[1:])


def other_vectors(index: Path) -> None:
    path = segment_folder(index) / "vectors.npy"
    np.save(path, np.load(path)[:, :-1])


def points_nowhere(index: Path) -> None:
    (index / "CURRENT").write_text("nowhere")


def points_at_noise(index: Path) -> None:
    (index / "CURRENT").write_bytes(b"\xff\xfe\x00")


@pytest.mark.parametrize(
    "damage",
    [
        foreign,
        another_format,
        half_written,
        missing_chunks,
        no_words,
        no_spellings,
        no_segment,
        no_list,
        fewer_words,
        fewer_postings,
        no_notes,
        unknown_notes,
        nested,
        flipped_words,
        other_vectors,
        points_nowhere,
        points_at_noise,
    ],
)
def test_a_damaged_index_says_what_to_do_and_is_built_again(
    corpus: Path, index: Path, encoder: HashedEncoder, damage: Callable[[Path], None]
) -> None:
    damage(index)
    with pytest.raises(StaleIndexError, match="rag-tutor index --full --index"):
        open_store(index)
    assert not is_current(corpus, index, encoder.name)
    assert update_index(corpus, index, encoder).chunks == len(open_store(index).chunks)


def test_a_missing_index_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(IndexMissingError, match="Run: rag-tutor index"):
        open_store(tmp_path)


def test_the_state_of_each_note_is_told(corpus: Path, index: Path) -> None:
    save_document(corpus, "history.txt", "Changed.")
    save_document(corpus, "new.md", "two words")
    (corpus / "biology.md").unlink()
    (corpus / "empty.md").write_text("")
    states = {state.document: state for state in note_states(corpus, index)}
    assert {name: state.status for name, state in states.items()} == {
        "biology.md": "removed",
        "empty.md": "not readable",
        "history.txt": "changed",
        "new.md": "new",
    }
    assert states["new.md"].words == 2
    assert states["empty.md"].reason == "empty"


def test_an_index_that_is_a_file_is_named(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StaleIndexError, match="is a file"):
        open_store(tmp_path / "file")
    with pytest.raises(TutorError, match="can't be written"):
        update_index(corpus, tmp_path / "file", HashedEncoder())


def test_an_encoder_that_changed_its_dimension_encodes_everything_again(
    corpus: Path, index: Path
) -> None:
    wider = HashedEncoder()
    wider.dimension = 300
    save_document(corpus, "history.txt", "Changed.")
    assert update_index(corpus, index, wider).chunks == len(wider.encoded)
