"""The notes page: lists the notes, adds, renames and deletes them, and edits one beside its
preview. The index follows by itself.

It knows nothing of questions or answers. A text that isn't saved is kept by the browser
(notes.js) until it is, so that any other note can be opened meanwhile.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from rag_tutor.config import Settings
from rag_tutor.errors import TutorError
from rag_tutor.indexing import note_states
from rag_tutor.library import (
    add_file,
    delete_note,
    empty_trash,
    list_trash,
    rename_note,
    restore_note,
)
from rag_tutor.live import LiveIndex, LiveState
from rag_tutor.ui import notes_html, render
from rag_tutor.ui.drafts import (
    Draft,
    Opened,
    create_note,
    is_stale,
    keep_mine,
    open_note,
    save_note,
    unsaved_from,
    use_theirs,
)

Update = dict[Any, Any]

_QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
_HINT = "Choose a note to read or edit it."
_KEPT = "What you type is kept in this browser until you save it (Ctrl+S)."
_NOTHING_OPEN = "The note isn't open any more. Open it again; text that isn't saved is kept."
# The actions that notes.js asks for, with all that belongs to them.
_ACTIONS = """
for (const action of ["open", "restore", "empty"]) {
  document.addEventListener("tutor:note-" + action, (event) => trigger(action, event.detail));
}
const tell = () => document.dispatchEvent(new CustomEvent("tutor:notes-listed"));
// A list that is drawn again may keep its rows, and lose only what notes.js has put on them.
const changes = { childList: true, subtree: true, attributeFilter: ["class"] };
new MutationObserver(tell).observe(element, changes);
tell();
"""
# A state that comes in while the chip is open doesn't close it.
CHIP_SCRIPT = """
let isOpen = false;
element.addEventListener("toggle", (event) => { isOpen = event.target.open; }, true);
new MutationObserver(() => {
  const chip = element.querySelector("details");
  if (chip && isOpen && !chip.open) chip.open = true;
}).observe(element, { childList: true, subtree: true });
"""
_TITLE = """
const tell = () => document.dispatchEvent(new CustomEvent("tutor:note-shown"));
new MutationObserver(tell).observe(element, { childList: true, subtree: true, attributes: true });
tell();
"""


@dataclass(frozen=True, slots=True)
class _List:
    """The list's column: the index, what adds notes, the notes and the trash."""

    rebuild: gr.Button
    cancel: gr.Button
    report: gr.HTML
    name: gr.Textbox
    create: gr.Button
    upload: gr.File
    listing: gr.HTML
    trash: gr.HTML


@dataclass(frozen=True, slots=True)
class _Editor:
    """The editor's column: the open note, what can be done with it, its text and its preview."""

    close: gr.Button
    title: gr.HTML
    rename: gr.Button
    delete: gr.Button
    discard: gr.Button
    save: gr.Button
    renaming: gr.Row
    new_name: gr.Textbox
    do_rename: gr.Button
    message: gr.HTML
    undo: gr.Button
    keep_mine: gr.Button
    use_theirs: gr.Button
    writing: gr.Column
    text: gr.Textbox
    preview: gr.Markdown
    theirs: gr.HTML


@dataclass(frozen=True, slots=True)
class _Page:
    """All that changes. `draft` is the open note, `deleted` the key of the one deleted last,
    `seen` the version of the index that the page shows.
    """

    draft: gr.State
    deleted: gr.State
    seen: gr.State
    chip: gr.HTML
    notes: _List
    editor: _Editor

    @property
    def shown(self) -> list[Any]:
        """All that a handler may change."""
        left, right = self.notes, self.editor
        return [
            *(self.draft, self.deleted, left.name, left.upload, left.listing, left.trash),
            *(right.close, right.title, right.rename, right.delete, right.discard, right.save),
            *(right.renaming, right.new_name, right.message, right.undo, right.keep_mine),
            *(right.use_theirs, right.writing, right.text, right.preview, right.theirs),
        ]


def notes_page(
    settings: Callable[[], Settings], live: LiveIndex, chip: gr.HTML, timer: gr.Timer
) -> tuple[Callable[[Draft | None], Update], gr.State, list[Any]]:
    """Build the page; return what lists the notes, with its input and its outputs.

    `chip` shows the state of the index on every page and `timer` says when to look at it; both
    stand outside of the page. The settings may change at run time.
    """
    with gr.Row(elem_id="notes-desk", equal_height=True):
        with gr.Column(scale=2, min_width=300, elem_id="notes-list"):
            left = _list_column()
        with gr.Column(scale=5, min_width=320, elem_id="note-editor"):
            right = _editor_column()
    page = _Page(gr.State(None), gr.State(""), gr.State(-1), chip, left, right)

    def corpus() -> Path:
        return settings().corpus

    def listed(draft: Draft | None) -> Update:
        return _listed(page, settings(), draft)

    _connect_index(page, live, settings, timer)
    _connect_editor(page, live, corpus, listed)
    _connect_names(page, live, corpus, listed)
    _connect_files(page, live, corpus, listed)
    return listed, page.draft, [left.listing, left.trash]


