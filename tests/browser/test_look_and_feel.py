"""What holds for every page: it can be read, reached and used by anyone, at any width."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import Desk, Server

pytestmark = pytest.mark.browser

MEANDER = "What is a meander?"
# What a student can do on the page that is open, and what of it has the focus now.
ACTIONS = """() => [...document.querySelectorAll(
    "#pages :is(a[href], button, input, textarea, summary, [role=tab])")]
  .filter(each => each.checkVisibility({visibilityProperty: true, opacityProperty: false})
    && !each.disabled && each.getAttribute("tabindex") !== "-1" && !each.closest("[inert]"))"""
FOCUSED = """() => {
  const shown = [document.activeElement, document.activeElement.closest("label, fieldset label")];
  return {
    action: ACTIONS().indexOf(document.activeElement),
    visible: shown.some(each => each && getComputedStyle(each).outlineStyle !== "none"),
    html: document.activeElement.outerHTML.slice(0, 120),
  };
}"""


def open_page(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name).click()
    shown = {
        "Chat": "#question textarea",
        "Notes": "#notes li button",
        "Settings": "#index-facts dd",
    }
    expect(page.locator(shown[name]).first).to_be_visible()


def axe_issues(page: Page, name: str) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [
        f"{name}: {issue['id']} ({issue['impact']}): {node['html'][:200]}"
        for issue in found
        for node in issue["nodes"]
    ]


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 380)])
def test_axe_finds_no_issue_on_any_page(desk: Desk, theme: str, width: int) -> None:
    page = desk.page
    page.set_viewport_size({"width": width, "height": 780})
    page.emulate_media(color_scheme=theme, reduced_motion="reduce")
    page.wait_for_function(
        "t => document.body.classList.contains('dark') === (t === 'dark')", arg=theme
    )
    issues = axe_issues(page, "chat without an answer")
    desk.ask(MEANDER)
    issues += axe_issues(page, "chat with an answer")
    open_page(page, "Notes")
    issues += axe_issues(page, "notes")
    desk.open_note("rivers.md")
    expect(page.locator("#editor textarea")).not_to_be_empty()
    issues += axe_issues(page, "editor")
    # What can be scrolled must be reached by the keyboard, too.
    page.fill("#editor textarea", "## Long\n\n" + "One more line.\n\n" * 200)
    expect(page.locator("#preview h3")).to_have_text("Long")
    issues += axe_issues(page, "editor with a long note")
    page.click("#discard")
    open_page(page, "Settings")
    issues += axe_issues(page, "settings")
    assert issues == []


@pytest.mark.parametrize("name", ["Chat", "Notes", "Settings"])
def test_every_action_can_be_reached_and_seen_with_the_tab_key(desk: Desk, name: str) -> None:
    page = desk.page
    open_page(page, name)
    actions = page.evaluate(f"({ACTIONS})().length")
    assert actions > 4
    page.evaluate("document.activeElement.blur()")
    reached, unseen = set(), []
    for _ in range(2 * actions + 10):
        page.keyboard.press("Tab")
        focused = page.evaluate(FOCUSED.replace("ACTIONS", f"({ACTIONS})"))
        reached.add(focused["action"])
        if focused["action"] >= 0 and not focused["visible"]:
            unseen.append(focused["html"])
    assert unseen == []
    # Of radio buttons, and of tabs, only the chosen one is a stop; the arrows lead to the others.
    missed = page.evaluate(
        f"""reached => ({ACTIONS})()
          .filter((each, at) => !reached.includes(at)
            && !(each.type === "radio" && !each.checked) && each.role !== "tab")
          .map(each => each.outerHTML.slice(0, 120))""",
        list(reached),
    )
    assert missed == []


def test_shift_and_enter_break_the_line_and_enter_sends(desk: Desk) -> None:
    question = desk.page.locator("#question textarea")
    question.press_sequentially("What is")
    question.press("Shift+Enter")
    question.press_sequentially("a meander?")
    expect(question).to_have_value("What is\na meander?")
    question.press("Enter")
    expect(desk.page.locator("#chat .user-row")).to_have_count(1)
    desk.page.wait_for_selector("#send", timeout=60_000)
    expect(question).to_have_value("")


def test_the_page_keeps_still_while_an_answer_is_written(desk: Desk) -> None:
    page = desk.page
    page.evaluate(
        """() => {
          window.moved = new Set();
          const parts = ["#question", "#send, #stop", "#sources-panel", "#pages > .tab-wrapper"];
          const place = (name) => {
            const box = document.querySelector(name)?.getBoundingClientRect();
            return box && [box.x, box.y, box.width, box.height].map(Math.round).join();
          };
          const before = parts.map(place);
          const look = () => {
            parts.forEach((name, at) => {
              const now = place(name);
              if (now && now !== before[at]) moved.add(`${name}: ${before[at]} to ${now}`);
            });
            requestAnimationFrame(look);
          };
          look();
        }"""
    )
    desk.ask("What is an oxbow lake and what is a meander?")
    assert page.evaluate("[...moved]") == []


@pytest.mark.parametrize("width", [380, 768, 1440])
def test_nothing_is_wider_than_the_window_and_fingers_find_every_button(
    desk: Desk, server: Server, width: int
) -> None:
    page = desk.page
    page.set_viewport_size({"width": width, "height": 800})
    desk.ask(MEANDER)
    for name in ("Chat", "Notes", "Settings"):
        open_page(page, name)
        if name == "Notes":
            desk.open_note("rivers.md")
            expect(page.locator("#editor textarea")).not_to_be_empty()
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, name
        if width > 380:
            continue
        small = page.evaluate(
            f"""() => ({ACTIONS})()
              .filter(each => !each.matches("a.citation, .prose *, [type=radio]"))
              .map(each => [each.getBoundingClientRect().height, each.outerHTML.slice(0, 120)])
              .filter(([height]) => height < 40)"""
        )
        assert small == [], name
