"""Keeps the index up to date with the notes while the program runs; knows nothing of pages.

One thread builds, another watches the folder of the notes. Questions go on being answered from
the index in use until the new one is in. All that is to be shown of it is one LiveState.
"""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from watchfiles import watch

from rag_tutor.corpus import scan_corpus
from rag_tutor.errors import CorpusError, TutorError
from rag_tutor.indexing import Changes, IndexReport, is_current, update_index
from rag_tutor.tutor import Tutor

_log = logging.getLogger(__name__)

# An editor may save in several steps; this long after the last one, they are one change.
_DEBOUNCE_MS = 300
# How long a folder that tells of no changes, on some network drives, goes without a look.
_LOOK_SECONDS = 15
_BROKEN = "Something went wrong in the tutor itself. The terminal shows what."
_CANCELLED = "The rebuild was cancelled. Answers use the index as it was before."

_Wish = Literal["update", "rebuild"]
Stage = Literal["waiting", "converting", "indexing", "up to date", "failed"]


@dataclass(frozen=True, slots=True)
class LiveState:
    """The index at one moment. `version` grows with each change of anything else.

    `done` of `total` are files while converting and chunks while indexing; `seconds_left` is a
    guess, None where there is nothing to guess from. `reason` says why it failed, or what else
    is to be known. `changes` and `seconds` belong to the last update that changed something.
    """

    version: int
    stage: Stage
    done: int = 0
    total: int = 0
    seconds_left: float | None = None
    reason: str = ""
    changes: Changes | None = None
    seconds: float = 0.0

    @property
    def is_busy(self) -> bool:
        """Whether the index is being brought up to date."""
        return self.stage in ("waiting", "converting", "indexing")


class _CancelledError(Exception):
    """The student ended a build."""


