"""The chat page: conversations, questions, answers as they grow, and the sources beside them.

It says where each part stands and which event calls what; it doesn't know what an event does,
nor how text becomes HTML.
"""

from collections.abc import Callable
from typing import Any

import gradio as gr

from rag_tutor.answering import Answering
from rag_tutor.config import Settings
from rag_tutor.conversations import Conversations
from rag_tutor.live import LiveIndex
from rag_tutor.tutor import Tutor
from rag_tutor.ui import chat_view, markdown, render
from rag_tutor.ui.chat_events import Desk, Events, Parts, script_functions

_FIRST_INDEX_SECONDS = 3600.0
_LARGEST = 2**53 - 1  # of the whole numbers in JavaScript
# A question right after a note was saved is to be answered from it.
_SETTLING_SECONDS = 5.0
_WELCOME = "## What would you like to understand?\n\nEvery answer comes from your own notes."
_SOURCES_HEAD = (
    '<h2 id="sources-title">Sources</h2>'
    '<button type="button" id="to-answer">Back to the answer</button>'
)
_QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
_SHORT = _QUIET | {"queue": False}
_LONG = _QUIET | {"concurrency_limit": None}
# The events that the page's script asks for, and the functions that it calls.
_BRIDGE = """
const events = ["pick", "note", "open", "rename", "delete", "restore", "edit", "suggest",
  "refresh"];
document.addEventListener("tutor:do", ({ detail }) => {
  if (events.includes(detail.name)) trigger(detail.name, detail);
});
document.addEventListener("tutor:call", ({ detail }) => {
  // A function that fails on the server returns nothing here.
  server[detail.name](detail.data)
    .then((said) => (said == null ? detail.failed() : detail.done(said)), detail.failed);
});
"""
# The conversation that the address names, or else a new one; a question that is asked before
# the page has all of its state belongs to the same.
_CHAT = (
    "new URLSearchParams(location.search).get('chat') ?? (window.newChat ??= "
    "[...crypto.getRandomValues(new Uint8Array(16))]"
    ".map((byte) => byte.toString(16).padStart(2, '0')).join(''))"
)
_WITH_CHAT = f"(question, chat, ...rest) => [question, chat || ({_CHAT}), ...rest]"
_LOADED = f"() => [{_CHAT}]"
# What is typed but not sent outlives a reload, which Gradio makes by itself when the server
# comes back; while an old one is edited, that is what was typed before. Kept for this window only:
# another one has a question of its own.
_KEEP_QUESTION = """(typed, editing, draft) => {
  sessionStorage.setItem("rag-tutor:question", editing ? draft : typed);
}"""
_KEPT_QUESTION = "(typed) => typed || (sessionStorage.getItem('rag-tutor:question') ?? '')"
_RETURN_QUESTION = "(typed, returned) => typed || returned.slice(returned.indexOf(':') + 1)"
# What comes late of an answer that was left may overwrite what was opened since.
_SHOW_AGAIN = """(shown, wanted) => {
  if (shown !== wanted) {
    document.dispatchEvent(new CustomEvent("tutor:do", { detail: { name: "refresh" } }));
  }
}"""


def chat_page(tutor: Tutor, settings: Settings, live: LiveIndex) -> Callable[[gr.Blocks], None]:
    """Build the chat page; what it returns connects it to the page that it is a part of."""
    conversations = Conversations(settings.conversations_file)
    answering = Answering(
        tutor,
        conversations,
        await_index=lambda: live.wait(_FIRST_INDEX_SECONDS),
        settle_index=lambda: live.settle(_SETTLING_SECONDS),
    )
    desk = Desk(settings.corpus, conversations, answering)
    names = (_text("conversation-id"), _text("shown-id"), _text("following"))
    kept = (*names, _number(), _number(), _text("draft"), _text("returned"), gr.State(()))
    with gr.Row(elem_id="desk", equal_height=True):
        with gr.Column(elem_id="history", min_width=200):
            fresh = gr.Button("New chat", elem_id="new-chat")
            search = _search_box()
            deleted = gr.HTML("", elem_id="deleted")
            listing = gr.HTML("", elem_id="history-list")
        with gr.Column(scale=3, min_width=320, elem_id="conversation"):
            column = _conversation_column()
        with gr.Column(scale=2, min_width=320, elem_id="sources-panel"):
            gr.HTML(_SOURCES_HEAD, elem_id="sources-head")
            chosen = _markdown("", "chosen-sources")
            newest = _markdown(render.no_sources_html(), "newest-sources")
            shown = (chosen, newest, _markdown("", "note-view"), _bridge(desk))
    sidebar = (fresh, search, deleted, listing)
    parts = Parts(*(*kept, *sidebar, *column, *shown))
    events = Events(parts, desk)
    return lambda blocks: _connect(parts, events, blocks)


def _conversation_column() -> tuple[Any, ...]:
    chatbot = _chatbot()
    with gr.Row(elem_id="edit-bar"):
        notice = gr.HTML("", elem_id="edit-notice")
        cancel = gr.Button("Cancel", size="sm", elem_id="cancel-edit", visible=False)
    with gr.Row(elem_id="composer"):
        question = _question_box()
        send = gr.Button("Send", variant="primary", elem_id="send", min_width=88)
        stop = gr.Button("Stop", elem_id="stop", min_width=88, visible=False)
    with gr.Row(elem_id="below"):
        status = gr.HTML(chat_view.status((), None), elem_id="status")
        gr.HTML('<button type="button">Chats</button>', elem_id="show-history")
        retry = gr.Button("Retry", size="sm", elem_id="retry", interactive=False)
    return chatbot, notice, cancel, question, send, stop, status, retry


