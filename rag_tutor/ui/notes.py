"""The notes page: lists the notes, opens one in an editor, saves it and rebuilds the index.

It knows nothing of questions or answers. A text that isn't saved is never replaced: another
note opens once the changes are saved or discarded.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import gradio as gr

from rag_tutor.config import Settings
from rag_tutor.corpus import NOTE_SUFFIXES, create_document, read_document, save_document
from rag_tutor.domain import Document
from rag_tutor.errors import CorpusError, TutorError
from rag_tutor.indexing import IndexReport, note_states, update_index
from rag_tutor.tutor import Tutor
from rag_tutor.ui import render

Update = dict[Any, Any]

_QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
_HINT = "Choose a note to read or edit it."
_REBUILD_HINT = "Rebuild the index after saving, so that answers use the new text."
_UNTIL_REBUILT = "Answers use the notes as they were when the index was last rebuilt."
_PROGRESS = gr.Progress()
_OPENER = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) trigger("open", { note: button.value });
});
"""


@dataclass(frozen=True, slots=True)
class Draft:
    """The note in the editor, with the text as it stands on disk."""

    name: str
    saved: str
    content_hash: str


@dataclass(frozen=True, slots=True)
class _Parts:
    """The components of the page that change."""

    draft: gr.State
    listing: gr.HTML
    title: gr.HTML
    editor: gr.Textbox
    save: gr.Button
    discard: gr.Button
    message: gr.HTML
    report: gr.HTML
    rebuild: gr.Button
    name: gr.Textbox
    create: gr.Button

    @property
    def shown(self) -> list[Any]:
        """All that a handler may change."""
        editing = [self.draft, self.title, self.editor, self.save, self.discard]
        return [*editing, self.listing, self.message, self.report, self.name]


def open_note(settings: Settings, name: str, draft: Draft | None, text: str) -> Document:
    """Read the note to be opened. Raises CorpusError, also if another one isn't saved yet."""
    if draft and name != draft.name:
        _require_saved(draft, text)
    return read_document(settings.corpus, name)


def create_note(settings: Settings, name: str, draft: Draft | None, text: str) -> Document:
    """Write a new note that holds its title. Raises CorpusError as `open_note` does."""
    if draft:
        _require_saved(draft, text)
    name = name.strip()
    if not name:
        raise CorpusError("Type a name for the new note first.")
    if PurePosixPath(name).suffix.lower() not in NOTE_SUFFIXES:
        name += ".md"
    create_document(settings.corpus, name, f"# {PurePosixPath(name).stem}\n")
    return read_document(settings.corpus, name)


def save_note(settings: Settings, draft: Draft, text: str) -> Draft:
    """Save the editor's text. Raises CorpusError, also if the file isn't the one opened."""
    on_disk = settings.corpus / draft.name
    if on_disk.exists():
        current = read_document(settings.corpus, draft.name)
        if current.content_hash != draft.content_hash:
            raise CorpusError(
                f"{draft.name} was changed by another window or program meanwhile. Copy your "
                "text, then discard the changes to see that version."
            )
    save_document(settings.corpus, draft.name, text)
    return Draft(draft.name, text, read_document(settings.corpus, draft.name).content_hash)


def report_line(report: IndexReport) -> str:
    """What a rebuild did, in one line."""
    counts = (
        f"{report.added} added, {report.changed} changed, {report.removed} removed, "
        f"{report.unchanged} unchanged"
    )
    chunks = "1 chunk" if report.chunks == 1 else f"{report.chunks:,} chunks"
    return f"Index is up to date: {counts}; {chunks} in {report.seconds:.1f} s."


def notes_page(tutor: Tutor, settings: Settings) -> tuple[Callable[[Draft | None], str], list[Any]]:
    """Build the notes page; return what lists the notes, with its input and its output."""
    with gr.Row(elem_id="notes-desk", equal_height=True):
        with gr.Column(scale=2, min_width=300, elem_id="notes-list"):
            with gr.Row(elem_id="notes-head"):
                gr.HTML("<h2>Your notes</h2>")
                rebuild = gr.Button("Rebuild index", size="sm", elem_id="rebuild", min_width=120)
            report = gr.HTML(render.message_html(_UNTIL_REBUILT, failed=False), elem_id="report")
            listing = gr.HTML("", elem_id="notes", js_on_load=_OPENER)
            with gr.Row(elem_id="new-note"):
                name = _name_box()
                create = gr.Button("New note", size="sm", elem_id="create-note", min_width=100)
        with gr.Column(scale=3, min_width=320, elem_id="note-editor"):
            with gr.Row(elem_id="editor-head"):
                title = gr.HTML(render.note_title_html(""), elem_id="note-title")
                discard = gr.Button("Discard changes", size="sm", elem_id="discard", visible=False)
                save = gr.Button(
                    "Save", variant="primary", size="sm", elem_id="save", visible=False
                )
            editor = _editor()
            message = gr.HTML(render.message_html(_HINT, failed=False), elem_id="notes-message")
    draft = gr.State(None)
    editing = (title, editor, save, discard, message)
    parts = _Parts(draft, listing, *editing, report, rebuild, name, create)
    _connect_editor(parts, settings)
    _connect_rebuild(parts, tutor, settings)
    return lambda draft: _listing(settings, draft), [draft, listing]


