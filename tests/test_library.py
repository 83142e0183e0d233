from pathlib import Path

import pytest

from rag_tutor.conversion import convert_missing
from rag_tutor.corpus import MAX_NOTE_BYTES, read_document, scan_corpus
from rag_tutor.errors import CorpusError
from rag_tutor.library import (
    add_file,
    delete_note,
    empty_trash,
    keep_in_trash,
    list_trash,
    rename_note,
    restore_note,
    safe_name,
)
from tests import files


def test_a_deleted_note_comes_back_as_it_was(corpus: Path) -> None:
    (corpus / "term 1").mkdir()
    (corpus / "term 1" / "notes.md").write_text("text")
    trashed = delete_note(corpus, "term 1/notes.md")
    assert scan_corpus(corpus) == (["biology.md", "history.txt"], [])
    assert [item.document for item in list_trash(corpus)] == ["term 1/notes.md"]
    assert restore_note(corpus, trashed.key) == "term 1/notes.md"
    assert (corpus / "term 1" / "notes.md").read_text() == "text"
    assert list_trash(corpus) == []
    with pytest.raises(CorpusError, match="isn't in the trash"):
        restore_note(corpus, trashed.key)


def test_a_restored_note_replaces_none(corpus: Path) -> None:
    trashed = delete_note(corpus, "history.txt")
    (corpus / "History.txt").write_text("a new one")
    assert restore_note(corpus, trashed.key) == "history 2.txt"
    assert (corpus / "History.txt").read_text() == "a new one"
    assert "Napoleon" in read_document(corpus, "history 2.txt").text


@pytest.mark.parametrize("key", ["", "..", "../..", "x", "1"])
def test_a_key_that_names_nothing_is_refused(corpus: Path, key: str) -> None:
    delete_note(corpus, "history.txt")
    with pytest.raises(CorpusError, match="isn't in the trash"):
        restore_note(corpus, key)


def test_versions_are_kept_side_by_side_until_the_trash_is_emptied(corpus: Path) -> None:
    keep_in_trash(corpus, "history.txt", "mine")
    keep_in_trash(corpus, "history.txt", "mine, later")
    newest, oldest = list_trash(corpus)
    assert newest.deleted_at > oldest.deleted_at
    assert restore_note(corpus, newest.key) == "history 2.txt"
    assert (corpus / "history 2.txt").read_text() == "mine, later"
    assert empty_trash(corpus) == 1
    assert list_trash(corpus) == []


def test_a_renamed_note_keeps_its_ending_and_its_text(corpus: Path) -> None:
    assert rename_note(corpus, "biology.md", "term 2/cells") == "term 2/cells.md"
    assert "mitochondrion" in read_document(corpus, "term 2/cells.md").text
    assert rename_note(corpus, "history.txt", "History.md") == "History.md"
    assert scan_corpus(corpus)[0] == ["History.md", "term 2/cells.md"]


def test_another_note_of_the_same_letters_is_not_overwritten(corpus: Path) -> None:
    (corpus / "History.txt").write_text("mine")
    if (corpus / "history.txt").read_text() == "mine":
        pytest.skip("this disk makes no difference between small and capital letters")
    with pytest.raises(CorpusError, match="already"):
        rename_note(corpus, "history.txt", "History.txt")
    assert (corpus / "History.txt").read_text() == "mine"


def test_a_renamed_pdf_is_not_converted_again(corpus: Path) -> None:
    files.write_pdf(corpus / "ice.pdf", [["A glacier is a body of ice."]])
    convert_missing(corpus, ["ice.pdf"])
    assert rename_note(corpus, "ice.pdf", "glaciers") == "glaciers.pdf"
    assert "body of ice" in read_document(corpus, "glaciers.pdf").text
    assert rename_note(corpus, "glaciers.pdf", "ice.md") == "ice.md.pdf"


@pytest.mark.parametrize(
    "name", ["history.txt", "HISTORY.TXT", "../out.md", ".hidden.md", " ", "a/", "a\x1b[2J.md"]
)
def test_a_name_that_is_taken_or_none_is_refused(corpus: Path, name: str) -> None:
    before = scan_corpus(corpus)
    with pytest.raises(CorpusError):
        rename_note(corpus, "biology.md", name)
    assert scan_corpus(corpus) == before


def test_an_uploaded_file_replaces_none(corpus: Path, tmp_path: Path) -> None:
    source = tmp_path / "History.txt"
    source.write_text("another text")
    assert add_file(corpus, source, "History.txt") == "History 2.txt"
    assert "Napoleon" in read_document(corpus, "history.txt").text
    # The same file once more is no second note.
    assert add_file(corpus, corpus / "History 2.txt", "History 2.txt") == "History 2.txt"
    assert scan_corpus(corpus)[0] == ["History 2.txt", "biology.md", "history.txt"]


def test_what_is_too_large_or_of_another_kind_is_not_added(corpus: Path, tmp_path: Path) -> None:
    source = tmp_path / "file"
    source.write_bytes(b"x" * (MAX_NOTE_BYTES + 1))
    with pytest.raises(CorpusError, match="larger than 5 MB"):
        add_file(corpus, source, "large.md")
    with pytest.raises(CorpusError, match=r"only .*can be read"):
        add_file(corpus, source, "program.exe")
    assert len(scan_corpus(corpus)[0]) == 2


def test_a_file_is_renamed_even_if_its_text_cant_come_along(corpus: Path) -> None:
    files.write_html(corpus / "page.html", "Enzymes", "An enzyme speeds up a reaction.")
    convert_missing(corpus, ["page.html"])
    name = "x" * 249 + ".html"  # as a file name it fits, with more after it it doesn't
    assert rename_note(corpus, "page.html", name) == name
    assert (corpus / name).exists()


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("notes.md", "notes.md"),
        ("../../etc/notes.md", "etc notes.md"),
        ("..\\notes.md", "notes.md"),
        (".hidden.md", "hidden.md"),
        ("con.md", "_con.md"),
        ('<img src=x onerror="a">.md', "img src=x onerror= a.md"),
        ("a\0b\n.pdf", "a b.pdf"),
        ("rtl\u202efdp.md", "rtl fdp.md"),
        ("größe 🎓.TXT", "größe 🎓.TXT"),
        ("x" * 300 + ".md", "x" * 120 + ".md"),
        ("文" * 100 + ".md", "文" * 66 + ".md"),
        ("???.md", "note.md"),
    ],
)
def test_names_are_made_safe(name: str, safe: str) -> None:
    assert safe_name(name) == safe
