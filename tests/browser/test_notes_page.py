"""What a student sees of the notes: the list, the editor, files of all kinds, and the index that
follows by itself.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock
import pytest
from playwright.sync_api import Locator, expect

from tests import files
from tests.browser.conftest import HOSTILE, HOSTILE_NAME, RIVERS, Desk, Server

pytestmark = pytest.mark.browser

NOTE = "# Deltas\n\nA delta is land at the mouth of a river.\n"
PATIENCE = 60_000


@pytest.fixture
def note(server: Server) -> Iterator[Path]:
    """A note of this test's own."""
    path = server.corpus / "deltas.md"
    path.write_text(NOTE, encoding="utf-8")
    yield path
    path.unlink(missing_ok=True)


def editor(desk: Desk) -> Locator:
    return desk.page.locator("#editor textarea")


def row(desk: Desk, name: str) -> Locator:
    return desk.page.locator("#notes li", has_text=name)


def open_own(desk: Desk, path: Path) -> None:
    desk.open_notes()
    expect(row(desk, path.name)).to_contain_text("indexed", timeout=PATIENCE)
    desk.open_note(path.name)


def test_a_saved_edit_is_in_the_next_answer(desk: Desk, note: Path) -> None:
    page = desk.page
    open_own(desk, note)
    expect(editor(desk)).to_have_value(NOTE)
    editor(desk).press("Control+End")
    levee = "A levee is a raised bank beside a river that keeps the **floods** back."
    editor(desk).press_sequentially(f"\n## What is a levee?\n\n{levee}\n")
    expect(page.locator("#preview h4")).to_have_text("What is a levee?")
    expect(page.locator("#preview strong")).to_have_text("floods")
    page.keyboard.press("Control+s")
    expect(page.locator("#notes-message")).to_contain_text("Saved")
    assert levee in note.read_text(encoding="utf-8")
    expect(page.locator("#report")).to_contain_text("deltas.md changed", timeout=PATIENCE)
    expect(row(desk, note.name)).to_contain_text("indexed")
    about = re.compile(r"^31 words · \d chunks? · \d\d:\d\d$")
    expect(row(desk, note.name).locator(".size")).to_have_text(about)
    desk.wait_until_indexed()

    page.click("[role=tab]:has-text('Chat')")
    desk.ask("What is a levee?")
    expect(page.locator("#chat .bot-row").last).to_contain_text("raised bank")


def test_changes_by_another_program_are_in_the_next_answer(desk: Desk, note: Path) -> None:
    page = desk.page
    open_own(desk, note)
    # The open note, which has no unsaved text, follows the file.
    note.write_text(NOTE + "\nA fjord is a valley that the sea has filled.\n", encoding="utf-8")
    expect(editor(desk)).to_have_value(note.read_text(encoding="utf-8"), timeout=PATIENCE)
    expect(page.locator("#report")).to_contain_text("deltas.md changed", timeout=PATIENCE)
    page.click("[role=tab]:has-text('Chat')")
    desk.wait_until_indexed()
    desk.ask("What is a fjord?")
    expect(page.locator("#chat .bot-row").last).to_contain_text("valley")
    note.unlink()
    page.click("[role=tab]:has-text('Notes')")
    expect(page.locator("#report")).to_contain_text("deltas.md removed", timeout=PATIENCE)
    expect(row(desk, note.name)).to_have_count(0)


