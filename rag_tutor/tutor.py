"""The read path: a question and its history become an answer; composes the other rooms and
knows nothing of how an answer is shown.
"""

import shlex
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal, TypedDict, TypeVar

from rag_tutor import store as stores
from rag_tutor.asking import questions_in
from rag_tutor.chat_server import is_server
from rag_tutor.checking import Part
from rag_tutor.composing import answer_of, answer_parts, refusal, with_disagreements
from rag_tutor.config import Settings
from rag_tutor.conversation import check_question, standalone_question, with_names
from rag_tutor.domain import Answer, Encoder, Generator, Reader, Turn
from rag_tutor.errors import StaleIndexError
from rag_tutor.retrieval import (
    DEFAULT_WEIGHTS,
    Query,
    Retrieval,
    Weights,
    among,
    retrieve,
    with_best_of,
)
from rag_tutor.spelling import corrected
from rag_tutor.weights import model_identity

# Below this relevance the notes are taken to hold no answer. Chosen with the default models on the
# questions in benchmarks/questions and the development set.
_RELEVANT = 0.32
# Of a follow-up, beside its standalone wording. Chosen on the questions in benchmarks/questions.
_TYPED_WEIGHT = 0.5
_EARLIER_WEIGHT = 0.2
_KEPT_ANSWERS = 200

# One model at a time: transformers sets the type of numbers for the whole process while it loads.
# A model that is made of another one may load that inside.
_LOADING = threading.RLock()

Model = TypeVar("Model")
Piece = TypeVar("Piece")
Stage = Literal["searching", "reading", "writing", "done"]


class Timings(TypedDict):
    """Milliseconds: `rewrite` and `retrieve` of their own, the others since the question;
    `first_token` until the first sentence that is checked; 0 where none was, or all was known.
    """

    rewrite: float
    retrieve: float
    first_token: float
    total: float


