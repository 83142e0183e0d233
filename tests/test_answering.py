"""Answers that are made in the background: nothing is lost, and nothing comes late."""

import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from rag_tutor.answering import Answering, Progress
from rag_tutor.conversations import Conversations
from rag_tutor.domain import Generator, Message
from rag_tutor.errors import ConversationError, ModelUnavailableError
from rag_tutor.indexing import update_index
from tests.conftest import MakeTutor
from tests.fakes import HashedEncoder, ScriptedGenerator

CROWNED = "Napoleon was crowned emperor in 1804 in Paris."
STORMING = "The French Revolution began in 1789 with the storming of the Bastille."
QUESTION = "When was Napoleon crowned emperor?"
CHLOROPLAST = "What is a chloroplast?"
WAIT_SECONDS = 20

MakeAnswering = Callable[..., Answering]


class HeldGenerator(ScriptedGenerator):
    """Holds on at each "|" until it is let go."""

    def __init__(self, *replies: str) -> None:
        super().__init__(*replies)
        self.is_held = threading.Event()
        self.may_go = threading.Event()

    def stream(self, messages: Sequence[Message], max_tokens: int) -> Iterator[str]:
        for piece in super().stream(messages, max_tokens):
            if piece.strip() != "|":
                yield piece
                continue
            self.is_held.set()
            assert self.may_go.wait(WAIT_SECONDS)


class BreakingGenerator(ScriptedGenerator):
    """Breaks off at each "|"."""

    def stream(self, messages: Sequence[Message], max_tokens: int) -> Iterator[str]:
        self.replies.append(self.replies[0])
        for piece in super().stream(messages, max_tokens):
            if piece.strip() == "|":
                raise ModelUnavailableError("The server has gone.")
            yield piece


@pytest.fixture
def conversations(tmp_path: Path) -> Conversations:
    return Conversations(tmp_path / "conversations.sqlite3")


@pytest.fixture
def make_answering(make_tutor: MakeTutor, conversations: Conversations) -> MakeAnswering:
    def make(generator: Generator | None = None) -> Answering:
        return Answering(make_tutor(generator), conversations, lambda: None, lambda: None)

    return make


def answer(answering: Answering, name: str, question: str, replacing: int = 0) -> Progress:
    """Ask at the end of a conversation and wait until nothing more happens."""
    seen = len(answering.turns(name))
    *_, last = answering.follow(answering.ask(name, question, seen, replacing))
    return last


def test_an_answer_is_followed_to_its_end_and_kept(
    make_answering: MakeAnswering, conversations: Conversations
) -> None:
    answering = make_answering(ScriptedGenerator(CROWNED))
    followed = list(answering.follow(answering.ask("c1", QUESTION, 0)))
    assert followed[-1].stage == "done"
    (saved,) = conversations.turns("c1")
    assert saved.state == "done"
    assert saved.turn == followed[-1].turn
    assert saved.timings["total"] > 0
    read = {passage.chunk.document_id for passage in saved.turn.answer.passages}
    assert saved.hashes.keys() == read
    assert answering.running("c1") is None


def test_an_answer_goes_on_when_nobody_waits_for_it(
    make_answering: MakeAnswering, conversations: Conversations
) -> None:
    answering = make_answering(ScriptedGenerator(CROWNED))
    answering.ask("c1", QUESTION, 0)
    answer(answering, "c2", CHLOROPLAST)
    assert CROWNED in conversations.turns("c1")[0].turn.answer.text


def test_a_follow_up_knows_the_turns_before_it(make_answering: MakeAnswering) -> None:
    answering = make_answering()
    answer(answering, "c1", QUESTION)
    assert "Napoleon" in answer(answering, "c1", "Why is that a problem?").turn.standalone
    assert "Napoleon" not in answer(answering, "c2", "Why is that a problem?").turn.standalone


def test_stopping_keeps_what_was_written_and_nothing_comes_after_it(
    make_answering: MakeAnswering, conversations: Conversations
) -> None:
    generator = HeldGenerator(f"{CROWNED} {STORMING} | Napoleon was crowned.")
    answering = make_answering(generator)
    turn = answering.ask("c1", QUESTION, 0)
    assert generator.is_held.wait(WAIT_SECONDS)
    written = conversations.turns("c1")[0].turn.answer.text
    assert CROWNED in written
    assert answering.turns("c1")[0].turn.answer.text == written

    assert answering.stop("c1") == ""
    assert list(answering.follow(turn)) == []
    generator.may_go.set()
    answer(answering, "c2", CHLOROPLAST)
    (saved,) = conversations.turns("c1")
    assert (saved.state, saved.turn.answer.text) == ("stopped", written)
    assert saved.hashes
    assert generator.closed


def test_stopping_before_anything_is_written_gives_the_question_back(
    make_answering: MakeAnswering, conversations: Conversations
) -> None:
    generator = HeldGenerator(f"| {CROWNED}")
    answering = make_answering(generator)
    answering.ask("c1", QUESTION, 0)
    assert generator.is_held.wait(WAIT_SECONDS)
    assert answering.stop("c1") == QUESTION
    assert answering.stop("c1") == ""
    generator.may_go.set()
    answer(answering, "c2", CHLOROPLAST)
    assert conversations.turns("c1") == ()
    assert [each.id for each in conversations.listing()] == ["c2"]


