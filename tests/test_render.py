"""What becomes of notes, questions and answers on their way into the page."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from rag_tutor.chunking import headings
from rag_tutor.domain import Answer, Chunk, Citation, Passage, Turn
from rag_tutor.ui.markdown import LATEX_DELIMITERS, passage_html
from rag_tutor.ui.render import (
    answer_markdown,
    edit_link,
    message_html,
    note_html,
    question_markdown,
    sources_html,
)

EVIL = '<img src=x onerror="alert(1)">'
DISPLAY_ON, DISPLAY_OFF = LATEX_DELIMITERS[0]["left"], LATEX_DELIMITERS[0]["right"]
INLINE_ON, INLINE_OFF = LATEX_DELIMITERS[1]["left"], LATEX_DELIMITERS[1]["right"]


class Page(HTMLParser):
    """Reads HTML as a browser would: its tags, the text in `<mark>`, and whether it nests."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.marked = ""
        self.text = ""
        self.open: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if "mark" in self.open:
            self.marked += data

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def mark(text: str, quote: str) -> Page:
    start = text.index(quote)
    return Page(passage_html(text, [(start, start + len(quote))]))


def passage(text: str, document: str = "cells.md", start: int = 0) -> Passage:
    chunk = Chunk(document, ("Biology", "Cells"), start, start + len(text), text)
    return Passage(chunk, 1.0, ("dense",))


def turn(text: str, *quotes: str, question: str = "Why?", standalone: str = "Why?") -> Turn:
    """A turn whose passages hold one quote each, cited, and one more that isn't cited."""
    passages = tuple(passage(f"Before. {quote} After.", start=100) for quote in quotes)
    citations = tuple(
        Citation(number, cited, 108, 108 + len(quote), "quoted")
        for number, (cited, quote) in enumerate(zip(passages, quotes, strict=True), start=1)
    )
    answer = Answer(text, citations, (*passages, passage("Not cited.")), refused=False)
    return Turn(question, standalone, answer)


@pytest.mark.parametrize(
    ("text", "quote", "marked"),
    [
        ("One. Two here. Three.", "Two here.", "Two here."),
        ("Twice. Twice. Twice.", "Twice.", "Twice."),
        ("- **First**: a net. More.\n- Second", "- **First**: a net.", "First: a net."),
        ("1. one\n2. two\n3. three", "2. two", "two"),
        ("**All of it is bold.** Next.", "**All of it is bold.**", "All of it is bold."),
        ("_Leaning words_ stay. Next.", "_Leaning words_ stay.", "Leaning words stay."),
        ("Call `f(x)` first. Next.", "Call `f(x)` first.", "Call f(x) first."),
        ("| a | b |\n|---|---|\n| x **y** | z |\n| p | q |", "| x **y** | z |", "x yz"),
        ("See [the page](https://a.org). Next.", "See [the page](https://a.org).", "See the page."),
        ("> Quoted\n> text. Next.", "Quoted\n> text.", "Quoted\ntext."),
        ("# Title\n\nBody.", "# Title", "Title"),
        ("A line\nbroken here. Next.", "A line\nbroken here.", "A line\nbroken here."),
    ],
)  # fmt: skip
def test_the_cited_characters_are_marked(text: str, quote: str, marked: str) -> None:
    page = mark(text, quote)
    assert page.marked == marked
    assert page.text == Page(passage_html(text, [])).text


def test_the_span_counts_not_the_words() -> None:
    text = "Same words. Other. Same words."
    page = passage_html(text, [(19, 30)])
    assert page == "<p>Same words. Other. <mark>Same words.</mark></p>\n"


@pytest.mark.parametrize("address", ["https://a.org/x", "x.md", 'x "a title"'])
def test_a_span_that_ends_in_an_address_marks_its_block_at_most(address: str) -> None:
    text = f"- See [this]({address}) and ![that]({address}) here.\n\nNext."
    for end in range(1, text.index("Next.")):
        page = Page(passage_html(text, [(0, end)]))
        assert "Next" not in page.marked
        assert page.text.endswith("Next.\n")