class LiveIndex:
    """The index of a tutor, brought up to date in the background."""

    def __init__(self, tutor: Tutor) -> None:
        self._tutor = tutor
        self._state = LiveState(0, "waiting")
        self._changed = threading.Condition()
        self._wanted: set[_Wish] = {"update"}
        self._building = threading.Lock()
        self._cancelled = threading.Event()
        self._closed = threading.Event()
        self._threads = [
            threading.Thread(target=target, name=name, daemon=True)
            for target, name in ((self._watch, "watch notes"), (self._work, "index notes"))
        ]

    def start(self) -> None:
        """Bring the index up to date, and again whenever a note changes."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop both threads; a build that is running is cancelled."""
        self._closed.set()
        self.cancel()
        with self._changed:
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    @property
    def state(self) -> LiveState:
        """How things stand."""
        return self._state

    def update(self) -> None:
        """Notes have changed: index them as soon as what is running is done."""
        self._want("update")

    def rebuild(self) -> None:
        """Convert and encode every note again."""
        self._want("rebuild")

    def cancel(self) -> None:
        """End the build that is running, at its next step; the index stays as it was."""
        with self._changed:
            self._wanted.discard("rebuild")
            self._cancelled.set()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Start no build meanwhile: what is done inside builds the index in a way of its own."""
        with self._building:
            yield
        self.update()

    def wait(self, seconds: float) -> LiveState:
        """Wait until there is nothing to do, at most so long; returns how things stand then."""
        with self._changed:
            self._changed.wait_for(self._is_idle, seconds)
        return self._state

    def settle(self, seconds: float) -> None:
        """Wait for an update that will be in within so many seconds, as far as that is known."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_idle() or (self._state.seconds_left or 0) > seconds, seconds
            )

    def _is_idle(self) -> bool:
        return not self._wanted and not self._state.is_busy

    def _want(self, wish: _Wish) -> None:
        with self._changed:
            self._wanted.add(wish)
            if not self._state.is_busy:
                self._show("waiting")
            self._changed.notify_all()

    def _show(self, stage: Stage, **values: object) -> None:
        """The next state; what isn't named is as in a state that has just begun."""
        with self._changed:
            kept = {"changes": self._state.changes, "seconds": self._state.seconds}
            state = LiveState(self._state.version + 1, stage)
            self._state = replace(state, **(kept | values))  # type: ignore[arg-type]
            self._changed.notify_all()

    # --- Building ---

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._wanted or self._closed.is_set())
                if self._closed.is_set():
                    return
                is_full = "rebuild" in self._wanted
                self._wanted.clear()
                self._cancelled.clear()
                if not self._state.is_busy:
                    self._show("waiting")
            with self._building, self._shown_failures():
                self._bring_up_to_date(is_full)

    @contextmanager
    def _shown_failures(self) -> Iterator[None]:
        try:
            yield
        except _CancelledError:
            self._show("failed", reason=_CANCELLED)
        except TutorError as error:
            self._show("failed", reason=str(error))
        except Exception:  # noqa: BLE001 - whatever fails, the thread goes on and it is shown
            _log.exception("the index could not be brought up to date")
            self._show("failed", reason=_BROKEN)

    def _bring_up_to_date(self, is_full: bool) -> None:
        settings = self._tutor.settings
        if not is_full and is_current(settings.corpus, settings.index, settings.encoder):
            self._show("up to date")
            return
        try:
            report = self._update(settings.corpus, settings.index, is_full)
        except _CancelledError:
            if not is_current(settings.corpus, settings.index, settings.encoder):
                raise
            self._show("up to date", reason=_CANCELLED)
            return
        self._show("up to date", changes=report.changes, seconds=report.seconds)

    def _update(self, corpus: Path, index: Path, is_full: bool) -> IndexReport:
        encoder = self._tutor.encoder
        clock = _Clock()

        def show(stage: Stage, done: int, total: int) -> None:
            if self._cancelled.is_set():
                raise _CancelledError
            left = clock.seconds_left(stage, done, total)
            self._show(stage, done=done, total=total, seconds_left=left)

        return update_index(
            corpus,
            index,
            encoder,
            is_full,
            progress=lambda done, total: show("indexing", done, total),
            converting=lambda done, total: show("converting", done, total),
        )

    # --- Watching ---

    def _watch(self) -> None:
        while not self._closed.is_set():
            corpus = self._tutor.settings.corpus
            try:
                self._watch_folder(corpus)
            except Exception as error:  # noqa: BLE001 - what a file system refuses differs by system
                _log.warning("%s is looked at in turns, not watched: %s", corpus, error)
                self._closed.wait(_LOOK_SECONDS)
                self.update()

    def _watch_folder(self, corpus: Path) -> None:
        """Ask for an update at each change, until the folder goes away or is another one."""
        if not corpus.is_dir():
            self._closed.wait(1)
            if corpus.is_dir():
                self.update()
            return
        seen = _fingerprint(corpus)
        for changes in watch(
            corpus,
            watch_filter=lambda _, path: _concerns_notes(corpus, path),
            debounce=4 * _DEBOUNCE_MS,
            step=_DEBOUNCE_MS,
            stop_event=self._closed,
            rust_timeout=_LOOK_SECONDS * 1000,
            yield_on_timeout=True,
            raise_interrupt=False,
            ignore_permission_denied=True,
        ):
            before, seen = seen, _fingerprint(corpus)
            if (changes or seen != before) and not self._closed.is_set():
                self.update()
            if not corpus.is_dir() or corpus != self._tutor.settings.corpus:
                return


class _Clock:
    """Guesses how long a stage will take from how long its part up to now took."""

    def __init__(self) -> None:
        self._stage = ""
        self._started = 0.0

    def seconds_left(self, stage: str, done: int, total: int) -> float | None:
        """The time for what is left; None before the first part is done."""
        if stage != self._stage:
            self._stage, self._started = stage, time.monotonic()
        if not done:
            return None
        return (time.monotonic() - self._started) / done * (total - done)


def _concerns_notes(corpus: Path, path: str) -> bool:
    """Not what is hidden: our own texts and trash, temporary files, version control."""
    try:
        parts = Path(path).relative_to(corpus.absolute()).parts
    except ValueError:
        parts = Path(path).parts[-1:]
    return not any(part.startswith(".") for part in parts)


def _fingerprint(corpus: Path) -> frozenset[tuple[str, int, int]]:
    """The notes of a folder with their sizes and times; a glance that reads none of them."""
    found = set()
    try:
        names, _ = scan_corpus(corpus)
    except CorpusError:
        return frozenset()
    for name in names:
        try:
            status = (corpus / name).stat()
        except OSError:
            continue
        found.add((name, status.st_size, status.st_mtime_ns))
    return frozenset(found)
