"""The read path: a question and its history become an answer; composes the other rooms and
knows nothing of how an answer is shown.
"""

import shlex
import threading
import time
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Literal, TypedDict, TypeVar

from rag_tutor import store as stores
from rag_tutor.asking import asks_for_much, asks_for_several
from rag_tutor.checking import (
    Part,
    checked_parts,
    disagreeing_part,
    joined,
    leading_part,
    listed_parts,
    quoted_part,
)
from rag_tutor.config import AnswerLength, Settings
from rag_tutor.conversation import check_question, standalone_question
from rag_tutor.disagreement import disagreeing
from rag_tutor.domain import (
    Answer,
    Citation,
    Encoder,
    Generator,
    Message,
    Passage,
    Reader,
    Turn,
)
from rag_tutor.errors import StaleIndexError
from rag_tutor.evidence import Evidence, leads, near_best, rank_evidence, select_evidence
from rag_tutor.grounding import Grounding, closest_headings, prompt, stands_alone
from rag_tutor.listing import Listing, best_listing, listings_around
from rag_tutor.retrieval import DEFAULT_WEIGHTS, Query, Retrieval, Weights, retrieve
from rag_tutor.spelling import corrected
from rag_tutor.weights import model_identity
from rag_tutor.words import content_words, words

# Below this relevance the notes are taken to hold no answer. Chosen with the default models on the
# questions in benchmarks/questions and the development set.
_RELEVANT = 0.32
# Of a follow-up, beside its standalone wording. Chosen on the questions in benchmarks/questions.
_TYPED_WEIGHT = 0.5
_EARLIER_WEIGHT = 0.2
# Of what is asked for a fact and of what asks for more.
_MAX_QUOTATIONS: dict[AnswerLength, tuple[int, int]] = {
    "short": (1, 1),
    "normal": (3, 5),
    "detailed": (6, 8),
}
# The generator reads the best passages only: reading five takes twice as long.
_WRITTEN_FROM = 3
_MAX_TOKENS = 200
# What a chat template adds around the messages, at most.
_TEMPLATE_TOKENS = 64

# One model at a time: transformers sets the type of numbers for the whole process while it loads.
# A model that is made of another one may load that inside.
_LOADING = threading.RLock()

Model = TypeVar("Model")
Piece = TypeVar("Piece")
Stage = Literal["searching", "reading", "writing", "done"]