def test_the_old_index_answers_while_a_new_one_is_built(
    desk: Desk, note: Path, server: Server
) -> None:
    page = desk.page
    open_own(desk, note)
    page.click("#close-note")
    tab = page.get_by_role("tab", name="Notes")
    second = note.with_name("fjords.md")
    try:
        # Whoever builds the index holds this lock: the server's own build has to wait for it.
        with filelock.FileLock(server.corpus.parent / "index" / ".lock"):
            note.write_text("# Deltas\n\nA delta is a fan of mud.\n", encoding="utf-8")
            second.write_text("# Fjords\n\nA fjord is a drowned valley.\n", encoding="utf-8")
            expect(page.locator("#index-chip .waiting")).to_be_visible(timeout=PATIENCE)
            page.get_by_role("tab", name="Chat").click()
            tab.click()
            expect(row(desk, note.name).locator(".state")).to_have_text("changed since")
            expect(row(desk, second.name).locator(".state")).to_have_text("new")

            page.get_by_role("tab", name="Chat").click()
            desk.ask("What is a delta?")
            expect(page.locator("#chat .bot-row").last).to_contain_text("mouth of a river")
            expect(page.locator("#index-chip .waiting")).to_be_visible()
        desk.wait_until_indexed()
        desk.ask("What is a delta?")
        expect(page.locator("#chat .bot-row").last).to_contain_text("fan of mud")
        tab.click()
        expect(row(desk, note.name).locator(".state")).to_have_text("indexed")
        expect(row(desk, second.name).locator(".state")).to_have_text("indexed")
    finally:
        second.unlink(missing_ok=True)


def test_unsaved_text_is_never_lost(desk: Desk, note: Path, server: Server) -> None:
    page = desk.page
    open_own(desk, note)
    page.fill("#editor textarea", "half a thought")
    expect(row(desk, note.name).locator("button.unsaved")).to_be_visible()

    desk.open_note("rivers.md")
    expect(editor(desk)).to_have_value(RIVERS)
    desk.open_note(note.name)
    expect(editor(desk)).to_have_value("half a thought")

    page.click("[role=tab]:has-text('Chat')")
    page.click("[role=tab]:has-text('Notes')")
    expect(editor(desk)).to_have_value("half a thought")

    page.reload()
    desk.open_notes()
    expect(page.locator("#note-title h2")).to_have_text(note.name)
    expect(editor(desk)).to_have_value("half a thought")
    expect(page.locator("#notes-message")).to_contain_text("not saved")
    assert note.read_text(encoding="utf-8") == NOTE

    again = Desk(page.context.new_page())
    page.close()
    again.page.goto(server.address)
    again.open_notes()
    expect(row(again, note.name).locator("button.unsaved")).to_be_visible()
    again.open_note(note.name)
    expect(editor(again)).to_have_value("half a thought")
    desk, page = again, again.page

    page.click("#save")
    expect(page.locator("#notes-message")).to_contain_text("Saved")
    expect(row(desk, note.name).locator("button.unsaved")).to_have_count(0)
    page.fill("#editor textarea", "a thought too many")
    page.click("#discard")
    expect(editor(desk)).to_have_value("half a thought")
    page.reload()
    desk.open_notes()
    expect(editor(desk)).to_have_value("half a thought")


def test_a_browser_without_room_says_that_text_is_not_kept(desk: Desk, note: Path) -> None:
    page = desk.page
    open_own(desk, note)
    hint = page.locator("#notes-message .kept")
    warning = page.locator("#no-room [role=alert]")
    expect(hint).to_be_visible()
    page.evaluate(
        """() => {
          for (let size = 1 << 22; size; size >>= 1) {
            try { localStorage.setItem("full" + size, "x".repeat(size)); } catch { /* smaller */ }
          }
        }"""
    )
    page.fill("#editor textarea", "half a thought " * 20)
    expect(warning).to_contain_text(f"no room to keep the text of {note.name}. Save it now")
    expect(hint).to_be_hidden()
    # The other way out of the note loses nothing either.
    page.click("#close-note")
    expect(warning).to_be_visible()
    desk.open_note(note.name)
    expect(editor(desk)).to_have_value("half a thought " * 20)
    page.click("#save")
    expect(page.locator("#notes-message")).to_contain_text("Saved")
    expect(warning).to_be_hidden()