def upload_files(corpus: Path, files: Sequence[str]) -> tuple[str, bool]:
    """Add uploaded files; returns what to say of it, and whether one was refused."""
    added, refused = [], []
    for file in map(Path, files):
        try:
            name = add_file(corpus, file, file.name)
            added.append(name if name == file.name else f"{file.name} as {name}")
        except TutorError as error:
            refused.append(str(error))
        file.unlink(missing_ok=True)
    said = [f"Added {', '.join(added)}."] if added else []
    return " ".join(said + refused), bool(refused)


def _connect_index(
    page: _Page, live: LiveIndex, settings: Callable[[], Settings], timer: gr.Timer
) -> None:
    """Say how the page follows the index, and what rebuilds it or stops that."""

    def on_tick(seen: int, draft: Draft | None) -> Any:
        state = live.state
        if state.version == seen:
            return gr.skip()
        return {page.seen: state.version} | _index_shown(page, settings(), state, draft)

    def on_rebuild(draft: Draft | None) -> Update:
        live.rebuild()
        return _index_shown(page, settings(), live.state, draft)

    left, right = page.notes, page.editor
    shown = [page.chip, left.report, left.rebuild, left.cancel, left.listing, left.trash]
    shown += [right.title]
    timer.tick(on_tick, [page.seen, page.draft], [page.seen, *shown], queue=False, **_QUIET)
    left.rebuild.click(on_rebuild, page.draft, shown, **_QUIET)
    left.cancel.click(live.cancel, None, None, **_QUIET)


def _connect_editor(
    page: _Page,
    live: LiveIndex,
    corpus: Callable[[], Path],
    listed: Callable[[Draft | None], Update],
) -> None:
    """Say what opens a note, saves it, and chooses between its versions."""
    right = page.editor

    def on_open(text: str, event: gr.EventData) -> Update:
        name, unsaved = str(event.note), unsaved_from(event.unsaved)
        return _tried(page, lambda: _opened(page, open_note(corpus(), name, unsaved), text, listed))

    def chosen(action: Callable[[Path, Draft, str], Opened]) -> Callable[..., Update]:
        def on_click(draft: Draft | None, text: str) -> Update:
            if draft is None:
                return _message(page, _NOTHING_OPEN, failed=True)
            done = _tried(page, lambda: _opened(page, action(corpus(), draft, text), text, listed))
            live.update()
            return done

        return on_click

    def discard(folder: Path, draft: Draft, text: str) -> Opened:
        return open_note(folder, draft.name, None)

    def on_change(text: str, draft: Draft | None) -> Any:
        is_text = draft is not None and draft.kind == "text"
        return notes_html.preview_html(text) if is_text else gr.skip()

    def on_close() -> Update:
        return _closed(page) | listed(None) | _message(page, _HINT, failed=False)

    edited = [page.draft, right.text]
    page.notes.listing.open(on_open, right.text, page.shown, **_QUIET)
    right.close.click(on_close, None, page.shown, **_QUIET)
    right.save.click(chosen(save_note), edited, page.shown, **_QUIET)
    right.discard.click(chosen(discard), edited, page.shown, **_QUIET)
    right.keep_mine.click(chosen(keep_mine), edited, page.shown, **_QUIET)
    right.use_theirs.click(chosen(use_theirs), edited, page.shown, **_QUIET)
    # Not `input`, which Gradio fires for keys only: a text may be pasted or dropped.
    latest = _QUIET | {"trigger_mode": "always_last"}
    right.text.change(on_change, [right.text, page.draft], right.preview, **latest)


def _connect_names(
    page: _Page,
    live: LiveIndex,
    corpus: Callable[[], Path],
    listed: Callable[[Draft | None], Update],
) -> None:
    """Say what creates and renames a note."""
    left, right = page.notes, page.editor

    def on_create(name: str) -> Update:
        def create() -> Update:
            created = _opened(page, create_note(corpus(), name), "", listed)
            live.update()
            return created | {left.name: ""}

        return _tried(page, create)

    def on_rename(draft: Draft | None) -> Update:
        name = draft.name if draft else ""
        return {right.renaming: gr.update(visible=True), right.new_name: name}

    def on_do_rename(draft: Draft | None, text: str, name: str) -> Update:
        if draft is None:
            return _message(page, _NOTHING_OPEN, failed=True)

        def rename() -> Update:
            new = rename_note(corpus(), draft.name, name)
            live.update()
            opened = open_note(corpus(), new, None)
            title = notes_html.title_html(opened.draft, renamed_from=draft.name)
            update: Update = {page.draft: opened.draft, right.title: title}
            update |= {right.renaming: gr.update(visible=False)} | listed(opened.draft)
            return update | _message(page, f"Renamed to {new}.", failed=False)

        return _tried(page, rename)

    gr.on([left.create.click, left.name.submit], on_create, left.name, page.shown, **_QUIET)
    right.rename.click(on_rename, page.draft, [right.renaming, right.new_name], **_QUIET)
    gr.on(
        [right.do_rename.click, right.new_name.submit],
        on_do_rename,
        [page.draft, right.text, right.new_name],
        page.shown,
        **_QUIET,
    )


