"""Measures retrieval and refusals on files of questions or conversations; makes no model calls
of its own.

A file is JSON Lines. A question has `question`, `evidence`, `alternatives` and `answerable`;
a conversation has `turns` of the same form, each with the wording `standalone`.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from rag_tutor.chunking import plain_text
from rag_tutor.domain import Passage, Turn
from rag_tutor.errors import TutorError
from rag_tutor.words import share_in_order, words

DEPTH = 10
_ENOUGH = 0.8


Search = Callable[[str, Sequence[Turn]], Turn]
Item = dict[str, Any]


def evaluate(paths: Sequence[Path], search: Search) -> dict[str, dict[str, float]]:
    """Return the metrics of each group of questions in the files.

    Groups: "questions"; of conversations, "first turns", "follow-ups" (memory on), and for
    comparison the same without memory ("as typed") and in a person's wording ("standalone").
    Metrics, means from 0 to 1: hit@1, hit@5, recall@5, recall@10, mrr over the answerable
    ones, `n` of them; and the shares of `answered` answerable and `refused` unanswerable ones.
    Raises TutorError for a file that can't be read.
    """
    groups: dict[str, list[tuple[Item, Turn]]] = {}
    for path in paths:
        for item in _items(path):
            for group, asked, found in _asked(item, search):
                groups.setdefault(group, []).append((asked, found))
    return {group: _metrics(asked) for group, asked in groups.items()}


def _asked(item: Item, search: Search) -> Iterator[tuple[str, Item, Turn]]:
    if "turns" not in item:
        yield "questions", item, search(item["question"], ())
        return
    history: tuple[Turn, ...] = ()
    for turn in item["turns"]:
        found = search(turn["question"], history)
        yield ("follow-ups" if history else "first turns"), turn, found
        if history:
            yield "follow-ups, as typed", turn, search(turn["question"], ())
            yield "follow-ups, standalone", turn, search(turn["standalone"], ())
        history = (*history, found)


def _items(path: Path) -> Iterator[Item]:
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise TutorError(f"{path} can't be read: {error}.") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            item = json.loads(line)
            turns = item.get("turns", [item])
            valid = bool(turns) and all(map(_is_question, turns))
            valid = valid and all(isinstance(turn["standalone"], str) for turn in turns[1:])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            valid = False
        if not valid:
            raise TutorError(
                f"{path}, line {number} is no question or conversation of the form that "
                "`rag-tutor eval` reads; the README shows one."
            )
        yield item


def _is_question(item: Item) -> bool:
    sets = [item["evidence"], *item["alternatives"]] if item["answerable"] else []
    return isinstance(item["question"], str) and all(
        bool(one) and all(isinstance(part["doc"] + part["quote"], str) for part in one)
        for one in sets
    )


def _metrics(asked: Sequence[tuple[Item, Turn]]) -> dict[str, float]:
    answerable = [(item, found) for item, found in asked if item["answerable"]]
    unanswerable = [found for item, found in asked if not item["answerable"]]
    judged = [_judge(item, found.answer.passages) for item, found in answerable]
    metrics = {name: fmean(row[name] for row in judged) for name in (judged or [{}])[0]}
    metrics["n"] = len(judged)
    if answerable:
        metrics["answered"] = fmean(not found.answer.refused for _, found in answerable)
    if unanswerable:
        metrics["refused"] = fmean(found.answer.refused for found in unanswerable)
    return {name: round(value, 3) for name, value in metrics.items()}


def _judge(item: Item, passages: Sequence[Passage]) -> dict[str, float]:
    sets = [item["evidence"], *item["alternatives"]]
    ranks = [[_rank(evidence, passages) for evidence in one] for one in sets]
    first = min(rank for row in ranks for rank in row)
    return {
        "hit@1": float(first <= 1),
        "hit@5": float(first <= 5),
        "recall@5": max(fmean(rank <= 5 for rank in row) for row in ranks),
        "recall@10": max(fmean(rank <= 10 for rank in row) for row in ranks),
        "mrr": 1 / first if first <= DEPTH else 0.0,
    }


def _rank(evidence: dict[str, str], passages: Sequence[Passage]) -> int:
    """The rank of the first passage that holds the quote, from 1; beyond the last if none."""
    quote = words(plain_text(evidence["quote"]))
    for rank, passage in enumerate(passages, start=1):
        if passage.chunk.document_id != evidence["doc"]:
            continue
        if share_in_order(quote, words(plain_text(passage.chunk.text))) >= _ENOUGH:
            return rank
    return DEPTH + 1
