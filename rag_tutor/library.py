"""Adds, renames and deletes the files of a corpus, none of them for good; knows nothing of
what is in them.

    corpus/.rag-tutor/trash/TIME/name of the note      TIME in nanoseconds since 1970
"""

import re
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rag_tutor.atomic import replace_file
from rag_tutor.conversion import MAX_FILE_BYTES
from rag_tutor.corpus import (
    CONVERTED_SUFFIXES,
    MAX_NOTE_BYTES,
    NOTE_SUFFIXES,
    OWN_FOLDER,
    READABLE_SUFFIXES,
    converted_path,
    is_converted,
    is_taken,
    resolve,
    resolve_new,
)
from rag_tutor.errors import CorpusError

_TRASH = "trash"
_MAX_NAME, _MAX_NAME_BYTES = 120, 200
_UNSAFE = re.compile(r"[\x00-\x1f\x7f<>:\"/\\|?*\u200e\u200f\u202a-\u202e\u2066-\u2069]+")
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Trashed:
    """A note in the trash; `key` names it there, `deleted_at` is in seconds since 1970."""

    key: str
    document: str
    deleted_at: float


def rename_note(folder: Path, document_id: str, new_name: str) -> str:
    """Give a note another name; returns it, with the old ending if the new one had none.

    Raises CorpusError if a name isn't one of a note, the new one is taken, or the file would
    become one of another kind.
    """
    old = resolve(folder, document_id, READABLE_SUFFIXES)
    ending = PurePosixPath(document_id).suffix
    kinds = {ending.lower()} if is_converted(document_id) else NOTE_SUFFIXES
    new_name = new_name.strip()
    if not new_name:
        raise CorpusError("Type a new name for the note first.")
    if PurePosixPath(new_name).suffix.lower() not in kinds:
        new_name += ending
    new = resolve_new(folder, new_name, kinds)
    is_other_case_only = new.parent == old.parent and new.name.casefold() == old.name.casefold()
    # Where case counts, the other spelling may be another note.
    is_same = is_other_case_only and (not new.exists() or new.samefile(old))
    if is_taken(new) and not is_same:
        raise CorpusError(f"There is a note named {new_name} already. Choose another name.")
    try:
        new.parent.mkdir(parents=True, exist_ok=True)
        old.rename(new)
    except OSError as error:
        raise CorpusError(f"{document_id} can't be renamed: {error.strerror}.") from error
    _move_text(folder, document_id, new_name)
    return new_name


def add_file(folder: Path, source: Path, name: str) -> str:
    """Copy a file into the corpus under a safe form of its name; returns the name it has there.

    A name that is taken gets a number; a file that is there already stays alone.
    Raises CorpusError if its kind can't be read or it is too large.
    """
    wanted = safe_name(name)
    limit = MAX_FILE_BYTES if is_converted(wanted) else MAX_NOTE_BYTES
    if source.stat().st_size > limit:
        raise CorpusError(f"{wanted} is larger than {limit // 1_000_000} MB. Split it.")
    target = resolve(folder, wanted, READABLE_SUFFIXES)
    if target.is_file() and target.read_bytes() == source.read_bytes():
        return wanted
    free = _free_name(folder, wanted)
    try:
        # A file moved within one disk keeps its rights, which a server's own may not suit.
        replace_file(folder / free, source.read_bytes())
    except OSError as error:
        raise CorpusError(f"{wanted} can't be added: {error.strerror}.") from error
    return free


