"""Files of other kinds as notes: through the real converter, in its own process."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rag_tutor.chunking import chunk_document
from rag_tutor.conversion import convert_missing
from rag_tutor.converter import page_markdown, to_markdown
from rag_tutor.corpus import (
    converted_path,
    needs_conversion,
    read_document,
    save_document,
    scan_corpus,
)
from rag_tutor.errors import CorpusError
from rag_tutor.indexing import is_current, note_states, update_index
from rag_tutor.store import open_store
from tests import files
from tests.fakes import HashedEncoder

GLACIER = ["Glaciers", "A glacier is a body of dense ice that moves under its own weight."]
MORAINE = ["# Moraines", "A moraine is debris that a glacier", "has left behind."]
TEXT = "An enzyme speeds up a reaction."


def converted(folder: Path, name: str) -> str:
    convert_missing(folder, [name])
    return read_document(folder, name).text


def test_a_pdf_is_read_by_page(corpus: Path) -> None:
    files.write_pdf(corpus / "ice.pdf", [GLACIER, [], MORAINE])
    text = converted(corpus, "ice.pdf")
    chunks = chunk_document(read_document(corpus, "ice.pdf"), len, 2_000)
    pages = {chunk.heading[0]: chunk for chunk in chunks}
    assert list(pages) == ["Page 1", "Page 3"]
    assert GLACIER[1] in pages["Page 1"].text
    # Lines of a paragraph are joined, and what looks like Markdown by chance isn't.
    assert "\\# Moraines" in text
    assert "A moraine is debris that a glacier has left behind." in pages["Page 3"].text
    assert all(text[chunk.start : chunk.end] == chunk.text for chunk in chunks)


@pytest.mark.parametrize(
    ("ending", "write"),
    [
        (".docx", files.write_docx),
        (".pptx", files.write_pptx),
        (".html", files.write_html),
        (".epub", files.write_epub),
        (".ipynb", files.write_notebook),
    ],
)
def test_each_kind_keeps_its_headings_and_text(
    corpus: Path, ending: str, write: Callable[[Path, str, str], None]
) -> None:
    name = f"enzymes{ending}"
    write(corpus / name, "Enzymes", TEXT)
    text = converted(corpus, name)
    chunks = chunk_document(read_document(corpus, name), len, 2_000)
    found = next(chunk for chunk in chunks if TEXT in chunk.text)
    assert "Enzymes" in found.heading[-1]
    assert "hacked" not in text
    assert "base64" not in text


def bomb(path: Path) -> None:
    files.write_zip(path, {"word/document.xml": "x" * 80_000_000})


def encrypted(path: Path) -> None:
    path.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600)


def cut_off(path: Path) -> None:
    files.write_pdf(path, [GLACIER])
    path.write_bytes(path.read_bytes()[:90])


def pictures_only(path: Path) -> None:
    files.write_pdf(path, [[]])


def endless(path: Path) -> None:
    path.write_text("<p>" + "word " * 1_100_000, encoding="utf-8")


def deep(path: Path) -> None:
    path.write_text('{"cells": ' + "[" * 100_000, encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "write", "reason"),
    [
        ("bomb.docx", bomb, "unpacks to more"),
        ("secret.pptx", encrypted, "damaged, or protected"),
        ("cut.pdf", cut_off, "is damaged or cut off"),
        ("scan.pdf", pictures_only, "holds no text"),
        ("endless.html", endless, "too much text"),
        ("deep.ipynb", deep, "damaged"),
    ],
)
def test_a_file_that_cant_be_converted_is_passed_over_with_its_reason(
    corpus: Path, tmp_path: Path, name: str, write: Callable[[Path], None], reason: str
) -> None:
    write(corpus / name)
    report = update_index(corpus, tmp_path / "index", HashedEncoder())
    assert report.documents == 2
    assert [item.document for item in report.skipped] == [name]
    assert reason in report.skipped[0].reason
    assert name in report.skipped[0].reason
    # It isn't tried again until it changes: the index is as good as it gets.
    assert is_current(corpus, tmp_path / "index", HashedEncoder.name)


def test_a_converted_file_is_indexed_under_its_own_name(corpus: Path, index: Path) -> None:
    files.write_pdf(corpus / "ice.pdf", [GLACIER])
    assert not is_current(corpus, index, HashedEncoder.name)
    before = {state.document: state for state in note_states(corpus, index)}
    assert (before["ice.pdf"].status, before["ice.pdf"].reason) == ("new", "")
    assert update_index(corpus, index, HashedEncoder()).changes.added == ("ice.pdf",)
    chunk = next(each for each in open_store(index).chunks if each.document_id == "ice.pdf")
    assert chunk.heading[0] == "Page 1"
    assert scan_corpus(corpus)[0] == ["biology.md", "history.txt", "ice.pdf"]
    assert scan_corpus(corpus)[1] == []


def test_a_changed_file_is_converted_again_and_a_deleted_one_forgotten(corpus: Path) -> None:
    path = corpus / "ice.pdf"
    files.write_pdf(path, [GLACIER])
    assert "glacier" in converted(corpus, "ice.pdf")
    files.write_pdf(path, [["Basalt is a dark rock."]])
    os.utime(path, ns=(1, 1))
    assert needs_conversion(corpus, "ice.pdf")
    with pytest.raises(CorpusError, match="not converted"):
        read_document(corpus, "ice.pdf")
    assert "Basalt" in converted(corpus, "ice.pdf")
    path.unlink()
    convert_missing(corpus, ["biology.md"])
    assert not converted_path(corpus, "ice.pdf").exists()


def test_a_file_that_was_mended_becomes_readable(corpus: Path) -> None:
    cut_off(corpus / "ice.pdf")
    with pytest.raises(CorpusError, match="cut off"):
        converted(corpus, "ice.pdf")
    files.write_pdf(corpus / "ice.pdf", [GLACIER])
    os.utime(corpus / "ice.pdf", ns=(1, 1))
    assert "glacier" in converted(corpus, "ice.pdf")


def test_the_original_is_never_written_to(corpus: Path) -> None:
    files.write_docx(corpus / "enzymes.docx", "Enzymes", TEXT)
    before = (corpus / "enzymes.docx").read_bytes()
    converted(corpus, "enzymes.docx")
    assert (corpus / "enzymes.docx").read_bytes() == before
    with pytest.raises(CorpusError, match="not the name of a note"):
        save_document(corpus, "enzymes.docx", "text")


def test_texts_that_cant_be_kept_are_an_error(corpus: Path) -> None:
    files.write_pdf(corpus / "ice.pdf", [GLACIER])
    (corpus / ".rag-tutor").write_text("in the way")
    with pytest.raises(CorpusError, match="can't be kept"):
        convert_missing(corpus, ["ice.pdf"])


def test_a_name_that_leaves_no_room_for_its_text_stops_nothing(
    corpus: Path, tmp_path: Path
) -> None:
    name = "x" * 250 + ".pdf"
    files.write_pdf(corpus / name, [GLACIER])
    report = update_index(corpus, tmp_path / "index", HashedEncoder())
    assert report.documents == 2
    [skipped] = report.skipped
    assert skipped.document == name
    assert "rename it" in skipped.reason
    assert is_current(corpus, tmp_path / "index", HashedEncoder.name)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows bounds no time")
def test_a_converter_that_nobody_waits_for_ends(corpus: Path) -> None:
    (corpus / "page.html").touch()
    code = (
        "import sys, itertools; from rag_tutor import converter\n"
        "converter.MAX_SECONDS = 1\n"
        "converter._CONVERTERS['.html'] = lambda path: str(sum(itertools.repeat(1)))\n"
        "sys.exit(converter.main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, str(corpus / "page.html")]
    assert subprocess.run(command, timeout=60, check=False).returncode == -signal.SIGXCPU


def test_pictures_are_found_in_bounded_time(corpus: Path) -> None:
    for sign in ("![", "![]("):
        (corpus / "page.html").write_text(f"<p>{sign * 150_000} text</p>", encoding="utf-8")
        started = time.perf_counter()
        to_markdown(corpus / "page.html")
        assert time.perf_counter() - started < 20


@pytest.mark.parametrize(
    ("picture", "text"),
    [
        ("![a](x.png) b", "a b"),
        ('![a](x.png "the title") b', "a b"),
        ("![a](https://example.com/x_(1).png) b", "a b"),
        ("![a](not closed", "![a](not closed"),
    ],
)
def test_of_a_picture_its_description_stays(corpus: Path, picture: str, text: str) -> None:
    files.write_notebook(corpus / "page.ipynb", "Title", picture)
    assert text in to_markdown(corpus / "page.ipynb").split("\n")


def test_a_crash_while_a_text_is_kept_leaves_no_old_reason(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    path = corpus / "ice.pdf"
    cut_off(path)
    convert_missing(corpus, ["ice.pdf"])
    made = path.stat().st_mtime_ns
    files.write_pdf(path, [GLACIER])
    os.utime(path, ns=(made, made))  # mended by a program that keeps the time of change
    with monkeypatch.context() as patch:
        patch.setattr(os, "utime", killed)
        with pytest.raises(KeyboardInterrupt):
            convert_missing(corpus, ["ice.pdf"], again=True)
    assert "glacier" in converted(corpus, "ice.pdf")


def test_a_copied_corpus_is_read_without_converting(corpus: Path, tmp_path: Path) -> None:
    files.write_pdf(corpus / "ice.pdf", [GLACIER])
    converted(corpus, "ice.pdf")
    shutil.copytree(corpus, tmp_path / "copy")
    assert "glacier" in read_document(tmp_path / "copy", "ice.pdf").text


@pytest.mark.parametrize(
    ("lines", "paragraphs"),
    [
        ("A long line that goes on to the\nnext one. And on.", 1),
        ("A title\nA long line that fills the whole width of the page\nand ends.", 2),
        ("Some words stand here before a list:\n\u2022 one\n\u2022 two", 3),
        ("Hyphen\x02\r\nation is undone, and that makes one word.", 1),
    ],
)
def test_lines_of_a_page_become_paragraphs(lines: str, paragraphs: int) -> None:
    text = page_markdown(lines)
    assert len(text.split("\n\n")) == paragraphs
    assert "Hyphen" not in lines or text.startswith("Hyphenation is")
