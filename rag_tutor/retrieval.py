"""Finds the passages for a question: dense and BM25 lists, fused by rank, without repetitions;
knows nothing of conversations or of how an answer is written.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from rag_tutor.chunking import searchable_text
from rag_tutor.domain import Chunk, Encoder, Passage
from rag_tutor.store import Hits, Store
from rag_tutor.words import content_words

_CANDIDATES = 50
# Cormack, Clarke and Buettcher, "Reciprocal Rank Fusion outperforms Condorcet and individual
# Rank Learning Methods", SIGIR 2009; the constant is theirs.
_RANK_CONSTANT = 60
# A chunk repeats another if this share of its different words stands in the other one.
_REPETITION = 0.9
_COVERAGE_WEIGHT = 0.3
# As many as an answer is made from by default, whatever number is asked for.
_COVERING = 5


@dataclass(frozen=True, slots=True)
class Query:
    """A wording of a question, and its weight when several are searched for together."""

    text: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Retrieval:
    """The passages found, best first, and how likely it is that they hold an answer.

    `relevance` is the best cosine similarity plus 0.3 times the share of the question's
    words that the passages hold, rare words counting more; from about 0 to 1.3.
    """

    passages: tuple[Passage, ...]
    relevance: float


def retrieve(store: Store, encoder: Encoder, queries: Sequence[Query], limit: int) -> Retrieval:
    """Find the best `limit` passages for a question, given as one or more wordings of it.

    The first wording is the one typed: if it has words of its own, the passages must hold them.
    """
    dense = [store.nearest(encoder.encode_query(query.text), _CANDIDATES) for query in queries]
    bm25 = [store.matching(content_words(query.text), _CANDIDATES) for query in queries]
    weights = [query.weight for query in queries]
    scores = rank_fusion([*map(_rows, dense), *map(_rows, bm25)], [*weights, *weights])
    sources = {"dense": _union(dense), "bm25": _union(bm25)}
    ranked = (
        Passage(
            store.chunks[row],
            scores[row],
            tuple(name for name, rows in sources.items() if row in rows),
        )
        for row in sorted(scores, key=lambda row: (-scores[row], row))
    )
    passages = tuple(islice(_without_repetitions(ranked), limit))
    similarity = max(hits[0][1] for hits in dense)
    own_words = next((query.text for query in queries if content_words(query.text)), "")
    covered = _coverage(store, own_words, [passage.chunk for passage in passages[:_COVERING]])
    return Retrieval(passages, similarity + _COVERAGE_WEIGHT * covered)


def rank_fusion(rankings: Sequence[Sequence[int]], weights: Sequence[float]) -> dict[int, float]:
    """Fuse ranked lists: score(row) = sum of weight / (60 + rank), ranks counted from 1."""
    scores: dict[int, float] = {}
    for ranking, weight in zip(rankings, weights, strict=True):
        for rank, row in enumerate(ranking, start=1):
            scores[row] = scores.get(row, 0.0) + weight / (_RANK_CONSTANT + rank)
    return scores


def _rows(hits: Hits) -> list[int]:
    return [row for row, _ in hits]


def _union(lists: Iterable[Hits]) -> set[int]:
    return {row for hits in lists for row, _ in hits}


def _without_repetitions(passages: Iterable[Passage]) -> Iterator[Passage]:
    kept: list[set[str]] = []
    for passage in passages:
        own = set(content_words(passage.chunk.text))
        if any(len(own & other) >= _REPETITION * len(own) for other in kept):
            continue
        kept.append(own)
        yield passage


def _coverage(store: Store, question: str, chunks: Sequence[Chunk]) -> float:
    """The share of the question's words in the chunks, weighted by their rarity."""
    wanted = {word: store.rarity(word) for word in content_words(question)}
    held = {word for chunk in chunks for word in content_words(searchable_text(chunk))}
    total = sum(wanted.values())
    return sum(wanted[word] for word in wanted if word in held) / total if total else 0.0
