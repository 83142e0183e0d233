import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import rag_tutor
from rag_tutor import domain, errors
from rag_tutor.__main__ import _answer_object, main
from rag_tutor.config import DEFAULT_ENCODER
from rag_tutor.conversations import Conversations
from rag_tutor.domain import Answer, Chunk, Citation, Passage, Turn
from rag_tutor.tutor import Reply, Timings
from rag_tutor.weights import full_name

ROOT = Path(__file__).parent.parent
COMMANDS = ["index", "search", "ask", "chat", "eval", "serve", "feedback"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_is_in_the_readme(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as leaving:
        main([command, "--help"])
    assert leaving.value.code == 0
    shown = capsys.readouterr().out
    for option in ("--corpus", "--index", "--encoder", "--generator"):
        assert option in shown
    assert f"rag-tutor {command}" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["dance"],
        ["search"],
        ["search", "q", "-k", "0"],
        ["search", "q", "-k", "many"],
        ["serve", "--port", "99999"],
        ["index", "--fast"],
        ["eval"],
    ],
)
def test_wrong_usage_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(arguments)
    assert leaving.value.code == 2
    assert "usage: rag-tutor" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "what is it"], "There is no index at"),
        (["ask", "what is it", "--json"], "Run: rag-tutor index"),
        (["ask", ""], "The question is empty"),
        (["ask", "?!"], "no words"),
        (["ask", "x" * 100_000], "100,000 characters"),
        (["eval", "nowhere.jsonl"], "nowhere.jsonl can't be read"),
        (["index", "--encoder", "no-such-folder/"], "No encoder could be loaded"),
    ],
)
def test_an_expected_failure_is_one_line_and_exits_with_1(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert main(arguments) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err
    assert len(printed.err.strip().splitlines()) == 1


def test_feedback_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = Conversations(tmp_path / "kept.sqlite3")
    options = ["feedback", "--conversations", str(kept.path)]
    assert main(options) == 0
    assert capsys.readouterr().out == ""
    kept.rate(kept.ask("c1", "What is magma?", 0), "down", "not in\nmy notes")
    assert main(options) == 0
    shown = capsys.readouterr().out
    assert "down  What is magma?" in shown
    assert "not in my notes" in shown
    assert main([*options, "--json"]) == 0
    (item,) = json.loads(capsys.readouterr().out)
    assert (item["rating"], item["comment"]) == ("down", "not in\nmy notes")
    kept.path.write_bytes(b"broken" * 1000)
    assert main(options) == 1
    assert "kept.sqlite3 can't be used" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    [
        '{"question": "x"}',
        '{"question": 5, "evidence": [], "alternatives": [], "answerable": false}',
        '{"question": "x", "evidence": [], "alternatives": [], "answerable": true}',
        '{"question": "x", "evidence": 5, "alternatives": [], "answerable": true}',
        '{"question": "x", "evidence": [{"doc": "a"}], "alternatives": [], "answerable": true}',
        '{"question": "x", "evidence": [5], "alternatives": null, "answerable": true}',
        '{"turns": []}',
        "[" * 100_000,
        "5",
        "[]",
        "not json",
    ],
)
def test_a_line_that_is_no_question_is_named(
    line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.jsonl").write_text(line + "\n")
    assert main(["eval", str(tmp_path / "bad.jsonl")]) == 1
    assert "bad.jsonl, line 1 is no question" in capsys.readouterr().err


def test_a_model_in_a_folder_has_the_same_name_wherever_it_is_named_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "encoder").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(["index", "--corpus", str(tmp_path), "--encoder", "./encoder"]) == 1
    assert str(tmp_path / "encoder") in capsys.readouterr().err


def test_a_folder_of_a_default_models_name_is_not_taken_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / DEFAULT_ENCODER).mkdir()
    monkeypatch.chdir(tmp_path)
    assert full_name(DEFAULT_ENCODER) == DEFAULT_ENCODER


def test_help_and_import_load_no_model_library() -> None:
    code = (
        "import sys, rag_tutor, rag_tutor.__main__ as m\n"
        "try: m.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'numpy', 'torch', 'transformers', 'gradio', 'faiss'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert run.stdout.strip().endswith("[]")


def test_the_public_names_are_sorted_and_there() -> None:
    assert rag_tutor.__all__ == sorted(rag_tutor.__all__)
    assert all(hasattr(rag_tutor, name) for name in rag_tutor.__all__)


def test_every_error_is_a_tutor_error_and_drawn_in_the_tree() -> None:
    drawn = re.findall(r"[├└]── (\w+)", errors.__doc__ or "")
    assert [error.__name__ for error in errors.TutorError.__subclasses__()] == drawn


def test_nouns_are_frozen() -> None:
    chunk = domain.Chunk("a.md", (), 0, 1, "x")
    with pytest.raises(AttributeError):
        chunk.text = "y"  # type: ignore[misc]


def test_json_of_the_readme_is_valid() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```json\n(.*?)```", readme, re.DOTALL)
    assert len(blocks) == 2
    assert all("question" in json.loads(block) for block in blocks)


def test_a_citation_in_json_names_the_other_places_that_say_the_same() -> None:
    passages = tuple(
        Passage(Chunk(name, ("Sea",), 0, 13, "Seas are salt"), 1.0, ("dense",))
        for name in ("one.md", "two.md")
    )
    also = Citation(2, passages[1], 0, 13, "verbatim")
    citations = (Citation(1, passages[0], 0, 13, "verbatim", (also,)),)
    turn = Turn("q", "q", Answer("Seas are salt [1]", citations, passages, refused=False))
    timings = Timings(rewrite=0, retrieve=0, first_token=0, total=0)
    [citation] = _answer_object("c", Reply("done", turn, timings))["citations"]
    place = {"heading": "Sea", "start": 0, "end": 13, "quote": "Seas are salt"}
    assert citation == {
        **{"number": 1, "document": "one.md", **place, "support": "verbatim"},
        "also": [{"number": 2, "document": "two.md", **place}],
    }
