"""What happens to the note in the editor: opened, saved, or found to differ from the file;
knows nothing of components or of HTML.

The browser keeps each text that isn't saved (notes.js) and sends it along when its note is
opened again. Of two versions, the one that isn't chosen goes to the trash.
"""

from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from rag_tutor.corpus import (
    NOTE_SUFFIXES,
    READABLE_SUFFIXES,
    content_hash,
    create_document,
    is_converted,
    read_document,
    resolve,
    save_document,
)
from rag_tutor.errors import CorpusError
from rag_tutor.library import Trashed, delete_note, keep_in_trash

_DIFFERS = (
    "{} was changed by another window or program meanwhile. Choose one version; the other one "
    "goes to the trash."
)
_NEWER = "There was nothing to save: you changed nothing, and this is the newer version on disk."


@dataclass(frozen=True, slots=True)
class Draft:
    """The note in the editor.

    `content_hash` is that of the file which the editor's text was made from, `shown_hash` that
    of the version which the student has seen since. `kind` tells whether it can be edited, is
    the text of another kind of file, or no text.
    """

    name: str
    saved: str
    content_hash: str
    shown_hash: str
    kind: Literal["text", "converted", "unreadable"]


@dataclass(frozen=True, slots=True)
class Opened:
    """A note as it is to be shown; `text` None leaves the editor's text alone.

    `theirs` is the text of the file where it differs from both what was opened and `text`.
    `is_saved` says that of the text that was sent, nothing is left to be saved.
    """

    draft: Draft
    text: str | None
    theirs: str | None
    message: str
    failed: bool = False
    is_saved: bool = False


@dataclass(frozen=True, slots=True)
class Unsaved:
    """A text that the browser has kept, and the hash of the file that it was made from."""

    text: str
    content_hash: str

    @property
    def is_unchanged(self) -> bool:
        """Whether it is what its file held, as a file's lines end here or on Windows."""
        texts = (self.text, self.text.replace("\n", "\r\n"))
        return self.content_hash in (
            content_hash(text.encode("utf-8", errors="replace")) for text in texts
        )


def unsaved_from(value: Any) -> Unsaved | None:
    """What a browser sent as an unsaved text; anything else is none."""
    if not isinstance(value, dict):
        return None
    text, made_from = value.get("text"), value.get("hash")
    if not isinstance(text, str) or not isinstance(made_from, str):
        return None
    return Unsaved(text, made_from)


def open_note(corpus: Path, name: str, unsaved: Unsaved | None) -> Opened:
    """Open a note, with the unsaved text that there is of it.

    Raises CorpusError if there is no such note; one that can't be read is opened as such.
    """
    path = resolve(corpus, name, READABLE_SUFFIXES)
    if not path.is_file() and unsaved is None:
        raise CorpusError(f"{name} isn't there any more. It may be in the trash.")
    try:
        document = read_document(corpus, name)
    except CorpusError as error:
        if unsaved and not is_converted(name):
            return _left_over(name, unsaved)
        return Opened(Draft(name, "", "", "", "unreadable"), "", None, str(error), failed=True)
    on_disk = document.content_hash
    if is_converted(name):
        message = f"This is the text of {name} as it is read. Edit the file in its own program."
        draft = Draft(name, document.text, on_disk, on_disk, "converted")
        return Opened(draft, "", None, message)
    if unsaved is None or unsaved.text == document.text or unsaved.is_unchanged:
        draft = Draft(name, document.text, on_disk, on_disk, "text")
        return Opened(draft, document.text, None, "", is_saved=unsaved is not None)
    draft = Draft(name, document.text, unsaved.content_hash, on_disk, "text")
    if unsaved.content_hash != on_disk:
        return Opened(draft, unsaved.text, document.text, _DIFFERS.format(name), failed=True)
    return Opened(draft, unsaved.text, None, "These changes are not saved yet.")


def create_note(corpus: Path, name: str) -> Opened:
    """Write a new note that holds its title, and open it. Raises CorpusError."""
    name = name.strip()
    if not name:
        raise CorpusError("Type a name for the new note first.")
    if PurePosixPath(name).suffix.lower() not in NOTE_SUFFIXES:
        name += ".md"
    create_document(corpus, name, f"# {PurePosixPath(name).stem}\n")
    return open_note(corpus, name, None)


def save_note(corpus: Path, draft: Draft, text: str) -> Opened:
    """Save the editor's text, unless the file isn't the one opened: then both are shown.

    Raises CorpusError; then the file is as it was.
    """
    if draft.kind != "text":
        raise CorpusError(f"{draft.name} can't be edited here.")
    if (corpus / draft.name).exists():
        current = read_document(corpus, draft.name)
        if current.content_hash != draft.content_hash and current.text != text:
            if Unsaved(text, draft.content_hash).is_unchanged:
                return replace(open_note(corpus, draft.name, None), message=_NEWER)
            seen = replace(draft, shown_hash=current.content_hash)
            return Opened(seen, None, current.text, _DIFFERS.format(draft.name), failed=True)
    return _save(corpus, draft, text, "Saved.")


def keep_mine(corpus: Path, draft: Draft, text: str) -> Opened:
    """Save the editor's text; the file's goes to the trash. Raises CorpusError."""
    if (corpus / draft.name).exists():
        keep_in_trash(corpus, draft.name, read_document(corpus, draft.name).text)
    return _save(corpus, draft, text, "Saved. The other version is in the trash.")


def use_theirs(corpus: Path, draft: Draft, text: str) -> Opened:
    """Open the file's text; the editor's goes to the trash. Raises CorpusError."""
    opened = open_note(corpus, draft.name, None)
    if text in (opened.text, draft.saved):
        return opened
    keep_in_trash(corpus, draft.name, text)
    message = "This is the version on disk. Yours is in the trash."
    return Opened(opened.draft, opened.text, None, message)


def delete_draft(corpus: Path, draft: Draft, text: str) -> tuple[Trashed, str]:
    """Put a note into the trash, and the editor's text beside it if it isn't saved.

    Returns what Undo brings back, and what to say. Raises CorpusError; then the note is there.
    """
    is_changed = text != draft.saved and not Unsaved(text, draft.content_hash).is_unchanged
    if draft.kind != "text" or not is_changed:
        return delete_note(corpus, draft.name), f"{draft.name} is in the trash."
    kept = keep_in_trash(corpus, draft.name, text)
    if not (corpus / draft.name).exists():
        return kept, f"Your text of {draft.name} is in the trash."
    said = f"{draft.name} is in the trash, and beside it your text that wasn't saved."
    return delete_note(corpus, draft.name), said


def is_stale(corpus: Path, draft: Draft) -> bool:
    """Whether the file holds a version that the student hasn't seen."""
    try:
        return read_document(corpus, draft.name).content_hash != draft.shown_hash
    except CorpusError:
        return False


def _save(corpus: Path, draft: Draft, text: str, message: str) -> Opened:
    save_document(corpus, draft.name, text)
    on_disk = read_document(corpus, draft.name).content_hash
    saved = Draft(draft.name, text, on_disk, on_disk, "text")
    return Opened(saved, None, None, message, is_saved=True)


def _left_over(name: str, unsaved: Unsaved) -> Opened:
    """The unsaved text of a note whose file is gone."""
    draft = Draft(name, "", unsaved.content_hash, "", "text")
    message = f"{name} is gone from the folder. Save to write it again."
    return Opened(draft, unsaved.text, None, message, failed=True)