@dataclass(frozen=True, slots=True)
class Reply:
    """The state of an answer while it is made; the last one has the stage "done".

    `turn.answer.text` only ever grows, a checked sentence at a time.
    """

    stage: Stage
    turn: Turn
    timings_ms: Timings


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question as it was typed, and as it would be asked without the history; `parts` are the
    questions in it, if it asks several in a row.
    """

    typed: str
    standalone: str
    history: tuple[Turn, ...]
    parts: tuple["_Asked", ...] = ()


class Tutor:
    """Answers questions from one index. Models are loaded when they are first needed."""

    def __init__(
        self,
        settings: Settings,
        load_encoder: Callable[[], Encoder],
        load_reader: Callable[[], Reader],
        load_generator: Callable[[], Generator],
        weights: Weights = DEFAULT_WEIGHTS,
    ) -> None:
        self.settings = settings
        self._weights = weights
        self._encoder_name = model_identity(settings.encoder)
        # A store is searched with the encoder that built it, also while another takes over.
        self._encoders = {self._encoder_name: _once(load_encoder)}
        self._reader = _once(load_reader)
        self._generator = _once(load_generator)
        self._answers: dict[tuple[Settings, str, tuple[Turn, ...]], Turn] = {}
        self._store: stores.Store | None = None
        self._store_lock = threading.Lock()

    @property
    def encoder(self) -> Encoder:
        """The encoder, loaded at the first use. Raises ModelUnavailableError."""
        return self._encoders[self._encoder_name]()

    @contextmanager
    def admitting(self, encoder: Encoder) -> Iterator[None]:
        """Let an encoder search beside the one in use, once an index that it built is there; no
        longer, if building that fails inside.
        """
        before = self._encoders
        with self._store_lock:
            self._encoders = before | {encoder.name: lambda: encoder}
        try:
            yield
        except BaseException:
            with self._store_lock:
                self._encoders = before
            raise

    def use(
        self,
        settings: Settings,
        encoder: Encoder | None = None,
        generator: Generator | None = None,
    ) -> None:
        """Take other settings from the next question on, with those of their models that are new.

        A new encoder was admitted before, and the index is built by it.
        """
        with self._store_lock:
            if encoder:
                # An answer in progress may still search with the one before.
                names = (self._encoder_name, encoder.name)
                self._encoders = {name: self._encoders[name] for name in names}
                self._encoder_name = encoder.name
            if generator:
                self._generator = lambda: generator
            self.settings = settings

    @property
    def generator(self) -> Generator:
        """The generator, loaded at the first use. Raises ModelUnavailableError."""
        return self._generator()

    @property
    def store(self) -> stores.Store:
        """The index in use now. Raises IndexMissingError or StaleIndexError."""
        return self._open_store()

    def warm_up(self) -> None:
        """Load index and models, so that the first question needn't wait. Raises TutorError."""
        self._open_store()
        self._encoders[self._encoder_name]()
        self._reader()
        self._generator()

    def search(self, question: str, history: Sequence[Turn] = (), limit: int | None = None) -> Turn:
        """Find passages without writing an answer: a turn with an empty text.

        `answer.refused` tells that a question is beyond the notes. Raises as `reply` does.
        """
        standalone, found = self.find(question, history, limit)
        refused = found.relevance < _RELEVANT
        return Turn(question.strip(), standalone, Answer("", (), found.passages, refused))

    def find(
        self, question: str, history: Sequence[Turn] = (), limit: int | None = None
    ) -> tuple[str, Retrieval]:
        """The standalone question, and what is found for it. Raises as `reply` does."""
        store = self._open_store()
        asked = self._understand(store, check_question(question), history)
        found, _ = self._retrieve(store, asked, limit or self.settings.passages)
        return asked.standalone, found

    def reply(self, question: str, history: Sequence[Turn] = ()) -> Iterator[Reply]:
        """Answer a question; closing the iterator stops the generator.

        The same question after the same turns, of the same index, gets the same answer at once;
        a server is asked anew, as its answers may differ.
        Raises ConversationError for a question that can't be read, IndexMissingError or
        StaleIndexError, and ModelUnavailableError.
        """
        watch = _Stopwatch()
        question = check_question(question)
        store = self._open_store()
        asked_before = (self.settings, question, tuple(history))
        if known := self._answers.get(asked_before):
            yield Reply("done", known, watch.read())
            return
        with watch.step("rewrite"):
            asked = self._understand(store, question, history)
        standalone = asked.standalone
        answer = Answer("", (), (), refused=False)
        yield Reply("searching", Turn(question, standalone, answer), watch.read())

        with watch.step("retrieve"):
            found, in_a_row = self._retrieve(store, asked, self.settings.passages)
        answer = replace(answer, passages=found.passages)
        yield Reply("reading", Turn(question, standalone, answer), watch.read())

        parts: list[Part] = []
        if found.relevance >= _RELEVANT:
            composed = answer_parts(
                standalone,
                found,
                [each for each in in_a_row if each[1].relevance >= _RELEVANT],
                history,
                is_full=standalone == asked.typed,
                store=store,
                reader=self._reader(),
                load_generator=self._generator,
                length=self.settings.answer_length,
            )
            for part in watch.timed(with_disagreements(composed, standalone, found.passages)):
                parts.append(part)
                answer = answer_of(parts, found.passages)
                yield Reply("writing", Turn(question, standalone, answer), watch.read())
        if not parts:
            answer = refusal(asked.typed, found.passages, store.vocabulary)
        turn = Turn(question, standalone, answer)
        if store is self._store and not is_server(self.settings.generator):
            self._keep(asked_before, turn)
        yield Reply("done", turn, watch.read())

    def _keep(self, asked: tuple[Settings, str, tuple[Turn, ...]], answered: Turn) -> None:
        self._answers[asked] = answered
        if len(self._answers) > _KEPT_ANSWERS:
            del self._answers[next(iter(self._answers))]

    def _understand(self, store: stores.Store, question: str, history: Sequence[Turn]) -> _Asked:
        """The question without slips of typing and with the name of "the second one"; how it would
        be asked without a history; and the questions in it, of which each follows up the one before
        it.
        """
        typed = with_names(corrected(question, store.spellings, store.vocabulary), history)
        parts: list[_Asked] = []
        before = tuple(history)
        for part in questions_in(typed):
            parts.append(self._without_history(store, part, before))
            nothing = Answer("", (), (), refused=False)
            before = (*before, Turn(part, parts[-1].standalone, nothing))
        if len(parts) == 1:
            return parts[0]
        return replace(self._without_history(store, typed, history), parts=tuple(parts))

    def _without_history(self, store: stores.Store, typed: str, history: Sequence[Turn]) -> _Asked:
        alone = standalone_question(typed, history, self._reader(), store.vocabulary)
        return _Asked(typed, alone, tuple(history))

    def _retrieve(
        self, store: stores.Store, asked: _Asked, limit: int
    ) -> tuple[Retrieval, list[tuple[str, Retrieval]]]:
        """Passages for a question; and for each question in it, if it asks several in a row, how it
        is asked alone and which of those passages were found for it.
        """
        found = self._retrieve_one(store, asked, limit)
        parts = [self._retrieve_one(store, part, limit) for part in asked.parts]
        found = with_best_of(found, parts, limit)
        chunks = {passage.chunk for passage in found.passages}
        return found, [
            (part.standalone, among(own, chunks))
            for part, own in zip(asked.parts, parts, strict=True)
        ]

    def _retrieve_one(self, store: stores.Store, asked: _Asked, limit: int) -> Retrieval:
        """Passages for a question; for a follow-up, what it was typed as and the question
        before count too, in case its standalone wording took over too much or too little.
        """
        queries = [Query(asked.typed)]
        if asked.standalone != asked.typed:
            queries = [
                Query(asked.typed, _TYPED_WEIGHT),
                Query(asked.history[-1].standalone, _EARLIER_WEIGHT),
                Query(asked.standalone),
            ]
        encoder = self._encoders[store.manifest.encoder]()
        return retrieve(store, encoder, self._reader(), queries, limit, self._weights)

    def _open_store(self) -> stores.Store:
        """The index in use now, which another process may have built a moment ago."""
        with self._store_lock:
            build = stores.current_build(self.settings.index)
            if self._store is None or self._store.build != build:
                self._store = self._load_store()
                self._answers = {}
            return self._store

    def _load_store(self) -> stores.Store:
        store = stores.open_store(self.settings.index)
        wanted = self._encoder_name
        if store.manifest.encoder not in self._encoders:
            raise StaleIndexError(
                f"The index at {self.settings.index} was built by the encoder "
                f"{store.manifest.encoder!r}, not {wanted!r}. Run: rag-tutor index "
                f"--encoder {shlex.quote(self.settings.encoder)} "
                f"--index {shlex.quote(str(self.settings.index))}"
            )
        return store


