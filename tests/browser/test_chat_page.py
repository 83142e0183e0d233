"""What a student sees of questions, answers and sources."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Route, expect

from tests.browser.conftest import HOSTILE, HOSTILE_NAME, PATIENCE, Desk, Script, Server

pytestmark = pytest.mark.browser

MEANDER = "What is a meander?"
MAGMA = "What is magma?"
OXBOW = "What is an oxbow lake?"
FOCUS = "Where does an earthquake begin?"
CIRCLES = (
    r"The area of a circle is $$A = \pi r^2$$ for a circle of radius r. "
    r"The length around a circle is \[C = 2 \pi r\] for a circle of radius r. "
    r"The width of a circle is \(d = 2 r\) for a circle of radius r. "
    r"A kit to draw a circle costs $5 or $6 and prints $HOME/$USER."
)


SAND = """\
The sand of a **desert** is round and fine.

- Coral sand is white and made of shells.
- Volcanic sand is black and made of lava.

```python
kind = grains[1]
```
"""


@pytest.fixture
def sand(server: Server) -> Iterator[str]:
    """The text of a note with bold words, a list and code."""
    path = server.corpus / "sand.md"
    path.write_text(f"# Kinds of sand\n\n{SAND}\n", encoding="utf-8")
    yield SAND
    path.unlink()


@pytest.fixture
def circles(server: Server) -> Iterator[str]:
    """The text of a note of formulas, prices and variables of a shell."""
    path = server.corpus / "circles.md"
    path.write_text(f"# Circles\n\n{CIRCLES}\n", encoding="utf-8")
    yield CIRCLES
    path.unlink()


def test_an_answer_comes_with_its_marked_source(desk: Desk, server: Server) -> None:
    desk.ask(MEANDER)
    page = desk.page
    expect(page.locator("#chat .bot-row")).to_contain_text("bend")
    expect(page.locator("#status")).to_contain_text("Answered in")
    first = page.locator("#newest-sources .passage").first
    expect(first.locator(".note")).to_have_text("rivers.md")
    marked = first.locator("mark").first.inner_text()
    assert marked.split(".")[0] in (server.corpus / "rivers.md").read_text(encoding="utf-8")
    divider = page.locator("#newest-sources .divider")
    expect(divider).to_have_text("Also read, not cited")
    read = page.locator("#newest-sources .divider ~ .passage")
    expect(read.first).to_be_visible()
    expect(page.locator("#newest-sources .divider ~ .cited")).to_have_count(0)


def test_the_answer_is_shown_while_it_is_made(desk: Desk) -> None:
    page = desk.page
    page.evaluate(
        """() => {
          window.seen = [];
          window.said = new Set();
          const note = () => {
            const answer = document.querySelector("#chat .bot-row");
            const running = !!document.querySelector("#stop");
            if (answer) seen.push([answer.innerText.trim().length, running]);
            said.add(document.querySelector("#status .message")?.innerText ?? "");
          };
          new MutationObserver(note).observe(document.querySelector("#conversation"),
            { childList: true, subtree: true, characterData: true });
        }"""
    )
    desk.ask("What is an oxbow lake and what is a meander?")
    expect(page.locator("#status")).to_contain_text("Answered in")
    seen = page.evaluate("seen")
    assert [0, True] in seen, "no sign of work before the first sentence"
    lengths = [length for length, _ in seen]
    assert lengths == sorted(lengths), "the text shrank while it was written"
    said = " ".join(page.evaluate("[...said]"))
    assert re.search(r"Searching your notes….* Answered in \d", said)


def test_a_sentence_is_shown_while_the_next_one_is_written(
    halting_desk: tuple[Desk, Script],
) -> None:
    desk, script = halting_desk
    desk.send(OXBOW)
    answer = desk.page.locator("#chat .bot-row")
    expect(answer).to_contain_text("cuts through the neck of a meander. [1]")
    expect(answer).not_to_contain_text("left behind")
    expect(desk.page.locator("#stop")).to_be_visible()
    script.goes_on.set()
    desk.finish()
    expect(answer).to_contain_text("left behind without a current. [1]")


@pytest.mark.parametrize("way", ["button", "Escape"])
def test_stop_keeps_what_was_written(halting_desk: tuple[Desk, Script], way: str) -> None:
    desk, script = halting_desk
    page = desk.page
    desk.send(OXBOW)
    answer = page.locator("#chat .bot-row")
    expect(answer).to_contain_text("neck of a meander. [1]")
    page.click("#stop") if way == "button" else page.keyboard.press(way)
    desk.finish()
    script.goes_on.set()
    expect(page.locator("#status")).to_contain_text("What was written is kept")
    expect(page.locator("#newest-sources .cited mark").first).to_contain_text("oxbow lake")
    desk.ask(MAGMA)  # whatever came late would have come before the next answer
    for is_reloaded in (False, True):
        if is_reloaded:
            page.reload()
        expect(answer.first).to_contain_text("neck of a meander. [1]")
        expect(answer.first).to_contain_text("Stopped here.")
        expect(answer.first).not_to_contain_text("left behind")


def test_a_question_without_an_answer_is_given_back_and_leaves_nothing(
    halting_desk: tuple[Desk, Script],
) -> None:
    desk, script = halting_desk
    page, question = desk.page, desk.page.locator("#question textarea")
    script.fails = True
    question.fill(OXBOW)
    question.press("Enter")
    expect(page.locator("#status [role=alert]")).to_be_visible(timeout=60_000)
    expect(question).to_have_value(OXBOW)
    expect(desk.questions()).to_have_count(0)
    expect(desk.chats()).to_have_count(0)

    script.fails, script.first = False, ""
    desk.send(OXBOW)
    question.fill("And what")
    page.click("#stop")
    desk.finish()
    expect(page.locator("#status")).to_have_text("Stopped.")
    expect(question).to_have_value("And what")
    question.fill("")

    script.first = "Magma is molten rock below the surface of the earth. [1] "
    script.goes_on.set()
    desk.ask(MAGMA)
    expect(page.locator("#retry")).to_be_enabled()
    script.first = ""
    script.goes_on.clear()
    desk.send(OXBOW)
    page.click("#stop")
    desk.finish()
    expect(question).to_have_value(OXBOW)
    expect(page.locator("#retry")).to_be_disabled()  # it would ask the question before


def test_the_sources_before_are_gone_as_soon_as_the_next_answer_is_begun(
    halting_desk: tuple[Desk, Script],
) -> None:
    desk, script = halting_desk
    page = desk.page
    script.goes_on.set()
    desk.ask(OXBOW)
    asked, cited = page.locator(".sources:visible .asked"), page.locator(".sources:visible .cited")
    expect(asked).to_have_text(OXBOW)
    page.locator("#chat a.citation").first.click()
    expect(cited.locator("mark").first).to_contain_text("oxbow lake")

    script.goes_on.clear()
    script.first = "Magma is molten rock below the surface of the earth. [1] Magma that"
    script.rest = " reaches the surface is called lava. [1]"
    desk.send(MAGMA)
    expect(asked).to_have_text(MAGMA)
    expect(page.locator("#chat .bot-row").last).to_contain_text("molten rock")
    expect(page.locator("#stop")).to_be_visible()
    expect(cited.locator("mark")).to_have_text(
        ["Magma is molten rock below the surface of the earth."]
    )
    script.goes_on.set()
    desk.finish()
    expect(asked).to_have_text(MAGMA)


def test_markers_are_links_in_lists_and_bold_text_and_never_in_code(
    sand: str, halting_desk: tuple[Desk, Script]
) -> None:
    desk, script = halting_desk
    script.first, script.rest = sand, ""
    script.goes_on.set()
    desk.ask("What is the sand of a desert like?")
    answer = desk.page.locator("#chat .bot-row .prose")
    expect(answer.locator("li", has_text="Coral sand").locator("a.citation")).to_have_text("[1]")
    expect(answer.locator("strong", has_text="desert")).to_be_visible()
    expect(answer.locator("p", has_text="desert").locator("a.citation")).to_have_text("[1]")
    code = answer.locator("pre")
    expect(code).to_contain_text("grains[1]")
    expect(code.locator("a")).to_have_count(0)


def test_formulas_are_shown_while_the_answer_is_written(
    circles: str, halting_desk: tuple[Desk, Script]
) -> None:
    desk, script = halting_desk
    page = desk.page
    begun = "A kit to draw"
    script.first = circles[: circles.index(begun) + len(begun)]
    script.rest = circles.removeprefix(script.first)
    answer = page.locator("#chat .bot-row .prose")
    desk.send("What is the area of a circle?")
    expect(answer.locator(".katex")).to_have_count(3)
    expect(page.locator("#stop")).to_be_visible()
    script.goes_on.set()
    desk.finish()
    written = "costs $5 or $6 and prints $HOME/$USER"
    expect(answer).to_contain_text(written)
    for _ in range(2):
        expect(answer.locator(".katex")).to_have_count(3)
        expect(answer.locator(".katex-display")).to_have_count(0)
        expect(answer.locator(".katex-error")).to_have_count(0)
        for sign in ("$$", "\\(", "\\["):
            expect(answer).not_to_contain_text(sign)
        page.reload()
    expect(answer).to_contain_text(written)


def test_a_refusal_leads_to_the_closest_passages(desk: Desk) -> None:
    page = desk.page
    desk.ask("Who won the chess championship?")
    answer = page.locator("#chat .bot-row")
    expect(answer).to_contain_text("can't find this in your notes")
    expect(page.locator("#status")).to_contain_text("Nothing in your notes answers this")
    expect(answer.locator("a.citation")).to_have_count(0)
    nearest = answer.locator("a.nearest").first
    heading = nearest.inner_text().split(" > ")[-1]
    nearest.click()
    passage = page.locator("#newest-sources .passage[open]")
    expect(passage).to_contain_text(heading)
    expect(passage.locator(".text")).to_be_in_viewport()


def test_a_follow_up_is_searched_with_what_went_before(desk: Desk) -> None:
    desk.ask(MEANDER)
    desk.ask("Why does that happen?")
    searched = desk.page.locator("#chat .bot-row").nth(1).locator(".searched")
    expect(searched).to_contain_text("meander")


def test_a_citation_opens_the_sources_of_its_own_answer(desk: Desk) -> None:
    desk.ask(MEANDER)
    desk.ask(MAGMA)
    page = desk.page
    expect(page.locator(".sources:visible .asked")).to_have_text(MAGMA)

    citation = page.locator("#chat .bot-row").nth(0).locator("a.citation").first
    number = citation.inner_text().strip("[]")
    citation.click()
    expect(page.locator(".sources:visible .asked")).to_have_text(MEANDER)
    passage = page.locator(f".sources:visible .passage[id$='-{number}']")
    expect(passage).to_be_focused()
    expect(passage).to_be_in_viewport()
    expect(passage.locator("mark").first).to_be_visible()

    page.locator("#chat .bot-row").nth(1).locator(".prose").click(position={"x": 2, "y": 2})
    expect(page.locator(".sources:visible .asked")).to_have_text(MAGMA)

    citation.click()
    expect(page.locator(".sources:visible .asked")).to_have_text(MEANDER)
    desk.ask("What is an oxbow lake?")
    expect(page.locator(".sources:visible .asked")).to_have_text("What is an oxbow lake?")


def test_sources_that_come_late_are_not_shown_for_another_answer(desk: Desk) -> None:
    page = desk.page
    held: list[Route] = []

    def hold(route: Route) -> None:
        is_pick = re.search(r'"event_data":{"name":"pick"', route.request.post_data or "")
        held.append(route) if is_pick else route.continue_()

    def citation(answer: int) -> Locator:
        return page.locator("#chat .bot-row").nth(answer).locator("a.citation").first

    def come(which: int = 0) -> None:
        for _ in range(400):
            if len(held) > which:
                break
            page.wait_for_timeout(50)
        route = held.pop(which)
        with page.expect_response(lambda each: each.request == route.request):
            route.continue_()

    asked = page.locator(".sources:visible .asked")
    for question in (MEANDER, MAGMA, OXBOW):
        desk.ask(question)
        expect(asked).to_have_text(question)
    page.route("**/gradio_api/**", hold)

    citation(0).click()
    citation(1).click()
    come(1)
    expect(asked).to_have_text(MAGMA)
    come()
    expect(asked).to_have_text(OXBOW)
    come()
    expect(asked).to_have_text(MAGMA)

    citation(0).click()
    expect(asked).to_have_text(OXBOW)
    desk.ask(FOCUS)
    come()
    expect(page.locator("#chosen-sources .asked")).to_have_text(MEANDER)
    expect(asked).to_have_text(FOCUS)


def test_a_new_chat_knows_nothing_of_the_old_one(desk: Desk) -> None:
    desk.ask(MEANDER)
    desk.page.click("#new-chat")
    expect(desk.page.locator("#chat .bot-row")).to_have_count(0)
    expect(desk.page.locator(".sources:visible")).to_have_count(0)
    desk.ask("Why does that happen?")
    expect(desk.page.locator("#chat .bot-row")).to_have_count(1)
    expect(desk.page.locator("#chat .searched")).to_have_count(0)


def test_two_windows_never_see_each_other(desk: Desk, other_desk: Desk) -> None:
    desk.ask(MEANDER)
    other_desk.ask(MAGMA)
    desk.ask("Why does that happen?")
    expect(desk.page.locator("#chat .searched")).to_contain_text("meander")
    assert "agma" not in desk.page.locator("#chat").inner_text()
    expect(other_desk.page.locator("#chat .bot-row")).to_have_count(1)
    assert "meander" not in other_desk.page.locator("#conversation").inner_text()


def test_sending_twice_asks_once(desk: Desk) -> None:
    page = desk.page
    page.fill("#question textarea", MEANDER)
    page.evaluate(
        """() => {
          const send = document.querySelector("#send");
          send.click();
          send.click();
        }"""
    )
    page.press("#question textarea", "Enter")
    expect(desk.questions()).to_have_text([MEANDER])
    desk.finish()
    # Answers are made in the order of the questions: a second one would stand before this.
    desk.ask(MAGMA)
    expect(page.locator("#chat .user-row")).to_have_text([MEANDER, MAGMA])


def test_no_error_is_shown_where_an_answer_is_left_for_the_next_one(desk: Desk) -> None:
    page = desk.page
    page.evaluate(
        """() => {
          window.errors = 0;
          const look = () => {
            const shown = [...document.querySelectorAll("#chat .wrap:not(.hide) .error")];
            errors += shown.filter((each) => each.checkVisibility()).length;
            requestAnimationFrame(look);
          };
          look();
        }"""
    )
    desk.ask(MEANDER)
    desk.ask(MAGMA)  # while follow-ups to the first are still looked for
    desk.send(OXBOW)
    page.click("#new-chat")
    page.wait_for_selector("#chat .example")
    desk.ask(MEANDER)
    expect(desk.questions()).to_have_count(1)
    assert page.evaluate("errors") == 0


def test_retry_answers_the_last_question_again(desk: Desk) -> None:
    page = desk.page
    expect(page.locator("#retry")).to_be_disabled()
    desk.ask(MAGMA)
    page.fill("#question textarea", "a draft")
    before = page.locator("#chat .copy").get_attribute("href")
    page.click("#retry")
    page.wait_for_selector(f'#chat .copy:not([href="{before}"])', timeout=2 * PATIENCE)
    expect(page.locator("#chat .user-row")).to_have_text([MAGMA])
    expect(page.locator("#chat .bot-row")).to_contain_text("molten")
    expect(page.locator("#question textarea")).to_have_value("a draft")


@pytest.mark.parametrize(
    "question", ["x" * 100_000, "?!… --- ***"], ids=["too long", "only punctuation"]
)
def test_a_question_that_cant_be_asked_stays_in_its_box(desk: Desk, question: str) -> None:
    page = desk.page
    page.fill("#question textarea", question)
    page.press("#question textarea", "Enter")
    page.wait_for_selector("#status [role=alert]")
    expect(page.locator("#question textarea")).to_have_value(question)
    expect(page.locator("#chat .user-row")).to_have_count(0)


def test_examples_are_questions_of_the_notes(desk: Desk, server: Server) -> None:
    headings = "".join(path.read_text(encoding="utf-8") for path in server.corpus.iterdir())
    examples = desk.page.locator("#chat .example").all_inner_texts()
    assert len(examples) == 4
    assert all(f"## {example}\n" in headings for example in examples)
    desk.page.locator("#chat .example").first.click()
    expect(desk.questions()).to_have_text(examples[0])
    desk.finish()


def test_examples_change_with_the_notes(small_desk: tuple[Desk, Path]) -> None:
    desk, corpus = small_desk
    examples = desk.page.locator("#chat .example")
    # Of exactly four questions none is left out.
    expect(examples).to_have_count(4)
    assert sorted(examples.all_inner_texts()) == [MEANDER, OXBOW, "What is dew?", "What is hail?"]

    (corpus / "weather.md").unlink()
    (corpus / "light.md").write_text(
        "## What is a prism?\n\nA prism bends light.\n\n## What is a lens?\n\nA lens, too.\n",
        encoding="utf-8",
    )
    for _ in range(60):  # until the index holds what has changed
        desk.page.click("#new-chat")
        desk.page.wait_for_timeout(500)
        shown = sorted(examples.all_inner_texts())
        if shown == ["What is a lens?", MEANDER, "What is a prism?", OXBOW]:
            return
    pytest.fail(f"The examples are still {shown}.")


def test_the_slash_key_leads_to_the_question_but_can_be_typed(desk: Desk) -> None:
    question = desk.page.locator("#question textarea")
    question.blur()
    desk.page.keyboard.press("/")
    expect(question).to_be_focused()
    expect(question).to_have_value("")
    desk.page.keyboard.press("/")
    expect(question).to_have_value("/")


def test_a_note_runs_nothing_in_the_page(desk: Desk) -> None:
    desk.ask("What is quartz?")
    page = desk.page
    expect(page.locator("#chat .bot-row")).to_contain_text("mineral")
    expect(page.locator("#newest-sources")).to_contain_text("<img src=x onerror")
    desk.open_notes()
    desk.open_note(HOSTILE_NAME)
    expect(page.locator("#editor textarea")).to_have_value(HOSTILE)
    expect(page.locator("#note-title")).to_have_text(HOSTILE_NAME)
    assert page.evaluate("window.hacked") is None
    assert page.locator(".gradio-container img").count() == 0
    assert page.locator("a[href^='javascript']").count() == 0


def test_keys_are_named_only_where_there_are_some(desk: Desk, browser: Browser) -> None:
    expect(desk.page.locator("#status")).to_contain_text("Enter sends")
    expect(desk.page.locator("#status .keys")).to_be_visible()
    context = browser.new_context(
        viewport={"width": 380, "height": 780}, has_touch=True, is_mobile=True
    )
    page = context.new_page()
    page.goto(desk.page.url)
    page.wait_for_selector("#chat .example")
    expect(page.locator("#status .keys")).to_be_hidden()
    context.close()


def test_the_page_fits_a_phone(phone: Desk) -> None:
    phone.ask(MEANDER)
    page = phone.page
    overflow = "document.documentElement.scrollWidth - window.innerWidth"
    assert page.evaluate(overflow) <= 0
    page.locator("#chat a.citation").first.click()
    expect(page.locator(".sources:visible .passage mark").first).to_be_in_viewport()
    expect(page.locator("#chat a.citation").first).not_to_be_focused()
    page.click("#to-answer")
    expect(page.locator("#chat a.citation").first).to_be_focused()
    expect(page.locator("#chat a.citation").first).to_be_in_viewport()
    # A question that is asked beside the sources leads back to where it is answered.
    page.locator("#chat a.citation").first.click()
    expect(page.locator("#chat .bot-row")).not_to_be_in_viewport()
    phone.ask(MAGMA)
    expect(page.locator("#chat .bot-row").last).to_be_in_viewport()
    phone.ask(FOCUS)
    phone.questions().first.scroll_into_view_if_needed()
    phone.ask(OXBOW)
    expect(phone.questions().last).to_be_in_viewport()
    phone.open_notes()
    phone.open_note("rivers.md")
    assert page.evaluate(overflow) <= 0
    for part in ("#editor textarea", "#save", "#close-note"):
        assert_fits(page.locator(part))
    page.click("#close-note")
    for part in ("#rebuild", "#note-name"):
        assert_fits(page.locator(part))


def assert_fits(part: Locator) -> None:
    """A part of the page isn't cut off at the side of a phone."""
    expect(part).to_be_visible()
    box = part.bounding_box()
    assert box and box["width"] > 40 and box["x"] + box["width"] <= 380


def test_nothing_is_asked_of_any_other_host(desk: Desk, server: Server) -> None:
    desk.ask("What is quartz?")
    desk.open_notes()
    desk.open_note("volcanoes.md")
    expect(desk.page.locator("#preview")).to_contain_text("molten rock")
    assert any("gradio_api" in url for url in desk.requests)
    allowed = (server.address + "/", "data:", "blob:")
    assert [url for url in desk.requests if not url.startswith(allowed)] == []


def test_a_busy_port_is_a_clear_message(server: Server) -> None:
    command = [sys.executable, "-m", "rag_tutor", "serve", "--port", str(server.port)]
    second = subprocess.run(
        command, env=server.environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert second.returncode == 1
    assert f"Port {server.port} is in use" in second.stderr
    assert "--port" in second.stderr
    assert "Traceback" not in second.stderr