def _connect(parts: Parts, events: Events, page: gr.Blocks) -> None:
    """Say what each part does.

    Only `follow` takes long. Whatever else changes the page ends it first, in the browser too,
    and starts it anew where an answer is still being made. Where it writes over something newer
    all the same, because it had begun unseen or its last words were on their way, the page
    notices and shows again what is wanted.
    The others don't use Gradio's queue, whose messages can get lost where one event follows
    right upon another.
    """
    bridge, search = parts.bridge, parts.search
    followed = [parts.following, parts.conversation, search]
    following = parts.following.change(
        events.follow,
        followed,
        [*parts.chat, parts.returned, parts.listing],
        trigger_mode="multiple",
        **_LONG,
    )
    sent = [parts.send.click, parts.question.submit]
    asked = [*sent, parts.chatbot.example_select, bridge.suggest, parts.retry.click]
    opened = [parts.fresh.click, bridge.open, bridge.delete, bridge.restore]
    # An event's own `cancels` would come after it, and end what it has started.
    for trigger in (*asked, *opened, parts.stop.click, bridge.refresh):
        trigger(None, cancels=[following], **_LONG)

    parts.shown.change(None, [parts.shown, parts.conversation], None, js=_SHOW_AGAIN, **_SHORT)

    known = [parts.conversation, parts.seen, search]
    shown = [parts.conversation, search]
    editing = [parts.editing, parts.draft]
    asking = [parts.question, *known, parts.editing]
    gr.on(sent, events.ask, asking, parts.page, js=_WITH_CHAT, **_SHORT)
    parts.chatbot.example_select(events.example, known, parts.page, **_SHORT)
    bridge.suggest(events.suggestion, known, parts.page, **_SHORT)
    parts.retry.click(events.retry, [*known, parts.editing], parts.page, **_SHORT)
    parts.stop.click(events.stop, shown, parts.page, **_SHORT)
    parts.fresh.click(events.fresh, [search, *editing], parts.page, **_SHORT)
    gr.on([page.load, parts.fresh.click], events.examples, None, parts.chatbot, **_SHORT)
    # A second click counts, even while the first one is being answered.
    each = _SHORT | {"trigger_mode": "multiple"}
    bridge.open(events.open, [search, *editing], parts.page, **each)
    deleting = [*shown, *editing, parts.deletions]
    deleted = [*parts.page, parts.deletions, parts.deleted]
    bridge.delete(events.delete, deleting, deleted, **_SHORT)
    bridge.restore(events.restore, deleting, deleted, **_SHORT)
    bridge.refresh(events.refresh, parts.conversation, parts.following, **_SHORT)
    page.load(events.load, parts.conversation, parts.page, js=_LOADED, **_SHORT)
    page.load(None, parts.question, parts.question, js=_KEPT_QUESTION, **_SHORT)
    typed = [parts.question, *editing]
    parts.question.change(None, typed, None, js=_KEEP_QUESTION, **_SHORT)
    returned = [parts.question, parts.returned]
    parts.returned.change(None, returned, parts.question, js=_RETURN_QUESTION, **_SHORT)

    listed = [parts.listing, parts.status]
    search.change(events.search, shown, listed, trigger_mode="always_last", **_SHORT)
    bridge.rename(events.rename, shown, listed, **_SHORT)
    edit = [*editing, parts.notice, parts.cancel, parts.question, parts.status]
    question = [parts.conversation, parts.question, *editing]
    bridge.edit(events.edit, question, edit, **_SHORT)
    parts.cancel.click(events.cancel_edit, parts.draft, edit, **_SHORT)
    bridge.pick(events.pick, parts.conversation, [parts.chosen, parts.status], **each)
    bridge.note(events.note, parts.conversation, parts.note, **each)


def _bridge(desk: Desk) -> gr.HTML:
    """Carries what the page's script asks for to the events and to these functions."""
    functions = script_functions(desk)
    return gr.HTML("", elem_id="bridge", js_on_load=_BRIDGE, server_functions=functions)


def _chatbot() -> gr.Chatbot:
    return gr.Chatbot(
        elem_id="chat",
        label="Conversation",
        show_label=False,
        container=False,
        layout="panel",
        buttons=[],
        height="100%",
        latex_delimiters=markdown.LATEX_DELIMITERS,
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


def _search_box() -> gr.Textbox:
    return gr.Textbox(
        elem_id="search",
        label="Search all conversations",
        show_label=False,
        container=False,
        placeholder="Search all chats…",
        max_lines=1,
    )


def _markdown(value: str, elem_id: str) -> gr.Markdown:
    return gr.Markdown(value, elem_id=elem_id, latex_delimiters=markdown.LATEX_DELIMITERS)


def _text(elem_id: str) -> gr.Textbox:
    """A text that the browser keeps unseen."""
    return gr.Textbox("", elem_id=elem_id, label=elem_id, visible="hidden")


def _number() -> gr.Number:
    """A number that the browser keeps unseen."""
    return gr.Number(0, precision=0, minimum=0, maximum=_LARGEST, visible=False)
