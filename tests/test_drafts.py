from pathlib import Path

import pytest

from rag_tutor.corpus import read_document
from rag_tutor.errors import CorpusError
from rag_tutor.library import list_trash, restore_note
from rag_tutor.ui.drafts import (
    Unsaved,
    create_note,
    delete_draft,
    is_stale,
    keep_mine,
    open_note,
    save_note,
    unsaved_from,
    use_theirs,
)

NAME = "history.txt"


def test_a_saved_note_is_on_disk(corpus: Path) -> None:
    opened = open_note(corpus, NAME, None)
    assert opened.text == (corpus / NAME).read_text()
    saved = save_note(corpus, opened.draft, "new text")
    assert saved.is_saved
    assert (corpus / NAME).read_text() == "new text"
    assert save_note(corpus, saved.draft, "newer text").theirs is None


def test_unsaved_text_comes_back_with_its_note(corpus: Path) -> None:
    opened = open_note(corpus, NAME, None)
    again = open_note(corpus, NAME, Unsaved("half a thought", opened.draft.content_hash))
    assert (again.text, again.theirs) == ("half a thought", None)
    assert "not saved" in again.message
    assert save_note(corpus, again.draft, "half a thought").is_saved


def test_of_two_versions_both_are_shown_and_neither_is_lost(corpus: Path) -> None:
    opened = open_note(corpus, NAME, None)
    (corpus / NAME).write_text("theirs")
    assert is_stale(corpus, opened.draft)
    refused = save_note(corpus, opened.draft, "mine")
    assert (refused.theirs, refused.failed) == ("theirs", True)
    assert (corpus / NAME).read_text() == "theirs"
    assert not is_stale(corpus, refused.draft)
    # Saving once more is no way around the choice.
    assert save_note(corpus, refused.draft, "mine").theirs == "theirs"

    kept = keep_mine(corpus, refused.draft, "mine")
    assert kept.is_saved
    assert (corpus / NAME).read_text() == "mine"
    (trashed,) = list_trash(corpus)
    assert (corpus / restore_note(corpus, trashed.key)).read_text() == "theirs"


def test_the_text_that_wasnt_chosen_is_in_the_trash(corpus: Path) -> None:
    opened = open_note(corpus, NAME, None)
    (corpus / NAME).write_text("theirs")
    refused = open_note(corpus, NAME, Unsaved("mine", opened.draft.content_hash))
    assert (refused.text, refused.theirs) == ("mine", "theirs")
    taken = use_theirs(corpus, refused.draft, "mine")
    assert (taken.text, taken.theirs) == ("theirs", None)
    (trashed,) = list_trash(corpus)
    assert (corpus / restore_note(corpus, trashed.key)).read_text() == "mine"


def test_the_same_change_made_elsewhere_is_no_conflict(corpus: Path) -> None:
    opened = open_note(corpus, NAME, None)
    (corpus / NAME).write_text("the same")
    assert save_note(corpus, opened.draft, "the same").is_saved
    again = open_note(corpus, NAME, Unsaved("the same", opened.draft.content_hash))
    assert again.theirs is None


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_text_that_nobody_changed_is_no_version_of_its_own(corpus: Path, line_end: str) -> None:
    (corpus / NAME).write_bytes(f"one{line_end}two{line_end}".encode())
    opened = open_note(corpus, NAME, None)
    unsaved = Unsaved("one\ntwo\n", opened.draft.content_hash)
    assert open_note(corpus, NAME, unsaved).is_saved
    (corpus / NAME).write_text("theirs")
    again = open_note(corpus, NAME, unsaved)
    assert (again.text, again.theirs, again.is_saved) == ("theirs", None, True)
    refused = save_note(corpus, opened.draft, "one\ntwo\n")
    assert (refused.text, refused.theirs) == ("theirs", None)
    assert "newer version" in refused.message
    assert (corpus / NAME).read_text() == "theirs"


def test_unsaved_text_outlives_its_file(corpus: Path) -> None:
    opened = open_note(corpus, NAME, None)
    (corpus / NAME).unlink()
    again = open_note(corpus, NAME, Unsaved("mine", opened.draft.content_hash))
    assert again.text == "mine"
    assert save_note(corpus, again.draft, "mine").is_saved
    assert read_document(corpus, NAME).text == "mine"


def test_a_deleted_note_takes_its_unsaved_text_into_the_trash(corpus: Path) -> None:
    opened = open_note(corpus, NAME, None)
    before = (corpus / NAME).read_text()
    trashed, said = delete_draft(corpus, opened.draft, "mine")
    assert "wasn't saved" in said
    assert restore_note(corpus, trashed.key) == NAME
    assert (corpus / NAME).read_text() == before
    (text,) = list_trash(corpus)
    assert (corpus / restore_note(corpus, text.key)).read_text() == "mine"

    (corpus / NAME).unlink()
    trashed, _ = delete_draft(corpus, opened.draft, "mine")
    assert (corpus / restore_note(corpus, trashed.key)).read_text() == "mine"

    opened = open_note(corpus, NAME, None)
    delete_draft(corpus, opened.draft, "mine")
    assert len(list_trash(corpus)) == 1, "what is saved needs no second place"


def test_a_note_that_is_gone_or_no_text_says_so(corpus: Path) -> None:
    (corpus / "photo.md").write_bytes(b"\x00\x01\x02" * 99)
    opened = open_note(corpus, "photo.md", None)
    assert opened.failed
    assert "is not text" in opened.message
    with pytest.raises(CorpusError, match="can't be edited"):
        save_note(corpus, opened.draft, "text")
    with pytest.raises(CorpusError, match="isn't there"):
        open_note(corpus, "gone.md", None)
    with pytest.raises(CorpusError, match="not the name"):
        open_note(corpus, "../out.md", None)


def test_a_new_note_holds_its_title(corpus: Path) -> None:
    assert create_note(corpus, " ice & snow ").text == "# ice & snow\n"
    with pytest.raises(CorpusError, match="already"):
        create_note(corpus, "Ice & Snow.md")
    with pytest.raises(CorpusError, match="Type a name"):
        create_note(corpus, "  ")


@pytest.mark.parametrize("value", [None, "x", [], {"text": 5, "hash": "x"}, {"text": "x"}])
def test_what_a_browser_sends_is_not_believed(value: object) -> None:
    assert unsaved_from(value) is None
    assert unsaved_from({"text": "a", "hash": "b"}) == Unsaved("a", "b")
