"""The chat page: asks the tutor and shows the answer as it grows, with its sources beside it.

It knows nothing of how answers are found or how text becomes HTML. A browser session's
conversation is one tuple of turns in `gr.State`; all that the page shows follows from it.
"""

import logging
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import gradio as gr

from rag_tutor.chunking import clean_heading
from rag_tutor.config import Settings
from rag_tutor.corpus import read_document, scan_corpus
from rag_tutor.domain import Answer, Turn
from rag_tutor.errors import CorpusError, TutorError
from rag_tutor.tutor import Reply, Tutor
from rag_tutor.ui import render

_log = logging.getLogger(__name__)
Turns = tuple[Turn, ...]
Update = dict[Any, Any]

_EXAMPLES = 4
_QUESTION = re.compile(r"^\s*(?:#{1,6}\s|\d{1,3}[.)]\s|\*\*).{10,80}\?[*_\s]*$", re.MULTILINE)
_NOTHING_YET = Answer("", (), (), refused=False)
_WELCOME = "## What would you like to understand?\n\nEvery answer comes from your own notes."
_HINT = "Enter sends, Shift+Enter starts a new line."
_BROKEN = "Something went wrong in the tutor itself. The terminal shows what."
_QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
_PICKER = 'document.addEventListener("tutor:pick", (event) => trigger("pick", event.detail));'


@dataclass(frozen=True, slots=True)
class View:
    """The chat at one moment. `question` is put into the question box; None leaves that be."""

    turns: Turns
    question: str | None
    status: str
    state: Literal["idle", "busy", "failed"]


@dataclass(frozen=True, slots=True)
class _Parts:
    """The components that a View is shown in."""

    turns: gr.State
    seen: gr.Number
    chatbot: gr.Chatbot
    question: gr.Textbox
    send: gr.Button
    stop: gr.Button
    retry: gr.Button
    clear: gr.Button
    status: gr.HTML
    newest: gr.Markdown
    chosen: gr.Markdown
    picker: gr.HTML

    @property
    def shown(self) -> list[Any]:
        """All that `_show` may change."""
        buttons = [self.send, self.stop, self.retry]
        text = [self.chatbot, self.question, self.status, self.newest, self.chosen]
        return [self.turns, self.seen, *text, *buttons]


def ask(tutor: Tutor, question: str, turns: Turns) -> Iterator[View]:
    """Answer a new question; after a failure it is back in its box."""
    question = question.strip()
    if not question:
        yield View(turns, None, "Type a question first.", "failed")
        return
    views = _answer(tutor, question, turns, kept=turns)
    yield replace(next(views), question="")
    yield from views


def retry(tutor: Tutor, turns: Turns) -> Iterator[View]:
    """Answer the last question again; after a failure its old answer is back."""
    if not turns:
        yield View(turns, None, "There is no question to ask again.", "failed")
        return
    for view in _answer(tutor, turns[-1].question, turns[:-1], kept=turns):
        yield replace(view, question=None)


def stop(turns: Turns) -> View:
    """Keep what was written; where nothing was, give the question back."""
    if turns and not turns[-1].answer.text:
        return View(turns[:-1], turns[-1].question, "Stopped.", "idle")
    return View(turns, None, "Stopped. What was written is kept.", "idle")


def example_questions(corpus: Path) -> list[str]:
    """A few of the questions that serve as headings in the notes, from all over them."""
    try:
        names, _ = scan_corpus(corpus)
    except CorpusError:
        return []
    found = list(dict.fromkeys(question for name in names for question in _questions(corpus, name)))
    return random.sample(found, min(_EXAMPLES, len(found)))


def chat_page(tutor: Tutor, settings: Settings) -> tuple[Callable[[], Any], gr.Chatbot]:
    """Build the chat page; return what finds its example questions, and where they go."""
    with gr.Row(elem_id="desk", equal_height=True):
        with gr.Column(scale=3, min_width=320, elem_id="conversation"):
            chatbot = _chatbot()
            with gr.Row(elem_id="composer"):
                question = _question_box()
                send = gr.Button("Send", variant="primary", elem_id="send", min_width=88)
                halt = gr.Button("Stop", elem_id="stop", min_width=88, visible=False)
            with gr.Row(elem_id="below"):
                status = gr.HTML(render.message_html(_HINT, failed=False), elem_id="status")
                again = gr.Button("Retry", size="sm", elem_id="retry", interactive=False)
                clear = gr.Button("New chat", size="sm", elem_id="clear")
        with gr.Column(scale=2, min_width=320, elem_id="sources-panel"):
            gr.HTML('<h2 id="sources-title">Sources</h2>')
            chosen = _sources("", "chosen-sources")
            newest = _sources(render.no_sources_html(), "newest-sources")
            picker = gr.HTML("", elem_id="picker", js_on_load=_PICKER)
    buttons = (send, halt, again, clear)
    parts = _Parts(
        gr.State(()), _seen(), chatbot, question, *buttons, status, newest, chosen, picker
    )
    _connect(parts, tutor)
    return lambda: _examples(settings.corpus), chatbot