def test_the_sources_link_to_the_other_places_that_say_the_same() -> None:
    other = passage("Molten rock.", document=f"{EVIL}.md")
    asked = turn("It melts. [1]", "It melts.")
    citation = replace(asked.answer.citations[0], also=(Citation(3, other, 0, 12, "verbatim"),))
    answer = Answer("It melts. [1]", (citation,), (*asked.answer.passages, other), refused=False)
    page = Page(sources_html(replace(asked, answer=answer), 4))
    assert f"Also in: {EVIL}.md › Cells" in page.text
    assert "#note-4-3" in [each["href"] for each in page.attributes("a")][:1]
    assert "Also in" not in sources_html(asked, 4)


def test_code_is_marked_and_stays_code() -> None:
    text = "Before.\n\n```python\ndef f(x):\n    return x < 1\n\nf(2)\n```\n\nAfter."
    quote = "```python\ndef f(x):\n    return x < 1\n\nf(2)\n```"
    page = mark(text, quote)
    assert page.marked == "def f(x):\n    return x < 1\n\nf(2)"
    assert page.attributes("code") == [{"class": "language-python"}]


def test_a_cited_formula_is_shown_as_a_formula() -> None:
    page = passage_html("$$\na < b\n$$\n\nNext.", [(0, 11)])
    assert f'<div class="cited-formula">{DISPLAY_ON}a &lt; b{DISPLAY_OFF}</div>' in page


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("where $x_1$ is", f"{INLINE_ON}x_1{INLINE_OFF}"),
        (r"where \(x_1\) is", f"{INLINE_ON}x_1{INLINE_OFF}"),
        (r"\[x_1\]", f"{DISPLAY_ON}x_1{DISPLAY_OFF}"),
        ("$$x_1$$", f"{DISPLAY_ON}x_1{DISPLAY_OFF}"),
    ],
)
def test_formulas_of_a_note_reach_the_page_untouched(text: str, formula: str) -> None:
    assert formula in passage_html(text, [])


def test_prices_are_no_formulas() -> None:
    assert INLINE_ON not in passage_html("It costs $5 today and $6 tomorrow.", [])


def test_a_note_cant_forge_a_mark_or_a_formula() -> None:
    forged = f"\ue000seen\ue001 {DISPLAY_ON}x{DISPLAY_OFF}"
    page = passage_html(forged, [])
    assert "<mark>" not in page
    assert not re.search("[\ue000-\ue005]", page)
    assert not re.search("[\ue000\ue001]", answer_markdown(turn(forged), 0))


@given(
    text=st.text(st.sampled_from(list("ab *_`~#|-1.>[]()!$\\<&\n\"'")), max_size=60),
    start=st.integers(0, 60),
    length=st.integers(0, 60),
)
def test_any_span_of_any_text_gives_sound_html(text: str, start: int, length: int) -> None:
    page = Page(passage_html(text, [(start, start + length)]))
    known = {"p", "em", "strong", "s", "code", "pre", "ul", "ol", "li", "blockquote", "mark", "a",
             "h4", "h5", "h6", "hr", "br", "div", "span", "table", "thead", "tbody", "tr", "th",
             "td"}  # fmt: skip
    assert {tag for tag, _ in page.tags} <= known
    assert not re.search("[\ue000\ue001]", page.text)


