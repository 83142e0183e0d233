"""How texts are taken apart and compared."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_tutor.words import share_in_order

few_words = st.lists(st.sampled_from(["a", "b", "c", "magma"]), max_size=12)


def longest_common(wanted: list[str], source: list[str]) -> int:
    """By its definition, which takes long."""
    if not wanted or not source:
        return 0
    if wanted[-1] == source[-1]:
        return longest_common(wanted[:-1], source[:-1]) + 1
    return max(longest_common(wanted[:-1], source), longest_common(wanted, source[:-1]))


@given(few_words.filter(bool), few_words.map(lambda source: source[:7]))
def test_the_share_in_order_is_that_of_the_longest_common_part(
    wanted: list[str], source: list[str]
) -> None:
    expected = longest_common(wanted, source) / len(wanted)
    assert share_in_order(wanted, source) == pytest.approx(expected)


def test_of_no_words_none_is_found() -> None:
    assert share_in_order([], ["magma"]) == 0
    assert share_in_order(["magma"], []) == 0
