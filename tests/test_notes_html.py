from datetime import datetime

from rag_tutor.indexing import Changes, NoteState
from rag_tutor.library import Trashed
from rag_tutor.live import LiveState
from rag_tutor.ui.drafts import Draft
from rag_tutor.ui.notes_html import (
    changes_line,
    chip_html,
    notes_html,
    preview_html,
    report_html,
    title_html,
    trash_html,
    versions_html,
)
from tests.test_render import EVIL, Page


def test_the_list_of_notes_shows_names_as_they_are() -> None:
    changed_at = datetime(1970, 1, 2, 12).astimezone().timestamp()
    notes = [
        NoteState(EVIL + ".md", 1234, 1, "indexed", "", changed_at),
        NoteState('b\'s "b" 🌋.txt', 0, 0, "not readable", f"because {EVIL}", 0.0),
    ]
    page = Page(notes_html(notes, EVIL + ".md"))
    buttons = page.attributes("button")
    assert [button["value"] for button in buttons] == [note.document for note in notes]
    assert ["aria-current" in button for button in buttons] == [True, False]
    assert "1,234 words · 1 chunk · 2 Jan 1970" in page.text
    assert f"not readablebecause {EVIL}" in page.text
    assert not page.attributes("img")


def test_no_name_text_or_reason_acts_in_the_page() -> None:
    changes = Changes((EVIL,), (), (), 1, 2)
    pages = [
        title_html(Draft(EVIL, "", "", "", "text"), renamed_from=EVIL),
        trash_html([Trashed("1", EVIL, 1.0)]),
        versions_html("mine", EVIL),
        preview_html(EVIL),
        chip_html(LiveState(1, "failed", reason=EVIL)),
        report_html(LiveState(1, "up to date", changes=changes)),
    ]
    for html in pages:
        assert not Page(html).attributes("img")
        assert EVIL in Page(html).text
    assert Page(pages[0]).attributes("h2")[0]["data-note"] == EVIL


def test_the_chip_tells_how_far_it_is() -> None:
    assert "Up to date" in chip_html(LiveState(1, "up to date"))
    assert "Indexing 64 of 632 · 12 s left" in chip_html(LiveState(1, "indexing", 64, 632, 12.4))
    assert "Converting file 1 of 3" in chip_html(LiveState(1, "converting", 0, 3))
    assert "6 min left" in chip_html(LiveState(1, "indexing", 1, 632, 360))
    progress = Page(report_html(LiveState(1, "indexing", 64, 632, 12.4))).attributes("progress")
    assert (progress[0]["value"], progress[0]["max"]) == ("64", "632")


def test_what_changed_is_told() -> None:
    names = tuple("abcdefg")
    line = changes_line(Changes(names, ("x.md",), ("y.md",), 3, 12), 1.25)
    assert line.startswith("Last update: a, b, c, d, e and 2 more added; x.md changed; y.md rem")
    assert line.endswith("3 → 12 chunks, 1.2 s.")
    assert "no note changed. 3 chunks" in changes_line(Changes((), (), (), 3, 3), 1)


def test_lines_that_differ_are_marked() -> None:
    html = versions_html("same\nmine\nend", "same\ntheirs <b>\nend")
    assert "<ins>theirs &lt;b&gt;</ins>" in html
    assert html.count("<ins>") == 1