@pytest.mark.parametrize(
    "text",
    [
        EVIL,
        f"`{EVIL}`",
        f"# {EVIL}",
        f"| {EVIL} |\n|---|\n| {EVIL} |",
        f"```{EVIL}\n{EVIL}\n```",
        "[x](javascript:alert(1))",
        "[x](data:text/html,<script>alert(1)</script>)",
        "![x](http://example.com/x.png)",
        "<javascript:alert(1)>",
        "</div></details><script>alert(1)</script>",
        f"$${EVIL}$$",
    ],
)
def test_no_text_of_a_note_acts_in_the_page(text: str) -> None:
    sources = Page(sources_html(_turn_with_passage(text, EVIL), 0))
    note = Page(note_html(EVIL, text, [(0, len(text))], headings(text), -1))
    for page in (Page(passage_html(text, [(0, len(text))])), sources, note):
        names = {tag for tag, _ in page.tags}
        assert not names & {"script", "img", "iframe", "style"}
        for _, attributes in page.tags:
            assert not any(name.startswith("on") for name in attributes)
            assert str(attributes.get("href", "https://")).startswith(("https://", "#"))


def test_only_web_links_can_be_clicked() -> None:
    page = Page(passage_html("[a](https://a.org) [b](#b) [c](other.md)", []))
    assert [link.get("href") for link in page.attributes("a")] == ["https://a.org", None, None]
    assert page.attributes("a")[0]["rel"] == "noopener noreferrer"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[a](https://a.org) [b](mailto:b@c.d)", "a b"),
        ("[more](#ask) [old](#edit-0)", "more old"),
        ("[cells](cells.md)", "cells"),
        ("[x](javascript:alert(1))", "x"),
        ("[x](javascript:alert((1)))", "[x](javascript:alert((1)))"),
        ("[x]( javascript:alert)", "[x]( javascript:alert)"),
        ("[x](<data:text/html,x>)", "x"),
        ("f[i](x)", "f[i](x)"),
        ("[7](https://a.org)", "[7](https://a.org)"),
        ("[x][y]\n\n[y]: javascript:alert", "[x][y]\n[y]: javascript:alert"),
    ],
)
def test_of_an_answer_too_only_web_links_can_be_clicked(text: str, shown: str) -> None:
    viewer = MarkdownIt("commonmark")
    viewer.validateLink = lambda _: True  # type: ignore[method-assign]
    page = Page(viewer.render(answer_markdown(turn(text, "It does."), 0)))
    assert page.text.strip() == shown
    addresses = [str(link["href"]) for link in page.attributes("a")]
    assert all(address.startswith(("https://", "mailto:")) for address in addresses)


def test_a_marker_links_to_the_passage_of_its_own_turn() -> None:
    links = Page(answer_markdown(turn("It does. [1]", "It does."), 3)).attributes("a")
    assert [link["href"] for link in links] == ["#source-3-1"]
    assert links[0]["title"] == "cells.md\nBiology › Cells\nIt does."


def test_each_marker_tells_its_own_sentence() -> None:
    cited = passage("First. Second.")
    citations = (Citation(1, cited, 0, 6, "quoted"), Citation(1, cited, 7, 14, "quoted"))
    answer = Answer("A [1]. B [1]. C [1].", citations, (cited,), refused=False)
    links = Page(answer_markdown(Turn("?", "?", answer), 0)).attributes("a")
    sentences = [str(link["title"]).split("\n")[2] for link in links]
    assert sentences == ["First.", "Second.", "Second."]


def test_a_refusal_links_its_headings_to_their_passages_and_shows_the_rest_as_text() -> None:
    text = "I can't find <b>this</b>.\n\n- Biology > Cells\n- Biology > Other"
    refusal = Answer(text, (), (passage("It does."),), refused=True)
    page = Page(answer_markdown(Turn("?", "?", refusal), 2))
    assert [link["href"] for link in page.attributes("a")] == ["#source-2-1"]
    assert not page.attributes("b")


@pytest.mark.parametrize(
    "text",
    ["see `x[1]` there", "```\nx[1]\n```", "```\nx[1]", r"\(x[1]\)", "$$x[1]$$", "nothing [7]"],
)
def test_no_link_in_code_formulas_or_for_unknown_numbers(text: str) -> None:
    assert "<a" not in answer_markdown(turn(text, "It does."), 0)


