"""What is kept of conversations, and that nothing gets lost on the way."""

import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_tutor.config import Settings, settings_from
from rag_tutor.conversations import _MIGRATIONS, VERSION, Conversations, _packed, _unpacked
from rag_tutor.domain import Answer, Chunk, Citation, Passage, Turn
from rag_tutor.errors import ConversationError, HistoryError

TEXT = "Magma is molten rock. Lava is magma at the surface."


def answered(question: str, text: str = "Magma is molten rock [1].") -> Turn:
    chunk = Chunk("volcanoes.md", ("Volcanoes", "What is magma?"), 40, 40 + len(TEXT), TEXT)
    other = Chunk("rivers.md", ("Rivers",), 0, 5, "Flow.")
    passages = (Passage(chunk, 1.5, ("dense", "bm25")), Passage(other, 0.5, ("bm25",)))
    also = (Citation(2, passages[1], 0, 5, "verbatim"),)
    citations = (Citation(1, passages[0], 40, 61, "verbatim", also),)
    return Turn(question, f"{question} (magma)", Answer(text, citations, passages, refused=False))


@pytest.fixture
def conversations(tmp_path: Path) -> Conversations:
    return Conversations(tmp_path / "data" / "conversations.sqlite3")


def add(conversations: Conversations, name: str, *questions: str) -> list[int]:
    """Ask some questions and give each the same answer."""
    ids = []
    for question in questions:
        ids.append(conversations.ask(name, question, len(conversations.turns(name))))
        content = answered(question)
        conversations.finish(ids[-1], content, "done", {"total": 12.5}, {"volcanoes.md": "ab"})
    return ids


def questions(conversations: Conversations, name: str) -> list[str]:
    return [saved.turn.question for saved in conversations.turns(name)]


def test_a_turn_comes_back_whole_from_another_start(conversations: Conversations) -> None:
    (turn,) = add(conversations, "c1", "What is magma?")
    conversations.suggest(turn, ["What is lava?"])
    (saved,) = Conversations(conversations.path).turns("c1")
    assert saved.turn == answered("What is magma?")
    assert saved.turn.answer.citations[0].quote == "Magma is molten rock."
    assert (saved.state, saved.timings, saved.hashes) == (
        "done",
        {"total": 12.5},
        {"volcanoes.md": "ab"},
    )
    assert saved.suggestions == ("What is lava?",)


