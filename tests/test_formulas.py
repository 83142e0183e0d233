"""The plugin's formulas, found in bounded time."""

import time

from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin

from rag_tutor.formulas import formulas

line = st.sampled_from(
    ["$$", "$$a", "a$$", "$$a$$", "$$a$$ b", "$$ (l)", "    $$a", "", "text", "$$$", "$$$$"]
)
container = st.sampled_from(["", "", "> ", "- ", "  ", "> - "])
lines = st.lists(st.tuples(container, line).map("".join), max_size=14)


@settings(max_examples=300, deadline=None)
@given(lines.map("\n".join))
def test_the_formulas_are_those_of_the_plugin(text: str) -> None:
    ours, theirs = (
        MarkdownIt("commonmark").use(plugin) for plugin in (formulas, dollarmath_plugin)
    )
    assert [token.as_dict() for token in ours.parse(text)] == [
        token.as_dict() for token in theirs.parse(text)
    ]


def test_formulas_that_are_never_closed_are_read_in_bounded_time() -> None:
    started = time.perf_counter()
    tokens = MarkdownIt("commonmark").use(formulas).parse("$$a\n\n" * 10_000)
    assert len([token for token in tokens if token.type == "inline"]) == 10_000
    assert time.perf_counter() - started < 15
