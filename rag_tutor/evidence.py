"""Ranks the sentences of passages by how well they answer a question; knows nothing of
language models or prompts.
"""

import re
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import chain, zip_longest

from rag_tutor.asking import tells_what_is_asked
from rag_tutor.chunking import is_title, label_above, plain_text
from rag_tutor.domain import Citation, Passage, Span, Vectors
from rag_tutor.sentences import LIST_MARK, TABLE_RULE, sentence_spans
from rag_tutor.words import content_words, words

_MIN_WORDS = 4
_MAX_TITLE_WORDS = 14
_COVERAGE_WEIGHT = 0.2
# Each rank that its passage stands lower costs a sentence this much.
_RANK_PENALTY = 0.06
# Evidence is within this distance of the best sentence, and so is that of a written sentence, which
# leads the answer; both chosen on the questions in benchmarks/questions and the development set.
_NEAR_BEST, _LEADING = 0.35, 0.3
# A passage this far behind the best one was only read because there was no better one.
_FAR_PASSAGE = 0.5

# "What is X?" asks for a sentence that says what X is, and these ask for no more than that.
_DEFINING = re.compile(
    r":|\b(?:(?:is|are|was|were) (?:an?|the|one|when|where|how)|(?:refers?|referred) to|means?"
    r"|stands? for|denotes?|describes?|represents?|consists? of)\b"
)
_DEFINES_BONUS, _FACT_BONUS = 0.2, 0.1
_ASKING = frozenset(
    content_words(
        "explain define definition describe tell know mean meaning term concept idea words word"
        " plain simple simply short brief briefly exactly actually"
    )
)

_NO_STATEMENT = re.compile(
    r"\s*(?:#|!\[)|.*https?://|.*[?:][*_`\s]*$|\s*\d{1,3}[.)]\s+\*\*(?:[^*]+|.*\*\*\s*)$",
    re.DOTALL,
)
_LABEL = re.compile(r"[*_`]*(?:answer|ans|solution|a)[`*_]*:[`*_]*\s+", re.IGNORECASE)


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
    scores: Sequence[Vectors],
    rarity: Callable[[str], float],
) -> list[Evidence]:
    """Return the statements among the passages' sentences, best first.

    `scores[i]` tells how well each sentence of `passages[i]` answers. To it comes the
    rarity-weighted share of the question's words that the sentence and its heading hold, and
    something if it says what a thing is of which nothing else is asked, or names the person, time
    or amount that is asked for, less a little for each rank of its passage. Passages that are far
    behind the best one are left out.
    """
    wanted = {word: rarity(word) for word in content_words(question)}
    total = sum(wanted.values()) or 1.0
    subject = wanted.keys() - _ASKING
    evidence = []
    for number, (passage, own) in enumerate(zip(passages, scores, strict=True), start=1):
        if _is_far(passage, passages):
            continue
        for sentence, span in _statements(passage.chunk.text):
            if is_title(passage.chunk, span):
                continue
            held = wanted.keys() & set(content_words(_in_context(passage, span)))
            share = sum(wanted[word] for word in held) / total
            score = float(own[sentence]) + _COVERAGE_WEIGHT * share
            said = plain_text(LIST_MARK.sub("", passage.chunk.text[slice(*span)]))
            if _defines(said, passage.chunk.heading[-1:], subject):
                score += _DEFINES_BONUS
            if tells_what_is_asked(question, said):
                score += _FACT_BONUS
            evidence.append(_evidence(number, passage, span, score))
    return sorted(evidence, key=lambda item: -item.score)


