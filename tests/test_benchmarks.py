"""What the bench computes of an answer, on answers whose measures are known."""

import numpy as np
import pytest

from benchmarks.answers import citation_checks
from benchmarks.faithfulness import table
from rag_tutor.domain import Answer, Chunk, Passage

TOWER = "The Eiffel Tower was built in 1889 by Gustave Eiffel."
SEA = "The sea is salty everywhere."
PASSAGES = tuple(
    Passage(Chunk("n.md", (), 0, len(text), text), 1.0, ("dense",))
    for text in (f"{TOWER} It stands in Paris.", f"# Salt\n\n{SEA}", "```py\nx = 1\n```")
)


@pytest.mark.parametrize(
    ("text", "held"),
    [
        (f"{TOWER} [1]", [[True]]),
        (f"{TOWER} [2]", [[False]]),
        (f"{TOWER} [1, 2]", [[True, False]]),
        (f"{TOWER} [1][2]", [[True, False]]),
        (f"{TOWER} [9]", [[False]]),
        (TOWER, [[]]),
        (f"{TOWER} [1] {SEA} [2]", [[True], [True]]),
        ("The Eiffel Tower was built in 1890. [1]", [[False]]),
        (f"From your notes:\n\n> - {SEA} [2]\n> - {TOWER} [1]", [[True], [True]]),
        ("Tastes:\n\n- Salt [2]\n- Sugar [2]", [[True], [False]]),
        ("```py\nx = 1\n```\n\n[3]", [[True]]),
        ("Your notes don't say who built it.", []),
    ],
)
def test_citations_are_judged_one_by_one(text: str, held: list[list[bool]]) -> None:
    assert list(citation_checks(Answer(text, (), PASSAGES, refused=False))) == held


def test_the_auc_is_the_share_of_pairs_in_the_right_order() -> None:
    scores = np.array([[1, 0, 2], [2, 0, 1], [0, 0, 1.5]])
    rows = table(scores, np.array([True, True, False])).split("\n")[2:]
    assert [row.split("|")[-2].strip() for row in rows] == ["1.000", "0.500", "0.500"]