def test_a_note_that_changed_elsewhere_is_not_overwritten(desk: Desk, note: Path) -> None:
    page = desk.page
    open_own(desk, note)
    page.fill("#editor textarea", "my version")
    note.write_text("their version", encoding="utf-8")
    # Shown without asking for it, as soon as the change is seen.
    expect(page.locator("#theirs pre")).to_have_text("their version", timeout=PATIENCE)
    expect(page.locator("#notes-message [role=alert]")).to_contain_text("another window or program")
    expect(editor(desk)).to_have_value("my version")
    page.keyboard.press("Control+s")
    page.click("#use-theirs")
    expect(editor(desk)).to_have_value("their version")
    assert note.read_text(encoding="utf-8") == "their version"
    page.click("#trash summary")
    page.locator("#trash li", has_text=note.name).first.locator("button").click()
    expect(row(desk, "deltas 2.md")).to_be_visible()
    second = note.with_name("deltas 2.md")
    assert second.read_text(encoding="utf-8") == "my version"
    second.unlink()

    page.fill("#editor textarea", "my next version")
    note.write_text("their next version", encoding="utf-8")
    expect(page.locator("#theirs pre")).to_have_text("their next version", timeout=PATIENCE)
    page.click("#keep-mine")
    expect(page.locator("#notes-message")).to_contain_text("Saved")
    expect(page.locator("#theirs")).to_be_hidden()
    assert note.read_text(encoding="utf-8") == "my next version"


def test_a_change_taken_back_is_no_unsaved_text(desk: Desk, note: Path) -> None:
    page = desk.page
    open_own(desk, note)
    page.fill("#editor textarea", "half a thought")
    page.fill("#editor textarea", NOTE)
    desk.open_note("lab.md")
    desk.open_note(note.name)
    expect(editor(desk)).to_have_value(NOTE)
    expect(row(desk, note.name).locator("button.unsaved")).to_have_count(0)

    page.fill("#editor textarea", "half a thought")
    page.fill("#editor textarea", NOTE)
    note.write_text("their version", encoding="utf-8")
    expect(editor(desk)).to_have_value("their version", timeout=PATIENCE)
    expect(page.locator("#theirs")).to_be_hidden()
    expect(row(desk, note.name).locator("button.unsaved")).to_have_count(0)


def test_a_new_note_is_written_once(desk: Desk, server: Server) -> None:
    page = desk.page
    desk.open_notes()
    page.fill("#note-name textarea, #note-name input", "ice & snow")
    page.click("#create-note")
    expect(page.locator("#note-title")).to_contain_text("ice & snow.md")
    page.fill("#editor textarea", "# Ice\n\nIce is frozen water.\n")
    page.click("#save")
    expect(page.locator("#notes-message")).to_contain_text("Saved")
    expect(row(desk, "ice & snow.md")).to_contain_text("indexed", timeout=PATIENCE)

    # What is wrong with a new name is said beside it, not above the note that is open.
    refused = page.locator("#refused-name [role=alert]")
    page.fill("#note-name textarea, #note-name input", "Ice & Snow.md")
    page.click("#create-note")
    expect(refused).to_contain_text("already")
    page.fill("#note-name textarea, #note-name input", "../escaped.md")
    page.click("#create-note")
    expect(refused).to_contain_text("not the name of a note")
    expect(page.locator("#notes-message")).to_contain_text("Saved")
    desk.open_note("lab.md")
    expect(refused).to_have_count(0)
    assert "frozen" in (server.corpus / "ice & snow.md").read_text(encoding="utf-8")
    assert not (server.corpus.parent / "escaped.md").exists()
    (server.corpus / "ice & snow.md").unlink()