@given(st.text(), st.text(), st.lists(st.text(), max_size=4), st.floats(allow_nan=False))
def test_any_turn_survives_being_written(
    question: str, text: str, heading: list[str], score: float
) -> None:
    passage = Passage(Chunk("ü.md", tuple(heading), 3, 3 + len(text), text), score, ("dense",))
    citation = Citation(1, passage, 3, 3 + len(text) // 2, "reworded")
    turn = Turn(question, text, Answer(text, (citation,), (passage,), refused=True))
    assert _unpacked(question, _packed(turn)) == turn


def test_a_question_is_there_as_soon_as_it_is_asked(conversations: Conversations) -> None:
    turn = conversations.ask("c1", "What is magma?", 0)
    (saved,) = conversations.turns("c1")
    assert (saved.state, saved.turn.question, saved.turn.answer.text) == (
        "open",
        "What is magma?",
        "",
    )
    conversations.grow(turn, answered("What is magma?", "Magma"))
    assert conversations.turns("c1")[0].turn.answer.text == "Magma"


def test_a_finished_answer_grows_no_more(conversations: Conversations) -> None:
    (turn,) = add(conversations, "c1", "What is magma?")
    conversations.grow(turn, answered("What is magma?", "something late"))
    conversations.take_back(turn)
    assert conversations.turns("c1")[0].turn == answered("What is magma?")


def test_a_question_sent_twice_is_asked_once(conversations: Conversations) -> None:
    first = conversations.ask("c1", "What is magma?", 0)
    assert conversations.ask("c1", "What is magma?", 0) == first
    second = conversations.ask("c1", "What is magma?", 1)
    assert second != first
    conversations.ask("c1", "from a window that has seen nothing", 0)
    assert len(conversations.turns("c1")) == 3


def test_a_question_without_an_answer_is_taken_back(conversations: Conversations) -> None:
    conversations.take_back(conversations.ask("c1", "What is magma?", 0))
    assert conversations.turns("c1") == ()
    assert conversations.listing() == []


def test_an_edited_question_replaces_what_follows_once_it_is_answered(
    conversations: Conversations,
) -> None:
    _, second, _ = add(conversations, "c1", "one", "two", "three")
    edited = conversations.replace("c1", second, "2")
    assert questions(conversations, "c1") == ["one", "2"]
    assert conversations.replace("c1", second, "2") == edited
    conversations.take_back(edited)
    assert questions(conversations, "c1") == ["one", "two", "three"]

    edited = conversations.replace("c1", second, "2")
    conversations.ask("c1", "next", 2)
    conversations.take_back(edited)
    assert questions(conversations, "c1") == ["one", "two", "three", "next"]

    edited = conversations.replace("c1", second, "2")
    conversations.finish(edited, answered("2"), "stopped", {}, {})
    conversations.take_back(edited)
    assert questions(conversations, "c1") == ["one", "2"]
    assert conversations.search("three") == []
    with pytest.raises(ConversationError, match="any more"):
        conversations.replace("c1", second, "2")


def test_an_edit_belongs_to_its_conversation_and_comes_once(conversations: Conversations) -> None:
    _, second = add(conversations, "c1", "one", "two")
    with pytest.raises(ConversationError, match="any more"):
        conversations.replace("c2", second, "2")
    conversations.replace("c1", second, "two")
    with pytest.raises(ConversationError, match="answered anew"):
        conversations.replace("c1", second, "2")
    assert questions(conversations, "c1") == ["one", "two"]


def test_nothing_is_left_of_what_an_interrupted_edit_replaced(conversations: Conversations) -> None:
    _, second, third = add(conversations, "c1", "one", "two", "three")
    conversations.rate(third, "up", "")
    interrupted = conversations.replace("c1", second, "2")
    again = conversations.replace("c1", interrupted, "2")
    assert conversations.feedback() == []
    conversations.finish(again, answered("2"), "done", {}, {})
    with closing(sqlite3.connect(conversations.path)) as file:
        assert file.execute("SELECT count(*) FROM turns").fetchone() == (2,)


def test_a_question_is_no_repetition_of_one_before_a_gap(conversations: Conversations) -> None:
    conversations.finish(conversations.ask("c1", "one", 0), answered("one"), "done", {}, {})
    failed = conversations.ask("c1", "two", 1)
    conversations.finish(conversations.ask("c1", "three", 2), answered("three"), "done", {}, {})
    conversations.take_back(failed)
    asked = conversations.ask("c1", "three", 2)
    assert conversations.ask("c1", "three", 2) == asked
    assert questions(conversations, "c1") == ["one", "three", "three"]


def test_conversations_are_listed_by_their_last_question(conversations: Conversations) -> None:
    add(conversations, "c1", "What is magma?")
    add(conversations, "c2", "What is a meander?")
    add(conversations, "c1", "And lava?")
    assert [each.title for each in conversations.listing()] == [
        "What is magma?",
        "What is a meander?",
    ]
    conversations.rename("c2", "  Rivers\nand \udc80 lakes ")
    assert conversations.title("c2") == "Rivers and ? lakes"
    conversations.rename("c2", " ")
    assert conversations.title("c2") == "What is a meander?"


def test_a_deleted_conversation_can_be_restored(conversations: Conversations) -> None:
    add(conversations, "c1", "What is magma?")
    conversations.delete("c1")
    assert conversations.listing() == []
    assert conversations.search("magma") == []
    assert conversations.turns("c1") == ()
    conversations.restore("c1")
    assert questions(conversations, "c1") == ["What is magma?"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("MOLTEN magma", ["c1"]),
        ("cafe", ["c2"]),
        ("CAFÉ", ["c2"]),
        ("100%", ["c2"]),
        ("_", []),
        ("' OR 1=1 --", []),
        ("meander magma", []),
        ("geology", ["c3"]),
        ("what", ["c3", "c2", "c1"]),
    ],
)
def test_search_reads_questions_answers_and_titles(
    conversations: Conversations, text: str, found: list[str]
) -> None:
    add(conversations, "c1", "What is magma?")
    turn = conversations.ask("c2", "What is in a café?", 0)
    conversations.finish(turn, answered("", "Coffee, 100% of it."), "done", {}, {})
    conversations.ask("c3", "What is a meander?", 0)
    conversations.rename("c3", "Geology")
    hits = conversations.search(text)
    # A renamed conversation is found by its questions too.
    assert sorted(hit.conversation.id for hit in hits) == sorted(found)


def test_an_excerpt_shows_the_word_that_was_found(conversations: Conversations) -> None:
    turn = conversations.ask("c1", "What is it?", 0)
    text = "word " * 200 + "obsidian is glass " + "word " * 200
    conversations.finish(turn, answered("", text), "done", {}, {})
    (hit,) = conversations.search("Obsidian")
    assert "obsidian is glass" in hit.excerpt
    assert len(hit.excerpt) < 130


