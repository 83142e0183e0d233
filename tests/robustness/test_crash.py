"""Crashes at any moment, full disks and folders that can't be written: nothing that was saved gets
lost, and what is left over goes.
"""

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from rag_tutor.chunking import chunk_document, searchable_text
from rag_tutor.conversations import Conversations
from rag_tutor.corpus import content_hash, read_document, save_document, scan_corpus
from rag_tutor.domain import Answer, Document, Turn
from rag_tutor.errors import CorpusError, HistoryError, IndexMissingError, TutorError
from rag_tutor.indexing import MAX_CHUNK_TOKENS, is_current, update_index
from rag_tutor.library import add_file, keep_in_trash, list_trash
from rag_tutor.store import open_store
from rag_tutor.words import content_words
from tests.fakes import HashedEncoder
from tests.robustness.conftest import Disk, Record, record
from tests.robustness.jobs import NOTES, revised, written

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that fork")
ROOT = Path(__file__).parents[2]
# Of a worker that is to be killed: a few steps.
MOST_SECONDS = 0.15
MOST_CALLS = {"build": 1500, "keep notes": 120, "talk": 120}

Place = tuple[str, str, str]  # "note" or "trash", a name, and what it holds
Entry = list[Any]


class Workers:
    """Forks workers and kills them."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.robustness.jobs"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )

    def begin(self, job: str, folder: Path, seed: int, seconds: float = 60, calls: int = 0) -> None:
        assert self.process.stdin
        order = {"job": job, "folder": str(folder), "seed": seed}
        order |= {"seconds": seconds, "calls": calls}
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()

    def end(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def crash(self, job: str, folder: Path, seed: int) -> list[Entry]:
        """Kill a job at some moment, or at some call of the system; returns what it logged."""
        log = folder / "log"
        log.unlink(missing_ok=True)
        chance = random.Random(seed)
        if seed % 3:
            self.begin(job, folder, seed, calls=chance.randint(1, MOST_CALLS[job]))
        else:
            self.begin(job, folder, seed, seconds=chance.uniform(0, MOST_SECONDS))
        told = self.end()
        # What stands after the last line end was being written when the worker was killed.
        *lines, _ = log.read_text(encoding="utf-8").split("\n")
        entries = [json.loads(line) for line in lines]
        assert told == "killed", entries[-1]
        return entries

    def close(self) -> None:
        self.process.communicate()


@pytest.fixture
def workers() -> Iterator[Workers]:
    workers = Workers()
    yield workers
    workers.close()


def temporaries(folder: Path) -> list[Path]:
    return [path for path in folder.rglob(".*") if path.suffix == ".tmp"]


def clean_after(corpus: Path, index: Path) -> float:
    """Build as the next start of the program would, some time after the crash; returns how long
    that took.
    """
    for path in [*temporaries(corpus), *temporaries(index)]:
        os.utime(path, (0, 0))
    seconds = update_index(corpus, index, HashedEncoder()).seconds
    assert temporaries(corpus) == temporaries(index) == []
    assert {*index.glob("*/*")} == {*open_store(index).folders}
    assert is_current(corpus, index, HashedEncoder.name)
    return seconds


# --- Index builds ---


def hashes_of(corpus: Path) -> dict[str, str]:
    return {name: content_hash((corpus / name).read_bytes()) for name in scan_corpus(corpus)[0]}


def check_whole(index: Path, allowed: Sequence[Mapping[str, str]]) -> None:
    """The index holds one of some states of the notes, all of it, and its search finds that."""
    store, encoder = open_store(index), HashedEncoder()
    assert store.manifest.documents in allowed
    for name, known_hash in store.manifest.documents.items():
        chunks = store.chunks_of(name)
        word = next(each for each in chunks[-1].text.split() if "rev" in each).rstrip(".")
        text = revised(name, int(word.split("rev")[1]))
        assert content_hash(text.encode()) == known_hash
        document = Document(name, name, text, known_hash)
        assert [*chunks] == chunk_document(document, encoder.count_tokens, MAX_CHUNK_TOKENS)
        best = store.bm25_scores(content_words(word)).argmax()
        assert store.chunks[best].document_id == name
        row, _ = store.nearest(encoder.encode_query(searchable_text(chunks[0]).text), 1)[0]
        assert store.chunks[row] == chunks[0]


def test_a_build_that_is_killed_leaves_a_whole_index(
    tmp_path: Path, workers: Workers, is_full: bool, record_property: Record
) -> None:
    corpus, index = tmp_path / "notes", tmp_path / "index"
    corpus.mkdir()
    for number in range(NOTES):
        save_document(corpus, f"note {number}.md", revised(f"note {number}.md", 0))
    built, longest, left = 0, 0.0, Counter[str]()
    for seed in range(1, 121 if is_full else 16):
        if seed % 5 == 1:
            shutil.rmtree(index, ignore_errors=True)
        allowed = [hashes_of(corpus)] if index.exists() else []
        entries = workers.crash("build", tmp_path, seed)
        done = [entry[1] for entry in entries if entry[0] == "done"]
        built += len(done)
        allowed = done[-1:] or allowed
        if entries and entries[-1] == ["begin"]:
            allowed.append(hashes_of(corpus))
        try:
            check_whole(index, allowed)
            left["a whole index left"] += 1
        except IndexMissingError:
            assert seed % 5 == 1
            assert not done
            left["killed before the first build was done"] += 1
        longest = max(longest, clean_after(corpus, index))
        check_whole(index, [hashes_of(corpus)])
    assert built  # else all were killed before they had done anything
    record(record_property, left, longest)


def test_builds_that_are_killed_again_and_again_leave_one_behind(
    tmp_path: Path, workers: Workers
) -> None:
    corpus = tmp_path / "notes"
    corpus.mkdir()
    save_document(corpus, "note.md", revised("note.md", 0) * 40)
    update_index(corpus, tmp_path / "index", HashedEncoder())
    for seed in range(6):
        workers.begin("build once", tmp_path, seed, calls=10 * seed + 2)
        assert workers.end() == "killed"
        assert len(list((tmp_path / "index" / "builds").iterdir())) <= 2
        assert len(list((tmp_path / "index" / "segments").iterdir())) <= 2


def test_processes_that_build_at_once_follow_each_other(tmp_path: Path) -> None:
    corpus = tmp_path / "notes"
    corpus.mkdir()
    for number in range(NOTES):
        save_document(corpus, f"note {number}.md", revised(f"note {number}.md", 1))
    several = [Workers() for _ in range(3)]
    for seed, workers in enumerate(several):
        workers.begin("build once", tmp_path, seed)
    assert [workers.end() for workers in several] == ["ended by itself"] * 3
    for workers in several:
        workers.close()
    log = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    assert sorted(json.loads(line) for line in log) == [["done", seed] for seed in range(3)]
    check_whole(tmp_path / "index", [hashes_of(corpus)])
    assert {*(tmp_path / "index").glob("*/*")} == {*open_store(tmp_path / "index").folders}


# --- Notes ---


def kept_notes(corpus: Path) -> set[Place]:
    """What the student can see: the notes, and those in the trash."""
    notes = {("note", name, (corpus / name).read_text()) for name in scan_corpus(corpus)[0]}
    trash = corpus / ".rag-tutor" / "trash"
    return notes | {
        ("trash", each.document, (trash / each.key / each.document).read_text())
        for each in list_trash(corpus)
    }


def after(before: set[Place], kind: str, name: str, new: str, text: str) -> set[Place]:
    """What is to be seen when a step of the worker is done."""
    place = "trash" if kind == "restore" else "note"
    old = {each for each in before if each[:2] == (place, name)}
    held = {each[2] for each in old}
    match kind:
        case "create":
            return before | {("note", new, text)}
        case "save":
            return before - old | {("note", name, text)}
        case "rename":
            return before - old | {("note", new, each) for each in held}
        case "restore":
            return before - old | {("note", name, each) for each in held}
    trashed = {("trash", name, each) for each in held}
    if kind == "delete":
        return before - old | trashed
    if kind == "keep":
        return before - old | trashed | {("note", name, text)}
    return before - old | trashed | {("trash", name, text)}


def test_no_note_is_lost_or_mixed_when_the_program_is_killed(
    tmp_path: Path, workers: Workers, is_full: bool, record_property: Record
) -> None:
    for number in range(NOTES):
        save_document(tmp_path, f"note {number}.md", written(f"{number}"))
    steps, longest, left = 0, 0.0, Counter[str]()
    for seed in range(1, 121 if is_full else 16):
        before = kept_notes(tmp_path)
        wanted = before
        for entry in workers.crash("keep notes", tmp_path, seed):
            if entry[0] == "begin":
                before, wanted = wanted, after(wanted, *entry[1:])
            else:
                before = wanted
                steps += 1
        found = kept_notes(tmp_path)
        assert before & wanted <= found <= before | wanted
        assert {each[2] for each in before} & {each[2] for each in wanted} <= {
            each[2] for each in found
        }
        both = {each[:2] for each in before} & {each[:2] for each in wanted}
        assert both <= {each[:2] for each in found}
        left[_reached(before, wanted, found)] += 1
        if seed % 5 == 0:
            longest = max(longest, clean_after(tmp_path, tmp_path.with_name("index")))
    assert steps
    longest = max(longest, clean_after(tmp_path, tmp_path.with_name("index")))
    record(record_property, left, longest)


def _reached(before: Any, wanted: Any, found: Any) -> str:
    """In words, how far the step came in which the program was killed."""
    if found == wanted:
        return "all as after the last step"
    return "all as before it" if found == before else "half of it done, nothing lost"


# --- Conversations ---


def spoken(before: list[Entry], kind: str, text: str) -> list[Entry]:
    """The questions, answers and states of a conversation when a step is done."""
    match kind:
        case "ask":
            return [*before, [text, "", "open"]]
        case "edit":
            return [*before[:-2], [text, "", "open"]]
    state = "done" if kind == "finish" else "open"
    return [*before[:-1], [before[-1][0], text, state]]


def test_a_conversation_is_whole_when_the_program_is_killed(
    tmp_path: Path, workers: Workers, is_full: bool, record_property: Record
) -> None:
    file = tmp_path / "conversations.sqlite3"
    wanted: list[Entry] = []
    steps, longest, left = 0, 0.0, Counter[str]()
    for seed in range(1, 81 if is_full else 13):
        before = wanted
        for entry in workers.crash("talk", tmp_path, seed):
            if entry[0] == "begin":
                before, wanted = wanted, spoken(wanted, *entry[1:])
            else:
                before = wanted
                steps += 1
        started = time.monotonic()
        turns = Conversations(file).turns("c")
        longest = max(longest, time.monotonic() - started)
        found = [[each.turn.question, each.turn.answer.text, each.state] for each in turns]
        assert found in (before, wanted)
        left[_reached(before, wanted, found)] += 1
        wanted = found
        with closing(sqlite3.connect(file)) as opened:
            assert opened.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert steps
    record(record_property, left, longest)


# --- Disks ---


def test_a_full_disk_leaves_index_and_notes_as_they_were(disk: Disk, tmp_path: Path) -> None:
    corpus, index = disk.folder / "notes", disk.folder / "index"
    corpus.mkdir()
    for number in range(NOTES):
        save_document(corpus, f"note {number}.md", revised(f"note {number}.md", 0))
    update_index(corpus, index, HashedEncoder())
    source = tmp_path / "upload.md"
    source.write_text(written("upload"), encoding="utf-8")
    old, notes = open_store(index), kept_notes(corpus)
    refused = 0
    for room in range(0, 600_000, 60_000):
        disk.leave(room)
        try:
            update_index(corpus, index, HashedEncoder(), full=True)
        except TutorError as error:
            refused += 1
            assert "No space left" in str(error)
            assert "Make room" in str(error)
            assert open_store(index).build == old.build
        check_whole(index, [hashes_of(corpus)])
        old = open_store(index)
        assert temporaries(index) == []
        assert {*index.glob("*/*")} == {*old.folders}
    assert 0 < refused < 10
    disk.leave(8_000)
    for attempt in (
        lambda: save_document(corpus, "note 0.md", written("larger")),
        lambda: add_file(corpus, source, "upload.md"),
        lambda: keep_in_trash(corpus, "note 0.md", written("larger")),
    ):
        with pytest.raises(CorpusError, match="No space left"):
            attempt()
        assert kept_notes(corpus) == notes
        assert temporaries(corpus) == []
    disk.make_room()
    save_document(corpus, "note 0.md", revised("note 0.md", 1))
    clean_after(corpus, index)


def test_a_full_disk_leaves_conversations_as_they_were(disk: Disk) -> None:
    kept = Conversations(disk.folder / "conversations.sqlite3")
    turn = kept.ask("c", "What is magma?", 0)
    long = Turn("What is magma?", "", Answer("Molten rock. " * 9_000, (), (), refused=False))
    disk.leave(60_000)
    with pytest.raises(HistoryError, match="Make room"):
        kept.finish(turn, long, "done", {}, {})
    assert kept.turns("c")[0].state == "open"
    disk.make_room()
    kept.finish(turn, long, "done", {}, {})
    assert kept.turns("c")[0].turn.answer == long.answer


def test_folders_that_cant_be_written_are_named(disk: Disk) -> None:
    corpus, index = disk.folder / "notes", disk.folder / "index"
    corpus.mkdir()
    save_document(corpus, "note.md", revised("note.md", 0))
    update_index(corpus, index, HashedEncoder())
    kept, built = kept_notes(corpus), open_store(index).build
    disk.allow_writing(False)
    try:
        with pytest.raises(CorpusError, match="Read-only"):
            save_document(corpus, "note.md", "changed")
        with pytest.raises(CorpusError, match="Read-only"):
            keep_in_trash(corpus, "note.md", "changed")
        with pytest.raises(TutorError, match=r"can't be written.*Read-only"):
            update_index(corpus, index, HashedEncoder(), full=True)
        with pytest.raises(HistoryError, match="mend the file's rights"):
            Conversations(disk.folder / "conversations.sqlite3").ask("c", "What?", 0)
        assert kept_notes(corpus) == kept
        assert open_store(index).build == built
        assert read_document(corpus, "note.md").text == revised("note.md", 0)
    finally:
        disk.allow_writing(True)


def test_notes_that_cant_be_written_are_indexed_elsewhere(disk: Disk, tmp_path: Path) -> None:
    corpus = disk.folder / "notes"
    corpus.mkdir()
    save_document(corpus, "note.md", revised("note.md", 0))
    disk.allow_writing(False)
    try:
        update_index(corpus, tmp_path / "index", HashedEncoder())
        check_whole(tmp_path / "index", [hashes_of(corpus)])
    finally:
        disk.allow_writing(True)