def test_a_note_can_be_renamed_deleted_and_brought_back(desk: Desk, note: Path) -> None:
    page = desk.page
    open_own(desk, note)
    page.fill("#editor textarea", "half a thought")
    page.click("#rename")
    page.fill("#new-name textarea, #new-name input", "estuaries")
    page.click("#do-rename")
    expect(page.locator("#note-title h2")).to_have_text("estuaries.md")
    expect(editor(desk)).to_have_value("half a thought")
    expect(row(desk, "estuaries.md").locator("button.unsaved")).to_be_visible()
    renamed = note.with_name("estuaries.md")
    assert renamed.read_text(encoding="utf-8") == NOTE
    assert not note.exists()
    page.click("#discard")
    expect(editor(desk)).to_have_value(NOTE)

    page.click("#delete")
    expect(page.locator("#notes-message")).to_contain_text("in the trash")
    expect(row(desk, "estuaries.md")).to_have_count(0, timeout=PATIENCE)
    assert not renamed.exists()
    page.click("#undo")
    expect(page.locator("#notes-message")).to_contain_text("is back")
    assert renamed.read_text(encoding="utf-8") == NOTE

    desk.open_note("estuaries.md")
    page.click("#delete")
    expect(page.locator("#notes-message")).to_contain_text("in the trash")
    page.reload()
    desk.open_notes()
    page.click("#trash summary")
    page.locator("#trash li", has_text="estuaries.md").first.locator("button").click()
    expect(row(desk, "estuaries.md")).to_contain_text("indexed", timeout=PATIENCE)
    renamed.unlink()


def test_a_note_that_keeps_its_name_keeps_its_unsaved_text(desk: Desk, note: Path) -> None:
    page = desk.page
    name = page.locator("#new-name textarea, #new-name input")
    open_own(desk, note)
    page.fill("#editor textarea", "half a thought")
    page.click("#rename")
    expect(name).to_have_value(note.name)
    name.press("Enter")
    expect(name).to_be_hidden()
    page.click("#rename")
    name.fill("deltas")
    page.click("#do-rename")
    expect(name).to_be_hidden()
    page.reload()
    desk.open_notes()
    expect(editor(desk)).to_have_value("half a thought")

    page.click("#rename")
    name.fill("rivers.md")
    page.click("#do-rename")
    expect(page.locator("#notes-message [role=alert]")).to_contain_text("already")
    page.click("#cancel-rename")
    expect(name).to_be_hidden()
    expect(page.locator("#notes-message [role=alert]")).to_have_count(0)
    page.click("#rename")
    expect(name).to_have_value(note.name)
    desk.open_note("lab.md")
    expect(name).to_be_hidden()


def test_a_renamed_note_still_shows_what_another_program_changed(desk: Desk, note: Path) -> None:
    page = desk.page
    renamed = note.with_name("estuaries.md")
    open_own(desk, note)
    page.fill("#editor textarea", "my version")
    page.click("#rename")
    page.fill("#new-name textarea, #new-name input", renamed.name)
    note.write_text("their version", encoding="utf-8")
    page.click("#do-rename")
    try:
        expect(page.locator("#note-title h2")).to_have_text(renamed.name)
        expect(page.locator("#theirs pre")).to_have_text("their version", timeout=PATIENCE)
        assert renamed.read_text(encoding="utf-8") == "their version"
        page.click("#use-theirs")
    finally:
        renamed.unlink(missing_ok=True)


def test_unsaved_text_of_a_deleted_note_is_in_the_trash(desk: Desk, note: Path) -> None:
    page = desk.page
    second = note.with_name("deltas 2.md")
    open_own(desk, note)
    page.fill("#editor textarea", "half a thought")
    page.click("#delete")
    expect(page.locator("#notes-message")).to_contain_text("your text that wasn't saved")
    page.click("#undo")
    expect(page.locator("#notes-message")).to_contain_text("is back")
    # The next note of this name has nothing to do with that text.
    desk.open_note(note.name)
    expect(editor(desk)).to_have_value(NOTE)
    expect(row(desk, note.name).locator("button.unsaved")).to_have_count(0)
    page.click("#trash summary")
    page.locator("#trash li", has_text=note.name).first.locator("button").click()
    expect(row(desk, second.name)).to_be_visible()
    assert second.read_text(encoding="utf-8") == "half a thought"
    second.unlink()