class Timings(TypedDict):
    """Milliseconds: `rewrite` and `retrieve` of their own, the others since the question;
    `first_token` until the first sentence that is checked.
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
        typed, standalone = self._understand(store, check_question(question), history)
        return standalone, self._retrieve(store, typed, standalone, history, limit)

    def reply(self, question: str, history: Sequence[Turn] = ()) -> Iterator[Reply]:
        """Answer a question; closing the iterator stops the generator.

        Raises ConversationError for a question that can't be read, IndexMissingError or
        StaleIndexError, and ModelUnavailableError.
        """
        watch = _Stopwatch()
        question = check_question(question)
        store = self._open_store()
        with watch.step("rewrite"):
            typed, standalone = self._understand(store, question, history)
        answer = Answer("", (), (), refused=False)
        yield Reply("searching", Turn(question, standalone, answer), watch.read())

        with watch.step("retrieve"):
            found = self._retrieve(store, typed, standalone, history)
        answer = replace(answer, passages=found.passages)
        yield Reply("reading", Turn(question, standalone, answer), watch.read())

        parts: list[Part] = []
        if found.relevance >= _RELEVANT:
            for part in watch.timed(
                _with_disagreements(
                    self._parts(store, standalone, found, history, is_full=standalone == typed),
                    standalone,
                    found.passages,
                )
            ):
                parts.append(part)
                answer = _answer(parts, found.passages)
                yield Reply("writing", Turn(question, standalone, answer), watch.read())
        if not parts:
            answer = _refusal(typed, found.passages, store.vocabulary)
        yield Reply("done", Turn(question, standalone, answer), watch.read())

    def _parts(
        self,
        store: stores.Store,
        question: str,
        found: Retrieval,
        history: Sequence[Turn],
        is_full: bool,
    ) -> Iterator[Part]:
        """The parts of an answer: the list that is asked for, or what is written and supported,
        from the first sentence on that tells what was asked, then quotations of the other evidence.
        A short answer is one sentence or list, or one quotation.

        A generator that was trained to quote begins with what the reader finds best; nobody needs
        to wait for it to say so, unless one sentence isn't what was asked for.
        """
        passages, length = found.passages, self.settings.answer_length
        grounding = Grounding(passages)
        listings = listings_around(passages, store.chunks_of)
        is_for_several = asks_for_several(question)
        # For a follow-up, single sentences were right twice as often as the best list.
        if listings and is_full and is_for_several:
            listing = best_listing(question, listings, passages, self._reader())
            if listing:
                yield from _listed(listing, passages, grounding, length)
                return
        ranked = rank_evidence(question, passages, found.sentences, store.rarity)
        generator = self._generator()
        is_led = generator.knows_the_task and not is_for_several
        said = _lead(ranked, passages, listings) if is_led else []
        for citation in said:
            yield leading_part(grounding.with_repetitions(citation))
        if length == "short" and said:
            return
        messages = _fitting_prompt(question, passages[:_WRITTEN_FROM], history, generator)
        pieces = generator.stream(messages, _MAX_TOKENS)
        is_written = False
        with closing(pieces):
            for part in checked_parts(pieces, grounding):
                begun = [each for each in listings if each.holds(part.citations[0])]
                if begun and part.form == "item" and not is_written:
                    # A small model seldom comes to the end of a list.
                    yield from _listed(begun[0], passages, grounding, length)
                    return
                is_first = part.form == "sentence" and not is_written
                if is_first and not leads(ranked, part.citations, passages):
                    continue
                if length == "short" and is_written and part.form != "item":
                    break
                is_written = True
                if not _places(part.citations) <= _places(said):
                    yield part
                    said.extend(part.citations)
        if length == "short" and said:
            return
        limit = _MAX_QUOTATIONS[length][asks_for_much(question)]
        evidence = [_citation(each, passages) for each in select_evidence(ranked, limit)]
        yield from _quoted(evidence, said, grounding)

    def _understand(
        self, store: stores.Store, question: str, history: Sequence[Turn]
    ) -> tuple[str, str]:
        """The question without slips of typing, and as it would be asked without a history."""
        typed = corrected(question, store.spellings, store.vocabulary)
        return typed, standalone_question(typed, history, self._reader(), store.vocabulary)

    def _retrieve(
        self,
        store: stores.Store,
        question: str,
        standalone: str,
        history: Sequence[Turn],
        limit: int | None = None,
    ) -> Retrieval:
        """Passages for a question; for a follow-up, what it was typed as and the question
        before count too, in case its standalone wording took over too much or too little.
        """
        queries = [Query(question)]
        if standalone != question:
            queries = [
                Query(question, _TYPED_WEIGHT),
                Query(history[-1].standalone, _EARLIER_WEIGHT),
                Query(standalone),
            ]
        limit = limit or self.settings.passages
        encoder = self._encoders[store.manifest.encoder]()
        return retrieve(store, encoder, self._reader(), queries, limit, self._weights)

    def _open_store(self) -> stores.Store:
        """The index in use now, which another process may have built a moment ago."""
        with self._store_lock:
            build = stores.current_build(self.settings.index)
            if self._store is None or self._store.build != build:
                self._store = self._load_store()
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


def _fitting_prompt(
    question: str, passages: Sequence[Passage], history: Sequence[Turn], generator: Generator
) -> list[Message]:
    """The prompt with as many of the passages, the best first, as the generator can read."""
    room = generator.context_tokens - _MAX_TOKENS - _TEMPLATE_TOKENS
    for count in range(len(passages), 0, -1):
        messages = prompt(question, passages[:count], history, generator.knows_the_task)
        needed = sum(generator.count_tokens(message["content"]) for message in messages)
        if needed <= room:
            break
    return messages


def _with_disagreements(
    parts: Iterator[Part], question: str, passages: Sequence[Passage]
) -> Iterator[Part]:
    """The parts of an answer; instead of one that other notes contradict, both sides."""
    shown: set[tuple[int, int]] = set()
    for part in parts:
        cited = part.citations[0]
        if _place(cited) in shown:
            continue
        others = disagreeing(question, cited, passages) if part.form != "item" else ()
        if others:
            sides = replace(cited, support="quoted"), *others
            shown.update(map(_place, sides))
            yield disagreeing_part(sides)
        else:
            yield part


def _listed(
    listing: Listing, passages: Sequence[Passage], grounding: Grounding, length: AnswerLength
) -> Iterator[Part]:
    citations = (listing if length == "short" else listing.explained).citations(passages)
    items = [grounding.with_repetitions(each) for each in citations]
    above = listing.lead
    lead = replace(citations[0], start=above.start, end=above.end) if above else None
    return listed_parts(listing.heading[-1], items, lead, names_only=length == "short")


def _citation(item: Evidence, passages: Sequence[Passage]) -> Citation:
    return Citation(item.number, passages[item.number - 1], item.start, item.end, "quoted")


def _lead(
    ranked: Sequence[Evidence], passages: Sequence[Passage], listings: Sequence[Listing]
) -> list[Citation]:
    """The best sentence that can be an answer's first, if there is one: not an item of a list."""
    near = (_citation(each, passages) for each in near_best(ranked))
    first = next(filter(stands_alone, near), None)
    return [first] if first and not any(each.holds(first) for each in listings) else []


