"""Finds the passages for a question: the scores of vectors, words and the reader are added up,
and repetitions left out; knows nothing of conversations or of how an answer is written.
"""

from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from rag_tutor.chunking import searchable_text
from rag_tutor.domain import Chunk, Encoder, Passage, Reader, Vectors
from rag_tutor.store import Hits, Store
from rag_tutor.words import content_words

_CANDIDATES = 50
# A chunk repeats another if this share of its different words stands in the other one.
_REPETITION = 0.9
_COVERAGE_WEIGHT = 0.3
# As many as an answer is made from by default, whatever number is asked for.
_COVERING = 5
# Of a follow-up's passages, which its topic has found, those sentences answer that are close to
# what was typed. Chosen on the conversations in benchmarks/questions and the development set.
_TYPED_SHARE = 0.7
# Of a sentence that the reader did not read.
_LOWEST_LOGIT = -10.0
_READING_WEIGHT = 0.1
_READING_BOUND = 4.0


@dataclass(frozen=True, slots=True)
class Query:
    """A wording of a question, and its weight when several are searched for together."""

    text: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Weights:
    """What each component adds to the score of a passage.

    `dense` is the cosine similarity of question and passage, `sentences` that of the question
    and the most similar sentence, `bm25` the score over the best one's, from 0 to 1. Scores
    are added, not ranks: Bruch, Gai and Ingber, "An Analysis of Fusion Functions for Hybrid
    Retrieval", ACM TOIS 2023. `reader` is the reader's logit for the passage, and `evidence`, in
    choosing sentences, that for each of them; the best `read` passages are read, none if the
    weight `reader` is 0. benchmarks/retrieval.py measures what each is good for.
    """

    dense: float = 0.5
    sentences: float = 0.5
    bm25: float = 0.2
    reader: float = 0.05
    evidence: float = 0.02
    read: int = 8


DEFAULT_WEIGHTS = Weights()


@dataclass(frozen=True, slots=True)
class Retrieval:
    """The passages found, best first, and how likely it is that they hold an answer.

    `sentences[i]` holds, for each of `sentence_spans(passages[i].chunk.text)`, how well it
    answers: the sum of its cosine similarity to the question (of a follow-up, 0.7 of that to what
    was typed and 0.3 of that to the standalone question) and the reader's weighed logit.
    `relevance` is the best cosine similarity of a passage to the typed or the standalone question,
    plus 0.3 times the share of the question's words that the passages hold, rare words counting
    more, plus 0.1 times the best passage's logit by the reader, from -4 to 4, if any was read; from
    about -0.4 to 1.7.
    """

    passages: tuple[Passage, ...]
    sentences: tuple[Vectors, ...]
    relevance: float


def with_best_of(found: Retrieval, others: Sequence[Retrieval], limit: int) -> Retrieval:
    """What was found, cut to `limit` passages, among which the best of each of the others has its
    place: for a question that asks several things in a row, and what was found for each of them.
    """
    best = {other.passages[0].chunk: other for other in others[:limit]}
    free = limit - len(best)
    rest = [passage.chunk for passage in found.passages if passage.chunk not in best][:free]
    kept = among(found, {*best, *rest})
    added = best.keys() - {passage.chunk for passage in kept.passages}
    lowest = found.passages[-1].score
    new = [best[chunk] for chunk in best if chunk in added]
    return replace(
        kept,
        passages=(*kept.passages, *(replace(each.passages[0], score=lowest) for each in new)),
        sentences=(*kept.sentences, *(each.sentences[0] for each in new)),
    )


def among(found: Retrieval, chunks: Set[Chunk]) -> Retrieval:
    """What was found, of some chunks only."""
    kept = [at for at, passage in enumerate(found.passages) if passage.chunk in chunks]
    return replace(
        found,
        passages=tuple(found.passages[at] for at in kept),
        sentences=tuple(found.sentences[at] for at in kept),
    )


@dataclass(frozen=True, slots=True)
class _Match:
    """A query's vector, the rows nearest to it, and the BM25 scores of all rows, from 0 to 1."""

    vector: Vectors
    nearest: Hits
    bm25: Vectors


@dataclass(slots=True)
class _Candidate:
    """A row of the store, its score, and those of its sentences."""

    row: int
    score: float
    sentences: Vectors


