"""Notes of any content: each is indexed or passed over with a reason, in bounded time and memory,
and questions are answered from what was indexed.
"""

import gc
import os
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_tutor.checking import checked_parts, joined, listed_parts
from rag_tutor.chunking import chunk_document, headings, searchable_text
from rag_tutor.corpus import MAX_NOTE_LINES, decode, read_document
from rag_tutor.disagreement import disagreeing
from rag_tutor.domain import Chunk, Document, Passage
from rag_tutor.evidence import rank_evidence, select_evidence
from rag_tutor.grounding import Grounding, quotation
from rag_tutor.heading_questions import question_about, written_capitals
from rag_tutor.indexing import IndexReport, is_current, note_states, update_index
from rag_tutor.listing import best_listing, listings_around
from rag_tutor.sentences import sentence_spans
from rag_tutor.spelling import corrected
from rag_tutor.store import Store, open_store
from rag_tutor.ui.markdown import passage_html
from rag_tutor.words import words
from tests.fakes import HashedEncoder, OverlapReader
from tests.robustness.bad_files import (
    GOOD,
    KINDS,
    REPEATED,
    SIGNS,
    bad_note,
    repeated,
    write_bad_file,
)
from tests.robustness.conftest import Record, record

resource = pytest.importorskip("resource", reason="Windows doesn't tell the memory used")
MOST_SECONDS = 4.0  # of a note of up to 40 kB
MOST_ANSWER_SECONDS = 1.0
MOST_MEMORY = 1_500  # MB, more than before
QUESTION = "When did volcanos have what height, and how many kinds of magma are there?"


@pytest.fixture(scope="module", autouse=True)
def little_to_collect() -> Iterator[None]:
    """To look for garbage in all that other tests have loaded, models too, takes as long as the
    longest that is allowed here.
    """
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def most_memory() -> int:
    """The most memory that this process has had so far, in MB."""
    most: int = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most // (1024**2 if sys.platform == "darwin" else 1024)


@contextmanager
def within(seconds: float, what: object) -> Iterator[None]:
    """Fail if the block takes more of the processor's time."""
    started = time.process_time()
    yield
    spent = time.process_time() - started
    assert spent < seconds, (what, spent)


def check_indexed(corpus: Path, index: Path, report: IndexReport, names: Sequence[str]) -> Store:
    """Each file is indexed, with exact places, or passed over with a reason."""
    store = open_store(index)
    skipped = {each.document: each.reason for each in report.skipped}
    assert store.manifest.documents.keys() | skipped.keys() == set(names)
    assert not store.manifest.documents.keys() & skipped.keys()
    assert all(skipped.values())
    for chunk in store.chunks:
        text = read_document(corpus, chunk.document_id).text
        assert text[chunk.start : chunk.end] == chunk.text
    states = {each.document: each.status for each in note_states(corpus, index)}
    assert {name for name in states if states[name] == "indexed"} == {*store.manifest.documents}
    assert is_current(corpus, index, HashedEncoder.name)
    return store


def answer_from(chunks: Sequence[Chunk]) -> None:
    """All that is done with the text of passages on the way to an answer and its page."""
    passages = [Passage(chunk, 1.0, ("bm25",)) for chunk in chunks]
    spans = [sentence_spans(chunk.text) for chunk in chunks]
    for chunk, own in zip(chunks, spans, strict=True):
        assert all(start < end for start, end in own)
        assert sorted(own) == own
        passage_html(chunk.text, own[:2])
        heading = "".join(chunk.heading[-1:])
        question_about(heading, "", chunk.text, written_capitals([chunk.text]))
    scores = [HashedEncoder().encode_query(QUESTION)[[0] * len(own)] for own in spans]
    ranked = rank_evidence(QUESTION, passages, scores, lambda _: 1.0)
    select_evidence([ranked], 4)
    grounding = Grounding(passages)
    parts = list(checked_parts(iter([chunk.text + "\n" for chunk in chunks]), grounding))
    for part in parts:
        for citation in part.citations:
            assert citation.quote
            assert quotation(citation)
        disagreeing(QUESTION, part.citations[0], passages)
    assert bool(joined(parts)) == bool(parts)
    listings = listings_around(passages, lambda name: [c for c in chunks if c.document_id == name])
    for listing in listings:
        list(listed_parts(listing.heading[-1], listing.explained.citations(passages)))
    best_listing(QUESTION, listings, passages, OverlapReader())
    spellings = dict.fromkeys(words(" ".join(chunk.text for chunk in chunks)), 1)
    corrected(QUESTION + chunks[0].text[:500], spellings, spellings.keys())