def test_feedback_is_kept_with_what_it_is_about(conversations: Conversations) -> None:
    first, second = add(conversations, "c1", "What is magma?", "And lava?")
    conversations.rate(first, "up", "")
    conversations.rate(second, "down", "  wrong\nnote ")
    conversations.rate(first, "", "")
    (feedback,) = conversations.feedback()
    assert (feedback.rating, feedback.comment, feedback.question, feedback.documents) == (
        "down",
        "wrong\nnote",
        "And lava?",
        ("volcanoes.md",),
    )
    assert conversations.turns("c1")[1].comment == "wrong\nnote"


def test_threads_and_processes_write_at_once(conversations: Conversations, tmp_path: Path) -> None:
    def ask_many(name: str) -> None:
        for number in range(10):
            turn = conversations.ask(name, f"question {number}", number)
            conversations.finish(turn, answered(f"question {number}"), "done", {}, {})

    code = (
        "import sys; from pathlib import Path; from rag_tutor.conversations import Conversations\n"
        "kept = Conversations(Path(sys.argv[1]))\n"
        "for number in range(10): kept.ask('process', f'question {number}', number)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(conversations.path)])
    threads = [threading.Thread(target=ask_many, args=[name]) for name in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert process.wait() == 0
    expected = [f"question {number}" for number in range(10)]
    assert all(questions(conversations, name) == expected for name in ("a", "b", "c", "process"))


def test_an_empty_file_is_brought_to_this_version(conversations: Conversations) -> None:
    conversations.path.parent.mkdir()
    conversations.path.touch()
    add(conversations, "c1", "What is magma?")
    with sqlite3.connect(conversations.path) as file:
        assert file.execute("PRAGMA user_version").fetchone() == (VERSION,)
        assert file.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    file.close()
    assert questions(conversations, "c1") == ["What is magma?"]


def test_a_file_of_the_first_version_is_read(conversations: Conversations) -> None:
    conversations.path.parent.mkdir()
    citation = '{"passage": 0, "number": 1, "start": 1, "end": 4, "support": "quoted"}'
    passage = (
        '{"chunk": {"document_id": "ü.md", "heading": ["A"], "start": 0, "end": 4, '
        '"text": "\\u00fc…a"}, "score": 1.2500000001, "found_by": ["dense"]}'
    )
    content = (
        f'{{"standalone": "q", "text": "a [1]", "refused": false, "passages": [{passage}], '
        f'"citations": [{citation}, {citation}]}}'
    )
    with closing(sqlite3.connect(conversations.path)) as file, file:
        for statement in _MIGRATIONS[0]:
            file.execute(statement)
        file.execute("INSERT INTO conversations (id, changed) VALUES ('c1', 1)")
        file.execute(
            "INSERT INTO turns (conversation, position, asked, state, question, answer, content) "
            "VALUES ('c1', 0, 1, 'done', 'What?', 'a [1]', ?)",
            [content],
        )
        file.execute("PRAGMA user_version = 1")
    (saved,) = conversations.turns("c1")
    old = Passage(Chunk("ü.md", ("A",), 0, 4, "ü…a"), 1.2500000001, ("dense",))
    cited = Citation(1, old, 1, 4, "quoted")
    assert saved.turn == Turn("What?", "q", Answer("a [1]", (cited, cited), (old,), refused=False))


def test_a_file_of_the_first_version_keeps_turns_without_sources(
    conversations: Conversations,
) -> None:
    turn = conversations.ask("c1", "What is magma?", 0)
    with closing(sqlite3.connect(conversations.path)) as file, file:
        file.execute("PRAGMA user_version = 1")
    assert conversations.turns("c1")[0].id == turn


def test_a_broken_file_is_named_and_left_alone(conversations: Conversations) -> None:
    conversations.path.parent.mkdir()
    conversations.path.write_bytes(b"not a database" * 100)
    with pytest.raises(HistoryError, match=r"conversations\.sqlite3 can't be used.*move it away"):
        conversations.ask("c1", "What is magma?", 0)
    assert conversations.path.read_bytes() == b"not a database" * 100


def test_a_file_of_a_newer_version_is_left_alone(conversations: Conversations) -> None:
    add(conversations, "c1", "What is magma?")
    file = sqlite3.connect(conversations.path)
    file.execute(f"PRAGMA user_version = {VERSION + 1}")
    file.close()
    with pytest.raises(HistoryError, match="newer RAG Tutor"):
        conversations.listing()


def test_each_corpus_has_conversations_of_its_own(tmp_path: Path) -> None:
    one = Settings(corpus=tmp_path / "a" / "notes").conversations_file
    other = Settings(corpus=tmp_path / "b" / "notes").conversations_file
    assert one != other
    assert one == Settings(corpus=tmp_path / "a" / "x" / ".." / "notes").conversations_file
    named = settings_from({"RAG_TUTOR_CONVERSATIONS": str(tmp_path / "kept.sqlite3")})
    assert named.conversations_file == tmp_path / "kept.sqlite3"
