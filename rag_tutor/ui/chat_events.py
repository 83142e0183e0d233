"""What the events of the chat page do.

The file of conversations and the answers in the making are the truth: each event changes these
at most, and shows what they hold then. The browser only keeps which conversation it shows, and
what it edits. Nothing here knows where a component stands, how answers are found or how text
becomes HTML.
"""

import re
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from rag_tutor.answering import Answering
from rag_tutor.conversations import Conversations, Rating, SavedTurn
from rag_tutor.errors import TutorError
from rag_tutor.export import answer_text, conversation_text
from rag_tutor.ui import chat_view, history, render
from rag_tutor.ui.history import Deletion
from rag_tutor.ui.sent import Sent

Update = dict[Any, Any]
Deletions = tuple[Deletion, ...]

_IDENTITY = re.compile(r"[0-9a-f]{32}")
_TURN = re.compile(r"[0-9]{1,18}")
_MOST_DELETIONS = 3
_ANSWER_GONE = "Its answer was deleted or replaced, maybe in another window. Load the page again."


@dataclass(frozen=True, slots=True)
class Parts:
    """The components of the page that change. The first eight are never seen.

    `shown` is the conversation whose turns are shown: late updates make it another than
    `conversation`, for a moment. `returned` is the last question that got no answer, after what
    tells it from the same question of another time; it goes back to the box when it changes, if
    nothing else was typed there since. `deletions` can be undone until the page is loaded again.
    """

    conversation: gr.Textbox
    shown: gr.Textbox
    following: gr.Textbox
    seen: gr.Number
    editing: gr.Number
    draft: gr.Textbox
    returned: gr.Textbox
    deletions: gr.State
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
        return [
            self.conversation,
            self.following,
            *self.chat,
            self.returned,
            *editing,
            self.listing,
        ]


@dataclass(frozen=True, slots=True)
class Desk:
    """What the page works with."""

    corpus: Path
    conversations: Conversations
    answering: Answering


