"""Reads the notes of a folder as Documents and writes an edited one back; knows nothing of
chunks or of the index.
"""

import functools
import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import ftfy

from rag_tutor.atomic import replace_file
from rag_tutor.domain import Document
from rag_tutor.errors import CorpusError

NOTE_SUFFIXES = frozenset({".md", ".markdown", ".txt", ".text"})
# Read through the text that `converting` makes of them.
CONVERTED_SUFFIXES = frozenset({".pdf", ".docx", ".pptx", ".html", ".htm", ".epub", ".ipynb"})
READABLE_SUFFIXES = NOTE_SUFFIXES | CONVERTED_SUFFIXES
_CONVERTED, _READABLE = tuple(CONVERTED_SUFFIXES), tuple(READABLE_SUFFIXES)
# What this program keeps beside the notes: converted texts, the trash. Hidden, so never a note.
OWN_FOLDER = ".rag-tutor"
MAX_NOTE_BYTES = 5_000_000
# Each line can be a block of Markdown, which takes a thousand times its own memory to outline.
MAX_NOTE_LINES = 100_000
_TEXTS = "converted-1"  # to be raised when the conversion makes other texts
_CACHED_BYTES = 500_000
_TICK_SECONDS = 2.0  # the longest, that of FAT
_TOO_LARGE = f"larger than {MAX_NOTE_BYTES // 1_000_000} MB. Split it into several notes."
_TOO_MANY_LINES = f"longer than {MAX_NOTE_LINES:,} lines. Split it into several notes."
# What names a text or a reason after its original must be a file name, too.
_MAX_CONVERTED_NAME = 255 - len(".reason")

# Only what makes text findable: a note keeps its own quotes, ligatures and entities.
_REPAIR = ftfy.TextFixerConfig(
    unescape_html=False,
    fix_latin_ligatures=False,
    fix_character_width=False,
    uncurl_quotes=False,
    normalization=None,
    explain=False,
)
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_BOMS = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file of the corpus that isn't read, and why."""

    document: str
    reason: str


def scan_corpus(folder: Path) -> tuple[list[str], list[Skipped]]:
    """List the note files of a folder and its sub-folders, sorted, and what is passed over.

    Links are not followed, so a loop of them can't trap the walk.
    Raises CorpusError if there is no such folder.
    """
    if folder.is_file():
        raise CorpusError(f"{folder} is a file. Name the folder of the notes with --corpus.")
    if not folder.is_dir():
        raise CorpusError(
            f"There is no folder of notes at {folder}. Create it and put Markdown or text "
            "files in it, or name another one with --corpus."
        )
    notes: list[str] = []
    skipped: list[Skipped] = []
    for name, entry in _walk(folder, skipped):
        try:
            reason = _reason_to_skip(entry)
        except OSError as error:
            reason = f"can't be looked at: {error.strerror}"
        if reason:
            skipped.append(Skipped(_printable(name), reason))
        else:
            notes.append(name)
    return sorted(notes), sorted(skipped, key=lambda item: item.document)


def read_document(folder: Path, document_id: str) -> Document:
    """Read, decode and repair one note.

    Raises CorpusError if the file is unreadable, too large or binary.
    """
    return document_of(document_id, read_content(folder, document_id))


def document_of(document_id: str, content: bytes) -> Document:
    """The note that some content is, decoded and repaired. Raises CorpusError if it is no text."""
    if is_converted(document_id):
        title = PurePosixPath(document_id).stem
        return Document(document_id, title, content.decode("utf-8"), content_hash(content))
    try:
        text = decode(content) if len(content) > _CACHED_BYTES else _decode_once(content)
    except UnicodeError as error:
        raise CorpusError(f"{document_id} is not text. Save it as UTF-8 text.") from error
    if text.count("\n") > MAX_NOTE_LINES:
        raise CorpusError(f"{document_id} is {_TOO_MANY_LINES}")
    return Document(document_id, _title(text, document_id), text, content_hash(content))


def read_content(folder: Path, document_id: str) -> bytes:
    """The bytes of a note, or of the text that was made of it.

    Raises CorpusError if the file is unreadable or too large.
    """
    path = resolve(folder, document_id, READABLE_SUFFIXES)
    if is_converted(document_id):
        return _converted_content(folder, document_id)
    try:
        if path.stat().st_size > MAX_NOTE_BYTES:
            raise CorpusError(f"{document_id} is {_TOO_LARGE}")
        return path.read_bytes()
    except OSError as error:
        raise CorpusError(f"{document_id} can't be read: {error.strerror}.") from error


