"""The list of conversations as HTML."""

import time

from rag_tutor.conversations import Conversation, Hit
from rag_tutor.ui.history import Deletion, deleted_html, hits_html, list_html
from tests.test_render import EVIL, Page

DAY = 24 * 3600


def test_conversations_stand_below_their_day() -> None:
    now = time.mktime((2026, 3, 10, 12, 0, 0, 0, 0, -1))
    ages = {"a": 0.0, "b": DAY / 4, "c": DAY, "d": 2 * DAY, "e": 30 * DAY}
    page = Page(
        list_html([Conversation(key, key, now - age) for key, age in ages.items()], "b", now)
    )
    assert page.text == "TodayabYesterdaycEarlierde"
    current = [each["value"] for each in page.attributes("button") if "aria-current" in each]
    assert current == ["b"]


def test_titles_excerpts_and_words_are_text() -> None:
    conversation = Conversation('"><script>', EVIL, 0.0)
    hits = [Hit(conversation, f"{EVIL} and (a+b)")]
    for html in (
        list_html([conversation], '"><script>', 0.0),
        hits_html(hits, "", f"{EVIL[:4]} (a+"),
        deleted_html(Deletion('"><script>', EVIL, was_open=True)),
    ):
        page = Page(html)
        assert not {"img", "script"} & {tag for tag, _ in page.tags}
        assert EVIL in page.text
    assert Page(hits_html(hits, "", f"{EVIL[:4]} (a+")).marked == f"{EVIL[:4]}(a+"


def test_an_empty_list_and_an_empty_search_say_so() -> None:
    assert "kept here" in list_html([], "", 0.0)
    assert "No conversation" in hits_html([], "", "x")
