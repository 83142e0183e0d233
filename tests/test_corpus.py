import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_tutor.corpus import (
    MAX_NOTE_BYTES,
    MAX_NOTE_LINES,
    create_document,
    decode,
    read_document,
    save_document,
    scan_corpus,
)
from rag_tutor.errors import CorpusError

SENTENCE = "Schrödinger’s café – β decay"


@pytest.mark.parametrize(
    "content",
    [
        SENTENCE.encode("utf-8"),
        SENTENCE.encode("utf-8-sig"),
        SENTENCE.encode("utf-16"),
        b"\xfe\xff" + SENTENCE.encode("utf-16-be"),
        ("A long note in plain letters. " + SENTENCE).encode("utf-16-le"),
    ],
    ids=["utf-8", "utf-8 with mark", "utf-16 with mark", "utf-16-be", "utf-16-le without mark"],
)
def test_unicode_notes_read_as_written(content: bytes) -> None:
    assert decode(content).endswith(SENTENCE)


def test_windows_1252_and_latin_1_notes_are_read() -> None:
    assert decode("“Café” – naïve".encode("cp1252")) == "“Café” – naïve"
    # 0x8d is undefined in Windows-1252, so this can only be Latin-1.
    assert "é" in decode(b"caf\xe9 \x8d")


@pytest.mark.parametrize(
    ("broken", "repaired"),
    [("OpenAIâ€™s model", "OpenAI’s model"), ("hyperparameter (Î²)", "hyperparameter (β)")],
)
def test_mojibake_is_repaired(broken: str, repaired: str) -> None:
    assert decode(broken.encode()) == repaired


def test_repair_leaves_the_students_own_text_alone() -> None:
    text = "“Quotes”, ﬁ, &amp; x² stay"
    assert decode(text.encode()) == text


def test_windows_line_ends_become_line_feeds() -> None:
    assert decode(b"one\r\ntwo\rthree") == "one\ntwo\nthree"


@given(st.binary(max_size=300))
def test_any_bytes_are_text_or_refused(content: bytes) -> None:
    try:
        text = decode(content)
    except UnicodeError:
        return
    assert "\r" not in text


def test_notes_in_sub_folders_are_found_and_the_rest_is_reported(corpus: Path) -> None:
    (corpus / "deep" / "er").mkdir(parents=True)
    (corpus / "deep" / "er" / "Note one.MD").write_text("text")
    (corpus / ".hidden.md").write_text("secret")
    (corpus / ".git").mkdir()
    (corpus / "photo.png").write_bytes(b"\x89PNG")
    notes, skipped = scan_corpus(corpus)
    assert notes == ["biology.md", "deep/er/Note one.MD", "history.txt"]
    assert [item.document for item in skipped] == [".git/", ".hidden.md", "photo.png"]
    assert all(item.reason for item in skipped)


def test_a_loop_of_links_ends(corpus: Path) -> None:
    (corpus / "loop").symlink_to(corpus, target_is_directory=True)
    (corpus / "outside.md").symlink_to("/etc/passwd")
    notes, skipped = scan_corpus(corpus)
    assert notes == ["biology.md", "history.txt"]
    assert [item.document for item in skipped] == ["loop/", "outside.md"]


@pytest.mark.parametrize(
    "name",
    ["two words.md", 'it\'s "quoted".md', "emoji 🎓.md", "<script>alert(1)<b>.md", "ünï.txt"],
)
def test_odd_names_are_ordinary_notes(corpus: Path, name: str) -> None:
    (corpus / name).write_text("# A title\n\ntext", encoding="utf-8")
    assert name in scan_corpus(corpus)[0]
    document = read_document(corpus, name)
    assert (document.id, document.title) == (name, "A title")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x00\x01\x02\x03" * 50, "is not text"),
        (b"\xff" + b"\x01" * 100, "is not text"),
        (b"x" * (MAX_NOTE_BYTES + 1), "larger than 5 MB"),
    ],
    ids=["binary", "control characters", "too large"],
)
def test_what_is_no_note_is_refused_by_name(corpus: Path, content: bytes, message: str) -> None:
    (corpus / "bad.md").write_bytes(content)
    with pytest.raises(CorpusError, match=rf"bad\.md (is )?{message}"):
        read_document(corpus, "bad.md")


