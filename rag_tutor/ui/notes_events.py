"""What the events of the notes page do: they list the notes, add, rename and delete them, open one
and save it, and show how the index stands.

Nothing here knows where a component stands, nor how a text that isn't saved is kept: the browser
does that (notes.js) and sends it along with the note to be opened.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr

from rag_tutor.config import Settings
from rag_tutor.errors import TutorError
from rag_tutor.indexing import note_states
from rag_tutor.library import (
    add_file,
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
    delete_draft,
    is_stale,
    keep_mine,
    open_note,
    save_note,
    unsaved_from,
    use_theirs,
)
from rag_tutor.ui.sent import Sent

Update = dict[Any, Any]

_NOTHING_OPEN = "The note isn't open any more. Open it again; text that isn't saved is kept."


@dataclass(frozen=True, slots=True)
class List:
    """The list's column: the index, what adds notes, the notes and the trash."""

    rebuild: gr.Button
    cancel: gr.Button
    report: gr.HTML
    name: gr.Textbox
    create: gr.Button
    refused: gr.HTML
    upload: gr.File
    listing: gr.HTML
    trash: gr.HTML


@dataclass(frozen=True, slots=True)
class Editor:
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
    cancel_rename: gr.Button
    message: gr.HTML
    undo: gr.Button
    keep_mine: gr.Button
    use_theirs: gr.Button
    writing: gr.Column
    text: gr.Textbox
    preview: gr.Markdown
    theirs: gr.HTML


@dataclass(frozen=True, slots=True)
class Page:
    """All that changes. `draft` is the open note, `deleted` the key of the one deleted last,
    `seen` the version of the index that the page shows.
    """

    draft: gr.State
    deleted: gr.State
    seen: gr.State
    chip: gr.HTML
    notes: List
    editor: Editor

    @property
    def shown(self) -> list[Any]:
        """All that a handler may change."""
        left, right = self.notes, self.editor
        return [
            *(
                self.draft,
                self.deleted,
                left.name,
                left.refused,
                left.upload,
                left.listing,
                left.trash,
            ),
            *(right.close, right.title, right.rename, right.delete, right.discard, right.save),
            *(right.renaming, right.new_name, right.message, right.undo, right.keep_mine),
            *(right.use_theirs, right.writing, right.text, right.preview, right.theirs),
        ]