def _connect_files(
    page: _Page,
    live: LiveIndex,
    corpus: Callable[[], Path],
    listed: Callable[[Draft | None], Update],
) -> None:
    """Say what uploads, deletes and brings back."""
    left, right = page.notes, page.editor

    def on_upload(files: list[str], draft: Draft | None) -> Update:
        said, failed = upload_files(corpus(), files)
        live.update()
        return {left.upload: None} | listed(draft) | _message(page, said, failed)

    def on_delete(draft: Draft | None) -> Update:
        if draft is None:
            return _message(page, _NOTHING_OPEN, failed=True)

        def delete() -> Update:
            trashed = delete_note(corpus(), draft.name)
            live.update()
            update = _closed(page) | listed(None) | {page.deleted: trashed.key}
            said = f"{draft.name} is in the trash."
            return update | _message(page, said, failed=False) | {right.undo: _visible(True)}

        return _tried(page, delete)

    def restore(key: str, draft: Draft | None) -> Update:
        name = restore_note(corpus(), key)
        live.update()
        return listed(draft) | _message(page, f"{name} is back.", failed=False)

    def on_undo(key: str, draft: Draft | None) -> Update:
        return _tried(page, lambda: restore(key, draft))

    def on_restore(draft: Draft | None, event: gr.EventData) -> Update:
        return _tried(page, lambda: restore(str(event.key), draft))

    def on_empty(draft: Draft | None) -> Update:
        count = empty_trash(corpus())
        notes = "1 note is" if count == 1 else f"{count} notes are"
        return listed(draft) | _message(page, f"{notes} removed for good.", failed=False)

    left.upload.upload(on_upload, [left.upload, page.draft], page.shown, **_QUIET)
    right.delete.click(on_delete, page.draft, page.shown, **_QUIET)
    right.undo.click(on_undo, [page.deleted, page.draft], page.shown, **_QUIET)
    left.listing.restore(on_restore, page.draft, page.shown, **_QUIET)
    left.listing.empty(on_empty, page.draft, page.shown, **_QUIET)


def _tried(page: _Page, action: Callable[[], Update]) -> Update:
    try:
        return action()
    except TutorError as error:
        return _message(page, str(error), failed=True)


def _opened(
    page: _Page, opened: Opened, text: str, listed: Callable[[Draft | None], Update]
) -> Update:
    """Show a note; `text` is what stands in the editor now."""
    right, draft = page.editor, opened.draft
    is_text, differs = draft.kind == "text", opened.theirs is not None
    update: Update = {
        page.draft: draft,
        right.title: notes_html.title_html(draft, "saved" if opened.is_saved else ""),
        right.close: _visible(True),
        right.rename: _visible(True),
        right.delete: _visible(True),
        right.discard: _visible(is_text and not differs),
        right.save: _visible(is_text and not differs),
        right.renaming: _visible(False),
        right.keep_mine: _visible(differs),
        right.use_theirs: _visible(differs),
        right.writing: _visible(is_text),
        right.preview: gr.update(visible=not differs),
        right.theirs: gr.update(visible=differs),
    }
    if opened.text is not None:
        text = opened.text
        update[right.text] = text
    if differs:
        update[right.theirs] = notes_html.versions_html(text, opened.theirs or "")
        update[right.theirs] = gr.update(value=update[right.theirs], visible=True)
    else:
        shown = notes_html.preview_html(text if is_text else draft.saved)
        update[right.preview] = gr.update(value=shown, visible=True)
    hint = _KEPT if is_text else ""
    return update | listed(draft) | _message(page, opened.message or hint, opened.failed)


def _closed(page: _Page) -> Update:
    """Show that no note is open."""
    right = page.editor
    hidden: list[Any] = [right.close, right.rename, right.delete, right.discard, right.save]
    hidden += [right.renaming, right.keep_mine, right.use_theirs, right.writing, right.theirs]
    update: Update = {part: _visible(False) for part in hidden}
    preview = gr.update(value="", visible=True)
    return (
        update
        | {page.draft: None, right.title: notes_html.title_html(None)}
        | {right.preview: preview}
    )