@dataclass(frozen=True, slots=True)
class Events:
    """What the page's events do; each one returns what changes in its parts."""

    parts: Parts
    desk: Desk

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

    def open(self, search: str, editing: int, draft: str, sent: Sent) -> Update:
        """Show another conversation."""
        return self._open(sent.text("chat"), search) | self._without_edit(editing, draft)

    def ask(self, question: str, conversation: str, seen: int, search: str, editing: int) -> Update:
        """Ask what is in the question box: at the end, or in the place of an edited question."""
        if not question.strip():
            return self._failure("Type a question first.", conversation)
        update = self._asked(question, conversation, seen, search, editing)
        is_asked = self.parts.seen in update
        return update | (self._without_edit(1, "") if is_asked else {})

    def example(self, conversation: str, seen: int, search: str, sent: Sent) -> Update:
        """Ask one of the examples."""
        return self._asked(sent.text("value", "text"), conversation, seen, search)

    def suggestion(self, conversation: str, seen: int, search: str, sent: Sent) -> Update:
        """Ask a suggested follow-up."""
        return self._asked(sent.text("question"), conversation, seen, search)

    def retry(self, conversation: str, seen: int, search: str, editing: int) -> Update:
        """Answer the last question again; after a failure its old answer is back."""
        if editing:
            return self._failure("Send the edited question first, or cancel.", conversation)
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
        return (
            update
            | self._given_back(taken_back, uuid.uuid4().hex)
            | {self.parts.status: _message("Stopped.")}
        )

    def refresh(self, conversation: str) -> str:
        """Follow anew, for a page that has heard nothing for a while."""
        return self._following(conversation) or f"0:{conversation}:{uuid.uuid4().hex}"

    def follow(self, following: str, conversation: str, search: str) -> Iterator[Any]:
        """Show an answer as it is made."""
        turn, _, rest = following.partition(":")
        if not _TURN.fullmatch(turn) or not rest.startswith(f"{conversation}:"):
            yield gr.skip()
            return
        update = self._chat(conversation)
        if int(turn) and not self._turn(conversation, int(turn)):
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
                turns = self.desk.answering.turns(conversation)
                if now.turn.question not in [each.turn.question for each in turns]:
                    update |= self._given_back(now.turn.question, str(now.id))
                update[self.parts.listing] = self._listing(conversation, search)
            yield update

    def search(self, conversation: str, search: str) -> Update:
        """List the conversations that hold some words."""
        return self._tried(lambda: {self.parts.listing: self._listing(conversation, search)})

    def rename(self, conversation: str, search: str, sent: Sent) -> Update:
        """Give a conversation another title."""

        def rename() -> Update:
            self.desk.conversations.rename(sent.text("chat"), sent.text("title"))
            return {self.parts.listing: self._listing(conversation, search)}

        return self._tried(rename)

    def delete(
        self,
        conversation: str,
        search: str,
        editing: int,
        draft: str,
        deletions: Deletions,
        sent: Sent,
    ) -> Update:
        """Delete a conversation, and offer to undo it."""
        chat = sent.text("chat")
        is_open = chat == conversation

        def delete() -> Update:
            title = self.desk.conversations.title(chat)
            self.desk.answering.stop(chat)
            self.desk.conversations.delete(chat)
            update = self._open("" if is_open else conversation, search)
            update |= self._without_edit(editing, draft) if is_open else {}
            return update | self._deleted((Deletion(chat, title, is_open), *deletions))

        return self._tried(delete)

    def restore(
        self,
        conversation: str,
        search: str,
        editing: int,
        draft: str,
        deletions: Deletions,
        sent: Sent,
    ) -> Update:
        """Undo a deletion; what was open then is open again."""

        def restore() -> Update:
            chat = sent.text("chat")
            self.desk.conversations.restore(chat)
            left = self._deleted([each for each in deletions if each.conversation != chat])
            if not sent.value("reopen"):
                return self._open(conversation, search) | left
            return self._open(chat, search) | self._without_edit(editing, draft) | left

        return self._tried(restore)

    def edit(self, conversation: str, typed: str, editing: int, draft: str, sent: Sent) -> Update:
        """Put an earlier question into the question box; what was typed there is kept."""
        parts = self.parts

        def edit() -> Update:
            turns = self.desk.answering.turns(conversation)
            ids = [each.id for each in turns]
            if sent.number("turn") not in ids:
                return {parts.status: _message(_ANSWER_GONE, failed=True)}
            at = ids.index(sent.number("turn"))
            return {
                parts.editing: ids[at],
                parts.draft: draft if editing else typed,
                parts.question: turns[at].turn.question,
                parts.notice: _message(_edit_notice(len(turns) - at - 1)),
                parts.cancel: gr.update(visible=True),
            }

        return self._tried(edit)

    def cancel_edit(self, draft: str) -> Update:
        """Put back what was typed before."""
        return self._without_edit(1, draft)

    def pick(self, conversation: str, sent: Sent) -> Update:
        """The sources of an answer."""

        def pick() -> Update:
            saved = self._turn(conversation, sent.number("turn"))
            shown = chat_view.sources(saved, self.desk.corpus) if saved else ""
            return {self.parts.chosen: shown}

        return self._tried(pick)

    def note(self, conversation: str, sent: Sent) -> str:
        """The note that a passage stands in, or why it can't be shown."""
        try:
            saved = self._turn(conversation, sent.number("turn"))
        except TutorError as error:
            return render.missing_note_html("The conversations can't be read", str(error))
        number = sent.number("number")
        if not saved or not 0 < number <= len(saved.turn.answer.passages):
            return render.missing_note_html("No such passage", _ANSWER_GONE)
        return chat_view.note(saved, number, self.desk.corpus)

    def _turn(self, conversation: str, turn: int) -> SavedTurn | None:
        turns = self.desk.answering.turns(conversation)
        return next((each for each in turns if each.id == turn), None)

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

    def _tried(self, action: Callable[[], Update]) -> Update:
        try:
            return action()
        except TutorError as error:
            return {self.parts.status: _message(str(error), failed=True)}

    def _failure(self, message: str, conversation: str) -> Update:
        """Say what failed; an answer in the making is followed on."""
        status = {self.parts.status: _message(message, failed=True)}
        return status | {self.parts.following: self._following(conversation)}

    def _open(self, wanted: Any, search: str) -> Update:
        is_known = isinstance(wanted, str) and _IDENTITY.fullmatch(wanted)
        conversation = wanted if is_known else uuid.uuid4().hex
        return self._conversation(conversation, search)

    def _deleted(self, deletions: Sequence[Deletion]) -> Update:
        kept = tuple(deletions[:_MOST_DELETIONS])
        shown = "".join(map(history.deleted_html, kept))
        return {self.parts.deletions: kept, self.parts.deleted: shown}

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
            parts.status: chat_view.status(turns, now),
            parts.send: gr.update(visible=not busy),
            parts.stop: gr.update(visible=busy),
            parts.retry: gr.update(interactive=bool(turns) and not busy),
        }

    def _given_back(self, question: str, key: str) -> Update:
        """Put a question without an answer back; Retry would ask the one before it again."""
        returned = f"{key}:{question}"
        return {self.parts.returned: returned, self.parts.retry: gr.update(interactive=False)}

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


def script_functions(desk: Desk) -> list[Callable[..., Any]]:
    """What the page's script calls by name, which changes nothing that the page shows."""

    def rate(data: Any) -> str:
        sent = Sent(None, data)
        ratings: dict[str, Rating] = {"up": "up", "down": "down"}
        rating = ratings.get(sent.text("rating"), "")
        desk.conversations.rate(sent.number("turn"), rating, sent.text("comment"))
        return ""

    def copied(data: Any) -> str:
        sent = Sent(None, data)
        turns, turn = desk.answering.turns(sent.text("chat")), sent.number("turn")
        return "".join(answer_text(each.turn) for each in turns if each.id == turn)

    def exported(data: Any) -> dict[str, str]:
        chat = Sent(None, data).text("chat")
        title = desk.conversations.title(chat)
        text = conversation_text(title, [each.turn for each in desk.conversations.turns(chat)])
        name = re.sub(r"[^\w-]+", "-", title)[:60].strip("-") or "conversation"
        return {"name": f"{name}.md", "text": text}

    return [rate, copied, exported]


def _edit_notice(later: int) -> str:
    if not later:
        return "Editing your question. Its answer will be replaced."
    count = "the turn after it" if later == 1 else f"the {later} turns after it"
    return f"Editing your question. Its answer and {count} will be replaced."


def _message(text: str, failed: bool = False) -> str:
    return render.message_html(text, failed=failed)
