"""The chat page: conversations, questions, answers as they grow, and the sources beside them.

It knows nothing of how answers are found or how text becomes HTML. The file of conversations
and the answers in the making are the truth: each handler changes these at most, and shows what
they hold then. The browser only keeps which conversation it shows, and what it edits.
"""

import re
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from rag_tutor.answering import Answering
from rag_tutor.config import Settings
from rag_tutor.conversations import Conversations, Rating, SavedTurn
from rag_tutor.errors import TutorError
from rag_tutor.export import answer_text, conversation_text
from rag_tutor.live import LiveIndex
from rag_tutor.tutor import Tutor
from rag_tutor.ui import chat_view, history, render

Update = dict[Any, Any]

_FIRST_INDEX_SECONDS = 3600.0
_IDENTITY = re.compile(r"[0-9a-f]{32}")
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
  server[detail.name](detail.data).then(detail.done, detail.failed);
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
# comes back. Kept for this window only: another one has a question of its own.
_KEEP_QUESTION = "(typed) => { sessionStorage.setItem('rag-tutor:question', typed); }"
# What comes late of an answer that was left may overwrite what was opened since.
_SHOW_AGAIN = """(shown, wanted) => {
  if (shown !== wanted) {
    document.dispatchEvent(new CustomEvent("tutor:do", { detail: { name: "refresh" } }));
  }
}"""
_KEPT_QUESTION = "(typed) => typed || (sessionStorage.getItem('rag-tutor:question') ?? '')"


@dataclass(frozen=True, slots=True)
class _Parts:
    """The components of the page that change. The first six are kept in the browser unseen.

    `shown` is the conversation whose turns are shown: late updates make it another than
    `conversation`, for a moment.
    """

    conversation: gr.Textbox
    shown: gr.Textbox
    following: gr.Textbox
    seen: gr.Number
    editing: gr.Number
    draft: gr.Textbox
    fresh: gr.Button
    search: gr.Textbox
    deleted: gr.HTML
    listing: gr.HTML
    chatbot: gr.Chatbot
    notice: gr.HTML
    cancel: gr.Button
    question: gr.Textbox
    send: gr.Button
    stop: gr.Button
    status: gr.HTML
    retry: gr.Button
    chosen: gr.Markdown
    newest: gr.Markdown
    note: gr.Markdown
    bridge: gr.HTML

    @property
    def chat(self) -> list[Any]:
        """What shows the state of a conversation."""
        buttons = [self.send, self.stop, self.retry]
        return [
            self.shown,
            self.seen,
            self.chatbot,
            self.question,
            self.status,
            self.newest,
            *buttons,
        ]

    @property
    def page(self) -> list[Any]:
        """What may change with the conversation."""
        editing = [self.editing, self.draft, self.notice, self.cancel]
        lists = [self.listing, self.deleted]
        return [self.conversation, self.following, *self.chat, *editing, *lists]


def chat_page(tutor: Tutor, settings: Settings, live: LiveIndex) -> Callable[[gr.Blocks], None]:
    """Build the chat page; what it returns connects it to the page that it is a part of."""
    conversations = Conversations(settings.conversations_file)
    answering = Answering(tutor, conversations, lambda: live.wait(_FIRST_INDEX_SECONDS))
    desk = _Desk(settings.corpus, conversations, answering)
    names = (_text("conversation-id"), _text("shown-id"), _text("following"))
    kept = (*names, _number(), _number(), _text("draft"))
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
    parts = _Parts(*(*kept, *sidebar, *column, *shown))
    events = _Events(parts, desk)
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
        status = gr.HTML(render.message_html(chat_view.HINT, failed=False), elem_id="status")
        gr.HTML('<button type="button">Chats</button>', elem_id="show-history")
        retry = gr.Button("Retry", size="sm", elem_id="retry", interactive=False)
    return chatbot, notice, cancel, question, send, stop, status, retry


