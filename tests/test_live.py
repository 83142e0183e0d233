"""The index that follows the notes: real threads, a real watcher, small fakes as models."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from rag_tutor.config import Settings
from rag_tutor.domain import Span, Vectors
from rag_tutor.live import LiveIndex, LiveState
from rag_tutor.store import open_store
from rag_tutor.tutor import Tutor
from tests.fakes import HashedEncoder, OverlapReader, ScriptedGenerator

PATIENCE = 30


class GatedEncoder(HashedEncoder):
    """Encodes only while its gate is open."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.failure: Exception | None = None

    def encode_passages(
        self, texts: Sequence[str], sentences: Sequence[Sequence[Span]]
    ) -> tuple[Vectors, Vectors]:
        assert self.gate.wait(PATIENCE)
        if self.failure:
            raise self.failure
        return super().encode_passages(texts, sentences)


@pytest.fixture
def gated() -> GatedEncoder:
    return GatedEncoder()


@pytest.fixture
def tutor(corpus: Path, tmp_path: Path, gated: GatedEncoder) -> Tutor:
    settings = Settings(corpus=corpus, index=tmp_path / "live", encoder=gated.name)
    return Tutor(settings, lambda: gated, OverlapReader, ScriptedGenerator)


@pytest.fixture
def live(tutor: Tutor, gated: GatedEncoder) -> Iterator[LiveIndex]:
    live = LiveIndex(tutor)
    live.start()
    yield live
    gated.gate.set()
    live.close()


def until(live: LiveIndex, holds: Callable[[LiveState], object]) -> LiveState:
    deadline = time.monotonic() + PATIENCE
    while not holds(live.state):
        assert time.monotonic() < deadline, live.state
        time.sleep(0.01)
    return live.state


def found(tutor: Tutor, question: str) -> str:
    return tutor.search(question).answer.passages[0].chunk.text


def test_a_missing_index_is_built_in_the_background(live: LiveIndex, tutor: Tutor) -> None:
    state = live.wait(PATIENCE)
    assert state.stage == "up to date"
    assert state.changes is not None
    assert state.changes.added == ("biology.md", "history.txt")
    assert state.changes.chunks_before == 0
    assert state.changes.chunks_after == len(open_store(tutor.settings.index).chunks)
    assert "Napoleon" in found(tutor, "Napoleon emperor")


def test_changes_from_outside_are_seen(live: LiveIndex, tutor: Tutor, corpus: Path) -> None:
    live.wait(PATIENCE)
    (corpus / "physics.md").write_text("# Quarks\n\nA quark is a tiny particle.\n")
    state = until(live, lambda state: state.changes and state.changes.added == ("physics.md",))
    assert state.changes and state.changes.chunks_after == state.changes.chunks_before + 1
    assert "quark" in found(tutor, "quark particle")
    (corpus / "physics.md").rename(corpus / "quarks.md")
    until(live, lambda state: state.changes and state.changes.removed == ("physics.md",))
    (corpus / "quarks.md").unlink()
    until(live, lambda state: state.changes and state.changes.removed == ("quarks.md",))


def test_a_folder_that_is_moved_away_and_comes_back_is_seen(
    live: LiveIndex, tutor: Tutor, corpus: Path
) -> None:
    live.wait(PATIENCE)
    (corpus / "term").mkdir()
    (corpus / "term" / "a.md").write_text("# Quarks\n\nA quark is a tiny particle.\n")
    until(live, lambda state: state.changes and state.changes.added == ("term/a.md",))
    (corpus / "term").rename(corpus.parent / "away")
    until(live, lambda state: state.changes and state.changes.removed == ("term/a.md",))
    assert "Quarks" not in found(tutor, "quark particle")
    (corpus.parent / "away").rename(corpus / "term")
    until(live, lambda state: state.changes and state.changes.added == ("term/a.md",))
    assert "Quarks" in found(tutor, "quark particle")


def test_a_change_that_is_soon_in_is_waited_for(
    live: LiveIndex, tutor: Tutor, corpus: Path
) -> None:
    live.wait(PATIENCE)
    (corpus / "physics.md").write_text("# Quarks\n\nA quark is a tiny particle.\n")
    live.update()
    live.settle(PATIENCE)
    assert "quark" in found(tutor, "quark particle")


def test_questions_are_answered_while_it_is_built(
    live: LiveIndex, tutor: Tutor, corpus: Path, gated: GatedEncoder
) -> None:
    live.wait(PATIENCE)
    gated.gate.clear()
    (corpus / "history.txt").write_text("Cleopatra ruled Egypt.")
    live.update()
    state = until(live, lambda state: state.stage == "indexing")
    assert (state.done, state.total) == (0, 1)
    assert "Napoleon" in found(tutor, "Napoleon emperor")
    gated.gate.set()
    until(live, lambda state: state.changes and state.changes.changed == ("history.txt",))
    assert "Cleopatra" in found(tutor, "Cleopatra Egypt")