def _message(page: _Page, text: str, failed: bool) -> Update:
    return {
        page.editor.message: render.message_html(text, failed),
        page.editor.undo: _visible(False),
    }


def _index_shown(page: _Page, settings: Settings, state: LiveState, draft: Draft | None) -> Update:
    left, busy = page.notes, state.is_busy
    update: Update = {
        page.chip: notes_html.chip_html(state),
        left.report: notes_html.report_html(state),
        left.rebuild: _visible(not busy),
        left.cancel: _visible(busy),
    }
    if busy:
        return update
    if draft and is_stale(settings.corpus, draft):
        update[page.editor.title] = notes_html.title_html(draft, "stale")
    return update | _listed(page, settings, draft)


def _listed(page: _Page, settings: Settings, draft: Draft | None) -> Update:
    left = page.notes
    try:
        notes = note_states(settings.corpus, settings.index)
    except TutorError as error:
        return {left.listing: render.message_html(str(error), failed=True)}
    trash = notes_html.trash_html(list_trash(settings.corpus))
    return {
        left.listing: notes_html.notes_html(notes, draft.name if draft else ""),
        left.trash: trash,
    }


def _visible(visible: bool) -> Any:
    return gr.update(visible=visible)


def _list_column() -> _List:
    with gr.Row(elem_id="notes-head", elem_classes="bar"):
        gr.HTML("<h2>Your notes</h2>")
        rebuild = gr.Button("Rebuild everything", size="sm", elem_id="rebuild", min_width=120)
        cancel = gr.Button("Cancel", size="sm", elem_id="cancel-rebuild", visible=False)
    report = gr.HTML("", elem_id="report")
    with gr.Row(elem_id="new-note", elem_classes="bar"):
        name = _one_line_box("note-name", "Name of a new note")
        create = gr.Button("New note", size="sm", elem_id="create-note", min_width=100)
    upload = gr.File(
        elem_id="upload",
        label="Add files: Markdown, text, PDF, Word, PowerPoint, HTML, EPUB, notebooks",
        file_count="multiple",
        height=96,
    )
    listing = gr.HTML("", elem_id="notes", js_on_load=_ACTIONS)
    trash = gr.HTML("", elem_id="trash")
    return _List(rebuild, cancel, report, name, create, upload, listing, trash)


def _editor_column() -> _Editor:
    with gr.Row(elem_id="editor-head", elem_classes="bar"):
        close = _button("All notes", "close-note")
        title = gr.HTML(notes_html.title_html(None), elem_id="note-title", js_on_load=_TITLE)
        rename = _button("Rename", "rename")
        delete = _button("Delete", "delete")
        discard = _button("Discard", "discard")
        save = _button("Save", "save", variant="primary")
    with gr.Row(elem_id="renaming", elem_classes="bar", visible=False) as renaming:
        new_name = _one_line_box("new-name", "New name")
        do_rename = gr.Button("Rename", size="sm", elem_id="do-rename", min_width=100)
    with gr.Row(elem_id="message-row", elem_classes="bar"):
        message = gr.HTML(render.message_html(_HINT, failed=False), elem_id="notes-message")
        undo = _button("Undo", "undo")
        mine = _button("Keep my text", "keep-mine", variant="primary")
        disk = _button("Use the version on disk", "use-theirs")
    with gr.Row(elem_id="editing", equal_height=True):
        with gr.Column(elem_id="writing", visible=False, min_width=260) as writing:
            text = _text_box()
        with gr.Column(elem_id="reading", min_width=260):
            preview = gr.Markdown("", elem_id="preview", latex_delimiters=render.LATEX_DELIMITERS)
            theirs = gr.HTML("", elem_id="theirs", visible=False)
    return _Editor(
        close=close,
        title=title,
        rename=rename,
        delete=delete,
        discard=discard,
        save=save,
        renaming=renaming,
        new_name=new_name,
        do_rename=do_rename,
        message=message,
        undo=undo,
        keep_mine=mine,
        use_theirs=disk,
        writing=writing,
        text=text,
        preview=preview,
        theirs=theirs,
    )


def _button(label: str, elem_id: str, variant: Any = "secondary") -> gr.Button:
    return gr.Button(label, variant=variant, size="sm", elem_id=elem_id, visible=False)


def _one_line_box(elem_id: str, label: str) -> gr.Textbox:
    return gr.Textbox(
        elem_id=elem_id,
        label=label,
        show_label=False,
        container=False,
        placeholder=label,
        max_lines=1,
        scale=1,
    )


def _text_box() -> gr.Textbox:
    return gr.Textbox(
        elem_id="editor",
        label="Text of the note",
        show_label=False,
        container=False,
        lines=20,
        max_lines=20,
        interactive=True,
    )
