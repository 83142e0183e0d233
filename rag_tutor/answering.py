"""Makes answers one at a time, in a thread of its own, and keeps each one as it grows; knows
nothing of pages.

An answer doesn't depend on who waits for it: a page may be closed or loaded again meanwhile,
and others may follow the same answer. All changes of an answer happen under one lock, so that
nothing is written to it once it is stopped.
"""

import logging
import queue
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Literal, cast

from rag_tutor.conversation import check_question
from rag_tutor.conversations import Conversations, SavedTurn, State
from rag_tutor.domain import Answer, Turn
from rag_tutor.errors import IndexMissingError, TutorError
from rag_tutor.store import Store
from rag_tutor.suggestions import starting_questions, suggest_questions
from rag_tutor.tutor import Reply, Tutor

_log = logging.getLogger(__name__)
_NOTHING_YET = Answer("", (), (), refused=False)
_BROKEN = "Something went wrong in the tutor itself. The terminal shows what."
_PATIENCE_SECONDS = 1.0

Stage = Literal[
    "waiting", "indexing", "searching", "reading", "writing", "done", "stopped", "failed"
]
ENDED: frozenset[Stage] = frozenset({"done", "stopped", "failed"})


@dataclass(frozen=True, slots=True)
class Progress:
    """An answer in the making. `message` says why it failed.

    What was written until then, or until it was stopped, is kept. The question is taken back if
    that is nothing, or after a failure if the answer was to replace another, which is there again.
    """

    id: int
    conversation: str
    stage: Stage
    turn: Turn
    message: str = ""


@dataclass(slots=True)
class _Job:
    """An answer that is being made, or waits for it; `over` once nothing more happens to it.

    `replaces` tells whether it is to replace another. `hashes` are the content hashes of all
    notes in the index that it is made from.
    """

    progress: Progress
    replaces: bool
    hashes: Mapping[str, str] = field(default_factory=dict)
    over: bool = False


