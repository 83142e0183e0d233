"""The notes page: lists the notes, adds, renames and deletes them, and edits one beside its
preview. The index follows by itself.

It says where each part stands and which event calls what; it doesn't know what an event does,
nor anything of questions or answers.
"""

from collections.abc import Callable
from typing import Any

import gradio as gr

from rag_tutor.config import Settings
from rag_tutor.live import LiveIndex
from rag_tutor.ui import markdown, notes_html, render
from rag_tutor.ui.drafts import Draft
from rag_tutor.ui.notes_events import Editor, Events, List, Page, Update

_QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
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
_SAY_PREVIEWED = "() => document.dispatchEvent(new CustomEvent('tutor:note-previewed'))"
_TITLE = """
const tell = () => document.dispatchEvent(new CustomEvent("tutor:note-shown"));
new MutationObserver(tell).observe(element, { childList: true, subtree: true, attributes: true });
tell();
"""


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
    page = Page(gr.State(None), gr.State(""), gr.State(-1), chip, left, right)
    events = Events(page, live, settings)
    _connect_index(page, events, timer)
    _connect_editor(page, events)
    _connect_list(page, events)
    return events.listed, page.draft, [left.listing, left.trash]


def _connect_index(page: Page, events: Events, timer: gr.Timer) -> None:
    """Say how the page follows the index, and what rebuilds it or stops that."""
    left = page.notes
    shown = [page.chip, left.report, left.rebuild, left.cancel, left.listing, left.trash]
    shown += [page.editor.title]
    timer.tick(events.tick, [page.seen, page.draft], [page.seen, *shown], queue=False, **_QUIET)
    left.rebuild.click(events.rebuild, page.draft, shown, **_QUIET)
    left.cancel.click(events.live.cancel, None, None, **_QUIET)


def _connect_editor(page: Page, events: Events) -> None:
    """Say what opens a note, saves it, chooses between its versions, renames and deletes it."""
    right = page.editor
    edited = [page.draft, right.text]
    page.notes.listing.open(events.open, right.text, page.shown, **_QUIET)
    right.close.click(events.close, None, page.shown, **_QUIET)
    right.save.click(events.save, edited, page.shown, **_QUIET)
    right.discard.click(events.discard, edited, page.shown, **_QUIET)
    right.keep_mine.click(events.keep_mine, edited, page.shown, **_QUIET)
    right.use_theirs.click(events.use_theirs, edited, page.shown, **_QUIET)
    # Not `input`, which Gradio fires for keys only: a text may be pasted or dropped.
    latest = _QUIET | {"trigger_mode": "always_last"}
    previewed = right.text.change(events.preview, [right.text, page.draft], right.preview, **latest)
    previewed.then(None, js=_SAY_PREVIEWED)

    right.rename.click(events.ask_name, page.draft, [right.renaming, right.new_name], **_QUIET)
    renamed = [right.do_rename.click, right.new_name.submit]
    gr.on(renamed, events.rename, [page.draft, right.new_name], page.shown, **_QUIET)
    right.cancel_rename.click(events.keep_name, None, page.shown, **_QUIET)
    right.delete.click(events.delete, edited, page.shown, **_QUIET)
    right.undo.click(events.undo, [page.deleted, page.draft], page.shown, **_QUIET)


def _connect_list(page: Page, events: Events) -> None:
    """Say what adds notes and brings deleted ones back."""
    left = page.notes
    created = [left.create.click, left.name.submit]
    gr.on(created, events.create, left.name, page.shown, **_QUIET)
    left.upload.upload(events.upload, [left.upload, page.draft], page.shown, **_QUIET)
    left.listing.restore(events.restore, page.draft, page.shown, **_QUIET)
    left.listing.empty(events.empty, page.draft, page.shown, **_QUIET)


def _list_column() -> List:
    with gr.Row(elem_id="notes-head", elem_classes="bar"):
        gr.HTML("<h2>Your notes</h2>")
        rebuild = gr.Button("Rebuild everything", size="sm", elem_id="rebuild", min_width=120)
        cancel = gr.Button("Cancel", size="sm", elem_id="cancel-rebuild", visible=False)
    report = gr.HTML("", elem_id="report")
    with gr.Row(elem_id="new-note", elem_classes="bar"):
        name = _one_line_box("note-name", "Name of a new note")
        create = gr.Button("New note", size="sm", elem_id="create-note", min_width=100)
    refused = gr.HTML("", elem_id="refused-name")
    upload = gr.File(
        elem_id="upload",
        label="Add files: Markdown, text, PDF, Word, PowerPoint, HTML, EPUB, notebooks",
        file_count="multiple",
        height=96,
    )
    listing = gr.HTML("", elem_id="notes", js_on_load=_ACTIONS)
    trash = gr.HTML("", elem_id="trash")
    return List(rebuild, cancel, report, name, create, refused, upload, listing, trash)


def _editor_column() -> Editor:
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
        cancel_rename = gr.Button("Cancel", size="sm", elem_id="cancel-rename", min_width=80)
    # Filled by notes.js, which alone knows of it.
    gr.HTML(render.message_html("", failed=True), elem_id="no-room")
    with gr.Row(elem_id="message-row", elem_classes="bar"):
        message = gr.HTML(render.message_html("", failed=False), elem_id="notes-message")
        undo = _button("Undo", "undo")
        mine = _button("Keep my text", "keep-mine", variant="primary")
        disk = _button("Use the version on disk", "use-theirs")
    with gr.Row(elem_id="editing", equal_height=True):
        with gr.Column(elem_id="writing", visible=False, min_width=260) as writing:
            text = _text_box()
        with gr.Column(elem_id="reading", min_width=260):
            preview = gr.Markdown("", elem_id="preview", latex_delimiters=markdown.LATEX_DELIMITERS)
            theirs = gr.HTML("", elem_id="theirs", visible=False)
    return Editor(
        close=close,
        title=title,
        rename=rename,
        delete=delete,
        discard=discard,
        save=save,
        renaming=renaming,
        new_name=new_name,
        do_rename=do_rename,
        cancel_rename=cancel_rename,
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