def open_tutor(settings: Settings, weights: Weights = DEFAULT_WEIGHTS) -> Tutor:
    """A tutor with the models that the settings name."""

    def load_encoder() -> Encoder:
        from rag_tutor.encoding import load_encoder

        return load_encoder(settings.encoder)

    def load_reader() -> Reader:
        from rag_tutor.reading import load_reader

        return load_reader()

    def load_generator() -> Generator:
        from rag_tutor.generation import load_generator

        return load_generator(settings.generator)

    return Tutor(settings, load_encoder, load_reader, load_generator, weights)


def _once(load: Callable[[], Model]) -> Callable[[], Model]:
    """Call `load` once, however many threads ask; after a failure, again."""
    loaded: list[Model] = []

    def get() -> Model:
        if not loaded:
            with _LOADING:
                if not loaded:
                    loaded.append(load())
        return loaded[0]

    return get


class _Stopwatch:
    """The timings of one reply, from the moment it is made."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._timings = Timings(rewrite=0, retrieve=0, first_token=0, total=0)

    @contextmanager
    def step(self, name: Literal["rewrite", "retrieve"]) -> Iterator[None]:
        """Measure what is done inside."""
        before = self._elapsed()
        yield
        self._timings[name] = round(self._elapsed() - before, 1)

    def timed(self, pieces: Iterator[Piece]) -> Iterator[Piece]:
        """The same pieces; the first one is noted."""
        for piece in pieces:
            self._timings["first_token"] = self._timings["first_token"] or self._elapsed()
            yield piece

    def read(self) -> Timings:
        """The timings up to now."""
        self._timings["total"] = self._elapsed()
        return self._timings.copy()

    def _elapsed(self) -> float:
        return round((time.perf_counter() - self._started) * 1000, 1)