class Answering:
    """Answers the questions of all conversations, in the order in which they are asked.

    `await_index` blocks until the first index is there, or can't be made; `settle_index` until a
    change of the notes is in it, if that won't take long.
    """

    def __init__(
        self,
        tutor: Tutor,
        conversations: Conversations,
        await_index: Callable[[], object],
        settle_index: Callable[[], object],
    ) -> None:
        self.tutor = tutor
        self.conversations = conversations
        self._await_index = await_index
        self._settle_index = settle_index
        self._changed = threading.Condition()
        self._jobs: dict[int, _Job] = {}
        self._failed: Progress | None = None
        self._waiting: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._worker: threading.Thread | None = None
        self._using_tutor = threading.Lock()

    def ask(self, conversation: str, question: str, seen: int, replacing: int = 0) -> int:
        """Ask at the end of a conversation or in the place of a turn; returns the turn's id.

        `seen` is as in `Conversations.ask`. Raises ConversationError or HistoryError.
        """
        question = check_question(question)
        with self._changed:
            if replacing:
                turn = self.conversations.replace(conversation, replacing, question)
            else:
                turn = self.conversations.ask(conversation, question, seen)
            states = {each.id: each.state for each in self.conversations.turns(conversation)}
            if turn not in self._jobs and states.get(turn) == "open":
                asked = Turn(question, question, _NOTHING_YET)
                stage: Stage = "waiting" if self._jobs else "searching"
                job = _Job(Progress(turn, conversation, stage, asked), bool(replacing))
                self._jobs[turn] = job
                self._waiting.put(job)
                self._start()
        return turn

    def stop(self, conversation: str) -> str:
        """Stop all answers of a conversation; what was written is kept.

        Returns the last question that was taken back because nothing was written yet, or "".
        """
        taken_back = ""
        with self._changed:
            for job in self._own(conversation):
                now = job.progress
                if now.turn.answer.text:
                    self._finish(job, now.turn, "stopped", {})
                else:
                    self.conversations.take_back(now.id)
                    taken_back = now.turn.question
                self._end(job, replace(now, stage="stopped"))
        return taken_back

    def starting_questions(self) -> list[str]:
        """Questions to begin with; an answer in the making goes first. Raises TutorError."""
        with self._using_tutor:
            return starting_questions(self.tutor)

    def running(self, conversation: str) -> Progress | None:
        """The last answer of a conversation that is being made or waits for it."""
        with self._changed:
            own = self._own(conversation)
            return own[-1].progress if own else None

    def follow(self, turn: int) -> Iterator[Progress]:
        """Each change of an answer until nothing more happens to it.

        After it is done, one more comes when follow-ups to suggest have been looked for. Where
        nothing changes for a while, the last one comes again: who follows can leave only then.
        The newest failure is told to those, too, who come too late for its answer.
        """
        with self._changed:
            job = self._jobs.get(turn)
            failed = self._failed
        if job is None and failed and failed.id == turn:
            yield failed
        last: Progress | None = None
        while job and not (job.over and job.progress is last):
            with self._changed:
                self._wait_for_news(job, last)
                last = job.progress
            yield last

    def _wait_for_news(self, job: _Job, last: Progress | None) -> None:
        # Whoever waits is woken by the news of all answers: only those of its own are passed on.
        self._changed.wait_for(lambda: job.progress is not last or job.over, _PATIENCE_SECONDS)

    def turns(self, conversation: str) -> tuple[SavedTurn, ...]:
        """The turns of a conversation, those that are being answered as far as they are."""
        with self._changed:
            saved = self.conversations.turns(conversation)
            return tuple(
                replace(each, turn=self._jobs[each.id].progress.turn)
                if each.id in self._jobs
                else each
                for each in saved
            )

    def _own(self, conversation: str) -> list[_Job]:
        """The jobs of a conversation that still need an answer."""
        return [
            job
            for job in self._jobs.values()
            if job.progress.conversation == conversation and job.progress.stage not in ENDED
        ]

    def _end(self, job: _Job, progress: Progress) -> None:
        job.progress, job.over = progress, True
        del self._jobs[progress.id]
        self._changed.notify_all()

    def _start(self) -> None:
        if self._worker is None:
            self._worker = threading.Thread(target=self._work, name="answering", daemon=True)
            self._worker.start()

    def _work(self) -> None:
        while True:
            job = self._waiting.get()
            try:
                with self._using_tutor:
                    self._answer(job)
            except TutorError as error:
                self._fail(job, str(error))
            except Exception:  # noqa: BLE001 - whatever fails, the next question must be answered
                _log.exception("an answer failed")
                self._fail(job, _BROKEN)

    def _answer(self, job: _Job) -> None:
        if job.over:
            return
        turn = job.progress
        saved = self.conversations.turns(turn.conversation)
        earlier = takewhile(lambda each: each.id != turn.id, saved)
        history = [each.turn for each in earlier if each.turn.answer.text]
        job.hashes = self._newest_store(job).manifest.documents
        replies = cast("Generator[Reply]", self.tutor.reply(turn.turn.question, history))
        with closing(replies):
            for reply in replies:
                if not self._advance(job, reply):
                    return
        self._suggest(job, history)

    def _newest_store(self, job: _Job) -> Store:
        try:
            _ = self.tutor.store
        except IndexMissingError:
            with self._changed:
                if not job.over:
                    job.progress = replace(job.progress, stage="indexing")
                    self._changed.notify_all()
            self._await_index()
        else:
            self._settle_index()
        return self.tutor.store

    def _advance(self, job: _Job, reply: Reply) -> bool:
        """Keep what is new of an answer; False if it was stopped."""
        turn = reply.turn
        with self._changed:
            if job.over:
                return False
            if reply.stage == "done":
                self._finish(job, turn, "done", cast("Mapping[str, float]", reply.timings_ms))
            elif turn.answer.text != job.progress.turn.answer.text:
                self.conversations.grow(job.progress.id, turn)
            job.progress = replace(job.progress, stage=reply.stage, turn=turn)
            self._changed.notify_all()
            return True

    def _finish(self, job: _Job, turn: Turn, state: State, timings: Mapping[str, float]) -> None:
        read = {passage.chunk.document_id for passage in turn.answer.passages}
        hashes = {name: job.hashes[name] for name in read & job.hashes.keys()}
        self.conversations.finish(job.progress.id, turn, state, timings, hashes)

    def _suggest(self, job: _Job, history: Sequence[Turn]) -> None:
        """Look for follow-ups as long as no other question waits."""
        now = job.progress
        found: list[str] = []
        try:
            for question in suggest_questions(self.tutor, (*history, now.turn)):
                found.append(question)
                if not self._waiting.empty():
                    break
            self.conversations.suggest(now.id, found)
        except TutorError as error:
            # The answer is there; the next question meets the same error and shows it.
            _log.warning("no follow-ups: %s", error)
        with self._changed:
            self._end(job, replace(now))

    def _fail(self, job: _Job, message: str) -> None:
        with self._changed:
            now = job.progress
            if job.over:
                return
            if now.stage in ENDED:  # the answer is there, only its follow-ups aren't
                self._end(job, replace(now))
                return
            try:
                if now.turn.answer.text and not job.replaces:
                    self._finish(job, now.turn, "stopped", {})
                else:
                    self.conversations.take_back(now.id)
            except TutorError as error:
                message = str(error)
            self._failed = replace(now, stage="failed", message=message)
            self._end(job, self._failed)
