"""Turns notes, their versions and the state of the index into HTML; pure.

All text of notes, names and reasons is data and is escaped here.
"""

import difflib
import html
import itertools
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

from rag_tutor.indexing import Changes, NoteState
from rag_tutor.library import Trashed
from rag_tutor.live import LiveState
from rag_tutor.ui import markdown, render
from rag_tutor.ui.drafts import Draft

_SHOWN_NAMES = 5
_PREVIEW_CHARACTERS = 200_000
_COMPARED_LINES = 4_000
_SHOWN = itertools.count()
_STATUS = {"changed": "changed since", "removed": "deleted"}


def notes_html(notes: Sequence[NoteState], opened: str) -> str:
    """The list of notes, one button each; `opened` is the name of the one in the editor."""
    if not notes:
        return (
            '<p class="empty">There is no note yet. Write one, or drop files into the field '
            "above.</p>"
        )
    rows = "".join(_note(note, note.document == opened) for note in notes)
    return f'<ul class="notes">{rows}</ul>'


def trash_html(trash: Sequence[Trashed]) -> str:
    """The notes in the trash, each with a button that brings it back; nothing if there are none."""
    if not trash:
        return ""
    rows = "".join(
        f'<li><span class="name">{html.escape(item.document)}</span>'
        f'<span class="size">deleted {_time(item.deleted_at)}</span>'
        f'<button type="button" data-restore="{html.escape(item.key)}" '
        f'aria-label="Restore {html.escape(item.document)}">Restore</button></li>'
        for item in trash
    )
    return (
        f"<details><summary>Trash ({len(trash)})</summary><ul>{rows}</ul>"
        '<button type="button" data-empty-trash>Empty the trash…</button>'
        "</details>"
    )


def title_html(
    draft: Draft | None, event: Literal["", "saved", "stale"] = "", renamed_from: str = ""
) -> str:
    """The name of the note in the editor, with what notes.js has to know of it.

    `data-shown` differs each time, so that notes.js sees that a note was put into the editor.
    """
    if draft is None:
        return "<h2>No note is open</h2>"
    name = html.escape(draft.name)
    return (
        f'<h2 data-note="{name}" data-hash="{draft.content_hash}" data-kind="{draft.kind}" '
        f'data-was="{html.escape(renamed_from)}" data-shown="{next(_SHOWN)}"'
        f' data-event="{event}">{name}</h2>'
    )


def preview_html(text: str) -> str:
    """A note as it is meant to be read."""
    shown = markdown.passage_html(text[:_PREVIEW_CHARACTERS], (), lower=2)
    if len(text) > _PREVIEW_CHARACTERS:
        shown += f'<p class="empty">The preview ends after {_PREVIEW_CHARACTERS:,} characters.</p>'
    # Can take the focus, so that it can be scrolled by keys.
    return markdown.one_line(f'<div class="text" tabindex="0">{shown}</div>')


def kept_html() -> str:
    """What becomes of a text that isn't saved; the keys are named where there is a keyboard."""
    return (
        '<p class="message kept" role="status">What you type is kept in this browser until you '
        'save it<span class="keys"> (Ctrl+S)</span>.</p>'
    )


def versions_html(mine: str, theirs: str) -> str:
    """The version on disk, with the lines marked that the editor's text doesn't hold."""
    lines, own = theirs.split("\n"), mine.split("\n")
    new: set[int] = set()
    if len(lines) + len(own) <= _COMPARED_LINES:
        matcher = difflib.SequenceMatcher(None, own, lines, autojunk=False)
        for kind, _, _, first, last in matcher.get_opcodes():
            if kind != "equal":
                new |= set(range(first, last))
    shown = "\n".join(
        f"<ins>{html.escape(line)}</ins>" if number in new else html.escape(line)
        for number, line in enumerate(lines)
    )
    return (
        "<h3>The version on disk</h3><p class=message>Marked lines are not in your text.</p>"
        f'<pre tabindex="0">{shown}</pre>'
    )