def chunks_of(text: str) -> list[Chunk]:
    return chunk_document(Document("note.md", "Note", text, ""), HashedEncoder().count_tokens, 60)


def test_each_bad_note_is_indexed_or_passed_over(
    tmp_path: Path, is_full: bool, record_property: Record
) -> None:
    together, times, before, left = 50, [], most_memory(), Counter[str]()
    for batch in range(100 if is_full else 5):
        chance = random.Random(batch)
        corpus, index = tmp_path / f"notes {batch}", tmp_path / f"index {batch}"
        corpus.mkdir()
        names = [f"note {number}{chance.choice(['.md', '.txt'])}" for number in range(together)]
        for name in names:
            (corpus / name).write_bytes(bad_note(chance))
        (corpus / "good.md").write_text(GOOD, encoding="utf-8")
        report = update_index(corpus, index, HashedEncoder())
        store = check_indexed(corpus, index, report, [*names, "good.md"])
        left.update(_outcomes(report))
        for name in store.manifest.documents:
            started = time.process_time()
            document = read_document(corpus, name)
            chunks = chunk_document(document, HashedEncoder().count_tokens, 256)
            for chunk in chunks:
                searchable_text(chunk)
            headings(document.text)
            times.append((round(time.process_time() - started, 2), batch, name))
            if chunks:
                with within(MOST_ANSWER_SECONDS, (batch, name)):
                    answer_from(chance.sample(chunks, min(len(chunks), 5)))
    record(record_property, left, max(times)[0])
    assert max(times)[0] < MOST_SECONDS, max(times)
    assert most_memory() - before < MOST_MEMORY


def _outcomes(report: IndexReport) -> Counter[str]:
    """How many files were indexed, and how many passed over for which reason."""
    reasons = [each.reason.removeprefix(each.document) for each in report.skipped]
    told = Counter(f'"{re.split("[:.(,;]", reason)[0].strip()}"' for reason in reasons)
    return told + Counter({"indexed": report.documents})


@pytest.mark.parametrize("part", REPEATED)
def test_time_grows_with_the_text(part: str, is_full: bool) -> None:
    def seconds(size: int) -> float:
        started = time.process_time()
        text = decode(repeated(part, size).encode())
        for chunk in chunks_of(text):
            searchable_text(chunk)
        headings(text)
        return time.process_time() - started

    small = 20_000 if is_full else 1_500
    # Four times the text takes about four times as long; were it sixteen, a large note never ended.
    assert seconds(4 * small) < 8 * seconds(small) + 0.5


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from(SIGNS) | st.sampled_from(GOOD.split("\n")) | st.text(max_size=5))
    .map("".join)
    .filter(str.strip)
)
def test_any_text_can_be_cut_and_answered_from(text: str) -> None:
    chunks = chunks_of(text)
    assert all(text[chunk.start : chunk.end] == chunk.text for chunk in chunks)
    if chunks:
        with within(MOST_ANSWER_SECONDS, text):
            answer_from(chunks)


@pytest.mark.parametrize(
    "text",
    [
        "x" * 4_900_000,
        "[" * 2_000_000,
        "* " * 2_000_000,
        "word " * 900_000,
        "#" * 4_000_000,
        "|" * 1_000_000,
    ],
    ids=["letters", "brackets", "stars", "words", "hashes", "bars"],
)
def test_an_endless_line_is_indexed(tmp_path: Path, text: str, is_full: bool) -> None:
    text = text if is_full else text[: len(text) // 20]
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "endless.md").write_text(f"{text}\n\nThe end.\n", encoding="utf-8")
    with within(300 if is_full else 30, text[:5]):
        update_index(tmp_path / "notes", tmp_path / "index", HashedEncoder())
    assert "The end." in open_store(tmp_path / "index").chunks[-1].text