def test_a_phone_shows_the_list_or_the_open_note(phone: Desk, server: Server) -> None:
    page = phone.page
    many = [server.corpus / f"part {number}.md" for number in range(12)]
    for path in many:
        path.write_text(f"# {path.stem}\n\nNothing to see here.\n", encoding="utf-8")
    try:
        phone.open_notes()
        last = row(phone, "volcanoes.md")
        expect(row(phone, many[-1].name)).to_contain_text("indexed", timeout=PATIENCE)
        last.scroll_into_view_if_needed()
        phone.open_note("volcanoes.md")
        expect(editor(phone)).to_be_in_viewport()
        expect(page.locator("#notes-list")).to_be_hidden()
        expect(page.locator("#notes-message")).to_contain_text("kept in this browser")
        expect(page.locator("#notes-message .keys")).to_be_hidden()
        buttons = [each.bounding_box() for each in page.locator("#editor-head button").all()]
        assert len(buttons) == 5
        assert len({box["y"] for box in buttons if box}) == 1
        page.fill("#editor textarea", "half a thought")

        page.click("#close-note")
        expect(editor(phone)).to_be_hidden()
        expect(last).to_be_in_viewport()
        expect(last.locator("button.unsaved")).to_be_visible()
        phone.open_note("volcanoes.md")
        expect(editor(phone)).to_have_value("half a thought")
        page.click("#discard")

        page.click("#close-note")
        phone.open_note(many[0].name)
        page.click("#delete")
        expect(page.locator("#notes-message")).to_be_in_viewport()
        page.click("#undo")
        expect(row(phone, many[0].name)).to_be_visible()
    finally:
        for path in many:
            path.unlink(missing_ok=True)


def test_a_wide_window_gives_the_list_its_width_until_a_note_is_open(desk: Desk) -> None:
    page = desk.page
    chosen = page.locator("#editor-head")
    width = "document.querySelector('#notes-list').offsetWidth"

    desk.open_notes()
    expect(chosen).to_be_hidden()
    # Nothing stands above the title of the list.
    expect(page.locator("#note-editor")).to_be_hidden()
    page.wait_for_function(f"{width} > 900")
    desk.open_note("volcanoes.md")
    expect(chosen).to_be_in_viewport()
    expect(page.locator("#notes-message")).to_contain_text("kept in this browser")
    expect(page.locator("#notes-message .keys")).to_be_visible()
    page.wait_for_function(f"{width} < 400")
    page.fill("#editor textarea", "half a thought")
    page.click("#close-note")
    expect(chosen).to_be_hidden()
    page.wait_for_function(f"{width} > 900")
    desk.open_note("volcanoes.md")
    expect(editor(desk)).to_have_value("half a thought")
    page.click("#discard")


def test_the_preview_follows_the_text(desk: Desk, note: Path) -> None:
    page = desk.page
    note.write_text("".join(f"## Part {n}\n\nA line.\n\n" for n in range(80)), encoding="utf-8")
    open_own(desk, note)
    last = page.locator("#preview h3").last
    expect(last).to_have_text("Part 79")
    expect(last).not_to_be_in_viewport()
    editor(desk).press("Control+End")
    expect(last).to_be_in_viewport()
    editor(desk).press_sequentially("## Part 80\n")
    added = page.locator("#preview h3", has_text="Part 80")
    expect(added).to_be_in_viewport()
    editor(desk).press("Control+Home")
    expect(page.locator("#preview h3").first).to_be_in_viewport()
    page.click("#discard")


def test_the_trash_is_emptied_only_after_a_second_yes(desk: Desk, note: Path) -> None:
    page = desk.page
    open_own(desk, note)
    page.click("#delete")
    expect(page.locator("#notes-message")).to_contain_text("in the trash")
    page.click("#trash summary")
    trashed = page.locator("#trash li", has_text=note.name)
    count = trashed.count()
    page.click("#trash [data-empty-trash]")
    asked = page.get_by_role("dialog", name="in the trash? This can't be undone.")
    expect(asked).to_be_visible()
    page.keyboard.press("Escape")
    expect(asked).to_be_hidden()
    page.click("#trash [data-empty-trash]")
    asked.get_by_text("Keep").click()
    expect(asked).to_be_hidden()
    expect(trashed).to_have_count(count)

    page.click("#trash [data-empty-trash]")
    asked.get_by_text("Remove for good").click()
    expect(page.locator("#notes-message")).to_contain_text("removed for good")
    expect(page.locator("#trash li")).to_have_count(0)