def chip_html(state: LiveState) -> str:
    """The state of the index in two or three words; more of it when it is opened."""
    return (
        f'<details class="chip {state.stage.replace(" ", "-")}">'
        f"<summary><span>{_stage(state)}</span></summary>"
        f'<div class="more">{_explanation(state)}</div></details>'
    )


def report_html(state: LiveState) -> str:
    """What the index is doing, or what its last update did."""
    if state.is_busy:
        share = f'value="{state.done}" max="{state.total}"' if state.total else ""
        return (
            f'<p class="message">{_stage(state)}</p>'
            f'<progress {share} aria-label="Progress of the index"></progress>'
        )
    return _explanation(state)


def _explanation(state: LiveState) -> str:
    if state.is_busy:
        return '<p class="message">Answers use the index as it was before until this is done.</p>'
    if state.stage == "failed":
        return render.message_html(state.reason, failed=True)
    reason = f"{state.reason} " if state.reason else ""
    if state.changes is None:
        return render.message_html(f"{reason}Answers use your notes as they are now.", failed=False)
    return render.message_html(reason + changes_line(state.changes, state.seconds), failed=False)


def changes_line(changes: Changes, seconds: float) -> str:
    """What an update did, in one line."""
    parts = [
        f"{_names(names)} {verb}"
        for names, verb in (
            (changes.added, "added"),
            (changes.changed, "changed"),
            (changes.removed, "removed"),
        )
        if names
    ]
    chunks = f"{changes.chunks_after:,} chunks"
    if changes.chunks_before != changes.chunks_after:
        chunks = f"{changes.chunks_before:,} → {chunks}"
    done = "; ".join(parts) or "no note changed"
    return f"Last update: {done}. {chunks}, {seconds:.1f} s."


def _names(names: Sequence[str]) -> str:
    if len(names) <= _SHOWN_NAMES:
        return ", ".join(names)
    return f"{', '.join(names[:_SHOWN_NAMES])} and {len(names) - _SHOWN_NAMES} more"


def _stage(state: LiveState) -> str:
    if state.stage == "converting":
        return f"Converting file {state.done + 1} of {state.total}"
    if state.stage == "indexing":
        left = "" if state.seconds_left is None else f" · {_duration(state.seconds_left)} left"
        return f"Indexing {state.done:,} of {state.total:,}{left}"
    return {"waiting": "Reading notes", "up to date": "Up to date", "failed": "Not up to date"}[
        state.stage
    ]


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{max(seconds, 1):.0f} s"


def _note(note: NoteState, is_open: bool) -> str:
    name = html.escape(note.document)
    words = "1 word" if note.words == 1 else f"{note.words:,} words"
    chunks = "1 chunk" if note.chunks == 1 else f"{note.chunks:,} chunks"
    size = f"{words} · {chunks}" if note.status != "not readable" else ""
    changed = _time(note.changed_at) if note.changed_at else ""
    about = " · ".join(filter(None, (size, changed)))
    reason = f'<span class="reason">{html.escape(note.reason)}</span>' if note.reason else ""
    return (
        f'<li><button type="button" value="{name}"{" aria-current=true" if is_open else ""}>'
        f'<span class="name">{name}</span><span class="size">{about}</span>'
        f'<span class="state {note.status.replace(" ", "-")}">'
        f"{_STATUS.get(note.status, note.status)}</span>{reason}</button></li>"
    )


def _time(seconds: float) -> str:
    """A time as one says it today: the hour of today, the date of another day."""
    moment = datetime.fromtimestamp(seconds, UTC).astimezone()
    today = datetime.now(UTC).astimezone().date()
    shown = f"{moment:%H:%M}" if moment.date() == today else f"{moment.day} {moment:%b %Y}"
    return f'<time datetime="{moment.isoformat(timespec="seconds")}">{shown}</time>'