def stamp_of(folder: Path, document_id: str) -> tuple[int, ...] | None:
    """What tells an unread file from a changed one: its size and its times of change.

    None where that can't be told: a converted note depends on other files, and a file that was
    changed seconds ago may be changed again within the same tick of its file system's clock.
    """
    if is_converted(document_id):
        return None
    try:
        status = (folder / document_id).stat()
    except (OSError, ValueError):
        return None
    if max(status.st_mtime, status.st_ctime) + _TICK_SECONDS > time.time():
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def is_converted(document_id: str) -> bool:
    """Whether a note is read through a converted text, which can't be edited."""
    return document_id.lower().endswith(_CONVERTED)


def converted_path(folder: Path, document_id: str) -> Path:
    """Where the converted text of a note is kept; it bears the original's time of change.

    A file that can't be converted has the reason in `failure_path` instead.
    """
    return folder / OWN_FOLDER / _TEXTS / f"{document_id}.md"


def failure_path(folder: Path, document_id: str) -> Path:
    """Where it is kept why a note can't be converted."""
    return folder / OWN_FOLDER / _TEXTS / f"{document_id}.reason"


def needs_conversion(folder: Path, document_id: str) -> bool:
    """Whether neither a text nor a reason belongs to the original as it is now."""
    return is_converted(document_id) and not any(
        _is_of_now(folder, document_id, made(folder, document_id))
        for made in (converted_path, failure_path)
    )


def save_document(folder: Path, document_id: str, text: str) -> None:
    """Write a note as UTF-8; a file whose lines end as on Windows keeps them so.

    Raises CorpusError if the name isn't that of a note inside the corpus, the text is too
    large or no Unicode, or the disk refuses; then the note is as it was.
    """
    path = resolve(folder, document_id, NOTE_SUFFIXES)
    text = text.replace("\r\n", "\n")
    try:
        if path.exists():
            before = path.read_bytes()
            if 2 * before.count(b"\r\n") > before.count(b"\n"):
                text = text.replace("\n", "\r\n")
        content = text.encode("utf-8")
        if len(content) > MAX_NOTE_BYTES:
            raise CorpusError(f"{document_id} is not saved: {_TOO_LARGE}")
        if text.count("\n") > MAX_NOTE_LINES:
            raise CorpusError(f"{document_id} is not saved: {_TOO_MANY_LINES}")
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content)
    except UnicodeEncodeError as error:
        raise CorpusError(f"{document_id} is not saved: its text is no valid Unicode.") from error
    except OSError as error:
        raise CorpusError(f"{document_id} can't be saved: {error.strerror}.") from error


def create_document(folder: Path, document_id: str, text: str) -> None:
    """Write a new note. Raises CorpusError as `save_document` does, and if there is one.

    Names that differ in case only are one name, as they are on Windows and macOS.
    """
    path = resolve_new(folder, document_id, NOTE_SUFFIXES)
    if is_taken(path):
        raise CorpusError(f"There is a note named {document_id} already.")
    save_document(folder, document_id, text)


def is_taken(path: Path) -> bool:
    """Whether a file of this name exists, in capital or small letters."""
    beside = path.parent.iterdir() if path.parent.is_dir() else ()
    return path.name.casefold() in {other.name.casefold() for other in beside}


def content_hash(content: bytes) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def decode(content: bytes) -> str:
    """Decode UTF-8, UTF-16, Windows-1252 or Latin-1 and repair mojibake.

    Line ends become "\\n" and control characters go. Repair is ftfy's, line by line
    (Speer, "ftfy: fixes text for you", 2019). Raises UnicodeError if it is no text.
    """
    marked = [(bom, encoding) for bom, encoding in _BOMS if content.startswith(bom)]
    bom, encoding = marked[0] if marked else (b"", _guess_encoding(content))
    text = content.removeprefix(bom).decode(encoding, errors="replace")
    return ftfy.fix_text(text, _REPAIR)


# A note is read again whenever any other one changes; repairing its text takes most of that.
_decode_once = functools.lru_cache(maxsize=128)(decode)


def _converted_content(folder: Path, document_id: str) -> bytes:
    failure = failure_path(folder, document_id)
    path = converted_path(folder, document_id)
    try:
        if _is_of_now(folder, document_id, failure):
            raise CorpusError(f"{document_id} {failure.read_text(encoding='utf-8')}")
        if not _is_of_now(folder, document_id, path):
            raise CorpusError(f"{document_id} is not converted to text yet. Run: rag-tutor index")
        content = path.read_bytes()
        content.decode("utf-8")
    except (OSError, UnicodeError) as error:
        raise CorpusError(
            f"The converted text of {document_id} can't be read. Delete {path} and run: "
            "rag-tutor index"
        ) from error
    return content


