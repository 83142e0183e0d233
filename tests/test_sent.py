"""What the page's script sends, and what is made of anything else."""

from typing import Any

import pytest

from rag_tutor.ui.sent import MalformedError, Sent


def test_texts_and_numbers_are_found_by_their_names() -> None:
    sent = Sent(None, {"chat": "c1", "turn": "12", "number": 3, "value": {"text": "What?"}})
    assert sent.text("chat") == "c1"
    assert sent.text("value", "text") == "What?"
    assert (sent.number("turn"), sent.number("number")) == (12, 3)


@pytest.mark.parametrize(
    "data", [None, 5, "turn", ["turn"], {}, {"turn": None}, {"turn": {}}, {"turn": "\ud800"}]
)
def test_what_is_missing_or_of_another_kind_is_named(data: Any) -> None:
    for read in (Sent(None, data).text, Sent(None, data).number):
        with pytest.raises(MalformedError, match="sent no turn that can be used"):
            read("turn")


@pytest.mark.parametrize("number", ["", "-1", "1.5", "²", "٣", "1e3", "9" * 19, True, -1, 1.0])
def test_only_whole_numbers_that_can_be_kept_are_read(number: Any) -> None:
    with pytest.raises(MalformedError):
        Sent(None, {"turn": number}).number("turn")
