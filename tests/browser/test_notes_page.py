"""What a student sees of the notes: the list, the editor and the rebuild."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Desk, Server

pytestmark = pytest.mark.browser


def test_an_edit_is_in_the_next_answer_after_a_rebuild(desk: Desk, server: Server) -> None:
    page = desk.page
    desk.ask("What is obsidian?")
    expect(page.locator("#chat")).not_to_contain_text("volcanic glass")

    desk.open_notes()
    desk.open_note("volcanoes.md")
    editor = page.locator("#editor textarea")
    expect(editor).to_have_value((server.corpus / "volcanoes.md").read_text(encoding="utf-8"))
    editor.press("Control+End")
    editor.press_sequentially("\n## What is obsidian?\n\nObsidian is a dark volcanic glass.\n")
    page.click("#save")
    expect(page.locator("#notes-message")).to_contain_text("Saved")
    assert "volcanic glass" in (server.corpus / "volcanoes.md").read_text(encoding="utf-8")
    expect(page.locator("#notes li", has_text="volcanoes.md")).to_contain_text("changed")

    page.click("#rebuild")
    expect(page.locator("#report")).to_contain_text("1 changed", timeout=60_000)
    expect(page.locator("#notes li", has_text="volcanoes.md")).to_contain_text("indexed")

    page.click("[role=tab]:has-text('Chat')")
    desk.ask("What is obsidian?")
    expect(page.locator("#chat .bot-row").last).to_contain_text("volcanic glass")
    expect(page.locator("#newest-sources mark").first).to_contain_text("volcanic glass")


def test_an_unsaved_edit_survives_the_wish_to_open_another_note(desk: Desk) -> None:
    page = desk.page
    desk.open_notes()
    desk.open_note("rivers.md")
    expect(page.locator("#note-title")).to_contain_text("rivers.md")
    page.fill("#editor textarea", "not saved yet")
    desk.open_note("volcanoes.md")
    expect(page.locator("#notes-message [role=alert]")).to_contain_text("aren't saved")
    expect(page.locator("#editor textarea")).to_have_value("not saved yet")
    expect(page.locator("#note-title")).to_contain_text("rivers.md")

    page.click("#discard")
    expect(page.locator("#editor textarea")).not_to_have_value("not saved yet")
    desk.open_note("volcanoes.md")
    expect(page.locator("#note-title")).to_contain_text("volcanoes.md")


def test_a_note_that_changed_elsewhere_is_not_overwritten(desk: Desk, server: Server) -> None:
    page = desk.page
    note = server.corpus / "shared.md"
    note.write_text("# Shared\n\nfirst version\n", encoding="utf-8")
    desk.open_notes()
    desk.open_note("shared.md")
    expect(page.locator("#editor textarea")).to_have_value("# Shared\n\nfirst version\n")
    note.write_text("# Shared\n\nversion of another program\n", encoding="utf-8")
    page.fill("#editor textarea", "my version")
    page.click("#save")
    expect(page.locator("#notes-message [role=alert]")).to_contain_text("another window or program")
    expect(page.locator("#editor textarea")).to_have_value("my version")
    assert "another program" in note.read_text(encoding="utf-8")
    page.click("#discard")
    expect(page.locator("#editor textarea")).to_have_value(
        "# Shared\n\nversion of another program\n"
    )
    page.fill("#editor textarea", "my version")
    page.click("#save")
    expect(page.locator("#notes-message")).to_contain_text("Saved")
    assert note.read_text(encoding="utf-8") == "my version"
    note.unlink()


def test_a_new_note_is_written_once(desk: Desk, server: Server) -> None:
    page = desk.page
    desk.open_notes()
    page.fill("#note-name input, #note-name textarea", "ice & snow")
    page.click("#create-note")
    expect(page.locator("#note-title")).to_contain_text("ice & snow.md")
    expect(page.locator("#notes li", has_text="ice & snow.md")).to_contain_text("new")
    page.fill("#editor textarea", "# Ice\n\nIce is frozen water.\n")
    page.click("#save")
    expect(page.locator("#notes-message")).to_contain_text("Saved")

    page.fill("#note-name input, #note-name textarea", "Ice & Snow.md")
    page.click("#create-note")
    expect(page.locator("#notes-message [role=alert]")).to_contain_text("already")
    assert "frozen" in (server.corpus / "ice & snow.md").read_text(encoding="utf-8")


def test_a_name_outside_the_folder_is_refused(desk: Desk, server: Server) -> None:
    page = desk.page
    desk.open_notes()
    page.fill("#note-name input, #note-name textarea", "../escaped.md")
    page.click("#create-note")
    expect(page.locator("#notes-message [role=alert]")).to_contain_text("not the name of a note")
    assert not (server.corpus.parent / "escaped.md").exists()


def test_a_note_that_cant_be_read_says_why(desk: Desk, server: Server) -> None:
    picture = server.corpus / "photo.md"
    picture.write_bytes(bytes(range(256)) * 8)
    try:
        desk.open_notes()
        row = desk.page.locator("#notes li", has_text="photo.md")
        expect(row).to_contain_text("not readable")
        expect(row.locator(".reason")).not_to_be_empty()
        row.locator("button").click()
        expect(desk.page.locator("#notes-message [role=alert]")).to_contain_text("not text")
    finally:
        picture.unlink()
