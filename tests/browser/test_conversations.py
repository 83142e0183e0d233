"""What a student sees of conversations that last, of sources up close, and of answers in use."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from rag_tutor.conversations import Conversations
from rag_tutor.domain import Answer, Turn
from tests.browser.conftest import (
    HOSTILE_NAME,
    PATIENCE,
    VOLCANOES,
    Desk,
    Script,
    Server,
)

pytestmark = pytest.mark.browser

MEANDER = "What is a meander?"
OXBOW = "What is an oxbow lake?"
MAGMA = "What is magma?"
BOTH = "What is an oxbow lake and what is a meander?"
SLOW = 2 * PATIENCE


def first_answer(page: Page) -> Locator:
    return page.locator("#chat .bot-row .prose").first


def expect_first_answer(page: Page, text: str) -> None:
    expect(first_answer(page)).to_have_text(text, use_inner_text=True)


def test_a_conversation_outlives_reload_browser_and_server(
    desk: Desk, other_desk: Desk, server: Server
) -> None:
    page = desk.page
    desk.ask(MEANDER)
    desk.ask(MAGMA)
    expect(page).to_have_url(re.compile(r"\?chat=[0-9a-f]{32}$"))
    expect(page.locator("#history-list .open[aria-current]")).to_have_text(MEANDER)
    answer, address = first_answer(page).inner_text(), page.url
    marked = page.locator("#newest-sources mark").first.inner_text()

    page.reload()
    expect(desk.questions()).to_have_text([MEANDER, MAGMA])
    expect_first_answer(page, answer)
    expect(page.locator("#status")).to_contain_text("Answered in")

    page.evaluate("window.isOfBefore = true")
    page.fill("#question textarea", "And where does")
    other = other_desk.page
    other.goto("about:blank")  # or it would load itself again, too, amid the next step
    server.stop()
    server.start()
    other.goto(address)
    expect(other_desk.questions()).to_have_text([MEANDER, MAGMA])
    expect_first_answer(other, answer)
    expect(other.locator("#newest-sources mark").first).to_have_text(marked)
    other.locator("#chat .bot-row").first.locator("a.citation").first.click()
    expect(other.locator(".sources:visible .asked")).to_have_text(MEANDER)
    expect(other.locator("#chosen-sources mark").first).to_be_in_viewport()
    # The page that was open all the while loads itself again and goes on as well.
    page.wait_for_function("!window.isOfBefore", timeout=SLOW)
    expect(desk.questions()).to_have_text([MEANDER, MAGMA])
    expect(page.locator("#question textarea")).to_have_value("And where does")
    desk.ask("And where does it come from?")
    expect(desk.questions()).to_have_count(3)


def test_a_question_that_isnt_sent_outlives_a_reload_of_its_window(desk: Desk) -> None:
    page = desk.page
    question = page.locator("#question textarea")
    kept = "text => sessionStorage.getItem('rag-tutor:question') === text"
    question.press_sequentially("What is a me")
    page.wait_for_function(kept, arg="What is a me")
    page.reload()
    expect(question).to_have_value("What is a me")
    question.press("End")
    question.press_sequentially("ander?")
    page.wait_for_function(kept, arg=MEANDER)
    page.reload()
    expect(question).to_have_value(MEANDER)

    second = page.context.new_page()
    second.goto(page.url)
    second.wait_for_selector("#chat .example")
    expect(second.locator("#question textarea")).to_have_value("")

    question.press("Enter")
    expect(question).to_have_value("")
    expect(desk.questions()).to_have_text([MEANDER])
    page.reload()
    expect(desk.questions()).to_have_text([MEANDER])
    page.wait_for_selector("#send", timeout=SLOW)
    expect(question).to_have_value("")


def test_a_reload_loses_nothing_of_an_answer_that_is_being_made(desk: Desk) -> None:
    page = desk.page
    desk.send(BOTH)
    page.reload()
    expect(desk.questions()).to_have_text([BOTH])
    page.wait_for_selector("#send", timeout=SLOW)
    expect(page.locator("#status")).to_contain_text("Answered in", timeout=SLOW)
    expect(page.locator("#chat .bot-row")).to_contain_text("bend")
    expect(page.locator("#newest-sources mark").first).to_be_visible()


def test_another_conversation_isnt_disturbed_by_an_answer_in_the_making(
    halting_desk: tuple[Desk, Script],
) -> None:
    desk, script = halting_desk
    page = desk.page
    other_desk = Desk(page.context.new_page())
    other_desk.page.goto(page.url.split("?")[0])
    other_desk.page.wait_for_selector("#chat .example")
    desk.send(BOTH)
    other_desk.send(MAGMA)
    expect(other_desk.page.locator("#status")).to_contain_text(
        "Another answer is being written first"
    )
    page.click("#new-chat")
    expect(desk.questions()).to_have_count(0)
    expect(page.locator("#send")).to_be_visible()
    expect(desk.chats().first).to_have_text(MAGMA)

    expect(other_desk.page.locator("#stop")).to_be_visible()
    script.first = "Magma is molten rock below the surface of the earth. [1]"
    script.goes_on.set()
    other_desk.finish()
    expect(other_desk.page.locator("#chat .bot-row")).to_contain_text("molten")
    assert "oxbow" not in other_desk.page.locator("#chat").inner_text()
    expect(desk.questions()).to_have_count(0)
    expect(page.locator("#newest-sources .passage")).to_have_count(0)

    desk.chats().filter(has_text=BOTH).first.click()
    expect(desk.questions()).to_have_text([BOTH])
    expect(page.locator("#status")).to_contain_text("Answered in", timeout=SLOW)
    desk.chats().filter(has_text=MAGMA).first.click()
    expect(desk.questions()).to_have_text([MAGMA])
    page.go_back()
    expect(desk.questions()).to_have_text([BOTH])


def test_back_and_forward_lead_through_the_conversations(desk: Desk) -> None:
    page = desk.page
    for question in (MEANDER, MAGMA):
        page.click("#new-chat")
        expect(desk.questions()).to_have_count(0)
        desk.ask(question)
    page.goto(desk.page.url.split("?")[0])
    expect(desk.chats().first).to_have_text(MAGMA)
    for question in (MEANDER, MAGMA, MEANDER):
        desk.chats().filter(has_text=question).first.click()
        expect(desk.questions()).to_have_text([question])
    length = page.evaluate("history.length")
    for question in (MAGMA, MEANDER):
        page.go_back()
        expect(desk.questions()).to_have_text([question])
    page.go_back()
    expect(desk.questions()).to_have_count(0)
    page.go_forward()
    expect(desk.questions()).to_have_text([MEANDER])
    page.evaluate("history.forward(); setTimeout(() => history.back(), 30)")
    page.wait_for_timeout(1000)
    # A browser that is slow may give the second step up: what is shown is what the address names.
    page.wait_for_function(
        """() => document.querySelector("#current-chat").dataset.chat
          === new URLSearchParams(location.search).get("chat")"""
    )
    addressed = page.locator("#history-list .open[aria-current] .title").inner_text()
    expect(desk.questions()).to_have_text([addressed])
    assert page.evaluate("history.length") == length


def test_back_closes_a_dialog_or_leaves_a_page_and_reloading_stays(phone: Desk) -> None:
    page = phone.page
    phone.ask(MAGMA)
    address = page.url
    page.locator("#newest-sources .open-note").first.click()
    expect(page.locator("#note-dialog mark").first).to_be_visible()
    page.go_back()
    expect(page.locator("#note-dialog")).to_be_hidden()
    expect(phone.questions()).to_have_text([MAGMA])
    assert page.url == address

    for name, part in (("Notes", "#notes li button"), ("Settings", "#index-facts dd")):
        page.get_by_role("tab", name=name).click()
        expect(page.locator(part).first).to_be_visible()
        page.reload()
        expect(page.locator(part).first).to_be_visible()
    page.go_back()
    expect(page.locator("#notes li button").first).to_be_visible()
    page.go_back()
    expect(phone.questions()).to_have_text([MAGMA])
    expect(phone.questions()).to_be_in_viewport()
    assert page.url == address


def test_conversations_are_renamed_searched_and_deleted_with_undo(desk: Desk) -> None:
    page = desk.page
    desk.ask(MEANDER)
    expect(desk.chats().first).to_have_text(MEANDER)
    first = page.locator("#history-list li").first
    first.hover()
    first.locator(".rename").click()
    page.fill("#history-list input", '<b>Bends</b> & "loops"')
    page.press("#history-list input", "Enter")
    expect(desk.chats().first).to_have_text('<b>Bends</b> & "loops"')

    page.click("#new-chat")
    expect(desk.questions()).to_have_count(0)
    desk.ask(MAGMA)
    page.fill("#search input", "bend course")
    expect(desk.chats().filter(has_text=MAGMA)).to_have_count(0)
    expect(desk.chats().filter(has_text="<b>Bends</b>")).to_have_count(1)
    expect(page.locator("#history-list .excerpt mark").first).to_have_text(
        re.compile("bend|course", re.IGNORECASE)
    )
    page.fill("#search input", "nothing holds this")
    expect(page.locator("#history-list")).to_contain_text("No conversation")
    page.fill("#search input", "")
    expect(desk.chats().first).to_have_text(MAGMA)

    count = desk.chats().count()
    first.hover()
    first.locator(".delete").click()
    expect(desk.questions()).to_have_count(0)
    expect(desk.chats()).to_have_count(count - 1)
    page.locator("#deleted .restore").click()
    expect(desk.questions()).to_have_text([MAGMA])
    expect(desk.chats()).to_have_count(count)
    expect(page.locator("#deleted .restore")).to_have_count(0)


def test_each_deletion_can_be_undone_and_the_open_chat_is_in_view(
    small_desk: tuple[Desk, Path],
) -> None:
    desk, corpus = small_desk
    (file,) = (corpus.parent / "conversations").glob("*.sqlite3")
    kept = Conversations(file)
    answer = Answer("It is.", (), (), refused=False)
    for number in range(40):
        turn = kept.ask(f"{number:032x}", f"Question {number}", 0)
        kept.finish(turn, Turn(f"Question {number}", "", answer), "done", {}, {})
    page = desk.page
    page.reload()
    for number in (39, 38, 37, 36):
        item = page.locator("#history-list li", has_text=f"Question {number}")
        item.hover()
        item.locator(".delete").click()
        expect(item).to_have_count(0)
    undo = page.locator("#deleted .deleted")
    expect(undo).to_have_count(3)
    expect(undo.first).to_contain_text("Question 36")
    undo.filter(has_text="Question 38").locator(".restore").click()
    expect(desk.chats().first).to_have_text("Question 38")
    expect(undo).to_have_count(2)
    undo.first.locator(".restore").click()
    expect(undo).to_have_count(1)
    expect(desk.chats()).to_have_count(38)

    page.goto(f"{page.url.split('?')[0]}?chat={0:032x}")
    expect(page.locator("#history-list .open[aria-current]")).to_have_text("Question 0")
    expect(page.locator("#history-list .open[aria-current]")).to_be_in_viewport()
    expect(desk.chats().first).not_to_be_in_viewport()
    expect(undo).to_have_count(0)


def test_a_marker_shows_its_sentence_to_mouse_and_keyboard(desk: Desk) -> None:
    page = desk.page
    desk.ask(MAGMA)
    card = page.locator("#citation-card")
    expect(card).to_be_hidden()
    marker = page.locator("#chat a.citation").first
    marker.hover()
    expect(card).to_contain_text("volcanoes.md")
    expect(card.locator("q")).to_contain_text("molten rock")
    page.mouse.move(5, 5)
    expect(card).to_be_hidden()
    marker.focus()
    expect(card.locator("q")).to_contain_text("molten rock")
    page.keyboard.press("Enter")
    expect(page.locator("#newest-sources .passage.cited").first).to_be_focused()


def test_a_source_opens_its_whole_note_at_the_sentence(desk: Desk, server: Server) -> None:
    page = desk.page
    note = server.corpus / "volcanoes.md"
    filler = "".join(f"\n## Part {number}\n\n{'Filler text. ' * 60}\n" for number in range(30))
    note.write_text(filler + VOLCANOES, encoding="utf-8")
    try:
        desk.ask(MAGMA)
        opening = page.locator("#newest-sources .passage.cited", has_text="volcanoes.md")
        opening.locator(".open-note").first.click()
        dialog = page.locator("#note-dialog")
        expect(dialog.locator("h2").first).to_have_text("volcanoes.md")
        expect(dialog.locator("mark").first).to_be_in_viewport()
        expect(dialog.locator("mark").first).to_contain_text("molten rock")
        expect(dialog.locator("nav a.here")).to_have_text(MAGMA)
        dialog.locator("nav a", has_text="Part 3").first.click()
        expect(dialog.locator("article h3", has_text="Part 3").first).to_be_in_viewport()
        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
    finally:
        note.write_text(VOLCANOES, encoding="utf-8")


def test_a_cited_note_that_changed_says_so(desk: Desk, server: Server) -> None:
    page = desk.page
    note = server.corpus / "volcanoes.md"
    desk.ask(MAGMA)
    expect(page.locator(".changed-since")).to_have_count(0)
    try:
        note.write_text(VOLCANOES + "\nOne more line.\n", encoding="utf-8")
        page.reload()
        changed = page.locator("#newest-sources .changed-since")
        expect(changed.first).to_contain_text("the sentence is still in it")
        expect(page.locator("#chat .aside.changed")).to_contain_text("volcanoes.md")

        note.write_text("# Volcanoes\n\nAll is new.\n", encoding="utf-8")
        page.reload()
        expect(changed.first).to_contain_text("isn't in it any more")
        expect(page.locator("#newest-sources mark").first).to_contain_text("molten rock")
        page.locator("#newest-sources .open-note").first.click()
        expect(page.locator("#note-view .changed-since")).to_contain_text("any more")
        page.keyboard.press("Escape")
        # Closing goes one step back, and a browser gives a reload up for that.
        page.wait_for_function("() => !history.state?.dialog")

        note.unlink()
        page.reload()
        expect(changed.first).to_contain_text("isn't there any more")
        expect(page.locator("#chat .bot-row")).to_contain_text("molten")
    finally:
        note.write_text(VOLCANOES, encoding="utf-8")


def test_an_edited_question_replaces_what_follows(desk: Desk) -> None:
    page = desk.page
    desk.ask(MEANDER)
    desk.ask(MAGMA)
    page.fill("#question textarea", "a draft")
    desk.edit_first()
    expect(page.locator("#question textarea")).to_have_value(MEANDER)
    expect(page.locator("#edit-notice")).to_contain_text("the turn after it")
    page.click("#cancel-edit")
    expect(page.locator("#question textarea")).to_have_value("a draft")
    expect(desk.questions()).to_have_text([MEANDER, MAGMA])

    desk.edit_first()
    expect(page.locator("#question textarea")).to_have_value(MEANDER)
    page.fill("#question textarea", OXBOW)
    page.press("#question textarea", "Enter")
    expect(desk.questions()).to_have_text([OXBOW])
    page.wait_for_selector("#send", timeout=SLOW)
    expect(page.locator("#chat .bot-row")).to_contain_text("curved lake")
    page.reload()
    expect(desk.questions()).to_have_text([OXBOW])


def test_deleting_the_conversation_ends_its_edit_and_a_reload_keeps_the_draft(desk: Desk) -> None:
    page = desk.page
    question = page.locator("#question textarea")
    desk.ask(MEANDER)
    question.fill("a draft")
    desk.edit_first()
    expect(question).to_have_value(MEANDER)
    page.reload()
    expect(question).to_have_value("a draft")
    expect(page.locator("#edit-bar")).to_be_hidden()

    expect(desk.questions()).to_have_text([MEANDER])
    desk.edit_first()
    expect(question).to_have_value(MEANDER)
    first = page.locator("#history-list li").first
    first.hover()
    first.locator(".delete").click()
    expect(question).to_have_value("a draft")
    expect(page.locator("#edit-bar")).to_be_hidden()
    desk.ask(MAGMA)
    expect(desk.questions()).to_have_text([MAGMA])
    page.reload()
    expect(desk.questions()).to_have_text([MAGMA])


def test_what_fails_with_the_conversations_says_so(small_desk: tuple[Desk, Path]) -> None:
    desk, corpus = small_desk
    page, status = desk.page, desk.page.locator("#status")
    desk.ask(MEANDER)
    for path in (corpus.parent / "conversations").iterdir():
        path.write_bytes(b"no database " * 1000)
    page.locator("#chat .actions .up").click()
    expect(status).to_contain_text("rating couldn't be kept")
    page.keyboard.press("Escape")
    page.locator("#chat .actions .copy").click()
    expect(status).to_contain_text("can't be read")
    first = page.locator("#history-list li").first
    first.hover()
    first.locator(".export").click()
    expect(status).to_contain_text("couldn't be exported")
    page.locator("#newest-sources .open-note").first.click()
    expect(page.locator("#note-view")).to_contain_text("conversations can't be read")


def test_an_answer_is_exported_copied_and_rated(desk: Desk, server: Server) -> None:
    page = desk.page
    context: BrowserContext = page.context
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    desk.ask(MAGMA)
    first = page.locator("#history-list li").first
    first.hover()
    with page.expect_download() as waiting:
        first.locator(".export").click()
    download = waiting.value
    assert download.suggested_filename == "What-is-magma.md"
    text = download.path().read_text(encoding="utf-8")
    assert text.startswith(f"# {MAGMA}\n\n## {MAGMA}\n\n")
    assert "Sources:\n\n- [1] volcanoes.md" in text
    assert "molten rock" in text

    page.locator("#chat .actions .copy").click()
    expect(page.locator("#status")).to_contain_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert "molten rock" in copied
    assert "Sources:\n\n- [1] volcanoes.md" in copied

    page.locator("#chat .actions .down").click()
    page.fill("#comment", "Too short.")
    page.click("#comment-dialog button.primary")
    expect(page.locator("#comment-dialog")).to_be_hidden()
    expect(page.locator("#status")).to_contain_text("comment is kept")
    command = [sys.executable, "-m", "rag_tutor", "feedback"]
    listed = subprocess.run(
        command, env=server.environment, capture_output=True, text=True, timeout=300, check=True
    )
    assert MAGMA in listed.stdout
    assert "Too short." in listed.stdout
    page.reload()
    expect(page.locator("#chat .actions .down")).to_have_class(re.compile(r"\bon\b"))
    page.locator("#chat .actions .down").click()
    expect(page.locator("#status")).to_contain_text("removed")
    page.reload()
    expect(page.locator("#chat .actions .copy")).to_be_visible()
    expect(page.locator("#chat .actions .on")).to_have_count(0)


def test_formulas_and_code_are_shown_and_prices_are_left_alone(desk: Desk) -> None:
    page = desk.page
    desk.ask("What is kinetic energy?")
    answer = page.locator("#chat .bot-row").last
    expect(answer.locator(".katex").first).to_be_visible()
    expect(answer).not_to_contain_text("$E_k")
    expect(page.locator("#newest-sources .katex").first).to_be_visible()
    expect(page.locator("#newest-sources")).to_contain_text("costs $5 or $6")

    desk.ask("How is a list sorted in Python?")
    code = page.locator("#chat .bot-row").last.locator(".code_wrap").first
    expect(code).to_contain_text("sorted(numbers)")
    expect(code.locator("a.citation")).to_have_count(0)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    code.hover()
    code.locator("button").first.click()
    page.wait_for_function(
        "async () => (await navigator.clipboard.readText()).includes('sorted(numbers)')"
    )


def test_a_table_is_shown_as_one_with_the_cited_row_marked(desk: Desk) -> None:
    page = desk.page
    desk.ask("How steep is a stratovolcano?")
    expect(page.locator("#chat .bot-row")).to_contain_text("its lava is thick")
    row = page.locator("#newest-sources .cited tr", has_text="Stratovolcano")
    expect(row.locator("mark").first).to_be_visible()
    expect(page.locator("#newest-sources .cited th").first).to_have_text("Kind")
    lines = row.locator("mark", has_text="Stratovolcano").evaluate(
        """(word) => {
          word.closest(".text").style.width = "8rem";
          return word.getClientRects().length;
        }"""
    )
    assert lines == 1, "a word of a cell is broken, where the table could be scrolled"


def test_suggested_follow_ups_lead_on(desk: Desk, server: Server) -> None:
    page = desk.page
    page.evaluate(
        """() => {
          window.heights = [];
          new MutationObserver(() => {
            const row = document.querySelector("#chat .bot-row:has(.actions)");
            if (row) heights.push(row.offsetHeight);
          }).observe(document.querySelector("#chat"), { childList: true, subtree: true });
        }"""
    )
    desk.ask(MAGMA)
    suggestion = page.locator("#chat .suggestion").first
    expect(suggestion).to_be_visible(timeout=SLOW)
    heights = page.evaluate("heights")
    assert max(heights) - min(heights) <= 2, "the answer moved when the follow-ups came"
    question = suggestion.inner_text()
    assert question != MAGMA
    suggestion.click()
    expect(desk.questions()).to_have_text([MAGMA, question])
    page.wait_for_selector("#send", timeout=SLOW)
    expect(page.locator("#status")).to_contain_text("Answered in")
    expect(page.locator("#chat .bot-row").first.locator(".suggestion")).to_have_count(0)
    expect(page.locator("#chat .suggestion", has_text=question)).to_have_count(0)


def test_nothing_of_a_hostile_note_runs_in_cards_notes_or_lists(desk: Desk) -> None:
    page = desk.page
    question = "What is quartz <img src=x onerror=window.hacked=1> made of?"
    desk.ask(question)
    expect(desk.chats().first).to_have_text(question)
    page.locator("#chat a.citation").first.hover()
    expect(page.locator("#citation-card b")).to_have_text(HOSTILE_NAME)
    page.fill("#search input", "<img")
    expect(page.locator("#history-list .excerpt mark").first).to_have_text("<img")
    opening = page.locator("#newest-sources .passage.cited", has_text="quartz").first
    opening.locator(".open-note").click()
    dialog = page.locator("#note-dialog")
    expect(dialog.locator("h2").first).to_have_text(HOSTILE_NAME)
    expect(dialog.locator("nav a").first).to_contain_text("<script>window.hacked=1</script>")
    expect(dialog.locator("article")).to_contain_text("</textarea>")
    assert page.evaluate("window.hacked") is None
    assert page.locator(".gradio-container img").count() == 0
    assert page.locator("a[href^='javascript']").count() == 0


def test_a_long_question_leaves_room_for_its_answer(phone: Desk) -> None:
    page = phone.page
    phone.ask(f"{'I read about the courses of rivers and their bends. ' * 12}{MEANDER}")
    box = phone.questions().first.bounding_box()
    assert box
    assert box["height"] < 150
    phone.edit_first()
    expect(page.locator("#question textarea")).to_have_value(re.compile("^I read about"))


def test_a_narrow_note_has_its_outline_above_it(phone: Desk) -> None:
    page = phone.page
    phone.ask(MAGMA)
    page.locator("#newest-sources .open-note").first.click()
    outline = page.locator("#note-view nav")
    place = outline.locator("a", has_text="Where does an earthquake begin?")
    expect(outline.locator("summary")).to_be_visible()
    expect(place).to_be_hidden()
    outline.locator("summary").click()
    place.click()
    expect(place).to_be_hidden()
    heading = page.locator("#note-view article").get_by_role("heading", name="earthquake")
    expect(heading).to_be_in_viewport()


def test_the_list_is_a_drawer_on_a_phone(phone: Desk) -> None:
    page = phone.page
    phone.ask(MAGMA)
    expect(page.locator("#history")).to_be_hidden()
    page.click("#show-history button")
    expect(page.locator("#new-chat")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#history")).to_be_hidden()
    page.click("#show-history button")
    page.click("#new-chat")
    expect(page.locator("#history")).to_be_hidden()
    expect(phone.questions()).to_have_count(0)
    page.click("#show-history button")
    phone.chats().first.click()
    expect(phone.questions()).to_have_text([MAGMA])
    page.locator("#newest-sources .open-note").first.click()
    expect(page.locator("#note-dialog mark").first).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