def test_the_most_lines_take_bounded_memory(tmp_path: Path, is_full: bool) -> None:
    lines = MAX_NOTE_LINES if is_full else MAX_NOTE_LINES // 10
    (tmp_path / "lines.md").write_text("* a\n" * lines, encoding="utf-8")
    before = most_memory()
    document = read_document(tmp_path, "lines.md")
    assert chunk_document(document, HashedEncoder().count_tokens, 256)
    assert most_memory() - before < MOST_MEMORY


def test_bad_files_of_other_kinds_are_converted_or_passed_over(
    tmp_path: Path, is_full: bool, record_property: Record
) -> None:
    corpus = tmp_path / "notes"
    corpus.mkdir()
    (corpus / "good.md").write_text(GOOD, encoding="utf-8")
    names = ["good.md"]
    for number in range(150 if is_full else len(KINDS)):
        names.append(f"file {number}{KINDS[number % len(KINDS)]}")
        write_bad_file(corpus / names[-1], random.Random(number))
    report = update_index(corpus, tmp_path / "index", HashedEncoder())
    store = check_indexed(corpus, tmp_path / "index", report, names)
    record(record_property, _outcomes(report), report.seconds)
    for name in store.manifest.documents:
        answer_from(store.chunks_of(name)[:5])


@pytest.fixture
def nobodys_folder() -> Iterator[Path]:
    """A folder of somebody with no special rights."""
    is_root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        if is_root:
            os.seteuid(65534)
        try:
            yield Path(name)
        finally:
            if is_root:
                os.seteuid(0)
            for path in Path(name).rglob("*"):
                path.chmod(0o777)


def test_what_may_not_be_read_is_passed_over(nobodys_folder: Path) -> None:
    corpus = nobodys_folder / "notes"
    for name in ("good.md", "secret.md", "locked/note.md", "no entry/note.md", "no entry/a/b.md"):
        (corpus / name).parent.mkdir(parents=True, exist_ok=True)
        (corpus / name).write_text(GOOD, encoding="utf-8")
    (corpus / "secret.md").chmod(0)
    (corpus / "locked").chmod(0)
    (corpus / "no entry").chmod(0o444)  # its names can be listed, and nothing else
    report = update_index(corpus, nobodys_folder / "index", HashedEncoder())
    skipped = {each.document: each.reason for each in report.skipped}
    assert report.documents == 1
    assert skipped.keys() == {"secret.md", "locked", "no entry/note.md", "no entry/a"}
    assert all("Permission denied" in reason for reason in skipped.values())
    assert {each.status for each in note_states(corpus, nobodys_folder / "index")} == {
        "indexed",
        "not readable",
    }


ODD_NAMES = [
    b"-rf.md",
    b"--help.txt",
    b"two\nlines.md",
    b"tab\t.md",
    b"back\\slash.md",
    b" .md",
    b"..md",
    b"a..md",
    b"<img src=x onerror=alert(1)>.md",
    b"%2e%2e%2f.md",
    b"$(touch x).md",
    b"x" * 252 + b".md",
    b"latin \xe9.md",
    b"\xff\xfe.md",
    "rtl \u202efdp.md".encode(),
    "ｎote 🎓.MD".encode(),
    b"CON.md",
    b"note.md.exe",
    b"x" * 251 + b".pdf",
    b"\xe9.pdf",
]


def test_odd_names_and_loops_stop_nothing(tmp_path: Path) -> None:
    corpus = tmp_path / "notes"
    corpus.mkdir()
    for name in ODD_NAMES:
        with open(os.fsencode(corpus) + b"/" + name, "wb") as file:  # noqa: PTH123 - bytes
            file.write(GOOD.encode())
    (corpus / "folder").mkdir()
    (corpus / "folder" / "up").symlink_to(corpus)
    (corpus / "loop.md").symlink_to(corpus / "loop.md")
    (corpus / "gone.md").symlink_to(corpus / "nowhere.md")
    (corpus / "folder.md").mkdir()
    os.mkfifo(corpus / "pipe.md")
    report = update_index(corpus, tmp_path / "index", HashedEncoder())
    shown = [name.decode(errors="replace").replace("\ufffd", "?") for name in ODD_NAMES]
    names = [*shown, "folder/up/", "loop.md", "gone.md", "pipe.md"]
    store = check_indexed(corpus, tmp_path / "index", report, names)
    assert {"-rf.md", "two\nlines.md", "ｎote 🎓.MD"} <= store.manifest.documents.keys()
