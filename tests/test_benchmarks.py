"""What the benches compute of an answer, on answers whose measures are known, and that neither they
nor the pictures depend on what their user has set.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import load, main_job, peers
from benchmarks.answers import citation_checks
from benchmarks.faithfulness import table
from docs import screenshots
from rag_tutor.config import Settings
from rag_tutor.conversations import Conversations
from rag_tutor.domain import Answer, Chunk, Citation, Passage, Turn
from rag_tutor.evaluation import read_items
from rag_tutor.ui.render import answer_links, answer_markdown

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


def test_what_the_user_has_set_is_in_no_picture_and_no_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAG_TUTOR_CONVERSATIONS", "mine.sqlite")
    monkeypatch.setenv("RAG_TUTOR_GENERATOR", "http://localhost:11434#mine")
    own = Settings(corpus=tmp_path / "corpus", index=tmp_path / "index")
    for environment in (
        screenshots.environment(tmp_path),
        main_job.environment(own),
        load.environment(own),
    ):
        told = {name: value for name, value in environment.items() if "RAG_TUTOR" in name}
        assert told == {
            "RAG_TUTOR_CORPUS": str(tmp_path / "corpus"),
            "RAG_TUTOR_INDEX": str(tmp_path / "index"),
            "RAG_TUTOR_DATA": str(tmp_path / "data"),
        }
        assert "PATH" in environment


@pytest.mark.parametrize(
    ("question", "shown", "note", "faults"),
    [
        ("When?", "own", TOWER, (0, 0)),
        ("When?", "another", TOWER, (1, 0)),
        ("Where?", "own", TOWER, (1, 0)),
        ("When?", "own", SEA, (0, 1)),
    ],
)
def test_an_answer_under_load_is_compared_with_what_was_asked_and_with_the_note(
    tmp_path: Path, question: str, shown: str, note: str, faults: tuple[int, int]
) -> None:
    passage = Passage(Chunk("n.md", (), 0, len(TOWER), TOWER), 1.0, ("dense",))
    answer = Answer(f"{TOWER} [1]", (Citation(1, passage, 0, len(TOWER), "verbatim"),), (), False)
    turn = Turn("When?", "When?", replace(answer, passages=(passage,)))
    kept = Conversations(tmp_path / "c.sqlite3")
    number = kept.ask("c", "When?", 0)
    kept.finish(number, turn, "done", {}, {})
    seen = f"{answer_markdown(turn, number)}\n\n{answer_links(number, '')}"
    pages = {"own": seen, "another": seen.replace("1889", "1890")}
    asked = load.Asked("c", 0, question, pages[shown], first=1.0, complete=2.0)
    notebook = load.Notebook([asked])
    load.judge(notebook, kept, {"n.md": note})
    assert (len(notebook.mixed), len(notebook.unfounded)) == faults


def test_a_part_that_the_public_sets_dont_have_is_not_measured_there(tmp_path: Path) -> None:
    pytest.importorskip("ir_measures")
    from benchmarks.retrieval import public_table, without

    # Nothing is read: there is no such set.
    for part in ("headings", "rewriting", "spelling"):
        told = public_table(tmp_path, ["scifact"], [without([part])])
        assert told == f"Public sets: not measured without {part}."
    told = public_table(tmp_path, ["scifact"], [without(["headings", "reader"])])
    assert told == "Public sets: not measured without headings, reader."


def test_what_a_peer_finds_is_judged_by_the_evidence_that_it_holds() -> None:
    found = {
        item["question"]: [
            {"document": each["doc"], "text": f"Before. {each['quote']} After."}
            for each in item["evidence"]
        ]
        for item in read_items(peers.EVIDENCE)
    }
    everything = peers.retrieval(found)
    assert (everything["hit@5"], everything["recall@5"]) == (1, 1)
    elsewhere = {
        question: [each | {"document": "other.md"} for each in passages]
        for question, passages in found.items()
    }
    assert peers.retrieval(elsewhere)["hit@5"] == 0