def retrieve(
    store: Store,
    encoder: Encoder,
    reader: Reader,
    queries: Sequence[Query],
    limit: int,
    weights: Weights = DEFAULT_WEIGHTS,
) -> Retrieval:
    """Find the best `limit` passages for a question, given as one or more wordings of it.

    The first wording is the one typed: if it has words of its own, the passages must hold them.
    The last one stands alone: it is what the reader reads. Any between them only add candidates
    and their share of the score.
    """
    depth = max(_CANDIDATES, 2 * limit)
    matches = [_match(store, encoder, query.text, depth) for query in queries]
    found_by = {
        "dense": {row for match in matches for row, _ in match.nearest},
        "bm25": {row for match in matches for row in _best(match.bm25, depth)},
    }
    searched = {"dense": weights.dense + weights.sentences, "bm25": weights.bm25}
    rows = sorted(set().union(*(found_by[name] for name, weight in searched.items() if weight)))
    # "Why?" alone is close to nothing that answers it.
    typed_share = _TYPED_SHARE if content_words(queries[0].text) else 0.0
    asked = typed_share * matches[0].vector + (1 - typed_share) * matches[-1].vector
    shares = [query.weight for query in queries]
    candidates = _candidates(store, rows, matches, shares, weights, asked)
    best = list(islice(_without_repetitions(store, candidates), max(limit, weights.read)))
    reading = 0.0
    if weights.reader:
        if len(queries) > 1:
            # A follow-up is worded by a program, as no person would, and the reader judges its
            # passages no better than the scores do.
            weights = replace(weights, reader=0)
        reading = _read(store, reader, queries[-1].text, best[: weights.read], weights)
        for unread in best[weights.read :]:
            unread.sentences += weights.evidence * _LOWEST_LOGIT
        best.sort(key=lambda candidate: -candidate.score)
    passages = tuple(
        Passage(
            store.chunks[each.row],
            each.score,
            tuple(name for name, rows in found_by.items() if each.row in rows),
        )
        for each in best[:limit]
    )
    # A question in between is one asked before: that the notes answer it says nothing of this one.
    similarity = max(match.nearest[0][1] for match in (matches[0], matches[-1]))
    own_words = next((query.text for query in queries if content_words(query.text)), "")
    covered = _coverage(store, own_words, [passage.chunk for passage in passages[:_COVERING]])
    return Retrieval(
        passages,
        tuple(each.sentences for each in best[:limit]),
        similarity
        + _COVERAGE_WEIGHT * covered
        + _READING_WEIGHT * min(max(reading, -_READING_BOUND), _READING_BOUND),
    )


def _match(store: Store, encoder: Encoder, text: str, depth: int) -> _Match:
    vector = encoder.encode_query(text)
    bm25 = store.bm25_scores(content_words(text))
    return _Match(vector, store.nearest(vector, depth), bm25 / max(bm25.max(), 1e-9))


def _best(scores: Vectors, limit: int) -> list[int]:
    """The rows with the highest scores above 0."""
    # Sorting a million scores takes long. At least `limit` of them are as high as that many of the
    # highest in each of some stretches.
    stretches = np.arange(0, len(scores), max(len(scores) // (10 * limit), 1))
    highest = np.maximum.reduceat(scores, stretches)
    least = np.partition(highest, -limit)[-limit] if limit < len(highest) else 0.0
    rows = np.flatnonzero((scores >= least) & (scores > 0))
    best: list[int] = rows[np.argsort(-scores[rows], kind="stable")][:limit].tolist()
    return best


def _candidates(
    store: Store,
    rows: Sequence[int],
    matches: Sequence[_Match],
    shares: Sequence[float],
    weights: Weights,
    asked: Vectors,
) -> list[_Candidate]:
    """The rows by falling score: the mean over the wordings, each with its share. The sentences'
    scores are their similarities to the vector `asked`.
    """
    vectors = store.vectors(rows)
    sentences = [store.sentence_vectors(row) for row in rows]
    total = np.zeros(len(rows), dtype=np.float32)
    for match, share in zip(matches, shares, strict=True):
        nearest = [float((own @ match.vector).max(initial=0.0)) for own in sentences]
        total += share * weights.dense * (vectors @ match.vector)
        total += share * weights.sentences * np.array(nearest, dtype=np.float32)
        total += share * weights.bm25 * match.bm25[list(rows)]
    total /= sum(shares)
    return [
        _Candidate(rows[at], float(total[at]), sentences[at] @ asked)
        for at in np.argsort(-total, kind="stable")
    ]


def _read(
    store: Store,
    reader: Reader,
    question: str,
    candidates: Sequence[_Candidate],
    weights: Weights,
) -> float:
    """Add to the scores of passages and sentences what the reader makes of them; returns its best
    logit.
    """
    texts = [searchable_text(store.chunks[each.row]) for each in candidates]
    readings = reader.read(
        question, [each.text for each in texts], [each.sentences for each in texts]
    )
    lowest = min((reading.relevance for reading in readings), default=0.0)
    for candidate, reading in zip(candidates, readings, strict=True):
        # What was read can only gain, so that it stays before what wasn't.
        candidate.score += weights.reader * (reading.relevance - lowest)
        logits = np.maximum(reading.evidence, _LOWEST_LOGIT)
        candidate.sentences += (weights.evidence * logits).astype(np.float32)
    return max((reading.relevance for reading in readings), default=0.0)


def _without_repetitions(store: Store, candidates: Iterable[_Candidate]) -> Iterator[_Candidate]:
    kept: list[set[str]] = []
    for candidate in candidates:
        own = set(content_words(store.chunks[candidate.row].text))
        if any(len(own & other) >= _REPETITION * len(own) for other in kept):
            continue
        kept.append(own)
        yield candidate


def _coverage(store: Store, question: str, chunks: Sequence[Chunk]) -> float:
    """The share of the question's words in the chunks, weighted by their rarity."""
    wanted = {word: store.rarity(word) for word in content_words(question)}
    held = {word for chunk in chunks for word in content_words(searchable_text(chunk).text)}
    total = sum(wanted.values())
    return sum(wanted[word] for word in wanted if word in held) / total if total else 0.0