def test_a_second_conversation_waits_for_the_first(
    make_answering: MakeAnswering, conversations: Conversations
) -> None:
    generator = HeldGenerator(f"| {CROWNED}")
    answering = make_answering(generator)
    first = answering.ask("c1", QUESTION, 0)
    assert generator.is_held.wait(WAIT_SECONDS)
    second = answering.ask("c2", CHLOROPLAST, 0)
    assert [answering.running(name).stage for name in ("c1", "c2")] == ["reading", "waiting"]
    assert answering.stop("c2") == CHLOROPLAST
    second = answering.ask("c2", CHLOROPLAST, 0)
    generator.may_go.set()
    assert [now.stage for now in answering.follow(first)][-1] == "done"
    assert [now.stage for now in answering.follow(second)][-1] == "done"
    assert len(conversations.turns("c2")) == 1


def test_a_question_that_cant_be_asked_is_not_kept(
    make_answering: MakeAnswering, conversations: Conversations
) -> None:
    with pytest.raises(ConversationError, match="no words"):
        make_answering().ask("c1", "?!", 0)
    assert conversations.listing() == []


def test_a_failure_is_told_and_the_old_answer_is_back(
    make_answering: MakeAnswering, conversations: Conversations, index: Path
) -> None:
    answering = make_answering()
    first = answer(answering, "c1", QUESTION)
    shutil.rmtree(index)
    failed = answer(answering, "c1", CHLOROPLAST, replacing=first.id)
    assert (failed.stage, failed.turn.question) == ("failed", CHLOROPLAST)
    assert "Run: rag-tutor index" in failed.message
    assert [each.turn for each in conversations.turns("c1")] == [first.turn]
    assert answer(answering, "c2", QUESTION).stage == "failed", "the worker has to live on"


def test_a_failure_is_told_to_who_asks_after_it(make_answering: MakeAnswering, index: Path) -> None:
    answering = make_answering()
    shutil.rmtree(index)
    failed = answer(answering, "c1", QUESTION)
    (late,) = answering.follow(failed.id)
    assert (late.stage, late.message) == ("failed", failed.message)
    assert list(answering.follow(failed.id + 1)) == []


def test_what_was_written_before_a_failure_is_kept(
    make_answering: MakeAnswering, conversations: Conversations
) -> None:
    answering = make_answering(BreakingGenerator(f"{CROWNED} {STORMING} | Napoleon"))
    failed = answer(answering, "c1", QUESTION)
    assert (failed.stage, failed.message) == ("failed", "The server has gone.")
    (saved,) = conversations.turns("c1")
    assert saved.state == "stopped"
    assert saved.turn.answer.text.startswith(f"{CROWNED} [")
    assert saved.hashes

    failed = answer(answering, "c1", QUESTION, replacing=saved.id)
    assert (failed.stage, failed.turn) == ("failed", saved.turn)
    assert conversations.turns("c1") == (saved,), "what it was to replace is back"


def test_an_answer_that_a_crash_left_open_can_be_asked_for_again(
    make_answering: MakeAnswering, conversations: Conversations
) -> None:
    left = conversations.ask("c1", QUESTION, 0)
    answering = make_answering(ScriptedGenerator(CROWNED))
    assert answering.running("c1") is None
    assert answer(answering, "c1", QUESTION, replacing=left).stage == "done"
    (saved,) = conversations.turns("c1")
    assert CROWNED in saved.turn.answer.text


def test_suggestions_are_neighbouring_headings_that_the_notes_answer(
    make_answering: MakeAnswering, conversations: Conversations
) -> None:
    answering = make_answering()
    answer(answering, "c1", CHLOROPLAST)
    (saved,) = conversations.turns("c1")
    assert saved.suggestions == ("What is a mitochondrion?",)
    asked = answer(answering, "c1", saved.suggestions[0])
    assert not asked.turn.answer.refused
    assert "mitochondrion" in asked.turn.answer.citations[0].quote
    assert CHLOROPLAST not in conversations.turns("c1")[1].suggestions, "it was asked already"


def test_a_question_asked_before_there_is_an_index_waits_for_it(
    make_tutor: MakeTutor, conversations: Conversations, index: Path
) -> None:
    pointer = index / "CURRENT"
    build = pointer.read_bytes()
    pointer.unlink()
    stages = []

    def build_index() -> None:
        stages.append(answering.running("c").stage)
        pointer.write_bytes(build)

    tutor = make_tutor(ScriptedGenerator(CROWNED))
    answering = Answering(tutor, conversations, build_index, lambda: None)
    assert CROWNED in answer(answering, "c", QUESTION).turn.answer.text
    assert stages == ["indexing"]


def test_a_question_waits_for_the_note_that_was_saved_right_before(
    make_tutor: MakeTutor, conversations: Conversations, corpus: Path, index: Path
) -> None:
    (corpus / "history.txt").write_text("Charlemagne was crowned emperor in Aachen in 813.")

    def settle() -> None:
        update_index(corpus, index, HashedEncoder())

    answering = Answering(make_tutor(ScriptedGenerator()), conversations, lambda: None, settle)
    assert "in 813" in answer(answering, "c", "When was Charlemagne crowned?").turn.answer.text
