"""Ranks the sentences of passages by how well they answer a question; knows nothing of
language models or prompts.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rag_tutor.chunking import clean_heading, plain_text
from rag_tutor.domain import Encoder, Passage
from rag_tutor.sentences import LIST_MARK, TABLE_RULE, Span, sentence_spans
from rag_tutor.words import content_words, words

_MIN_WORDS = 4
_MAX_LIST = 10
_MAX_TITLE_WORDS = 14
_COVERAGE_WEIGHT = 0.2
# Each rank that its passage stands lower costs a sentence this much.
_RANK_PENALTY = 0.06
# Evidence is within this distance of the best sentence.
_NEAR_BEST = 0.25

_NO_STATEMENT = re.compile(
    r"\s*(?:#|!\[)|.*https?://|.*[?:][*_`\s]*$|\s*\d{1,3}[.)]\s+\*\*.*\*\*\s*$", re.DOTALL
)
_LABEL = re.compile(r"[*_`]*(?:answer|ans|solution|a)[`*_]*:[`*_]*\s+", re.IGNORECASE)
_ASKS_FOR_SEVERAL = re.compile(
    r"\b(?:list|name (?:all|the|some)|give me|collect|every|all the|steps?|what are|which are"
    r"|(?:what|which) (?:\w+ ){0,2}(?:\w+s) (?:are|do|can|does|did|have|could|should)"
    r"|kinds?|types?|options|ways|techniques|methods|challenges|advantages|drawbacks"
    r"|applications|strategies|examples)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """A sentence of `passages[number - 1]`, with its span in that passage's document."""

    number: int
    start: int
    end: int
    text: str
    score: float


def rank_evidence(
    question: str,
    passages: Sequence[Passage],
    encoder: Encoder,
    rarity: Callable[[str], float],
) -> list[Evidence]:
    """Return the statements among the passages' sentences, best first.

    The score is the cosine similarity of the question to the sentence below its heading,
    plus the rarity-weighted share of the question's words that it holds, less a little for
    each rank of its passage.
    """
    statements = [
        (number, span)
        for number, passage in enumerate(passages, start=1)
        for span in statement_spans(passage.chunk.text)
        if not _is_heading(passage, span)
    ]
    if not statements:
        return []
    texts = [_in_context(passages[number - 1], span) for number, span in statements]
    similar = encoder.encode_documents(texts) @ encoder.encode_query(question)
    wanted = {word: rarity(word) for word in content_words(question)}
    evidence = [
        _evidence(number, passages[number - 1], span, float(likeness) + _COVERAGE_WEIGHT * share)
        for (number, span), likeness, share in zip(
            statements, similar, _coverage(wanted, texts), strict=True
        )
    ]
    return sorted(evidence, key=lambda item: -item.score)


def select_evidence(
    question: str, ranked: Sequence[Evidence], passages: Sequence[Passage], limit: int
) -> list[Evidence]:
    """Choose what to quote: the best sentences, or the best one's whole list if several are asked
    for. In the order of the passages and of their text.
    """
    if not ranked:
        return []
    chosen: list[Evidence] = []
    if _ASKS_FOR_SEVERAL.search(question):
        chosen = _list_around(ranked, passages)
    for item in ranked:
        if len(chosen) >= limit or item.score < ranked[0].score - _NEAR_BEST:
            break
        if not any(_repeats(item, other) for other in chosen):
            chosen.append(item)
    return sorted(chosen, key=lambda item: (item.number, item.start))


def statement_spans(text: str) -> list[Span]:
    """The spans of the sentences that state something: no titles, questions, links or lead-ins."""
    spans = (_without_label(text, span) for span in sentence_spans(text))
    return [span for span in spans if _states_something(text, span)]


def _without_label(text: str, span: Span) -> Span:
    start, end = span
    label = _LABEL.match(text, start, end)
    return (label.end() if label else start), end


def _states_something(text: str, span: Span) -> bool:
    sentence = text[slice(*span)]
    if _NO_STATEMENT.match(sentence) or len(words(plain_text(sentence))) < _MIN_WORDS:
        return False
    if "|" in sentence:
        below = text[span[1] + 1 :].split("\n", 1)[0]
        return not ("|" in below and TABLE_RULE.fullmatch(below))  # the head of a table
    finished = sentence.rstrip("*_`)\"'”’")[-1:] in ".!…;" or LIST_MARK.match(sentence)
    return bool(finished) or "\n" in sentence or len(words(sentence)) > _MAX_TITLE_WORDS


def _is_heading(passage: Passage, span: Span) -> bool:
    """A title can be long and have sentences of its own; the chunk knows its titles."""
    line = clean_heading(passage.chunk.text[slice(*span)])
    return any(line and line in heading for heading in passage.chunk.heading)


def _in_context(passage: Passage, span: Span) -> str:
    sentence = plain_text(passage.chunk.text[span[0] : span[1]])
    return ": ".join([*passage.chunk.heading[-1:], sentence])


def _evidence(number: int, passage: Passage, span: Span, score: float) -> Evidence:
    chunk = passage.chunk
    return Evidence(
        number=number,
        start=chunk.start + span[0],
        end=chunk.start + span[1],
        text=chunk.text[span[0] : span[1]],
        score=score - _RANK_PENALTY * (number - 1),
    )


def _coverage(wanted: dict[str, float], texts: Sequence[str]) -> np.ndarray:
    total = sum(wanted.values()) or 1.0
    held = [wanted.keys() & set(content_words(text)) for text in texts]
    return np.array([sum(wanted[word] for word in row) / total for row in held])


def _list_around(ranked: Sequence[Evidence], passages: Sequence[Passage]) -> list[Evidence]:
    """The items of the passage of the best list item, if one is among the best sentences."""
    near = [item for item in ranked[:5] if LIST_MARK.match(item.text)]
    if not near:
        return []
    items = [
        item for item in ranked if item.number == near[0].number and LIST_MARK.match(item.text)
    ]
    return sorted(items, key=lambda item: item.start)[:_MAX_LIST]


def _repeats(item: Evidence, other: Evidence) -> bool:
    own, others = set(content_words(item.text)), set(content_words(other.text))
    return len(own & others) >= 0.8 * min(len(own), len(others))
