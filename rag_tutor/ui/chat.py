"""The chat page: asks the tutor and shows the answer as it grows, with its sources beside it.

It knows nothing of how answers are found or how text becomes HTML. A browser session's
conversation is one tuple of turns in `gr.State`; everything on the page follows from it.
"""

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from rag_tutor.chunking import clean_heading
from rag_tutor.config import Settings
from rag_tutor.corpus import read_document, scan_corpus
from rag_tutor.domain import Answer, Turn
from rag_tutor.errors import CorpusError, TutorError
from rag_tutor.tutor import Reply, Tutor
from rag_tutor.ui import render

Turns = tuple[Turn, ...]
Update = dict[Any, Any]

_EXAMPLES = 4
_QUESTION = re.compile(r"^\s*(?:#{1,6}\s|\d{1,3}[.)]\s|\*\*).{10,90}\?[*_\s]*$", re.MULTILINE)
_EMPTY = Answer("", (), (), refused=False)
_WELCOME = "## What would you like to understand?\n\nEvery answer comes from your own notes."
_NO_SOURCES = (
    '<p class="empty">The passages behind an answer appear here, '
    "with the sentences it rests on marked.</p>"
)
_READY = "Enter sends, Shift+Enter starts a new line."


@dataclass(frozen=True, slots=True)
class View:
    """The chat at one moment. `question` is put into the question box, None leaves it."""

    turns: Turns
    question: str | None
    status: str
    failed: bool = False


def ask(tutor: Tutor, question: str, turns: Turns) -> Iterator[View]:
    """Answer a new question; after a failure the question is back in its box."""
    question = question.strip()
    if question:
        yield from _answer(tutor, question, turns, kept=turns)
    else:
        yield View(turns, None, "Type a question first.", failed=True)


def retry(tutor: Tutor, turns: Turns) -> Iterator[View]:
    """Answer the last question again; after a failure its old answer is back."""
    if turns:
        yield from _answer(tutor, turns[-1].question, turns[:-1], kept=turns)
    else:
        yield View(turns, None, "There is no question to ask again.", failed=True)


def stop(turns: Turns) -> View:
    """Keep what was written; where nothing was, give the question back."""
    if turns and not turns[-1].answer.text:
        return View(turns[:-1], turns[-1].question, "Stopped.")
    return View(turns, None, "Stopped.")


def example_questions(corpus: Any) -> list[str]:
    """A few of the questions that serve as headings in the notes, from all over them."""
    try:
        names, _ = scan_corpus(corpus)
    except CorpusError:
        return []
    found = {question: None for name in names for question in _questions(corpus, name)}
    return random.sample(list(found), min(_EXAMPLES, len(found)))


def chat_page(tutor: Tutor, settings: Settings) -> Callable[[], Update]:
    """Build the chat page; the result fills in what depends on the notes, at each visit."""
    turns = gr.State(())
    with gr.Row(elem_id="desk", equal_height=True):
        with gr.Column(scale=3, min_width=320, elem_id="conversation"):
            chatbot = gr.Chatbot(
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
            with gr.Row(elem_id="composer"):
                question = gr.Textbox(
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
                send = gr.Button("Send", variant="primary", elem_id="send", min_width=88)
                halt = gr.Button("Stop", elem_id="stop", min_width=88, visible=False)
            with gr.Row(elem_id="below"):
                status = gr.HTML(render.message_html(_READY, failed=False), elem_id="status")
                again = gr.Button("Retry", size="sm", elem_id="retry", interactive=False)
                clear = gr.Button("New chat", size="sm", elem_id="clear")
        with gr.Column(scale=2, min_width=320, elem_id="sources-panel"):
            gr.HTML('<h2 id="sources-title">Sources</h2>')
            chosen = _sources("chosen-sources", "")
            newest = _sources("newest-sources", _NO_SOURCES)
            picker = gr.HTML("", elem_id="picker", js_on_load=_PICKER)

    def show(view: View, busy: bool) -> Update:
        update = {
            turns: view.turns,
            chatbot: _messages(view.turns),
            newest: _newest_sources(view.turns),
            status: render.message_html(view.status, view.failed),
            send: gr.update(visible=not busy),
            halt: gr.update(visible=busy),
            again: gr.update(interactive=bool(view.turns) and not busy),
        }
        return update if view.question is None else update | {question: view.question}

    def stream(views: Iterator[View]) -> Iterator[Update]:
        """Show each view; the one before the last decides that the answer is complete."""
        view = None
        for view in views:
            yield show(view, busy=True)
        if view:
            yield show(view, busy=False)

    def on_ask(text: str, conversation: Turns) -> Iterator[Update]:
        yield from stream(ask(tutor, text, conversation))

    def on_retry(conversation: Turns) -> Iterator[Update]:
        yield from stream(retry(tutor, conversation))

    def on_example(conversation: Turns, event: gr.SelectData) -> Iterator[Update]:
        yield from stream(ask(tutor, str(event.value["text"]), conversation))

    def on_stop(conversation: Turns) -> Update:
        return show(stop(conversation), busy=False)

    def on_clear() -> Update:
        return show(View((), "", _READY), busy=False) | {chosen: ""}

    def on_pick(conversation: Turns, event: gr.EventData) -> str:
        return _chosen_sources(conversation, event.turn)

    shown = [turns, chatbot, newest, chosen, status, question, send, halt, again]
    answering: dict[str, Any] = {
        "outputs": shown,
        "concurrency_id": "answer",
        "concurrency_limit": 1,
        "show_progress": "hidden",
        "api_visibility": "private",
    }
    at_once: dict[str, Any] = {
        "queue": False, "show_progress": "hidden", "api_visibility": "private"
    }
    asked = gr.on([send.click, question.submit], on_ask, [question, turns], **answering)
    retried = again.click(on_retry, turns, **answering)
    tried = chatbot.example_select(on_example, turns, **answering)
    running = [asked, retried, tried]
    halt.click(on_stop, turns, shown, cancels=running, **at_once)
    clear.click(on_clear, None, shown, cancels=running, **at_once)
    picker.pick(on_pick, turns, chosen, **at_once)

    def fill_in() -> Update:
        examples = [{"text": text} for text in example_questions(settings.corpus)]
        return {chatbot: gr.update(examples=examples)}

    return fill_in