def select_evidence(rankings: Sequence[Sequence[Evidence]], limit: int) -> list[Evidence]:
    """Choose what to quote: the best sentences, of each ranking in turn, passage by passage in the
    order of their text, the passage of the best one first.
    """
    near = [
        [item for item in ranked if item.score >= ranked[0].score - _NEAR_BEST]
        for ranked in rankings
    ]
    chosen: list[Evidence] = []
    for item in chain.from_iterable(zip_longest(*near)):
        if item and len(chosen) < limit and not any(_repeats(item, each) for each in chosen):
            chosen.append(item)
    passages = list(dict.fromkeys(item.number for item in chosen))
    return sorted(chosen, key=lambda item: (passages.index(item.number), item.start))


def leads(
    ranked: Sequence[Evidence], citations: Sequence[Citation], passages: Sequence[Passage]
) -> bool:
    """Whether a sentence that is cited answers nearly as well as the best one; a short sentence or
    one with a link, which isn't ranked, may lead as well, but none of a passage far behind.
    """
    if all(_is_far(citation.passage, passages) for citation in citations):
        return False
    cited = {(citation.number, citation.end) for citation in citations}
    scores = [item.score for item in ranked if (item.number, item.end) in cited]
    return not scores or max(scores) >= ranked[0].score - _LEADING


def near_best(ranked: Sequence[Evidence]) -> list[Evidence]:
    """The evidence that answers nearly as well as the best one, best first."""
    return [item for item in ranked if item.score >= ranked[0].score - _LEADING]


def _is_far(passage: Passage, passages: Sequence[Passage]) -> bool:
    return passage.score < max(each.score for each in passages) - _FAR_PASSAGE


def statement_spans(text: str) -> list[Span]:
    """The spans of the sentences that state something: no titles, questions, links or lead-ins."""
    return [span for _, span in _statements(text)]


def without_label(text: str, span: Span) -> Span:
    """The span of a sentence without "Answer:" or the like before it."""
    start, end = span
    label = _LABEL.match(text, start, end)
    return (label.end() if label else start), end


def _statements(text: str) -> Iterator[tuple[int, Span]]:
    """Each statement's number among the sentences, and its span."""
    for number, sentence in enumerate(sentence_spans(text)):
        span = without_label(text, sentence)
        if _states_something(text, span):
            yield number, span


def _states_something(text: str, span: Span) -> bool:
    sentence = text[slice(*span)]
    if _NO_STATEMENT.match(sentence) or len(words(plain_text(sentence))) < _MIN_WORDS:
        return False
    if "|" in sentence:
        below = text[span[1] + 1 :].split("\n", 1)[0]
        return not ("|" in below and TABLE_RULE.fullmatch(below))  # the head of a table
    finished = sentence.rstrip("*_`)\"'”’")[-1:] in ".!…;" or LIST_MARK.match(sentence)
    return bool(finished) or "\n" in sentence or len(words(sentence)) > _MAX_TITLE_WORDS


def _defines(said: str, headings: Sequence[str], subject: Set[str]) -> bool:
    """Whether a sentence says right away what a subject is, which it names together with the
    heading; a label before it names nothing else.
    """
    above = set(content_words(" ".join(headings)))
    for found in list(_DEFINING.finditer(said))[:2]:
        head = set(content_words(said[: found.start()]))
        is_other_label = found[0] == ":" and not head <= subject
        if subject & head and subject <= head | above and not is_other_label:
            return True
    return False


def _in_context(passage: Passage, span: Span) -> str:
    text = passage.chunk.text
    sentence = plain_text(text[span[0] : span[1]])
    return ": ".join([*passage.chunk.heading[-1:], label_above(text, span[0]), sentence])


def _evidence(number: int, passage: Passage, span: Span, score: float) -> Evidence:
    chunk = passage.chunk
    return Evidence(
        number=number,
        start=chunk.start + span[0],
        end=chunk.start + span[1],
        text=chunk.text[span[0] : span[1]],
        score=score - _RANK_PENALTY * (number - 1),
    )


def _repeats(item: Evidence, other: Evidence) -> bool:
    own, others = set(content_words(item.text)), set(content_words(other.text))
    return len(own & others) >= 0.8 * min(len(own), len(others))
