"""What the chat page shows of a conversation: messages, the line below them, sources, notes;
knows nothing of components or events.
"""

from collections.abc import Sequence
from pathlib import Path

from rag_tutor.answering import ENDED, Progress
from rag_tutor.chunking import headings
from rag_tutor.conversations import SavedTurn
from rag_tutor.domain import Document, Span
from rag_tutor.errors import CorpusError
from rag_tutor.sources import Change, changes, find_place, read_note
from rag_tutor.ui import render

Turns = Sequence[SavedTurn]

_HINT = "Enter sends, Shift+Enter starts a new line."
STOPPED = "Stopped. What was written is kept."
_INTERRUPTED = "This answer was interrupted. Retry asks for it again."
_CHANGED: dict[Change, str] = {
    "changed": "This note has changed since; the sentence is still in it.",
    "sentence gone": "This note has changed since, and the sentence isn't in it any more.",
    "not readable": "This note can't be read as it is now.",
    "note gone": "This note isn't there any more.",
}


def is_busy(now: Progress | None) -> bool:
    """Whether an answer is being made or waits for it."""
    return now is not None and now.stage not in ENDED


def messages(turns: Turns, now: Progress | None, corpus: Path) -> list[dict[str, str]]:
    """The questions and answers as Markdown; only the newest answer has suggestions."""
    shown = []
    for saved in turns:
        question = render.question_markdown(saved.turn.question)
        question += render.edit_link(saved.id, saved.turn.question)
        shown.append({"role": "user", "content": question})
        is_made = saved.state == "open" and is_busy(now)
        answer = _answer(saved, is_made, saved is turns[-1], corpus)
        shown.append({"role": "assistant", "content": answer})
    return shown


def status(turns: Turns, now: Progress | None) -> str:
    """A line on what is being done, or on how the newest answer came about."""
    if not turns and not is_busy(now):
        return render.keys_html(_HINT)
    text = _doing(now) if now and is_busy(now) else _done(turns[-1])
    return render.message_html(text, failed=False)


def sources(saved: SavedTurn, corpus: Path) -> str:
    """The passages of one answer, with what became of their notes."""
    changed = {name: _CHANGED[change] for name, change in changes(corpus, saved).items()}
    return render.sources_html(saved.turn, saved.id, changed)


def newest_sources(turns: Turns, corpus: Path) -> str:
    """The passages of the newest answer, or what will stand there."""
    return sources(turns[-1], corpus) if turns else render.no_sources_html()


def note(saved: SavedTurn, number: int, corpus: Path) -> str:
    """The note of a passage as it is now, with what the answer cites of it marked."""
    passage = saved.turn.answer.passages[number - 1]
    chunk = passage.chunk
    cited = [
        (each.start, each.quote)
        for citation in saved.turn.answer.citations
        for each in (citation, *citation.also)
        if each.passage == passage
    ]
    try:
        document = read_note(corpus, chunk.document_id)
        places = [
            find_place(corpus, chunk.document_id, start, quote).span
            for start, quote in cited or [(chunk.start, chunk.text)]
        ]
    except CorpusError as error:
        return render.missing_note_html(chunk.document_id, str(error))
    spans = [span for span in places if span]
    warning = ""
    if not spans:
        warning = "This note has changed since: what was read isn't in it any more."
    here = _heading_above(document, spans, chunk.heading[-1:])
    return render.note_html(
        document.id, document.text, spans, headings(document.text), here, warning
    )


def _heading_above(document: Document, spans: Sequence[Span], heading: Sequence[str]) -> int:
    """The number of the heading above the first span, or of one with the same words, or -1."""
    outline = headings(document.text)
    if not spans:
        same = [number for number, each in enumerate(outline) if each.title in heading]
        return same[0] if same else -1
    line = document.text.count("\n", 0, min(spans)[0])
    return sum(each.line <= line for each in outline) - 1


def _answer(saved: SavedTurn, is_made: bool, is_newest: bool, corpus: Path) -> str:
    if is_made:
        return render.answer_markdown(saved.turn, saved.id)
    if saved.state == "open" and not saved.turn.answer.text:
        return render.aside(_INTERRUPTED)
    parts = [render.answer_markdown(saved.turn, saved.id)]
    changed = changes(corpus, saved)
    if saved.state == "stopped":
        parts.append(render.aside("Stopped here."))
    if changed:
        parts.append(render.aside(f"Changed since this answer: {', '.join(changed)}", "changed"))
    parts.append(render.answer_links(saved.id, saved.rating))
    if is_newest and saved.suggestions:
        parts.append(render.suggestion_links(saved.suggestions))
    return "\n\n".join(parts)


def _done(newest: SavedTurn) -> str:
    if newest.state != "done":
        return STOPPED if newest.state == "stopped" else _INTERRUPTED
    seconds = newest.timings.get("total", 0) / 1000
    if newest.turn.answer.refused:
        return f"Nothing in your notes answers this. Searched for {seconds:.1f} s."
    return f"Answered in {seconds:.1f} s from {_passages(len(newest.turn.answer.passages))}."


def _doing(now: Progress) -> str:
    if now.stage == "waiting":
        return "Another answer is being written first; yours comes next…"
    if now.stage == "indexing":
        return "Reading your notes for the first time…"
    if now.stage == "reading":
        return f"Reading {_passages(len(now.turn.answer.passages))}…"
    return "Writing…" if now.stage == "writing" else "Searching your notes…"


def _passages(count: int) -> str:
    return "1 passage" if count == 1 else f"{count} passages"
