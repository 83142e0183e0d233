"""Runs the default encoder on our own engine (bert.py), all others on sentence-transformers
(embedding.py); knows nothing of what is encoded.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from rag_tutor.bert import Bert
from rag_tutor.config import DEFAULT_ENCODER
from rag_tutor.domain import Encoder, Span, Vectors
from rag_tutor.errors import ModelUnavailableError
from rag_tutor.weights import default_encoder_folder, first_line, is_folder, model_identity

_MAX_TOKENS = 256

# A text's number, the vectors of its tokens, of shape (tokens, dimension), and their offsets in it,
# of shape (tokens, 2).
TokenVectors = tuple[int, Vectors, NDArray[np.int64]]


class DefaultEncoder:
    """all-MiniLM-L6-v2, on the CPU. Any number of threads may use it at once."""

    def __init__(self, bert: Bert) -> None:
        self.name = DEFAULT_ENCODER
        self.dimension = bert.width
        self.max_tokens = bert.max_tokens
        self._bert = bert

    def count_tokens(self, text: str) -> int:
        """Number of tokens of a text, special ones included, however long it is."""
        return self._bert.count_tokens(text)

    def encode_passages(
        self, texts: Sequence[str], sentences: Sequence[Sequence[Span]]
    ) -> tuple[Vectors, Vectors]:
        """Encode texts to be found, and the sentences that stand at the given spans of each.

        Returns float32 of shape (len(texts), dimension), and of shape (number of all spans,
        dimension) in their order; all L2-normalised. Of the vectors of a text's tokens, the
        text's is the mean of all, and a sentence's that of its own.
        """
        return mean_vectors(self._bert.read(texts), sentences, self.dimension)

    def encode_query(self, text: str) -> Vectors:
        """Encode a question: float32 of shape (dimension,), L2-normalised."""
        question: Vectors = self.encode_passages([text], [()])[0][0]
        return question


def load_encoder(name: str) -> Encoder:
    """Load the default encoder, or one from a folder or the hub.

    Only a hub id reaches for the network, and only if it isn't cached yet. Where torch finds a GPU,
    the default runs there, on sentence-transformers. Raises ModelUnavailableError.
    """
    is_default = name == DEFAULT_ENCODER
    try:
        source = str(default_encoder_folder()) if is_default else name
        if is_default and not torch.accelerator.is_available():
            return DefaultEncoder(Bert(Path(source), Path(source, "tokenizer.json"), _MAX_TOKENS))
        from rag_tutor.embedding import load_sentence_encoder  # the default does without it

        return load_sentence_encoder(model_identity(name), source, is_default or is_folder(name))
    except ModelUnavailableError:
        raise
    except Exception as error:  # what a broken model raises is anybody's guess
        raise ModelUnavailableError(
            f"No encoder could be loaded from {name!r}: {first_line(error)} "
            "Name a folder or hub id of a sentence-transformers model with --encoder."
        ) from error


def mean_vectors(
    tokens: Iterable[TokenVectors], sentences: Sequence[Sequence[Span]], dimension: int
) -> tuple[Vectors, Vectors]:
    """The vectors of texts and of the sentences at the given spans of each, as `encode_passages`
    returns them, from those of their tokens in any order of the texts.

    A sentence's is the mean of the sentence's own tokens, read within the whole text: "late
    chunking", Günther et al. 2024, arXiv:2409.04701.
    """
    texts = np.zeros((len(sentences), dimension), dtype=np.float32)
    parts = [texts[:0]] * len(sentences)
    for row, vectors, offsets in tokens:
        texts[row] = vectors.mean(axis=0)
        parts[row] = _sentence_means(vectors, offsets, sentences[row])
    return _normalised(texts), _normalised(np.concatenate([texts[:0], *parts]))


def _sentence_means(tokens: Vectors, offsets: NDArray[np.int64], spans: Sequence[Span]) -> Vectors:
    """The mean vector of the tokens in each span, or of all where it has none of its own."""
    found = np.empty((len(spans), tokens.shape[1]), dtype=np.float32)
    for row, (start, end) in enumerate(spans):
        own = (offsets[:, 0] >= start) & (offsets[:, 1] <= end) & (offsets[:, 1] > offsets[:, 0])
        found[row] = tokens[own if own.any() else slice(None)].mean(axis=0)
    return found


def _normalised(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)