def test_files_of_each_kind_are_added_and_cited(desk: Desk, server: Server, tmp_path: Path) -> None:
    page = desk.page
    files.write_pdf(
        tmp_path / "ice.pdf", [["An introduction."], ["A moraine is debris that a glacier left."]]
    )
    kinds: dict[str, tuple[Callable[[Path, str, str], None], str]] = {
        "enzymes.docx": (files.write_docx, "An enzyme speeds up a chemical reaction."),
        "tides.pptx": (files.write_pptx, "A tide is the rise and fall of the sea."),
        "comets.html": (files.write_html, "A comet is a ball of ice and dust."),
        "sonnets.epub": (files.write_epub, "A sonnet is a poem of fourteen lines."),
        "loops.ipynb": (files.write_notebook, "A loop repeats a block of code."),
    }
    for name, (write, text) in kinds.items():
        write(tmp_path / name, name.split(".", maxsplit=1)[0].title(), text)
    (tmp_path / "bees.txt").write_text("A bee gathers nectar.\n", encoding="utf-8")
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.4 and nothing else")
    (tmp_path / "program.exe").write_bytes(b"MZ")
    (tmp_path / "rivers.md").write_text("# Other rivers\n\nThe Nile is long.\n", encoding="utf-8")
    desk.open_notes()
    page.set_input_files("#upload input", sorted(tmp_path.iterdir()))
    expect(page.locator("#notes-message")).to_contain_text("rivers.md as rivers 2.md")
    refused = page.locator("#notes-message [role=alert]")
    expect(refused).to_contain_text("program.exe is no note")
    expect(refused).not_to_contain_text("rivers 2.md")
    for name in ("ice.pdf", "bees.txt", "rivers 2.md", *kinds):
        expect(row(desk, name)).to_contain_text("indexed", timeout=PATIENCE)
    expect(row(desk, "broken.pdf")).to_contain_text("not readable")
    expect(row(desk, "broken.pdf").locator(".reason")).to_contain_text("damaged or cut off")
    assert (server.corpus / "rivers.md").read_text(encoding="utf-8") == RIVERS

    desk.open_note("ice.pdf")
    expect(page.locator("#preview")).to_contain_text("Page 2")
    expect(editor(desk)).to_be_hidden()
    desk.open_note("comets.html")
    expect(page.locator("#preview")).to_contain_text("ball of ice and dust")
    assert page.evaluate("window.hacked") is None

    page.click("[role=tab]:has-text('Chat')")
    desk.wait_until_indexed()
    desk.ask("What is a moraine?")
    source = page.locator("#newest-sources .passage").first
    expect(source.locator(".note")).to_contain_text("ice.pdf")
    expect(source.locator(".heading")).to_contain_text("Page 2")
    for name in ("ice.pdf", "bees.txt", "broken.pdf", "rivers 2.md", *kinds):
        (server.corpus / name).unlink()


def test_a_file_is_added_where_it_is_dropped(desk: Desk, server: Server) -> None:
    page = desk.page
    desk.open_notes()
    dropped = page.evaluate_handle(
        """() => {
          const data = new DataTransfer();
          data.items.add(new File(["# Geysers\\n\\nA geyser throws hot water."], "geysers.md"));
          return data;
        }"""
    )
    page.dispatch_event("#upload button", "drop", {"dataTransfer": dropped})
    expect(page.locator("#notes-message")).to_contain_text("Added geysers.md")
    expect(row(desk, "geysers.md")).to_contain_text("indexed", timeout=PATIENCE)
    (server.corpus / "geysers.md").unlink()


def test_every_page_tells_that_the_index_is_older_than_the_notes(
    desk: Desk, server: Server
) -> None:
    page = desk.page
    away = server.corpus.with_name("moved away")
    server.corpus.rename(away)
    try:
        failed = page.locator("#index-chip .chip.failed")
        expect(failed).to_be_visible(timeout=PATIENCE)
        for name in ("Notes", "Settings", "Chat"):
            page.get_by_role("tab", name=name).click()
            expect(failed).to_contain_text("Not up to date")
        page.click("#index-chip summary")
        expect(page.locator("#index-chip .more")).to_contain_text(server.corpus.name)
        page.keyboard.press("Escape")
        desk.ask("What is a meander?")
        expect(page.locator("#chat .bot-row")).to_contain_text("bend")
    finally:
        away.rename(server.corpus)
    desk.wait_until_indexed()