def _quoted(
    evidence: Sequence[Citation], said: Sequence[Citation], grounding: Grounding
) -> Iterator[Part]:
    """Quotations of the evidence that wasn't said yet."""
    known = _places(said)
    before = said[-1] if said else None
    for citation in evidence:
        if _place(citation) not in known:
            is_led = before is not None and _follows(citation, before)
            yield quoted_part(grounding.with_repetitions(citation), is_led)
            before = citation


def _follows(citation: Citation, before: Citation) -> bool:
    """Whether a citation is of the sentence right after another, which leads to it."""
    chunk = citation.passage.chunk
    between = chunk.text[before.end - chunk.start : citation.start - chunk.start]
    is_near = citation.number == before.number and before.end <= citation.start
    return is_near and not words(between)


def _places(citations: Sequence[Citation]) -> set[tuple[int, int]]:
    return {_place(each) for citation in citations for each in (citation, *citation.also)}


def _place(citation: Citation) -> tuple[int, int]:
    # Not by its start: "Answer:" before a sentence is part of what was written, not of evidence.
    return citation.number, citation.end


def _answer(parts: Sequence[Part], passages: Sequence[Passage]) -> Answer:
    """The answer so far; further passages of a list join the others in the order of its items."""
    citations = tuple(citation for part in parts for citation in part.citations)
    read = [*passages]
    for citation in citations:
        if citation.number > len(read):
            read.append(citation.passage)
    return Answer(joined(parts), citations, tuple(read), refused=False)


def _refusal(question: str, passages: tuple[Passage, ...], vocabulary: Set[str]) -> Answer:
    """What is said instead of an answer: which words no note holds, and what comes closest."""
    text = "I can't find this in your notes."
    strange = [word for word in words(question) if set(content_words(word)) - vocabulary]
    if strange:
        text += (
            f" None of them mentions {' or '.join(f'“{word}”' for word in dict.fromkeys(strange))}."
        )
    closest = [f"- {line}" for line in closest_headings(passages)]
    if closest:
        text += "\n\nThe closest headings are:\n\n" + "\n".join(closest)
    return Answer(text, (), passages, refused=True)


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
