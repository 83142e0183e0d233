"""Measures retrieval and refusals on files of questions or conversations; makes no model calls
of its own.

A file is JSON Lines. A question has `question`, `evidence`, `alternatives` and `answerable`;
a conversation has `turns` of the same form, each with the wording `standalone`.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Judgement:
    """A question of a file, what was found for it, and its metrics; none if unanswerable."""

    group: str
    item: Item
    turn: Turn
    metrics: dict[str, float]


def evaluate(paths: Sequence[Path], search: Search) -> dict[str, dict[str, float]]:
    """Return the metrics of each group of questions in the files, as `summarise` gives them."""
    return summarise(judge(paths, search))


def judge(paths: Sequence[Path], search: Search, compare: bool = True) -> Iterator[Judgement]:
    """Search for each question of the files, and judge what is found.

    Groups: "questions"; of conversations, "first turns", "follow-ups" (memory on), and if they
    are to be compared the same without memory ("as typed") and in a person's wording
    ("standalone").
    Metrics, from 0 to 1: hit@1, hit@5, recall@5, recall@10, mrr. Raises TutorError for a file
    that can't be read.
    """
    for path in paths:
        for item in read_items(path):
            for group, asked, turn in _asked(item, search, compare):
                metrics = _metrics(asked, turn.answer.passages) if asked["answerable"] else {}
                yield Judgement(group, asked, turn, metrics)


def summarise(judgements: Iterable[Judgement]) -> dict[str, dict[str, float]]:
    """Return, for each group, the means of the metrics over its `n` answerable questions, and
    the shares of `answered` answerable and `refused` unanswerable ones.
    """
    groups: dict[str, list[Judgement]] = {}
    for judgement in judgements:
        groups.setdefault(judgement.group, []).append(judgement)
    return {group: _means(judged) for group, judged in groups.items()}


def read_items(path: Path) -> Iterator[Item]:
    """The questions or conversations of a file. Raises TutorError if it can't be read."""
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


def _asked(item: Item, search: Search, compare: bool) -> Iterator[tuple[str, Item, Turn]]:
    if "turns" not in item:
        yield "questions", item, search(item["question"], ())
        return
    history: tuple[Turn, ...] = ()
    for turn in item["turns"]:
        found = search(turn["question"], history)
        yield ("follow-ups" if history else "first turns"), turn, found
        if history and compare:
            yield "follow-ups, as typed", turn, search(turn["question"], ())
            yield "follow-ups, standalone", turn, search(turn["standalone"], ())
        history = (*history, found)


def _is_question(item: Item) -> bool:
    sets = [item["evidence"], *item["alternatives"]] if item["answerable"] else []
    return isinstance(item["question"], str) and all(
        bool(one) and all(isinstance(part["doc"] + part["quote"], str) for part in one)
        for one in sets
    )


def _means(judged: Sequence[Judgement]) -> dict[str, float]:
    answerable = [each for each in judged if each.metrics]
    refused = [each.turn.answer.refused for each in judged if not each.metrics]
    names = answerable[0].metrics if answerable else ()
    means = {name: fmean(each.metrics[name] for each in answerable) for name in names}
    means["n"] = len(answerable)
    if answerable:
        means["answered"] = fmean(not each.turn.answer.refused for each in answerable)
    if refused:
        means["refused"] = fmean(refused)
    return {name: round(value, 3) for name, value in means.items()}


def _metrics(item: Item, passages: Sequence[Passage]) -> dict[str, float]:
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
