"""Reads a question together with passages or with the conversation before it: the model that
`training/train_reader.py` makes; knows nothing of how its scores are weighed.

One pass over a passage tells whether it answers the question, and which of its sentences do,
in the way of Provence (Chirkova et al., ICLR 2025, arXiv:2501.16214), which joins a reranker
with the choice of what to keep of each passage.
"""

import re
import threading
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer
from transformers.utils import logging as transformers_logging

from rag_tutor.domain import Reading, Span
from rag_tutor.errors import ModelUnavailableError
from rag_tutor.processor import fastest_options
from rag_tutor.weights import default_encoder_folder, first_line

LABELS = ("relevance", "evidence", "carry")
RELEVANCE, EVIDENCE, CARRY = range(len(LABELS))
_FOLDER = Path(__file__).parent / "models" / "reader"
# Room for a question and a whole chunk; all that the weights have places for is 512.
_QUESTION_CHARACTERS = 300
_PASSAGE_TOKENS = 384
_BATCH = 4
# Each length needs programs of its own, which oneDNN makes and keeps.
_LENGTHS = 32
_CONVERSATION_TOKENS = 384
_WORD = re.compile(r"[^\W_]+(?:[-'’][^\W_]+)*")
transformers_logging.disable_progress_bar()


class TokenReader:
    """A token classifier with three logits for each token, on the CPU."""

    def __init__(self, folder: Path) -> None:
        tokenizer = default_encoder_folder()
        # Truncation is state of the tokenizer, and it is called with two lengths.
        self._lock = threading.Lock()
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(tokenizer, local_files_only=True)
            model = AutoModelForTokenClassification.from_pretrained(
                folder, local_files_only=True, **fastest_options()
            )
        except Exception as error:  # what a broken model raises is anybody's guess
            raise ModelUnavailableError(
                f"The reader in {folder} can't be loaded: {first_line(error)} "
                "It comes with RAG Tutor; install that again."
            ) from error
        self._model = model.eval()

    def read(
        self, question: str, texts: Sequence[str], sentences: Sequence[Sequence[Span]]
    ) -> list[Reading]:
        """Read each text for the question; `sentences[i]` are the spans of `texts[i]`.

        Of the question, 300 characters are read; of both together, 384 tokens. A sentence beyond
        them has the evidence minus infinity.
        """
        readings: dict[int, Reading] = {}
        # Texts of one length together need the least padding.
        order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
        for start in range(0, len(order), _BATCH):
            batch = order[start : start + _BATCH]
            logits, offsets = self._logits(question, [texts[at] for at in batch], _PASSAGE_TOKENS)
            for row, at in enumerate(batch):
                evidence = logits[row, :, EVIDENCE]
                readings[at] = Reading(
                    float(logits[row, 0, RELEVANCE]),
                    tuple(_mean(evidence, offsets[row], span) for span in sentences[at]),
                )
        return [readings[at] for at in range(len(texts))]

    def carried_words(self, question: str, conversation: str) -> list[tuple[str, float]]:
        """The words of a conversation in order, each with the probability that a person who
        writes the question so that it stands alone would take it over.
        """
        logits, offsets = self._logits(question, [conversation], _CONVERSATION_TOKENS)
        chances = torch.sigmoid(logits[:, :, CARRY])
        return [
            (match[0], float(chances[0, own].max()))
            for match in _WORD.finditer(conversation)
            if (own := _inside(offsets[0], match.span())).any()
        ]

    @torch.inference_mode()
    def _logits(
        self, question: str, texts: Sequence[str], max_tokens: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits of shape (texts, tokens, labels), and the offsets in the text, of shape (texts,
        tokens, 2); (0, 0) for tokens that are not of the text.
        """
        with self._lock:
            encoded = self._tokenizer(
                [question[:_QUESTION_CHARACTERS]] * len(texts),
                list(texts),
                padding=True,
                pad_to_multiple_of=_LENGTHS,
                truncation="only_second",
                max_length=max_tokens,
                return_tensors="pt",
                return_offsets_mapping=True,
            )
        offsets = encoded.pop("offset_mapping") * encoded["token_type_ids"][..., None]
        return self._model(**encoded).logits.float(), offsets


def load_reader() -> TokenReader:
    """Load the reader that comes with RAG Tutor. Raises ModelUnavailableError."""
    return TokenReader(_FOLDER)


def _mean(logits: torch.Tensor, offsets: torch.Tensor, span: Span) -> float:
    """The mean logit of a sentence's tokens; minus infinity if it wasn't read."""
    own = _inside(offsets, span)
    return float(logits[own].mean()) if own.any() else float("-inf")


def _inside(offsets: torch.Tensor, span: Span) -> torch.Tensor:
    start, end = span
    return (offsets[:, 0] >= start) & (offsets[:, 1] <= end) & (offsets[:, 1] > offsets[:, 0])