def test_a_change_during_a_build_is_not_forgotten(
    live: LiveIndex, tutor: Tutor, corpus: Path, gated: GatedEncoder
) -> None:
    live.wait(PATIENCE)
    gated.gate.clear()
    (corpus / "history.txt").write_text("Cleopatra ruled Egypt.")
    live.update()
    until(live, lambda state: state.stage == "indexing")
    (corpus / "history.txt").write_text("Hannibal crossed the Alps.")
    live.update()
    gated.gate.set()
    assert live.wait(PATIENCE).stage == "up to date"
    assert "Hannibal" in found(tutor, "Hannibal Alps")


def test_a_cancelled_rebuild_leaves_the_index_as_it_was(
    live: LiveIndex, tutor: Tutor, gated: GatedEncoder
) -> None:
    live.wait(PATIENCE)
    before = open_store(tutor.settings.index).build
    gated.gate.clear()
    live.rebuild()
    until(live, lambda state: state.stage == "indexing")
    live.cancel()
    gated.gate.set()
    state = live.wait(PATIENCE)
    assert state.stage == "up to date"
    assert "cancelled" in state.reason
    assert open_store(tutor.settings.index).build == before
    live.rebuild()
    assert live.wait(PATIENCE).reason == ""
    assert open_store(tutor.settings.index).build != before


def test_a_cancelled_update_says_that_answers_are_older_than_the_notes(
    tutor: Tutor, corpus: Path, gated: GatedEncoder
) -> None:
    first = LiveIndex(tutor)
    first.start()
    first.wait(PATIENCE)
    first.close()
    # Changed before the watcher looks, so that it doesn't ask for a second update.
    (corpus / "history.txt").write_text("Cleopatra ruled Egypt.")
    gated.gate.clear()
    live = LiveIndex(tutor)
    live.start()
    until(live, lambda state: state.stage == "indexing")
    live.cancel()
    gated.gate.set()
    state = live.wait(PATIENCE)
    live.close()
    assert state.stage == "failed"
    assert "cancelled" in state.reason
    assert "Napoleon" in found(tutor, "Napoleon emperor")


@pytest.mark.parametrize(
    ("failure", "reason"),
    [(OSError("No space left"), "No space left"), (MemoryError(), "Something went wrong")],
)
def test_a_failure_is_told_and_mended_by_the_next_change(
    live: LiveIndex,
    tutor: Tutor,
    corpus: Path,
    gated: GatedEncoder,
    failure: Exception,
    reason: str,
) -> None:
    live.wait(PATIENCE)
    gated.failure = failure
    (corpus / "history.txt").write_text("Cleopatra ruled Egypt.")
    live.update()
    assert reason in until(live, lambda state: state.stage == "failed").reason
    assert "Napoleon" in found(tutor, "Napoleon emperor")
    gated.failure = None
    (corpus / "history.txt").write_text("Hannibal crossed the Alps.")
    until(live, lambda state: state.stage == "up to date")
    assert "Hannibal" in found(tutor, "Hannibal Alps")


def test_a_corpus_that_goes_away_is_told_and_found_again(live: LiveIndex, corpus: Path) -> None:
    live.wait(PATIENCE)
    corpus.rename(corpus.parent / "away")
    live.update()
    assert "no folder of notes" in until(live, lambda state: state.stage == "failed").reason
    (corpus.parent / "away").rename(corpus)
    until(live, lambda state: state.stage == "up to date")


def test_nothing_is_built_by_itself_while_another_builds(
    live: LiveIndex, tutor: Tutor, corpus: Path, gated: GatedEncoder
) -> None:
    live.wait(PATIENCE)
    with live.held():
        (corpus / "history.txt").write_text("Cleopatra ruled Egypt.")
        live.update()
        assert live.wait(0.3).is_busy
        assert "Cleopatra" not in "".join(gated.encoded)
    until(live, lambda state: state.changes and state.changes.changed == ("history.txt",))


def test_our_own_files_are_no_change(live: LiveIndex, corpus: Path) -> None:
    first = live.wait(PATIENCE)
    # Once this is seen, the watcher is at work.
    os.utime(corpus / "history.txt")
    until(live, lambda state: state.version > first.version and not state.is_busy)
    seen = live.state
    (corpus / ".rag-tutor").mkdir()
    (corpus / ".rag-tutor" / "x.md").write_text("text")
    (corpus / ".git").mkdir()
    (corpus / ".git" / "index").write_text("x")
    time.sleep(2)  # longer than it takes to see a change
    assert live.state == seen