def _connect(parts: _Parts, events: "_Events", page: gr.Blocks) -> None:
    """Say what each part does.

    Only `follow` takes long. Whatever else changes the page ends it first, in the browser too,
    and starts it anew where an answer is still being made. Where it writes over something newer
    all the same, because it had begun unseen or its last words were on their way, the page
    notices and shows again what is wanted.
    The others don't use Gradio's queue, whose messages can get lost where one event follows
    right upon another.
    """
    bridge, search = parts.bridge, parts.search
    followed = [parts.following, parts.conversation]
    following = parts.following.change(
        events.follow, followed, parts.chat, trigger_mode="multiple", **_LONG
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
    parts.retry.click(events.retry, known, parts.page, **_SHORT)
    parts.stop.click(events.stop, shown, parts.page, **_SHORT)
    parts.fresh.click(events.fresh, [search, *editing], parts.page, **_SHORT)
    gr.on([page.load, parts.fresh.click], events.examples, None, parts.chatbot, **_SHORT)
    bridge.open(events.open, [search, *editing], parts.page, **_SHORT)
    bridge.delete(events.delete, shown, parts.page, **_SHORT)
    bridge.restore(events.restore, shown, parts.page, **_SHORT)
    bridge.refresh(events.refresh, parts.conversation, parts.following, **_SHORT)
    page.load(events.load, parts.conversation, parts.page, js=_LOADED, **_SHORT)
    page.load(None, parts.question, parts.question, js=_KEPT_QUESTION, **_SHORT)
    parts.question.change(None, parts.question, None, js=_KEEP_QUESTION, **_SHORT)

    search.change(events.search, shown, parts.listing, trigger_mode="always_last", **_SHORT)
    bridge.rename(events.rename, shown, parts.listing, **_SHORT)
    edit = [*editing, parts.notice, parts.cancel, parts.question]
    question = [parts.conversation, parts.question, *editing]
    bridge.edit(events.edit, question, edit, **_SHORT)
    parts.cancel.click(events.cancel_edit, parts.draft, edit, **_SHORT)
    # A second click counts, even while the first one is being answered.
    each = _SHORT | {"trigger_mode": "multiple"}
    bridge.pick(events.pick, parts.conversation, parts.chosen, **each)
    bridge.note(events.note, parts.conversation, parts.note, **each)


@dataclass(frozen=True, slots=True)
class _Desk:
    """What the page works with."""

    corpus: Path
    conversations: Conversations
    answering: Answering


@dataclass(frozen=True, slots=True)
class _Events:
    """What the page's events do; each one returns what changes in its parts."""

    parts: _Parts
    desk: _Desk

    def load(self, wanted: str) -> Update:
        """Show the conversation that the address names."""
        return self._open(wanted, "")

    def fresh(self, search: str, editing: int, draft: str) -> Update:
        """Begin a new conversation."""
        return self._open("", search) | self._without_edit(editing, draft)

    def examples(self) -> Any:
        """Questions to begin with; they may take a few searches, so nothing else waits for them."""
        try:
            found = self.desk.answering.starting_questions()
        except TutorError:
            return gr.skip()  # the first question meets the same error and shows it
        return gr.update(examples=[{"text": text} for text in found])

    def open(self, search: str, editing: int, draft: str, event: gr.EventData) -> Update:
        """Show another conversation."""
        return self._open(event.chat, search) | self._without_edit(editing, draft)

    def ask(self, question: str, conversation: str, seen: int, search: str, editing: int) -> Update:
        """Ask what is in the question box: at the end, or in the place of an edited question."""
        if not question.strip():
            return self._failure("Type a question first.", conversation)
        update = self._asked(question, conversation, seen, search, editing)
        is_asked = self.parts.seen in update
        return update | (self._without_edit(1, "") if is_asked else {})

    def example(self, conversation: str, seen: int, search: str, event: gr.SelectData) -> Update:
        """Ask one of the examples."""
        return self._asked(str(event.value["text"]), conversation, seen, search)

    def suggestion(self, conversation: str, seen: int, search: str, event: gr.EventData) -> Update:
        """Ask a suggested follow-up."""
        return self._asked(str(event.question), conversation, seen, search)

    def retry(self, conversation: str, seen: int, search: str) -> Update:
        """Answer the last question again; after a failure its old answer is back."""
        turns = self.desk.answering.turns(conversation)
        if not turns:
            return self._failure("There is no question to ask again.", conversation)
        last = turns[-1]
        return self._asked(last.turn.question, conversation, seen, search, last.id)

    def stop(self, conversation: str, search: str) -> Update:
        """Keep what was written; where nothing was, give the question back."""
        try:
            taken_back = self.desk.answering.stop(conversation)
        except TutorError as error:
            return self._failure(str(error), conversation)
        update = self._conversation(conversation, search)
        if not taken_back:
            return update
        given_back = {self.parts.question: taken_back, self.parts.status: _message("Stopped.")}
        return update | given_back

    def refresh(self, conversation: str) -> str:
        """Follow anew, for a page that has heard nothing for a while."""
        return self._following(conversation) or f"0:{conversation}:{uuid.uuid4().hex}"

    def follow(self, following: str, conversation: str) -> Iterator[Any]:
        """Show an answer as it is made."""
        turn, _, rest = following.partition(":")
        if not following or not rest.startswith(f"{conversation}:"):
            yield gr.skip()
            return
        update = self._chat(conversation)
        if int(turn) and not self._turn(conversation, turn):
            del update[self.parts.status]  # the question was taken back, and the page says why
        yield update
        last = None
        for now in self.desk.answering.follow(int(turn)):
            if now is last:
                yield gr.skip()  # lets Gradio end this, which it can't while it waits
                continue
            last = now
            update = self._chat(conversation)
            if now.stage == "failed":
                update[self.parts.status] = _message(now.message, failed=True)
                kept = {each.id for each in self.desk.answering.turns(conversation)}
                if now.id not in kept:
                    update[self.parts.question] = now.turn.question
            yield update

    def search(self, conversation: str, search: str) -> str:
        """List the conversations that hold some words."""
        return self._listing(conversation, search)

    def rename(self, conversation: str, search: str, event: gr.EventData) -> str:
        """Give a conversation another title."""
        self.desk.conversations.rename(str(event.chat), str(event.title))
        return self._listing(conversation, search)

    def delete(self, conversation: str, search: str, event: gr.EventData) -> Update:
        """Delete a conversation, and offer to undo it."""
        chat = str(event.chat)
        title = self.desk.conversations.title(chat)
        self.desk.answering.stop(chat)
        self.desk.conversations.delete(chat)
        is_open = chat == conversation
        update = self._open("" if is_open else conversation, search)
        return update | {self.parts.deleted: history.deleted_html(chat, title, is_open)}

    def restore(self, conversation: str, search: str, event: gr.EventData) -> Update:
        """Undo a deletion; what was open then is open again."""
        self.desk.conversations.restore(str(event.chat))
        return self._open(event.chat if event.reopen else conversation, search)

    def edit(
        self, conversation: str, typed: str, editing: int, draft: str, event: gr.EventData
    ) -> Any:
        """Put an earlier question into the question box; what was typed there is kept."""
        parts = self.parts
        turns = self.desk.answering.turns(conversation)
        ids = [each.id for each in turns]
        if int(event.turn) not in ids:
            return gr.skip()
        at = ids.index(int(event.turn))
        return {
            parts.editing: ids[at],
            parts.draft: draft if editing else typed,
            parts.question: turns[at].turn.question,
            parts.notice: _message(_edit_notice(len(turns) - at - 1)),
            parts.cancel: gr.update(visible=True),
        }

    def cancel_edit(self, draft: str) -> Update:
        """Put back what was typed before."""
        return self._without_edit(1, draft)

    def pick(self, conversation: str, event: gr.EventData) -> str:
        """The sources of an answer."""
        saved = self._turn(conversation, event.turn)
        return chat_view.sources(saved, self.desk.corpus) if saved else ""

    def note(self, conversation: str, event: gr.EventData) -> str:
        """The note that a passage stands in."""
        saved = self._turn(conversation, event.turn)
        number = int(event.number)
        if not saved or not 0 < number <= len(saved.turn.answer.passages):
            return ""
        return chat_view.note(saved, number, self.desk.corpus)

    def _turn(self, conversation: str, turn: Any) -> SavedTurn | None:
        turns = self.desk.answering.turns(conversation)
        return next((each for each in turns if each.id == int(turn)), None)

    def _asked(
        self, question: str, conversation: str, seen: int, search: str, replacing: int = 0
    ) -> Update:
        try:
            if not _IDENTITY.fullmatch(conversation):
                conversation = uuid.uuid4().hex
            self.desk.answering.ask(conversation, question, int(seen), int(replacing))
        except TutorError as error:
            return self._failure(str(error), conversation)
        return self._conversation(conversation, search)

    def _failure(self, message: str, conversation: str) -> Update:
        """Say what failed; an answer in the making is followed on."""
        status = {self.parts.status: _message(message, failed=True)}
        return status | {self.parts.following: self._following(conversation)}

    def _open(self, wanted: Any, search: str) -> Update:
        is_known = isinstance(wanted, str) and _IDENTITY.fullmatch(wanted)
        conversation = wanted if is_known else uuid.uuid4().hex
        return self._conversation(conversation, search) | {self.parts.deleted: ""}

    def _conversation(self, conversation: str, search: str) -> Update:
        """All that the page shows of a conversation, with the list of all."""
        try:
            return {
                self.parts.conversation: conversation,
                self.parts.following: self._following(conversation),
                self.parts.listing: self._listing(conversation, search),
            } | self._chat(conversation)
        except TutorError as error:
            return {
                self.parts.conversation: conversation,
                self.parts.chatbot: [],
                self.parts.status: _message(str(error), failed=True),
            }

    def _following(self, conversation: str) -> str:
        """Names the answer to be followed, if any; never twice the same."""
        now = self.desk.answering.running(conversation)
        return f"{now.id}:{conversation}:{uuid.uuid4().hex}" if now else ""

    def _chat(self, conversation: str) -> Update:
        parts, corpus = self.parts, self.desk.corpus
        now = self.desk.answering.running(conversation)
        turns = self.desk.answering.turns(conversation)
        busy = chat_view.is_busy(now)
        return {
            parts.shown: conversation,
            parts.seen: len(turns),
            parts.chatbot: chat_view.messages(turns, now, corpus),
            parts.newest: chat_view.newest_sources(turns, corpus),
            parts.status: _message(chat_view.status(turns, now)),
            parts.send: gr.update(visible=not busy),
            parts.stop: gr.update(visible=busy),
            parts.retry: gr.update(interactive=bool(turns) and not busy),
        }

    def _listing(self, conversation: str, search: str) -> str:
        is_kept = bool(self.desk.conversations.turns(conversation))
        current = conversation if is_kept else ""
        if search.strip():
            hits = self.desk.conversations.search(search)
            return history.hits_html(hits, current, search)
        return history.list_html(self.desk.conversations.listing(), current, time.time())

    def _without_edit(self, editing: int, draft: str) -> Update:
        parts = self.parts
        if not editing:
            return {}
        closed = {parts.notice: "", parts.cancel: gr.update(visible=False)}
        return {parts.editing: 0, parts.draft: "", parts.question: draft} | closed


def _edit_notice(later: int) -> str:
    if not later:
        return "Editing your question. Its answer will be replaced."
    count = "the turn after it" if later == 1 else f"the {later} turns after it"
    return f"Editing your question. Its answer and {count} will be replaced."


def _message(text: str, failed: bool = False) -> str:
    return render.message_html(text, failed=failed)


def _bridge(desk: _Desk) -> gr.HTML:
    """Carries what the page's script asks for to the events and to these functions."""

    def rate(data: dict[str, Any]) -> str:
        ratings: dict[Any, Rating] = {"up": "up", "down": "down"}
        rating = ratings.get(data["rating"], "")
        desk.conversations.rate(int(data["turn"]), rating, str(data["comment"]))
        return ""

    def copied(data: dict[str, Any]) -> str:
        turns = desk.answering.turns(str(data["chat"]))
        return "".join(answer_text(each.turn) for each in turns if each.id == int(data["turn"]))

    def exported(data: dict[str, Any]) -> dict[str, str]:
        chat = str(data["chat"])
        title = desk.conversations.title(chat)
        text = conversation_text(title, [each.turn for each in desk.conversations.turns(chat)])
        name = re.sub(r"[^\w-]+", "-", title)[:60].strip("-") or "conversation"
        return {"name": f"{name}.md", "text": text}

    functions: list[Callable[..., Any]] = [rate, copied, exported]
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
    return gr.Markdown(value, elem_id=elem_id, latex_delimiters=render.LATEX_DELIMITERS)


def _text(elem_id: str) -> gr.Textbox:
    """A text that the browser keeps unseen."""
    return gr.Textbox("", elem_id=elem_id, label=elem_id, visible="hidden")


def _number() -> gr.Number:
    """A number that the browser keeps unseen."""
    return gr.Number(0, precision=0, visible=False)
