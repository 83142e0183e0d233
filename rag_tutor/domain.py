"""The nouns of the pipeline and the protocols behind it; knows nothing of any library.

Document -> Chunk -> Passage -> Answer (of Citations) -> Turn, each wrapping the one before.
"""

from collections.abc import Generator as PythonGenerator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, TypedDict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# In quotation marks, as importing NumPy takes longer than all the rest of the package.
Vectors: TypeAlias = "NDArray[np.float32]"
TextStream = PythonGenerator[str, None, None]
TokenStream = PythonGenerator[int, None, None]
Span = tuple[int, int]
Support = Literal["verbatim", "reworded", "quoted"]


@dataclass(frozen=True, slots=True)
class Document:
    """A note as the student sees it.

    `id` is the path relative to the corpus, with forward slashes. `content_hash` is the
    SHA-256 of the file's bytes and only serves to notice a change.
    """

    id: str
    title: str
    text: str
    content_hash: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """A stretch of a document: `document.text[start:end] == text`, offsets in characters."""

    document_id: str
    heading: tuple[str, ...]
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk that was found for a question; a higher score is better."""

    chunk: Chunk
    score: float
    found_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Citation:
    """The sentence `[start, end)` of the passage's document that supports the marker `number`.

    `support` tells how: the generator's sentence takes its words from it in their order
    ("verbatim") or in another one ("reworded"), or it is shown itself ("quoted"). `also` are the
    places in other passages where the same statement stands; they aren't marked in the answer.
    """

    number: int
    passage: Passage
    start: int
    end: int
    support: Support
    also: tuple["Citation", ...] = ()

    @property
    def quote(self) -> str:
        """Exactly the cited span of the document."""
        chunk = self.passage.chunk
        return chunk.text[self.start - chunk.start : self.end - chunk.start]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the student reads. Each marker `[n]` in `text` has a citation numbered n.

    Markers stand outside code and in the order of `citations`. `passages` are those that were
    read, in order: `[n]` is `passages[n - 1]`; the generator is shown the first of them. After
    them come those that hold further items of a list.
    A refusal has no citations; its passages are what was found instead.
    """

    text: str
    citations: tuple[Citation, ...]
    passages: tuple[Passage, ...]
    refused: bool


@dataclass(frozen=True, slots=True)
class Turn:
    """One question and its answer. `standalone` is what was searched for."""

    question: str
    standalone: str
    answer: Answer


class Message(TypedDict):
    """One message of a chat prompt."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reader says of a text, in logits: that it answers, and that each sentence does.

    The evidence of a sentence that it didn't read is minus infinity.
    """

    relevance: float
    evidence: tuple[float, ...]


class Encoder(Protocol):
    """Turns text into vectors whose inner product is their cosine similarity."""

    @property
    def name(self) -> str:
        """Identifies the model; an index remembers it."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""

    @property
    def max_tokens(self) -> int:
        """How many of its own tokens, special ones included, the model reads."""

    def count_tokens(self, text: str) -> int:
        """Number of tokens that `text` takes, special ones included."""

    def encode_passages(
        self, texts: Sequence[str], sentences: Sequence[Sequence[Span]]
    ) -> tuple[Vectors, Vectors]:
        """Encode texts to be found, and the sentences that stand at the given spans of each.

        Returns float32 of shape (len(texts), dimension), and of shape (number of all spans,
        dimension) in their order; all L2-normalised.
        """

    def encode_query(self, text: str) -> Vectors:
        """Encode a question: float32 of shape (dimension,), L2-normalised."""


class Reader(Protocol):
    """A small model that reads a question together with passages, or with a conversation."""

    def read(
        self, question: str, texts: Sequence[str], sentences: Sequence[Sequence[Span]]
    ) -> list[Reading]:
        """Read each text for the question; `sentences[i]` are the spans of `texts[i]`."""

    def carried_words(self, question: str, conversation: str) -> list[tuple[str, float]]:
        """The words of a conversation in order, each with the probability that the question,
        written so that it stands alone, would hold it.
        """


class Generator(Protocol):
    """A language model that continues a chat."""

    @property
    def name(self) -> str:
        """Identifies the model."""

    @property
    def context_tokens(self) -> int:
        """How many tokens prompt and answer may take together."""

    @property
    def knows_the_task(self) -> bool:
        """Whether it was trained to answer from numbered notes, and needn't be told how."""

    def count_tokens(self, text: str) -> int:
        """Number of tokens that `text` takes."""

    def stream(self, messages: Sequence[Message], max_tokens: int) -> TextStream:
        """Yield the reply in pieces as it is written. Closing the stream stops the model."""