def _is_of_now(folder: Path, document_id: str, made: Path) -> bool:
    try:
        return made.stat().st_mtime_ns == (folder / document_id).stat().st_mtime_ns
    except OSError:
        return False


def _guess_encoding(content: bytes) -> str:
    sample = content[:4096]
    if b"\0" in sample:
        return _guess_utf16(sample)
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        controls = sum(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in sample)
        if controls > len(sample) // 100:
            raise UnicodeError("too many control characters for text") from None
        undefined_in_windows_1252 = re.search(rb"[\x81\x8d\x8f\x90\x9d]", content)
        return "latin-1" if undefined_in_windows_1252 else "cp1252"
    return "utf-8"


def _guess_utf16(sample: bytes) -> str:
    """UTF-16 without a mark: text in Latin script has its zero bytes on one side only."""
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    if odd > len(sample) // 4 and even <= len(sample) // 100:
        return "utf-16-le"
    if even > len(sample) // 4 and odd <= len(sample) // 100:
        return "utf-16-be"
    raise UnicodeError("zero bytes, but not UTF-16")


def _walk(folder: Path, skipped: list[Skipped]) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """The files of a folder and its sub-folders with their names; paths would take far longer."""
    waiting = [""]
    while waiting:
        parent = waiting.pop()
        try:
            with os.scandir(folder / parent) as listed:
                entries = list(listed)
        except OSError as error:
            name = _printable(parent.rstrip("/") or ".")
            skipped.append(Skipped(name, f"folder can't be listed: {error.strerror}"))
            continue
        for entry in entries:
            name = parent + entry.name
            if not _is(entry.is_dir):
                yield name, entry
            elif entry.name.startswith(".") or _is(entry.is_symlink):
                if entry.name != OWN_FOLDER:
                    reason = "a link" if _is(entry.is_symlink) else "hidden"
                    skipped.append(Skipped(_printable(name) + "/", reason))
            else:
                waiting.append(f"{name}/")


def _is(asked: Callable[[], bool]) -> bool:
    try:
        return asked()
    except OSError:  # no right to look; listing the folder, or reading the file, will say so
        return False


def _reason_to_skip(entry: os.DirEntry[str]) -> str | None:
    name = entry.name
    if name.startswith("."):
        return "hidden"
    if entry.is_symlink():
        return "a link; put the note itself into the corpus"
    if not name.lower().endswith(_READABLE):
        return f"not a note: only {', '.join(sorted(READABLE_SUFFIXES))} are read"
    if not entry.is_file():
        return "not a regular file"
    if _printable(name) != name:
        return "its name is not valid Unicode; rename it"
    if is_converted(name) and len(os.fsencode(name)) > _MAX_CONVERTED_NAME:
        return "its name is too long to keep its text under; rename it"
    return None


def _printable(name: str) -> str:
    return name.encode("utf-8", errors="replace").decode("utf-8")


def resolve(folder: Path, document_id: str, suffixes: Set[str]) -> Path:
    """The file of a note, which needn't exist.

    Raises CorpusError for a name that leads out of the corpus or ends in none of `suffixes`.
    """
    pure = PurePosixPath(document_id)
    path = folder.joinpath(*pure.parts)
    if (
        pure.as_posix() != document_id  # one note, one name: no "./a.md", no "a//b.md"
        or "\0" in document_id
        or _printable(document_id) != document_id
        or "\\" in document_id
        or pure.is_absolute()
        or any(part.startswith(".") for part in pure.parts)
        or path.suffix.lower() not in suffixes
        or not _is_inside(path, folder)
    ):
        raise CorpusError(
            f"{document_id!r} is not the name of a note. Use a path inside the corpus that "
            f"ends in {', '.join(sorted(suffixes))}."
        )
    return path


def resolve_new(folder: Path, document_id: str, suffixes: Set[str]) -> Path:
    """The file for a name that is given now.

    Raises CorpusError as `resolve` does, and for signs that would mislead whoever lists the files
    in a terminal or reads the name from right to left.
    """
    if _UNSEEN.search(document_id):
        raise CorpusError(f"{document_id!r} holds signs that can't be seen. Type another name.")
    return resolve(folder, document_id, suffixes)


def _is_inside(path: Path, folder: Path) -> bool:
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # a loop of links; Python 3.11 calls it a RuntimeError
        return False


def _title(text: str, document_id: str) -> str:
    heading = re.search(r"^#{1,6}[ \t]+(\S.*)", text, re.MULTILINE)
    return heading[1][:200].strip("#*_` \t") if heading else PurePosixPath(document_id).stem
