"""Turns one file of another kind into Markdown; knows nothing of the corpus.

It is run as a process of its own (`python -m rag_tutor.converter FILE`), with bounded memory
and time, because what it opens comes from anywhere: the worst that a file can do is to end it. The
Markdown goes to stdout; a reason goes to stderr, as the rest of "FILE …".
"""

import io
import re
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from rag_tutor.corpus import MAX_NOTE_BYTES, MAX_NOTE_LINES, decode

REFUSED = 3
MAX_SECONDS = 120
_MAX_MEMORY = 4_000_000_000
_MAX_PAGES = 3_000
_MAX_ENTRIES = 10_000
_MAX_UNPACKED_BYTES = 400_000_000
_MAX_UNPACKED_TEXT_BYTES = 60_000_000
_PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".emf", ".wmf", ".tif", ".tiff", ".mp4", ".wav")

_PICTURE = re.compile(r"!\[([^\[\]\n]*)\]\((?:[^()\s]++|\([^()\s]*+\))*+(?:\s+\"[^\"\n]*\")?\)")
_NO_TEXT = "holds no text. If its pages are pictures, run a text recognition (OCR) over it first."
_HYPHEN = "[\x02\xad\ufffe]"
_ITEM = re.compile(r"(?:[•◦▪‣·–*+-]|\(?\d{1,3}[.)]|\(?[a-z][.)])\s+\S")
_BULLET = re.compile(r"^[•◦▪‣·]\s*")
_SENTENCE_END = re.compile(r"[.!?:;][\"'”’)\]]*$")


class RefusedError(Exception):
    """The file can't be converted; the text says why."""


def main(arguments: list[str]) -> int:
    """Convert one file; returns the exit status."""
    path = Path(arguments[0])
    try:
        _bound_resources()
        text = to_markdown(path)
    except RefusedError as error:
        print(error, file=sys.stderr)
        return REFUSED
    except MemoryError:
        print("takes too much memory to convert.", file=sys.stderr)
        return REFUSED
    except Exception as error:  # noqa: BLE001 - a damaged file makes the libraries raise anything
        print(
            f"is damaged or of another kind than its name says ({_one_line(error)}).",
            file=sys.stderr,
        )
        return REFUSED
    sys.stdout.buffer.write(text.encode("utf-8"))
    return 0


def to_markdown(path: Path) -> str:
    """The text of a file. Raises RefusedError, and what the libraries raise for a bad file."""
    text = _CONVERTERS[path.suffix.lower()](path)
    # A picture inside the file is no text, however many letters it is written with.
    text = _PICTURE.sub(r"\1", text)
    text = decode(text.encode("utf-8", errors="replace")).strip()
    if not re.search(r"\w", re.sub(r"^## (?:Page|Slide) \d+$", "", text, flags=re.MULTILINE)):
        raise RefusedError(_NO_TEXT)
    if len(text.encode("utf-8")) > MAX_NOTE_BYTES or text.count("\n") > MAX_NOTE_LINES:
        raise RefusedError("holds too much text. Split it into several files.")
    return text + "\n"


def _pdf(path: Path) -> str:
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower():
            raise RefusedError("is protected by a password. Save a copy without it.") from error
        raise RefusedError("is no readable PDF: it is damaged or cut off.") from error
    if len(document) > _MAX_PAGES:
        raise RefusedError(f"has more than {_MAX_PAGES:,} pages. Split it into several files.")
    pages = []
    for number in range(len(document)):
        page = document[number]
        text = page.get_textpage().get_text_range()
        page.close()
        if text.strip():
            pages.append(f"## Page {number + 1}\n\n{page_markdown(text)}")
    return "\n\n".join(pages)


def page_markdown(text: str) -> str:
    """The lines of a page as paragraphs, list items and titles, a blank line between them."""
    text = re.sub(f"{_HYPHEN}[ \t]*\r?\n?", "", text)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    return "\n\n".join(_as_plain_block(block) for block in _blocks(lines))


def _blocks(lines: list[str]) -> Iterator[str]:
    """Join the lines of a paragraph. It ends where a line is empty or much shorter than the
    others, or where a list item begins: all that a page of a PDF tells of its layout.
    """
    short = 0.7 * max(map(len, lines), default=0)
    block = ""
    for line in lines:
        if block and (not line or _ITEM.match(line)):
            yield block
            block = ""
        block = f"{block} {line}".strip()
        is_last = len(line) < short and (_SENTENCE_END.search(line) or block == line)
        if block and is_last:
            yield block
            block = ""
    if block:
        yield block


def _as_plain_block(block: str) -> str:
    """Nothing that begins a block of Markdown by chance, except for list items."""
    block = _BULLET.sub("- ", block)
    if re.match(r"#{1,6}\s|>|```|~~~|=+$|-+$|\*\*\*|___|\|", block):
        return "\\" + block
    return block


def _docx(path: Path) -> str:
    _require_sane_archive(path)
    with path.open("rb") as file:
        return _markitdown("DocxConverter", file)


def _pptx(path: Path) -> str:
    _require_sane_archive(path)
    with path.open("rb") as file:
        text = _markitdown("PptxConverter", file)
    text = re.sub(r"<!-- Slide number: (\d+) -->\n# (.+)", r"## Slide \1: \2", text)
    return re.sub(r"<!-- Slide number: (\d+) -->", r"## Slide \1", text)


def _epub(path: Path) -> str:
    _require_sane_archive(path)
    with path.open("rb") as file:
        return _markitdown("EpubConverter", file)


def _html(path: Path) -> str:
    # Decoded as a note is, whatever the page says of itself.
    return _markitdown("HtmlConverter", io.BytesIO(decode(path.read_bytes()).encode("utf-8")))


def _notebook(path: Path) -> str:
    with path.open("rb") as file:
        return _markitdown("IpynbConverter", file)


def _markitdown(name: str, file: BinaryIO) -> str:
    """Convert by the converter of that name; MarkItDown's own choice would guess the kind by a
    model, so that a file could choose its converter.
    """
    from markitdown import StreamInfo, converters

    converter = getattr(converters, name)()
    text: str = converter.convert(file, StreamInfo(charset="utf-8")).markdown
    return text


def _require_sane_archive(path: Path) -> None:
    """Refuse an archive that is small packed and huge unpacked. No reader of a ZIP file takes
    more of an entry than the size that the archive's directory tells.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except zipfile.BadZipFile as error:
        raise RefusedError(
            "is damaged, or protected by a password, or of another kind than its name says."
        ) from error
    text = sum(e.file_size for e in entries if not e.filename.lower().endswith(_PICTURES))
    if (
        len(entries) > _MAX_ENTRIES
        or text > _MAX_UNPACKED_TEXT_BYTES
        or sum(entry.file_size for entry in entries) > _MAX_UNPACKED_BYTES
    ):
        raise RefusedError("unpacks to more than any document holds; it is not opened.")


def _bound_resources() -> None:
    try:
        import resource
    except ImportError:  # Windows has no such limits; those of size and of the program remain
        return
    # Whoever started this may be killed meanwhile, and then nobody else ends it.
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_SECONDS, hard))
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY, hard))


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:120]


_CONVERTERS: dict[str, Callable[[Path], str]] = {
    ".pdf": _pdf,
    ".docx": _docx,
    ".pptx": _pptx,
    ".html": _html,
    ".htm": _html,
    ".epub": _epub,
    ".ipynb": _notebook,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
