"""Corrects slips of typing in a question by the words of the notes; knows nothing of how passages
are found.
"""

import functools
import re
from collections.abc import Mapping, Set

from rapidfuzz import process
from rapidfuzz.distance import OSA

from rag_tutor.weights import default_encoder_folder
from rag_tutor.words import STOPWORDS, content_words

# Shorter words have too many neighbours.
_LETTERS_FOR_ONE_SLIP = 5
_LETTERS_FOR_TWO_SLIPS = 9
_WORD = re.compile(r"[^\W\d_]+")
# What makes another word of a term, often its opposite: a note on the one doesn't mean the other.
_MAKES_ANOTHER_TERM = [
    re.compile(pattern)
    for pattern in (
        "^(?:hypo|hyper)",
        "^(?:micro|macro)",
        "^(?:inter|intra)",
        "^(?:endo|exo|ecto)",
        "^(?:homo|hetero)",
        "^(?:ante|anti)",
        "^(?:iso|ana|cata|meta)",
        "(?:ane|ene|yne)s?$",
        "(?:ite|ate|ide)s?$",
        "(?:ase|ose)s?$",
    )
]


def corrected(question: str, spellings: Mapping[str, int], vocabulary: Set[str]) -> str:
    """The question with the words that are misspelt as the notes spell them.

    `spellings` are the words of the notes in lower case, and how often they stand there;
    `vocabulary` are the same words stemmed. A word is misspelt if no note has it in any form, it
    isn't one of the common words of English, and notes have one that begins alike and differs by
    one slip, or in long words two: a letter left out, added, exchanged, or swapped with the next
    (optimal string alignment, by rapidfuzz). Of those equally near the most frequent one is taken;
    never another term, as hyperglycemia is for hypoglycemia.
    """
    return _WORD.sub(lambda match: _meant(match[0], spellings, vocabulary), question)


def _meant(word: str, spellings: Mapping[str, int], vocabulary: Set[str]) -> str:
    lower = word.lower()
    if len(word) < _LETTERS_FOR_ONE_SLIP or lower in STOPWORDS or lower in _common_words():
        return word
    if vocabulary >= set(content_words(word)):
        return word
    slips = 1 if len(word) < _LETTERS_FOR_TWO_SLIPS else 2
    alike = [other for other in spellings if other[0] == lower[0]]
    near = process.extract(lower, alike, scorer=OSA.distance, score_cutoff=slips, limit=None)
    near = [found for found in near if not _is_other_term(lower, found[0])]
    best = min(near, key=lambda found: (found[1], -spellings[found[0]]), default=None)
    if not best:
        return word
    return best[0].title() if word.istitle() else best[0]


def _is_other_term(one: str, other: str) -> bool:
    """Whether two words differ by a beginning or an ending that makes another term."""
    return any(
        (rest := part.sub("", one)) != one and rest == part.sub("", other) != other
        for part in _MAKES_ANOTHER_TERM
    )


@functools.cache
def _common_words() -> frozenset[str]:
    """The words that the default encoder's tokenizer knows as a whole."""
    path = default_encoder_folder() / "vocab.txt"
    return frozenset(path.read_text(encoding="utf-8").split("\n"))
