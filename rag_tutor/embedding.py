"""Runs any model of sentence-transformers as an Encoder; knows nothing of what it encodes."""

import threading
from collections.abc import Iterator, Sequence

import numpy as np
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Normalize
from sentence_transformers.sentence_transformer.modules import Pooling
from transformers.utils import logging as transformers_logging

from rag_tutor.domain import Span, Vectors
from rag_tutor.encoding import TokenVectors, mean_vectors
from rag_tutor.errors import ModelUnavailableError

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
        self._takes_mean = _takes_mean(model)

    def count_tokens(self, text: str) -> int:
        """Number of tokens of a text, special ones included, however long it is."""
        with self._lock:
            return len(self._model.tokenizer(text, truncation=False, verbose=False)["input_ids"])

    def encode_passages(
        self, texts: Sequence[str], sentences: Sequence[Sequence[Span]]
    ) -> tuple[Vectors, Vectors]:
        """Encode texts to be found, and the sentences that stand at the given spans of each.

        Returns float32 of shape (len(texts), dimension), and of shape (number of all spans,
        dimension) in their order; all L2-normalised. A model that takes the mean of its tokens
        gives a sentence the mean of the sentence's own, read within the whole text: "late
        chunking", Günther et al. 2024, arXiv:2409.04701. Any other encodes sentences alone.
        """
        if not self._takes_mean:
            alone = [
                text[start:end]
                for text, spans in zip(texts, sentences, strict=True)
                for start, end in spans
            ]
            return self._encode(texts), self._encode(alone)
        return mean_vectors(self._tokens(texts), sentences, self.dimension)

    def _encode(self, texts: Sequence[str]) -> Vectors:
        with self._lock:
            vectors = self._model.encode_document(
                list(texts), batch_size=_BATCH, normalize_embeddings=True, show_progress_bar=False
            )
        return np.asarray(vectors, dtype=np.float32).reshape(len(texts), self.dimension)

    def _tokens(self, texts: Sequence[str]) -> Iterator[TokenVectors]:
        for start in range(0, len(texts), _BATCH):
            batch = list(texts[start : start + _BATCH])
            with self._lock:
                embeddings = self._model.encode_document(
                    batch, output_value="token_embeddings", show_progress_bar=False
                )
                encoded = self._model.tokenizer(
                    batch,
                    truncation=True,
                    max_length=self.max_tokens,
                    return_offsets_mapping=True,
                )
            both = zip(embeddings, encoded["offset_mapping"], strict=True)
            for row, (vectors, offsets) in enumerate(both, start=start):
                # Only padding on the right has been cut off.
                yield row, vectors.float().cpu().numpy()[-len(offsets) :], np.array(offsets)

    def encode_query(self, text: str) -> Vectors:
        """Encode a question: float32 of shape (dimension,), L2-normalised."""
        with self._lock:
            vector = self._model.encode_query(
                text, normalize_embeddings=True, show_progress_bar=False
            )
        return np.asarray(vector, dtype=np.float32)


def load_sentence_encoder(name: str, source: str, is_local: bool) -> SentenceEncoder:
    """Load a model from a folder or the hub. Raises whatever a broken one makes the library raise,
    and ModelUnavailableError.
    """
    return SentenceEncoder(name, SentenceTransformer(source, local_files_only=is_local))


def _takes_mean(model: SentenceTransformer) -> bool:
    """Whether a text's vector is the mean of its tokens' vectors, and of nothing else."""
    _, pooling, *rest = [*model, None]
    prompts = (model.prompts.get(name) for name in ("document", "passage", "corpus"))
    return (
        getattr(model.tokenizer, "is_fast", False)
        and isinstance(pooling, Pooling)
        and pooling.pooling_mode == "mean"
        and all(isinstance(module, Normalize | None) for module in rest)
        and model.default_prompt_name is None
        and not any(prompts)
    )
