import json
from pathlib import Path

from rag_tutor.corpus import read_document
from tests.models.conftest import ROOT, RunCommand

ANSWER_KEYS = [
    "conversation",
    "question",
    "standalone",
    "answer",
    "refused",
    "citations",
    "passages",
    "timings_ms",
]
PASSAGE_KEYS = ["rank", "document", "heading", "start", "end", "text", "score"]

# Refuses every connection and look-up but those of this machine.
OFFLINE = """
import runpy, sys
def guard(event, arguments):
    if event in ("socket.connect", "socket.sendto"):
        address = arguments[1]
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise SystemExit(f"{event} to {address}")
    if event == "socket.getaddrinfo" and arguments[0] not in ("127.0.0.1", "::1", "localhost"):
        raise SystemExit(f"look-up of {arguments[0]}")
sys.addaudithook(guard)
sys.argv[0] = "rag-tutor"
runpy.run_module("rag_tutor", run_name="__main__")
"""


def test_search_prints_json_and_nothing_else(run_command: RunCommand) -> None:
    run = run_command("search", "What is mode collapse?", "-k", "3", "--json")
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert list(found) == ["question", "standalone", "passages"]
    assert [passage["rank"] for passage in found["passages"]] == [1, 2, 3]
    for passage in found["passages"]:
        assert list(passage) == PASSAGE_KEYS
        document = read_document(ROOT / "corpus", passage["document"])
        assert document.text[passage["start"] : passage["end"]] == passage["text"]


def test_ask_streams_text_that_ends_with_its_sources(run_command: RunCommand) -> None:
    run = run_command("ask", "What is mode collapse?")
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    assert "limited" in run.stdout
    assert run.stdout.rstrip().splitlines()[-1].startswith("[")
    assert ".md: " in run.stdout.rstrip().splitlines()[-1]


def test_batch_mode_keeps_order_and_conversations_apart(run_command: RunCommand) -> None:
    lines = [
        '{"conversation": "a", "question": "What is a variational autoencoder?"}',
        '{"conversation": "b", "question": "What is SMOTE?"}',
        "not json",
        '{"conversation": "a"}',
        '{"conversation": "a", "question": "?"}',
        '{"conversation": "a", "question": "half a \\ud800 character"}',
        '{"conversation": "a\\ud800", "question": "What is SMOTE?"}',
        '{"conversation": 5, "question": "What is SMOTE?"}',
        "[]",
        "5",
        '{"conversation": "b", "question": "and when is it used?"}',
        "",
        '{"conversation": "a", "question": "how is it trained?"}',
        '{"conversation": "new", "question": "how is it trained?"}',
    ]
    run = run_command("chat", "--jsonl", text="\n".join(lines))
    assert run.returncode == 0, run.stderr
    answers = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(answers) == 13
    assert [list(answer) for answer in answers[2:10]] == [["error"]] * 8
    assert list(answers[0]) == ANSWER_KEYS
    assert "autoencoder" in answers[11]["standalone"]
    assert "SMOTE" not in answers[11]["standalone"]
    assert "SMOTE" in answers[10]["standalone"]
    assert answers[12]["standalone"] == "how is it trained?"
    assert all(timing >= 0 for timing in answers[0]["timings_ms"].values())


def test_everything_works_without_a_network(run_command: RunCommand, tmp_path: Path) -> None:
    guard = tmp_path / "offline.py"
    guard.write_text(OFFLINE)
    for arguments in (
        ["index", "--full", "--index", str(tmp_path / "index"), "--corpus", str(small(tmp_path))],
        ["ask", "Where does the river Seine flow?", "--index", str(tmp_path / "index")],
    ):
        run = run_command(*arguments, start=str(guard))
        assert run.returncode == 0, run.stdout + run.stderr
    assert "Paris" in run.stdout


def test_the_guard_of_the_offline_test_bites(run_command: RunCommand, tmp_path: Path) -> None:
    guard = tmp_path / "offline.py"
    guard.write_text(OFFLINE)
    run = run_command("index", "--encoder", "some/hub-id", start=str(guard), HF_HUB_OFFLINE="0")
    assert "look-up of" in run.stderr or "socket.connect" in run.stderr


def small(folder: Path) -> Path:
    corpus = folder / "corpus"
    corpus.mkdir()
    (corpus / "rivers.md").write_text("# Rivers\n\nThe river Seine flows through Paris.\n")
    return corpus


def test_eval_measures_questions_and_conversations(run_command: RunCommand, tmp_path: Path) -> None:
    note = (ROOT / "corpus" / "genai-handbook.md").read_text(encoding="utf-8")
    quote = next(line for line in note.splitlines() if "forgets previously learned" in line)
    asked = {
        "question": "What is catastrophic forgetting?",
        "standalone": "What is catastrophic forgetting?",
        "evidence": [{"doc": "genai-handbook.md", "quote": quote[:200]}],
        "alternatives": [],
        "answerable": True,
    }
    beyond = {
        "question": "How tall is Mount Everest?",
        "evidence": [],
        "alternatives": [],
        "answerable": False,
    }
    follow_up = asked | {"question": "and what is forgetting about?"}
    file = tmp_path / "questions.jsonl"
    rows = [asked, beyond, {"id": "d1", "turns": [asked, follow_up]}]
    file.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    run = run_command("eval", str(file), "--json")
    assert run.returncode == 0, run.stderr
    metrics = json.loads(run.stdout)
    follow_ups = ["follow-ups", "follow-ups, as typed", "follow-ups, standalone"]
    assert list(metrics) == ["questions", "first turns", *follow_ups]
    assert metrics["questions"]["hit@5"] == 1
    assert metrics["questions"]["refused"] == 1
    assert metrics["follow-ups"]["n"] == 1