def test_markers_are_links_in_lists_bold_text_and_tables() -> None:
    text = "- one [1]\n- **two [1]**\n\n| a [1] |\n|---|\n| b [1] |\n"
    assert answer_markdown(turn(text, "It does."), 0).count('class="citation"') == 4


def test_formulas_of_an_answer_reach_the_page_untouched() -> None:
    shown = answer_markdown(turn(r"So \(a_1<b\) and \[c*d*e\] and $$f$$, for $5."), 0)
    assert f"{INLINE_ON}a_1<b{INLINE_OFF}" in shown
    assert f"{INLINE_ON}c*d*e{INLINE_OFF}" in shown
    assert f"{INLINE_ON}f{INLINE_OFF}, for $5." in shown


@pytest.mark.parametrize(
    ("text", "is_alone"),
    [
        ("It is:\n$$x$$\nfor all.", True),
        ("> $$\n> x\n> $$\n>\n> [1]", True),
        ("- $$x$$.", True),
        (r"\[x\]", True),
        ("It is $$x$$ for all.", False),
        ("It is\n$$x$$ for all.", False),
        ("**$$x$$**", False),
        ("| a | b |\n|---|---|\n| $$x$$ | $$y$$ |", False),
    ],
)
def test_a_formula_has_a_line_of_its_own_only_where_it_stands_alone(
    text: str, is_alone: bool
) -> None:
    for shown in (answer_markdown(turn(text), 0), passage_html(text, [])):
        assert (DISPLAY_ON in shown) == is_alone
        assert (INLINE_ON in shown) != is_alone


def test_the_card_of_a_cited_row_reads_as_its_quotation() -> None:
    text = "| Kind | Slope |\n|---|---|\n| **Shield** | gentle |"
    cited = passage(text)
    start = text.index("| **Shield")
    citation = Citation(1, cited, start, len(text), "quoted")
    shown = answer_markdown(Turn("?", "?", Answer("It is. [1]", (citation,), (cited,), False)), 0)
    title = str(Page(shown).attributes("a")[0]["title"])
    assert title.split("\n")[2] == "Shield — Slope: gentle"


def test_a_long_question_is_no_heading() -> None:
    long = "Why is it so? " * 40
    assert Page(edit_link(1, long)).attributes("a")[0]["class"] == "edit long"
    assert Page(edit_link(1, "Why?")).attributes("a")[0]["class"] == "edit"
    asked = Page(sources_html(turn("It is.", question=long), 0)).text.partition("Read for")[0]
    assert asked.endswith("…")
    assert len(asked) < 200


@pytest.mark.parametrize("text", ["so $a_1$.", "$a_1$, $b$", "is $2n + 1$", "($5$)", r"$\$ 5$"])
def test_single_dollars_make_formulas(text: str) -> None:
    assert INLINE_ON in answer_markdown(turn(text), 0)
    assert INLINE_ON in passage_html(text, [])


@pytest.mark.parametrize(
    "text",
    [
        "It costs $5 today and $6 tomorrow.",
        "from $5 to 6$ each",
        "US$5, or A$6",
        "$5-$10",
        "set $HOME/bin:$PATH first",
        "echo $HOME and $PATH.",
        "`$x$`",
        r"\$5 and \$6",
        "so far $a_1",
    ],
)
def test_prices_and_shell_variables_are_no_formulas(text: str) -> None:
    assert answer_markdown(turn(text), 0) == text
    if text != "from $5 to 6$ each":
        assert INLINE_ON not in passage_html(text, [])


def test_a_note_has_an_outline_that_leads_to_its_headings() -> None:
    text = "# Cells\n\nIntro.\n\n1. **What is <b>it</b>?**\n\nA cell.\n\n## More\n\nText."
    page = note_html(
        "a.md", text, [(text.index("A cell"), text.index("A cell") + 7)], headings(text), 1
    )
    read = Page(page)
    links = [str(link["href"]) for link in read.attributes("a")]
    assert links == ["#place-0", "#place-1", "#place-2"]
    ids = [attributes["id"] for _, attributes in read.tags if "id" in attributes]
    assert [f"#{each}" for each in ids] == links
    assert read.marked == "A cell."
    assert [link.get("class") for link in read.attributes("a")] == [None, "here", None]
    assert not read.attributes("b")
    assert "\n" not in page