def test_an_empty_note_can_be_opened(corpus: Path) -> None:
    (corpus / "empty.md").write_text("")
    assert read_document(corpus, "empty.md").text == ""


def test_a_missing_corpus_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="Create it"):
        scan_corpus(tmp_path / "nowhere")


def test_a_note_without_a_heading_is_called_by_its_file(corpus: Path) -> None:
    assert read_document(corpus, "history.txt").title == "history"


def test_saving_keeps_line_ends_and_rights(corpus: Path) -> None:
    note = corpus / "windows.md"
    note.write_bytes(b"one\r\ntwo\r\n")
    note.chmod(0o640)
    text = read_document(corpus, "windows.md").text
    save_document(corpus, "windows.md", text + "three\n")
    assert note.read_bytes() == b"one\r\ntwo\r\nthree\r\n"
    assert os.name == "nt" or note.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in corpus.iterdir()) == [
        "biology.md",
        "history.txt",
        "windows.md",
    ]


def test_a_new_note_can_be_saved_in_a_new_folder(corpus: Path) -> None:
    save_document(corpus, "term 2/new.md", "hello")
    assert read_document(corpus, "term 2/new.md").text == "hello"


@pytest.mark.parametrize(
    "name",
    [
        "../outside.md",
        "/etc/outside.md",
        "a/../../outside.md",
        "./biology.md",
        "a//b.md",
        "biology.md/",
        "a\\b.md",
        ".hidden.md",
        "note.exe",
        "",
        "a\0.md",
        "half a character \ud800.md",
    ],
)
def test_names_that_lead_out_of_the_corpus_are_refused(corpus: Path, name: str) -> None:
    with pytest.raises(CorpusError, match="not the name of a note"):
        save_document(corpus, name, "text")
    assert not (corpus.parent / "outside.md").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [("a lone surrogate \ud800", "no valid Unicode"), ("x" * (MAX_NOTE_BYTES + 1), "larger than")],
    ids=["half a character", "too large"],
)
def test_a_refused_save_leaves_the_note_as_it_was(corpus: Path, text: str, message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        save_document(corpus, "history.txt", text)
    assert read_document(corpus, "history.txt").text.startswith("The French Revolution")


def test_a_new_note_replaces_none(corpus: Path) -> None:
    for name in ("history.txt", "History.TXT"):
        with pytest.raises(CorpusError, match="already"):
            create_document(corpus, name, "new")
    create_document(corpus, "new.md", "new")
    assert read_document(corpus, "new.md").text == "new"


@pytest.mark.parametrize("name", ["a\x1b[2J.md", "a\nb.md", "\u202egpj.md", "a\0.md"])
def test_a_new_note_has_no_signs_in_its_name_that_mislead(corpus: Path, name: str) -> None:
    with pytest.raises(CorpusError, match="signs that can't be seen") as refused:
        create_document(corpus, name, "new")
    assert str(refused.value).isprintable()
    assert scan_corpus(corpus)[0] == ["biology.md", "history.txt"]


@pytest.mark.parametrize(
    "text", ["[" * 200_000, "# a" + " " * 200_000 + "b", "# " + "[a](" * 50_000]
)
def test_endless_lines_are_read_in_bounded_time(corpus: Path, text: str) -> None:
    save_document(corpus, "endless.md", text)
    assert len(read_document(corpus, "endless.md").title) <= 200


def test_a_loop_of_links_is_no_note(corpus: Path) -> None:
    (corpus / "loop.md").symlink_to(corpus / "loop.md")
    with pytest.raises(CorpusError):
        read_document(corpus, "loop.md")


def test_a_corpus_that_is_a_file_is_named(corpus: Path) -> None:
    with pytest.raises(CorpusError, match="is a file"):
        scan_corpus(corpus / "history.txt")


def test_a_note_of_too_many_lines_is_neither_read_nor_saved(corpus: Path) -> None:
    text = "-\n" * (MAX_NOTE_LINES + 1)
    (corpus / "long.md").write_text(text, encoding="utf-8")
    with pytest.raises(CorpusError, match="100,000 lines"):
        read_document(corpus, "long.md")
    with pytest.raises(CorpusError, match="100,000 lines"):
        save_document(corpus, "history.txt", text)
    assert "Napoleon" in read_document(corpus, "history.txt").text
