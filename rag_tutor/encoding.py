"""Runs a sentence-transformers model as an Encoder; knows nothing of what it encodes."""

import threading
from collections.abc import Sequence

import numpy as np
from sentence_transformers import SentenceTransformer
from transformers.utils import logging as transformers_logging

from rag_tutor.config import DEFAULT_ENCODER
from rag_tutor.domain import Vectors
from rag_tutor.errors import ModelUnavailableError
from rag_tutor.weights import default_encoder_folder, first_line, is_folder, model_identity

_BATCH = 32
transformers_logging.disable_progress_bar()


class SentenceEncoder:
    """A sentence-transformers model on the CPU, or on a GPU where torch finds one."""

    def __init__(self, name: str, model: SentenceTransformer) -> None:
        self.name = name
        self._model = model
        # Truncation is state of the tokenizer, which a rebuild and a question share.
        self._lock = threading.Lock()
        dimension = model.get_embedding_dimension()
        if dimension is None:
            raise ModelUnavailableError(f"{name} gives no fixed-size vectors; choose another.")
        self.dimension: int = dimension
        self.max_tokens: int = model.get_max_seq_length() or 512

    def count_tokens(self, text: str) -> int:
        """Number of tokens of a text, special ones included, however long it is."""
        with self._lock:
            return len(self._model.tokenizer(text, truncation=False, verbose=False)["input_ids"])

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Encode texts to be found: float32 of shape (len(texts), dimension), L2-normalised."""
        with self._lock:
            vectors = self._model.encode_document(
                list(texts), batch_size=_BATCH, normalize_embeddings=True, show_progress_bar=False
            )
        return np.asarray(vectors, dtype=np.float32).reshape(len(texts), self.dimension)

    def encode_query(self, text: str) -> Vectors:
        """Encode a question: float32 of shape (dimension,), L2-normalised."""
        with self._lock:
            vector = self._model.encode_query(
                text, normalize_embeddings=True, show_progress_bar=False
            )
        return np.asarray(vector, dtype=np.float32)


def load_encoder(name: str) -> SentenceEncoder:
    """Load the default encoder, or one from a folder or the hub.

    Only a hub id reaches for the network, and only if it isn't cached yet.
    Raises ModelUnavailableError.
    """
    is_default = name == DEFAULT_ENCODER
    source = str(default_encoder_folder()) if is_default else name
    try:
        model = SentenceTransformer(source, local_files_only=is_default or is_folder(name))
    except Exception as error:  # what a broken model raises is anybody's guess
        raise ModelUnavailableError(
            f"No encoder could be loaded from {name!r}: {first_line(error)} "
            "Name a folder or hub id of a sentence-transformers model with --encoder."
        ) from error
    return SentenceEncoder(model_identity(name), model)
