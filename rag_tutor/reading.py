"""Reads a question together with passages or with the conversation before it: the model that
`training/train_reader.py` makes; knows nothing of how its scores are weighed.

One pass over a passage tells whether it answers the question, and which of its sentences do,
in the way of Provence (Chirkova et al., ICLR 2025, arXiv:2501.16214), which joins a reranker
with the choice of what to keep of each passage.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from rag_tutor.bert import Bert
from rag_tutor.domain import Reading, Span, Vectors
from rag_tutor.errors import ModelUnavailableError
from rag_tutor.weights import default_encoder_folder, first_line

LABELS = ("relevance", "evidence", "carry")
RELEVANCE, EVIDENCE, CARRY = range(len(LABELS))
_FOLDER = Path(__file__).parent / "models" / "reader"
# Room for a question and a whole chunk; all that the weights have places for is 512.
_QUESTION_CHARACTERS = 300
_TOKENS = 384
_WORD = re.compile(r"[^\W_]+(?:[-'’][^\W_]+)*")


class TokenReader:
    """A token classifier with three logits for each token, on the CPU. Any number of threads may
    use it at once.
    """

    def __init__(self, folder: Path) -> None:
        tokenizer = default_encoder_folder() / "tokenizer.json"
        try:
            self._bert = Bert(folder, tokenizer, _TOKENS, "bert.")
            with safe_open(folder / "model.safetensors", "pt") as weights:
                self._head = weights.get_tensor("classifier.weight").float().numpy()
                self._bias = weights.get_tensor("classifier.bias").float().numpy()
        except Exception as error:  # what a broken model raises is anybody's guess
            raise ModelUnavailableError(
                f"The reader in {folder} can't be loaded: {first_line(error)} "
                "It comes with RAG Tutor; install that again."
            ) from error

    def read(
        self, question: str, texts: Sequence[str], sentences: Sequence[Sequence[Span]]
    ) -> list[Reading]:
        """Read each text for the question; `sentences[i]` are the spans of `texts[i]`.

        Of the question, 300 characters are read, or fewer that take 190 tokens; of both together,
        384 tokens. A sentence beyond them has the evidence minus infinity.
        """
        readings: dict[int, Reading] = {}
        for at, logits, offsets in self._logits(question, texts):
            evidence = logits[:, EVIDENCE]
            readings[at] = Reading(
                float(logits[0, RELEVANCE]),
                tuple(_mean(evidence, offsets, span) for span in sentences[at]),
            )
        return [readings[at] for at in range(len(texts))]

    def carried_words(self, question: str, conversation: str) -> list[tuple[str, float]]:
        """The words of a conversation in order, each with the probability that a person who
        writes the question so that it stands alone would take it over.
        """
        ((_, logits, offsets),) = self._logits(question, [conversation])
        chances = 1 / (1 + np.exp(-logits[:, CARRY]))
        return [
            (match[0], float(chances[own].max()))
            for match in _WORD.finditer(conversation)
            if (own := _inside(offsets, match.span())).any()
        ]

    def _logits(
        self, question: str, texts: Sequence[str]
    ) -> Iterator[tuple[int, Vectors, NDArray[np.int64]]]:
        """For each text its number, the logits of shape (tokens, labels) and the offsets in it."""
        for at, vectors, offsets in self._bert.read(texts, question[:_QUESTION_CHARACTERS]):
            yield at, vectors @ self._head.T + self._bias, offsets


def load_reader() -> TokenReader:
    """Load the reader that comes with RAG Tutor. Raises ModelUnavailableError."""
    return TokenReader(_FOLDER)


def _mean(logits: Vectors, offsets: NDArray[np.int64], span: Span) -> float:
    """The mean logit of a sentence's tokens; minus infinity if it wasn't read."""
    own = _inside(offsets, span)
    return float(logits[own].mean()) if own.any() else float("-inf")


def _inside(offsets: NDArray[np.int64], span: Span) -> NDArray[np.bool_]:
    start, end = span
    inside: NDArray[np.bool_] = (
        (offsets[:, 0] >= start) & (offsets[:, 1] <= end) & (offsets[:, 1] > offsets[:, 0])
    )
    return inside