@dataclass(frozen=True, slots=True)
class Events:
    """What the page's events do; each one returns what changes in its parts.

    The settings may change at run time.
    """

    page: Page
    live: LiveIndex
    settings: Callable[[], Settings]

    @property
    def _corpus(self) -> Path:
        return self.settings().corpus

    # --- The index ---

    def listed(self, draft: Draft | None) -> Update:
        """List the notes and the trash."""
        settings, left = self.settings(), self.page.notes
        try:
            notes = note_states(settings.corpus, settings.index)
        except TutorError as error:
            return {left.listing: render.message_html(str(error), failed=True)}
        trash = notes_html.trash_html(list_trash(settings.corpus))
        return {
            left.listing: notes_html.notes_html(notes, draft.name if draft else ""),
            left.trash: trash,
        }

    def tick(self, seen: int, draft: Draft | None) -> Any:
        """Show how the index stands, if that has changed."""
        state = self.live.state
        if state.version == seen:
            return gr.skip()
        return {self.page.seen: state.version} | self._index_shown(state, draft)

    def rebuild(self, draft: Draft | None) -> Update:
        """Rebuild everything."""
        self.live.rebuild()
        return self._index_shown(self.live.state, draft)

    def _index_shown(self, state: LiveState, draft: Draft | None) -> Update:
        page, left, busy = self.page, self.page.notes, state.is_busy
        update: Update = {
            page.chip: notes_html.chip_html(state),
            left.report: notes_html.report_html(state),
            left.rebuild: _visible(not busy),
            left.cancel: _visible(busy),
        }
        if busy:
            return update
        if draft and is_stale(self._corpus, draft):
            update[page.editor.title] = notes_html.title_html(draft, "stale")
        return update | self.listed(draft)

    # --- The editor ---

    def open(self, text: str, sent: Sent) -> Update:
        """Open a note, with its text that isn't saved."""
        name, unsaved = sent.text("note"), unsaved_from(sent.value("unsaved"))
        return self._tried(lambda: self._opened(open_note(self._corpus, name, unsaved), text))

    def save(self, draft: Draft | None, text: str) -> Update:
        """Save the text, unless the file has changed meanwhile."""
        return self._chosen(save_note, draft, text)

    def discard(self, draft: Draft | None, text: str) -> Update:
        """Show the file again."""
        return self._chosen(
            lambda corpus, opened, _: open_note(corpus, opened.name, None), draft, text
        )

    def keep_mine(self, draft: Draft | None, text: str) -> Update:
        """Of two versions, keep the editor's."""
        return self._chosen(keep_mine, draft, text)

    def use_theirs(self, draft: Draft | None, text: str) -> Update:
        """Of two versions, keep the file's."""
        return self._chosen(use_theirs, draft, text)

    def preview(self, text: str, draft: Draft | None) -> Any:
        """Show the text as it is meant to be read."""
        is_text = draft is not None and draft.kind == "text"
        return notes_html.preview_html(text) if is_text else gr.skip()

    def close(self) -> Update:
        """Leave the note and show the list."""
        return self._closed() | self.listed(None) | self._message("", failed=False)

    def _chosen(
        self, action: Callable[[Path, Draft, str], Opened], draft: Draft | None, text: str
    ) -> Update:
        if draft is None:
            return self._message(_NOTHING_OPEN, failed=True)
        done = self._tried(lambda: self._opened(action(self._corpus, draft, text), text))
        self.live.update()
        return done

    # --- Names ---

    def create(self, name: str) -> Update:
        """Create a note and open it; what is wrong with its name is said beside it."""
        left = self.page.notes
        try:
            created = self._opened(create_note(self._corpus, name), "")
        except TutorError as error:
            return {left.refused: render.message_html(str(error), failed=True)}
        self.live.update()
        return created | {left.name: ""}

    def ask_name(self, draft: Draft | None) -> Update:
        """Ask for the open note's new name."""
        right = self.page.editor
        return {right.renaming: _visible(True), right.new_name: draft.name if draft else ""}

    def keep_name(self) -> Update:
        """Ask for no name any more."""
        return {self.page.editor.renaming: _visible(False)} | self._message("", failed=False)

    def rename(self, draft: Draft | None, name: str) -> Update:
        """Give the open note another name; its text in the editor stays."""
        if draft is None:
            return self._message(_NOTHING_OPEN, failed=True)

        def rename() -> Update:
            page, right = self.page, self.page.editor
            new = rename_note(self._corpus, draft.name, name)
            self.live.update()
            # As it was opened: what another program has changed since is still to be seen.
            renamed = replace(draft, name=new)
            title = notes_html.title_html(renamed, renamed_from=draft.name)
            update: Update = {page.draft: renamed, right.title: title}
            update |= {right.renaming: _visible(False)} | self.listed(renamed)
            said = f"Renamed to {new}." if new != draft.name else ""
            return update | self._message(said, failed=False)

        return self._tried(rename)

    # --- Files and the trash ---

    def upload(self, files: list[str] | None, draft: Draft | None) -> Update:
        """Add files to the notes."""
        added, refused = _add_files(self._corpus, files or ())
        self.live.update()
        update: Update = {self.page.notes.upload: None}
        update |= self.listed(draft) | self._message("", failed=False)
        said = [(added, False), (refused, True)]
        lines = [render.message_html(text, failed) for text, failed in said if text]
        return update | {self.page.editor.message: "".join(lines)}

    def delete(self, draft: Draft | None, text: str) -> Update:
        """Put the open note into the trash with its unsaved text, and offer to undo it."""
        if draft is None:
            return self._message(_NOTHING_OPEN, failed=True)

        def delete() -> Update:
            trashed, said = delete_draft(self._corpus, draft, text)
            self.live.update()
            update = self._closed() | self.listed(None) | {self.page.deleted: trashed.key}
            return (
                update | self._message(said, failed=False) | {self.page.editor.undo: _visible(True)}
            )

        return self._tried(delete)

    def undo(self, key: str, draft: Draft | None) -> Update:
        """Bring the note back that was deleted last."""
        return self._tried(lambda: self._restored(key, draft))

    def restore(self, draft: Draft | None, sent: Sent) -> Update:
        """Bring a note of the trash back."""
        return self._tried(lambda: self._restored(sent.text("key"), draft))

    def empty(self, draft: Draft | None) -> Update:
        """Remove for good what is in the trash."""
        count = empty_trash(self._corpus)
        notes = "1 note is" if count == 1 else f"{count} notes are"
        return self.listed(draft) | self._message(f"{notes} removed for good.", failed=False)

    def _restored(self, key: str, draft: Draft | None) -> Update:
        name = restore_note(self._corpus, key)
        self.live.update()
        return self.listed(draft) | self._message(f"{name} is back.", failed=False)

    # --- What is shown ---

    def _tried(self, action: Callable[[], Update]) -> Update:
        try:
            return action()
        except TutorError as error:
            return self._message(str(error), failed=True)

    def _opened(self, opened: Opened, text: str) -> Update:
        """Show a note; `text` is what stands in the editor now."""
        page, right, draft = self.page, self.page.editor, opened.draft
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
            right.preview: _visible(not differs),
            right.theirs: _visible(differs),
        }
        if opened.text is not None:
            text = opened.text
            update[right.text] = text
        if differs:
            versions = notes_html.versions_html(text, opened.theirs or "")
            update[right.theirs] = gr.update(value=versions, visible=True)
        else:
            shown = notes_html.preview_html(text if is_text else draft.saved)
            update[right.preview] = gr.update(value=shown, visible=True)
        update |= self.listed(draft) | self._message(opened.message, opened.failed)
        is_hinted = is_text and not opened.message
        return update | ({right.message: notes_html.kept_html()} if is_hinted else {})

    def _closed(self) -> Update:
        """Show that no note is open."""
        page, right = self.page, self.page.editor
        hidden: list[Any] = [right.close, right.rename, right.delete, right.discard, right.save]
        hidden += [right.renaming, right.keep_mine, right.use_theirs, right.writing, right.theirs]
        update: Update = {part: _visible(False) for part in hidden}
        update |= {page.draft: None, right.title: notes_html.title_html(None)}
        return update | {right.preview: gr.update(value="", visible=True)}

    def _message(self, text: str, failed: bool) -> Update:
        return {
            self.page.editor.message: render.message_html(text, failed),
            self.page.editor.undo: _visible(False),
            self.page.notes.refused: "",
        }


def _add_files(corpus: Path, files: Sequence[str]) -> tuple[str, str]:
    """Add uploaded files; returns what to say of those added, and of those refused."""
    added, refused = [], []
    for file in map(Path, files):
        try:
            name = add_file(corpus, file, file.name)
            added.append(name if name == file.name else f"{file.name} as {name}")
        except TutorError as error:
            refused.append(str(error))
        file.unlink(missing_ok=True)
    return f"Added {', '.join(added)}." if added else "", " ".join(refused)


def _visible(visible: bool) -> Any:
    return gr.update(visible=visible)