def _connect_editor(parts: _Parts, settings: Settings) -> None:
    """Say what opens, saves, discards and creates a note."""

    def on_open(draft: Draft | None, text: str, event: gr.EventData) -> Update:
        try:
            return _opened(parts, settings, open_note(settings, str(event.note), draft, text))
        except CorpusError as error:
            return _message(parts, str(error), failed=True)

    def on_discard(draft: Draft) -> Update:
        try:
            return _opened(parts, settings, read_document(settings.corpus, draft.name))
        except CorpusError as error:
            return _message(parts, str(error), failed=True)

    def on_save(draft: Draft, text: str) -> Update:
        try:
            saved = save_note(settings, draft, text)
        except CorpusError as error:
            return _message(parts, str(error), failed=True)
        update = {parts.draft: saved, parts.listing: _listing(settings, saved)}
        return update | _message(parts, f"Saved. {_REBUILD_HINT}", failed=False)

    def on_create(name: str, draft: Draft | None, text: str) -> Update:
        try:
            created = create_note(settings, name, draft, text)
            return {parts.name: ""} | _opened(parts, settings, created)
        except CorpusError as error:
            return _message(parts, str(error), failed=True)

    edited = [parts.draft, parts.editor]
    parts.listing.open(on_open, edited, parts.shown, **_QUIET)
    parts.discard.click(on_discard, parts.draft, parts.shown, **_QUIET)
    parts.save.click(on_save, edited, parts.shown, **_QUIET)
    gr.on(
        [parts.create.click, parts.name.submit],
        on_create,
        [parts.name, *edited],
        parts.shown,
        **_QUIET,
    )


def _connect_rebuild(parts: _Parts, tutor: Tutor, settings: Settings) -> None:
    """Say what rebuilds the index, with its progress and its report."""

    def on_rebuild(draft: Draft | None, progress: gr.Progress = _PROGRESS) -> Update:
        progress(0, desc="Reading the notes")
        try:
            done = update_index(
                settings.corpus,
                settings.index,
                tutor.encoder,
                progress=lambda done, total: progress((done, total), "Indexing", unit="chunks"),
            )
        except TutorError as error:
            return {parts.report: render.message_html(str(error), failed=True)}
        report = render.message_html(report_line(done), failed=False)
        return {parts.report: report, parts.listing: _listing(settings, draft)}

    parts.rebuild.click(
        on_rebuild,
        parts.draft,
        parts.shown,
        show_progress="full",
        show_progress_on=parts.report,
        api_visibility="private",
    )


def _require_saved(draft: Draft, text: str) -> None:
    if text != draft.saved:
        raise CorpusError(
            f"{draft.name} has changes that aren't saved. Save or discard them first."
        )


def _opened(parts: _Parts, settings: Settings, document: Document) -> Update:
    draft = Draft(document.id, document.text, document.content_hash)
    update: Update = {
        parts.draft: draft,
        parts.title: render.note_title_html(document.id),
        parts.editor: gr.update(value=document.text, interactive=True),
        parts.save: gr.update(visible=True),
        parts.discard: gr.update(visible=True),
        parts.listing: _listing(settings, draft),
    }
    return update | _message(parts, _REBUILD_HINT, failed=False)


def _message(parts: _Parts, text: str, failed: bool) -> Update:
    return {parts.message: render.message_html(text, failed)}


def _listing(settings: Settings, draft: Draft | None) -> str:
    try:
        notes = note_states(settings.corpus, settings.index)
    except TutorError as error:
        return render.message_html(str(error), failed=True)
    return render.notes_html(notes, draft.name if draft else "")


def _name_box() -> gr.Textbox:
    return gr.Textbox(
        elem_id="note-name",
        label="Name of a new note",
        show_label=False,
        container=False,
        placeholder="Name of a new note",
        max_lines=1,
        scale=1,
    )


def _editor() -> gr.Textbox:
    return gr.Textbox(
        elem_id="editor",
        label="Text of the note",
        show_label=False,
        container=False,
        lines=20,
        max_lines=20,
        interactive=False,
    )