def _connect(parts: _Parts, tutor: Tutor) -> None:
    """Say what each part does; one answer is made at a time, the others wait their turn.

    What the browser shows is the conversation: a stopped answer may still reach `turns` after
    it was stopped. Only a question that was answered before its sender saw it was sent twice.
    """

    def on_ask(question: str, turns: Turns, seen: int) -> Iterator[Update]:
        newer = turns[seen:]
        if newer and newer[0].question == question.strip() and newer[0].answer.text:
            yield _show(parts, View(turns, None, _HINT, "idle"))
        else:
            yield from _stream(parts, ask(tutor, question, turns[:seen]))

    def on_retry(turns: Turns) -> Iterator[Update]:
        yield from _stream(parts, retry(tutor, turns))

    def on_example(turns: Turns, seen: int, event: gr.SelectData) -> Iterator[Update]:
        yield from on_ask(str(event.value["text"]), turns, seen)

    one_by_one = _QUIET | {
        "concurrency_id": "answer",
        "concurrency_limit": 1,
        "trigger_mode": "once",
    }
    sent = [parts.send.click, parts.question.submit]
    known = [parts.turns, parts.seen]
    running = [
        gr.on(sent, on_ask, [parts.question, *known], parts.shown, **one_by_one),
        parts.retry.click(on_retry, parts.turns, parts.shown, **one_by_one),
        parts.chatbot.example_select(on_example, known, parts.shown, **one_by_one),
    ]
    _connect_the_rest(parts, running)


def _connect_the_rest(parts: _Parts, running: list[Any]) -> None:
    """Say what stops and clears, and what shows the sources of an older answer."""

    def on_stop(turns: Turns) -> Update:
        return _show(parts, stop(turns))

    def on_clear() -> Update:
        return _show(parts, View((), "", _HINT, "idle")) | {parts.chosen: ""}

    def on_pick(turns: Turns, event: gr.EventData) -> str:
        return _chosen_sources(turns, event.turn)

    parts.stop.click(on_stop, parts.turns, parts.shown, cancels=running, **_QUIET)
    parts.clear.click(on_clear, None, parts.shown, cancels=running, **_QUIET)
    parts.picker.pick(on_pick, parts.turns, parts.chosen, queue=False, **_QUIET)


def _answer(tutor: Tutor, question: str, history: Turns, kept: Turns) -> Iterator[View]:
    asked = Turn(question, question, _NOTHING_YET)
    yield View((*history, asked), None, "Searching your notes…", "busy")
    try:
        for reply in tutor.reply(question, history):
            state: Literal["idle", "busy"] = "idle" if reply.stage == "done" else "busy"
            yield View((*history, reply.turn), None, _status(reply), state)
    except TutorError as error:
        yield View(kept, question, str(error), "failed")
    except Exception:  # noqa: BLE001 - whatever fails, the page must not stay busy for ever
        _log.exception("an answer failed")
        yield View(kept, question, _BROKEN, "failed")


def _status(reply: Reply) -> str:
    count = len(reply.turn.answer.passages)
    passages = "1 passage" if count == 1 else f"{count} passages"
    if reply.stage == "searching":
        return "Searching your notes…"
    if reply.stage == "reading":
        return f"Reading {passages}…"
    if reply.stage == "writing":
        return "Writing…"
    seconds = reply.timings_ms["total"] / 1000
    if reply.turn.answer.refused:
        return f"Nothing in your notes answers this. Searched for {seconds:.1f} s."
    return f"Answered in {seconds:.1f} s from {passages}."


def _stream(parts: _Parts, views: Iterator[View]) -> Iterator[Update]:
    """Show each view; a new question brings the sources back to the newest answer."""
    for number, view in enumerate(views):
        yield _show(parts, view) | ({} if number else {parts.chosen: ""})


def _show(parts: _Parts, view: View) -> Update:
    busy = view.state == "busy"
    update: Update = {
        parts.turns: view.turns,
        parts.seen: len(view.turns),
        parts.chatbot: _messages(view.turns),
        parts.newest: _newest_sources(view.turns),
        parts.status: render.message_html(view.status, failed=view.state == "failed"),
        parts.send: gr.update(visible=not busy),
        parts.stop: gr.update(visible=busy),
        parts.retry: gr.update(interactive=bool(view.turns) and not busy),
    }
    return update if view.question is None else update | {parts.question: view.question}


def _messages(turns: Turns) -> list[dict[str, str]]:
    messages = []
    for index, turn in enumerate(turns):
        messages.append({"role": "user", "content": render.question_markdown(turn.question)})
        messages.append({"role": "assistant", "content": render.answer_markdown(turn, index)})
    return messages


def _newest_sources(turns: Turns) -> str:
    return render.sources_html(turns[-1], len(turns) - 1) if turns else render.no_sources_html()


def _chosen_sources(turns: Turns, index: Any) -> str:
    """The sources of an older answer; nothing for the newest, whose sources are there anyway."""
    is_older = isinstance(index, int) and 0 <= index < len(turns) - 1
    return render.sources_html(turns[index], index) if is_older else ""


def _examples(corpus: Path) -> Any:
    return gr.update(examples=[{"text": text} for text in example_questions(corpus)])


def _questions(corpus: Path, name: str) -> list[str]:
    try:
        text = read_document(corpus, name).text
    except CorpusError:
        return []
    headings = [clean_heading(match[0].strip()) for match in _QUESTION.finditer(text)]
    return [heading for heading in headings if heading[0].isalpha()]


def _chatbot() -> gr.Chatbot:
    return gr.Chatbot(
        elem_id="chat",
        label="Conversation",
        show_label=False,
        container=False,
        layout="panel",
        buttons=[],
        height="100%",
        latex_delimiters=render.LATEX_DELIMITERS,
        allow_tags=False,
        feedback_options=None,
        placeholder=_WELCOME,
    )


def _question_box() -> gr.Textbox:
    return gr.Textbox(
        elem_id="question",
        label="Your question",
        show_label=False,
        container=False,
        placeholder="Ask your notes…",
        lines=1,
        max_lines=6,
        autofocus=True,
        scale=1,
    )


def _seen() -> gr.Number:
    """How many turns the browser has been shown; unlike a State, it is kept there."""
    return gr.Number(0, precision=0, visible=False)


def _sources(value: str, elem_id: str) -> gr.Markdown:
    return gr.Markdown(value, elem_id=elem_id, latex_delimiters=render.LATEX_DELIMITERS)