def test_a_rebuild_shows_its_progress_and_can_be_cancelled(desk: Desk, server: Server) -> None:
    page = desk.page
    long = server.corpus / "long.md"
    parts = (
        f"## Part {part}\n\n{' '.join(f'w{part}x{n}' for n in range(90))}." for part in range(300)
    )
    long.write_text("\n\n".join(parts), encoding="utf-8")
    desk.open_notes()
    expect(row(desk, "long.md")).to_contain_text("indexed", timeout=120_000)
    builds = (server.corpus.parent / "index" / "CURRENT").read_text()
    page.click("#rebuild")
    expect(page.locator("#index-chip .indexing")).to_contain_text("left", timeout=PATIENCE)
    expect(page.locator("#report progress")).to_be_visible()
    page.click("#cancel-rebuild")
    expect(page.locator("#report")).to_contain_text("cancelled", timeout=PATIENCE)
    assert (server.corpus.parent / "index" / "CURRENT").read_text() == builds
    long.unlink()
    expect(page.locator("#report")).to_contain_text("long.md removed", timeout=PATIENCE)
    expect(page.locator("#report")).to_contain_text(re.compile(r"\d+ → \d+ chunks"))
    page.click("#rebuild")
    expect(page.locator("#report")).to_contain_text("no note changed", timeout=PATIENCE)
    assert (server.corpus.parent / "index" / "CURRENT").read_text() != builds


def test_a_note_that_cant_be_read_says_why(desk: Desk, server: Server) -> None:
    picture = server.corpus / "photo.md"
    picture.write_bytes(bytes(range(256)) * 8)
    desk.open_notes()
    expect(row(desk, "photo.md")).to_contain_text("not readable", timeout=PATIENCE)
    expect(row(desk, "photo.md").locator(".reason")).not_to_be_empty()
    desk.open_note("photo.md")
    expect(desk.page.locator("#notes-message [role=alert]")).to_contain_text("not text")
    desk.page.click("#delete")
    expect(row(desk, "photo.md")).to_have_count(0)
    assert not picture.exists()


def test_a_hostile_note_runs_nothing_on_the_page(desk: Desk, server: Server) -> None:
    page = desk.page
    desk.open_notes()
    desk.open_note(HOSTILE_NAME)
    expect(editor(desk)).to_have_value(HOSTILE)
    expect(page.locator("#preview")).to_contain_text("<script>window.hacked=1</script>")
    path = server.corpus / HOSTILE_NAME
    path.write_text(HOSTILE + "</pre><img src=x onerror=window.hacked=1>", encoding="utf-8")
    page.fill("#editor textarea", HOSTILE + "mine")
    expect(page.locator("#theirs pre")).to_contain_text("<img src=x", timeout=PATIENCE)
    page.click("#use-theirs")
    expect(page.locator("#theirs")).to_be_hidden()
    expect(page.locator("#report")).to_contain_text("<img src=x", timeout=PATIENCE)
    page.click("#index-chip summary")
    expect(page.locator("#index-chip .more")).to_contain_text("<img src=x")
    page.keyboard.press("Escape")
    page.click("#delete")
    page.click("#trash summary")
    expect(page.locator("#trash")).to_contain_text("<img src=x")
    page.click("#undo")
    expect(row(desk, HOSTILE_NAME)).to_contain_text("indexed", timeout=PATIENCE)
    assert page.evaluate("window.hacked") is None
    assert page.locator(".gradio-container img").count() == 0
    assert page.locator("a[href^='javascript']").count() == 0
    path.write_text(HOSTILE, encoding="utf-8")
    expect(page.locator("#report")).to_contain_text("changed", timeout=PATIENCE)