def test_a_source_whose_note_changed_says_so() -> None:
    page = sources_html(turn("A [1].", "First."), 0, {"cells.md": f"Changed {EVIL}."})
    assert f"Changed {EVIL}." in Page(page).text
    assert Page(page).text.count("Changed") == 1


def test_an_answer_neither_acts_nor_loads_anything() -> None:
    shown = answer_markdown(turn(f"{EVIL} ![x](http://example.com/x.png)"), 0)
    assert "<" not in shown
    assert "![" not in shown


def test_an_answer_keeps_its_code() -> None:
    text = "Use:\n\n```python\nif a < b and c[1]:\n    pass\n```\n\nand `a < b`."
    assert answer_markdown(turn(text, "It does."), 0) == text


def test_what_was_searched_for_is_told_when_it_differs() -> None:
    same = answer_markdown(turn("Yes.", question="Why?", standalone="Why?"), 0)
    other = answer_markdown(turn("Yes.", question="Why?", standalone=f"Why rain {EVIL}?"), 0)
    assert same == "Yes."
    assert Page(other).text.startswith(f"Searched for: Why rain {EVIL}?")


def test_an_answer_without_text_shows_that_it_is_on_its_way() -> None:
    assert 'class="waiting"' in answer_markdown(turn(""), 0)


def test_a_question_is_shown_as_it_was_typed() -> None:
    question = f"# Is *this* `code`? {EVIL} [a](b) 1. | \\ $x$ ~~no~~"
    shown = question_markdown(question)
    assert Page(shown).text == question
    assert not set(shown.replace("&#", "").replace(";", "")) & set("<>*_`[]\\|$~!")


def test_cited_passages_come_first_and_hold_their_marks() -> None:
    page = sources_html(turn("A [2]. B [1].", "First one.", "Second one."), 1)
    assert Page(page).marked == "First one.Second one."
    places = [page.index(f'id="source-1-{number}"') for number in (1, 2, 3)]
    assert places == sorted(places)
    assert places[1] < page.index("Also read, not cited") < places[2]
    assert "\n" not in page


def test_an_uncited_passage_before_a_cited_one_moves_below_it() -> None:
    cited = passage("It is.")
    answer = Answer(
        "Yes [2].", (Citation(2, cited, 0, 6, "quoted"),), (passage("No."), cited), False
    )
    page = sources_html(Turn("Is it?", "Is it?", answer), 0)
    assert page.index("source-0-2") < page.index("source-0-1")


def test_a_refusal_shows_what_was_read() -> None:
    page = Page(sources_html(turn("Your notes don't hold this."), 0))
    assert "Not cited." in page.text
    assert "Read for this answer" in page.text
    assert page.marked == ""


def test_messages_are_text() -> None:
    assert Page(message_html(EVIL, failed=True)).text == EVIL
    assert 'role="alert"' in message_html("No.", failed=True)
    assert 'role="status"' in message_html("Yes.", failed=False)


def _turn_with_passage(text: str, document: str) -> Turn:
    cited = passage(text, document)
    citation = Citation(1, cited, 0, len(text), "quoted")
    return Turn(EVIL, EVIL, Answer("Yes. [1]", (citation,), (cited,), refused=False))


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("# A\n\n## B\n\n# C", ["h4", "h5", "h4"]),
        ("### A\n\n##### B\n\n## C\n\n#### D", ["h4", "h5", "h4", "h5"]),
        ("# A\n\n## B\n\n### C\n\n#### D", ["h4", "h5", "h6", "h6"]),
    ],
)
def test_headings_leave_out_no_level(text: str, tags: list[str]) -> None:
    assert [tag for tag, _ in Page(passage_html(text, ())).tags] == tags