def safe_name(name: str) -> str:
    """A file name without folders, signs that some system forbids, or a leading dot.

    Raises CorpusError if it doesn't end as a readable file does.
    """
    name = _UNSAFE.sub(" ", name.encode("utf-8", errors="replace").decode("utf-8"))
    stem, suffix = PurePosixPath(name).stem, PurePosixPath(name).suffix
    if suffix.lower() not in READABLE_SUFFIXES:
        kinds = ", ".join(sorted(NOTE_SUFFIXES | CONVERTED_SUFFIXES))
        raise CorpusError(f"{name[:_MAX_NAME]} is no note: only {kinds} can be read.")
    stem = " ".join(stem.split()).strip(". ")[:_MAX_NAME]
    stem = stem.encode()[:_MAX_NAME_BYTES].decode(errors="ignore") or "note"
    return f"_{stem}{suffix}" if _RESERVED.match(stem) else f"{stem}{suffix}"


def delete_note(folder: Path, document_id: str) -> Trashed:
    """Move a note to the trash. Raises CorpusError if there is none of this name."""
    path = resolve(folder, document_id, READABLE_SUFFIXES)
    key = str(time.time_ns())
    place = _trash(folder) / key / document_id
    try:
        place.parent.mkdir(parents=True)
        path.rename(place)
    except OSError as error:
        shutil.rmtree(_trash(folder) / key, ignore_errors=True)
        raise CorpusError(f"{document_id} can't be deleted: {error.strerror}.") from error
    return Trashed(key, document_id, int(key) / 1e9)


def keep_in_trash(folder: Path, document_id: str, text: str) -> Trashed:
    """Put a text that lost against another version of its note into the trash."""
    key = str(time.time_ns())
    place = _trash(folder) / key / resolve(folder, document_id, NOTE_SUFFIXES).relative_to(folder)
    try:
        place.parent.mkdir(parents=True)
        replace_file(place, text.encode("utf-8"))
    except (OSError, UnicodeError) as error:
        shutil.rmtree(_trash(folder) / key, ignore_errors=True)
        raise CorpusError(f"The other version of {document_id} can't be kept: {error}.") from error
    return Trashed(key, document_id, int(key) / 1e9)


def list_trash(folder: Path) -> list[Trashed]:
    """What is in the trash, the newest first."""
    trash = _trash(folder)
    keys = [path for path in trash.iterdir() if path.name.isdecimal()] if trash.is_dir() else []
    return [
        Trashed(place.name, path.relative_to(place).as_posix(), int(place.name) / 1e9)
        for place in sorted(keys, key=lambda each: -int(each.name))
        for path in place.rglob("*")
        if path.is_file() and not path.name.startswith(".")  # hidden: never a note
    ]


def restore_note(folder: Path, key: str) -> str:
    """Put a note back from the trash; returns its name, with a number if its own is taken.

    Raises CorpusError if it isn't there any more.
    """
    trashed = next((item for item in list_trash(folder) if item.key == key), None)
    if trashed is None:
        raise CorpusError("This note isn't in the trash any more; it was restored or removed.")
    name = _free_name(folder, trashed.document)
    try:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (_trash(folder) / key / trashed.document).rename(folder / name)
    except OSError as error:
        raise CorpusError(f"{name} can't be restored: {error.strerror}.") from error
    shutil.rmtree(_trash(folder) / key, ignore_errors=True)
    return name


def empty_trash(folder: Path) -> int:
    """Remove what is in the trash for good; returns how many notes that were."""
    count = len(list_trash(folder))
    shutil.rmtree(_trash(folder), ignore_errors=True)
    return count


def _trash(folder: Path) -> Path:
    return folder / OWN_FOLDER / _TRASH


def _free_name(folder: Path, name: str) -> str:
    """The name itself, or with the first number that is free."""
    pure = PurePosixPath(name)
    number, free = 1, name
    while is_taken(folder / free):
        number += 1
        free = pure.with_name(f"{pure.stem} {number}{pure.suffix}").as_posix()
    return free


def _move_text(folder: Path, old: str, new: str) -> None:
    """Take the converted text along; where that fails, it is made again."""
    source, target = converted_path(folder, old), converted_path(folder, new)
    if source.is_file():
        with suppress(OSError):
            target.parent.mkdir(parents=True, exist_ok=True)
            source.replace(target)
