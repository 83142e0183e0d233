"""Turns answers, passages and notes into the Markdown and HTML that the pages show; pure.

It knows nothing of Gradio's components or of sessions. All text of notes, questions and
models is data: whatever of it could act in a browser is escaped or left out here.
"""

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.renderer import RendererHTML
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from mdit_py_plugins.dollarmath import dollarmath_plugin
from mdit_py_plugins.dollarmath.index import math_inline_dollar
from mdit_py_plugins.texmath import texmath_plugin

from rag_tutor.chunking import Heading, plain_text
from rag_tutor.domain import Answer, Citation, Passage, Turn
from rag_tutor.grounding import closest_headings, row_as_text

Span = tuple[int, int]

# Private characters, removed from all data: a note can't forge them, as it could forge "$$".
_MARK_ON, _MARK_OFF = "\ue000", "\ue001"
_DISPLAY_ON, _DISPLAY_OFF, _INLINE_ON, _INLINE_OFF = "\ue002", "\ue003", "\ue004", "\ue005"
_PRIVATE = dict.fromkeys(range(0xE000, 0xE006))
LATEX_DELIMITERS: list[dict[str, str | bool]] = [
    {"left": _DISPLAY_ON, "right": _DISPLAY_OFF, "display": True},
    {"left": _INLINE_ON, "right": _INLINE_OFF, "display": False},
]

# What must be seen as a whole before a single character of the answer is touched.
_ANSWER_PARTS = re.compile(
    r"""
      (?P<fence>^[ \t]*(?P<mark>`{3,}|~{3,})[^\n]*(?:\n[\s\S]*?(?:^[ \t]*(?P=mark)[ \t]*$|\Z)|\Z))
    | (?P<code>(?<!`)(?P<ticks>`+)(?!`)(?:(?!\n[ \t]*\n)[\s\S])*?(?<!`)(?P=ticks)(?!`))
    | \$\$(?P<dollars>[^$]+)\$\$
    | \\\[(?P<brackets>[\s\S]+?)\\\]
    | \\\((?P<inline>[^\n]+?)\\\)
    | (?<![\w$\\])\$(?P<dollar>(?=[^\s$])(?:\\.|[^$`\\\n])*(?<!\s))\$(?![\w$])
    | \[(?P<number>\d{1,3})\]
    | (?P<image>!\[)
    | (?P<tag><)
    """,
    re.MULTILINE | re.VERBOSE,
)
_PRICE = re.compile(r"\d[\d.,]*\s+[^\W\d_]{2}")
_LIST_MARK = re.compile(r"(?:>\s*)*(?:[-*+]|\d{1,3}[.)])\s+")
_MAX_QUOTE = 400
_HEADING_CHARACTERS = 160
_BEFORE_FORMULA = re.compile(r"[ \t>]*(?:(?:[-*+]|\d{1,3}[.)])[ \t]+)?")
_AFTER_FORMULA = re.compile(r"[ \t.,;]*(?:\[\d{1,3}\][ \t]*)*")
_NO_CHANGES: Mapping[str, str] = {}
_TAG_OR_SIGN = re.compile(f"(<[^>]*>|{_MARK_ON}|{_MARK_OFF})")
_BLOCK_TAG = re.compile(r"</?(?:p|h\d|[uo]l|li|pre|blockquote|table|t\w+|div|hr)\b")
_WAITING = '<span class="waiting"><i></i><i></i><i></i></span>'


def question_markdown(question: str) -> str:
    """A question as it was typed: none of its characters acts as Markdown or HTML."""
    return _literal(question.translate(_PRIVATE))


def answer_markdown(turn: Turn, turn_id: int) -> str:
    """The answer of a turn that is saved as `turn_id`, its markers as links to its sources."""
    searched = ""
    if turn.standalone.strip() != turn.question.strip():
        searched = f'<span class="searched">Searched for: {_literal(turn.standalone)}</span>\n\n'
    if not turn.answer.text:
        return searched + _WAITING
    if turn.answer.refused:
        return searched + _refusal(turn.answer, turn_id)
    waiting: dict[int, list[Citation]] = {}
    for citation in reversed(turn.answer.citations):
        waiting.setdefault(citation.number, []).append(citation)

    def part(match: re.Match[str]) -> str:
        return _answer_part(match, turn_id, waiting)

    return searched + _ANSWER_PARTS.sub(part, turn.answer.text.translate(_PRIVATE))


def sources_html(turn: Turn, turn_id: int, changes: Mapping[str, str] = _NO_CHANGES) -> str:
    """The passages of one answer, the cited ones first, their cited sentences marked.

    `changes` says of cited notes what became of them since.
    """
    answer = turn.answer
    cited: dict[int, list[Citation]] = {}
    for citation in answer.citations:
        cited.setdefault(citation.number, []).append(citation)
    numbered = list(enumerate(answer.passages, start=1))
    first = [
        _cited(turn_id, n, passage, cited[n], changes) for n, passage in numbered if n in cited
    ]
    rest = [_uncited(turn_id, n, passage) for n, passage in numbered if n not in cited]
    if rest:
        title = "Also read, not cited" if first else "Read for this answer"
        rest.insert(0, f'<h3 class="divider">{title}</h3>')
    asked = html.escape(_beginning(turn.question))
    return one_line(
        f'<div class="sources" id="sources-{turn_id}">'
        f'<p class="asked">{asked}</p>{"".join(first + rest)}</div>'
    )


def no_sources_html() -> str:
    """What stands in the place of the sources before the first answer."""
    return (
        '<p class="empty">The passages behind an answer appear here, with the sentences that '
        "it rests on marked.</p>"
    )


def passage_html(text: str, spans: Iterable[Span], lower: int = 3) -> str:
    """The Markdown of a passage as safe HTML with `<mark>` around `spans` of its characters.

    Its headings stand below one of level `lower`. Raw HTML is shown as text, images by their
    description, and only web links can be clicked.
    """
    env = {"spans": _merged(spans), "lower": lower}
    rendered: str = _PARSER.render(_same_length(text), env)
    return _with_marks(rendered)


def edit_link(turn: int, question: str) -> str:
    """What lets a question be edited; it tells the page of a long one, which is no heading."""
    long = " long" if len(question) > _HEADING_CHARACTERS else ""
    return f'<a class="edit{long}" href="#edit-{turn}" title="Edit this question"></a>'


def answer_links(turn: int, rating: str) -> str:
    """What can be done with an answer: copy and rate it."""
    links = [("copy", "Copy with sources"), ("up", "Good answer"), ("down", "Not a good answer")]
    return (
        '<span class="actions">'
        + "".join(
            f'<a class="{name}{" on" if name == rating else ""}" href="#{name}-{turn}" '
            f'title="{title}"></a>'
            for name, title in links
        )
        + "</span>"
    )


def suggestion_links(questions: Sequence[str]) -> str:
    """Follow-ups to choose from."""
    links = [f'<a class="suggestion" href="#ask">{_literal(each)}</a>' for each in questions]
    return f'<span class="suggestions">{"".join(links)}</span>'


def aside(text: str, kind: str = "quiet") -> str:
    """A line below an answer that isn't part of it."""
    return f'<span class="aside {kind}">{_literal(text)}</span>'


def missing_note_html(name: str, reason: str) -> str:
    """What stands in the place of a note that can't be shown."""
    return one_line(
        f'<h2>{html.escape(name)}</h2><p class="changed-since">{html.escape(reason)}</p>'
    )


def note_html(
    name: str,
    text: str,
    spans: Sequence[Span],
    outline: Sequence[Heading],
    here: int,
    warning: str = "",
) -> str:
    """A whole note as safe HTML beside its outline, `spans` of its characters marked.

    `here` is the number of the outline's heading that the reader comes for, or -1.
    """
    head = f"<h2>{html.escape(name)}</h2>"
    if warning:
        head += f'<p class="changed-since">{html.escape(warning)}</p>'
    anchors = {heading.line: f"place-{number}" for number, heading in enumerate(outline)}
    env = {"spans": _merged(spans), "anchors": anchors, "lower": 2}
    rendered: str = _PARSER.render(_same_length(text), env)
    places = "".join(
        f'<li class="depth-{min(heading.depth, 4)}">'
        f'<a{_here(number == here)} href="#place-{number}">{html.escape(heading.title)}</a></li>'
        for number, heading in enumerate(outline)
    )
    nav = ""
    if places:
        nav = (
            '<nav aria-label="Outline of the note"><details open><summary>Outline</summary>'
            f"<ul>{places}</ul></details></nav>"
        )
    return one_line(
        f'{head}<div class="note-desk">{nav}<article class="passage" tabindex="0">'
        f'<div class="text">{_with_marks(rendered)}</div></article></div>'
    )


def keys_html(text: str) -> str:
    """A line on keys, for where there is a keyboard."""
    return f'<p class="message keys" role="status">{html.escape(text)}</p>'


def message_html(text: str, failed: bool) -> str:
    """One line for the student; a failure is announced at once to a screen reader."""
    role = "alert" if failed else "status"
    return f'<p class="message{" failed" if failed else ""}" role="{role}">{html.escape(text)}</p>'


def _answer_part(match: re.Match[str], turn_id: int, waiting: dict[int, list[Citation]]) -> str:
    display = match["dollars"] or match["brackets"]
    if display and _stands_alone(match):
        return _DISPLAY_ON + display + _DISPLAY_OFF
    if inline := display or match["inline"]:
        return _INLINE_ON + inline + _INLINE_OFF
    if match["dollar"]:
        is_formula = not _PRICE.match(match["dollar"])
        return _INLINE_ON + match["dollar"] + _INLINE_OFF if is_formula else match[0]
    if match["number"]:
        # Markers stand in the order of the citations: each is of its own sentence.
        own = waiting.get(int(match["number"]), [])
        citation = own.pop() if len(own) > 1 else own[0] if own else None
        return _citation_link(turn_id, citation) if citation else match[0]
    if match["image"]:
        return "!&#91;"
    if match["tag"]:
        return "&lt;"
    return match[0]


def _stands_alone(formula: re.Match[str]) -> bool:
    """Whether a formula shares its lines with nothing but signs of Markdown and markers."""
    text = formula.string
    before = text[text.rfind("\n", 0, formula.start()) + 1 : formula.start()]
    after = text[formula.end() :].partition("\n")[0]
    return bool(_BEFORE_FORMULA.fullmatch(before) and _AFTER_FORMULA.fullmatch(after))


def _refusal(answer: Answer, turn_id: int) -> str:
    """A refusal, with the headings that it names as links to their passages."""
    numbers = closest_headings(answer.passages)
    lines = []
    for line in answer.text.split("\n"):
        item = line.removeprefix("- ")
        shown = _literal(item.translate(_PRIVATE))
        if number := numbers.get(item):
            note = _literal(answer.passages[number - 1].chunk.document_id.translate(_PRIVATE))
            href = f"#source-{turn_id}-{number}"
            shown = f'- <a class="nearest" href="{href}" title="{note}">{shown}</a>'
        lines.append(shown)
    return "\n".join(lines)


def _citation_link(turn_id: int, citation: Citation) -> str:
    """A marker; its title holds note, heading and sentence, one on each line."""
    chunk = citation.passage.chunk
    quote = row_as_text(citation) or citation.quote
    quote = " ".join(plain_text(quote[:_MAX_QUOTE]).split())
    quote = _LIST_MARK.sub("", quote)
    lines = (chunk.document_id, " › ".join(chunk.heading), quote)
    title = "&#10;".join(_literal(line.translate(_PRIVATE)) for line in lines)
    return (
        f'<a class="citation" href="#source-{turn_id}-{citation.number}" title="{title}">'
        f"&#91;{citation.number}&#93;</a>"
    )


def _cited(
    turn_id: int,
    number: int,
    passage: Passage,
    citations: Sequence[Citation],
    changes: Mapping[str, str],
) -> str:
    start = passage.chunk.start
    spans = [(citation.start - start, citation.end - start) for citation in citations]
    change = changes.get(passage.chunk.document_id, "")
    warning = f'<p class="changed-since">{html.escape(change)}</p>' if change else ""
    return (
        f'<section class="passage cited" id="source-{turn_id}-{number}" tabindex="-1">'
        f"<h3>{_place(number, passage)}</h3>{warning}{_body(passage, spans)}"
        f"{_also(turn_id, citations)}{_note_link(turn_id, number)}</section>"
    )


def _also(turn_id: int, citations: Sequence[Citation]) -> str:
    """Where else what is cited stands, as links into those notes."""
    places = {each.number: each.passage.chunk for citation in citations for each in citation.also}
    links = (
        f'<a class="open-note" href="#note-{turn_id}-{number}">'
        f"{html.escape(' › '.join((chunk.document_id, *chunk.heading[-1:])))}</a>"
        for number, chunk in places.items()
    )
    return f'<p class="also">Also in: {"; ".join(links)}</p>' if places else ""


def _uncited(turn_id: int, number: int, passage: Passage) -> str:
    return (
        f'<details class="passage" id="source-{turn_id}-{number}">'
        f"<summary>{_place(number, passage)}</summary>{_body(passage, ())}"
        f"{_note_link(turn_id, number)}</details>"
    )


def _note_link(turn_id: int, number: int) -> str:
    return f'<a class="open-note" href="#note-{turn_id}-{number}">Open in note</a>'


def _place(number: int, passage: Passage) -> str:
    chunk = passage.chunk
    lines = {
        "note": chunk.document_id,
        "above": " › ".join(chunk.heading[:-1]),
        # On a line of its own: it tells passages of one section apart.
        "heading": "".join(chunk.heading[-1:]),
    }
    place = " ".join(
        f'<span class="{name}">{html.escape(text)}</span>' for name, text in lines.items() if text
    )
    return f'<span class="number">{number}</span> <span class="place">{place}</span>'


def _body(passage: Passage, spans: Iterable[Span]) -> str:
    return f'<div class="text">{passage_html(passage.chunk.text, spans)}</div>'


def _here(is_here: bool) -> str:
    return ' class="here"' if is_here else ""


def _literal(text: str) -> str:
    """Each sign that Markdown or HTML acts upon as an entity, which stands for itself."""
    return re.sub(r"[!-&*+\-.:<->@\[-`{-~]", lambda match: f"&#{ord(match[0])};", text)


def _beginning(text: str) -> str:
    return text if len(text) <= _HEADING_CHARACTERS else f"{text[:_HEADING_CHARACTERS].rstrip()}…"


def one_line(page: str) -> str:
    """Gradio's Markdown takes HTML as it is only up to a blank line."""
    return page.replace("\n", "&#10;")


def _same_length(text: str) -> str:
    return text.translate(dict.fromkeys(_PRIVATE, "\ufffd"))


def _merged(spans: Iterable[Span]) -> list[Span]:
    """The same characters as sorted spans that don't touch."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


def _mark_cited(state: StateCore) -> None:
    """Put signs around the cited characters of each block's own text.

    Done once the blocks are known, so that a sign can't hide a list mark or a table's bar.
    """
    position = 0
    above: list[int] = []
    for token in state.tokens:
        if token.type == "heading_open":
            # Below the page's own headings in its outline, and no level is left out.
            own = int(token.tag[1])
            above = [level for level in above if level < own] + [own]
        if token.type.startswith("heading_"):
            token.tag = f"h{min(len(above) + state.env.get('lower', 3), 6)}"
        if token.type in ("inline", "fence", "code_block", "math_block"):
            lines = []
            for line in token.content.split("\n"):
                signed, position = _sign_line(line, token.type == "inline", state, position)
                lines.append(signed)
            text = "\n".join(lines)
            token.content = re.sub(f"{_MARK_OFF}(\\s*){_MARK_ON}", r"\1", text)


def _keep_in_line(state: StateCore) -> None:
    """Leave a formula in its line, wherever it shares that with words or stands in a cell."""
    for before, token in pairwise(state.tokens):
        children = token.children or []
        for at, child in enumerate(children):
            beside = [*children[max(at - 1, 0) : at], *children[at + 1 : at + 2]]
            is_alone = all(
                each.type.endswith("break")
                or (each.type == "text" and not each.content.strip(f" .,;{_MARK_ON}{_MARK_OFF}"))
                for each in beside
            )
            is_in_cell = before.type in ("td_open", "th_open")
            if child.type == "math_inline_double" and (is_in_cell or not is_alone):
                child.type = "math_inline"


def _anchor(state: StateCore) -> None:
    """Give each block that begins at a line of the outline its name."""
    anchors = dict(state.env.get("anchors", {}))
    for token in state.tokens:
        if token.map and token.nesting >= 0 and token.type != "inline" and token.map[0] in anchors:
            token.attrSet("id", anchors.pop(token.map[0]))


def _formula_between_dollars(state: StateInline, silent: bool) -> bool:
    """As dollarmath has it, but no closing sign that begins a word, as a shell's variables do."""
    start = state.pos
    if not _DOLLAR_RULE(state, True):
        return False
    ends, state.pos = state.pos, start
    if state.src[ends : ends + 1].isalnum():
        return False
    return _DOLLAR_RULE(state, silent)


def _sign_line(line: str, is_prose: bool, state: StateCore, position: int) -> tuple[str, int]:
    """Sign one line, and return how far the source was read.

    Blocks come in the order of the source, and only signs of Markdown stand between them.
    """
    text = line.strip()
    first = state.src.find(text, position)
    if not text or first < 0:
        return line, position
    indent = len(line) - len(line.lstrip())
    for start, end in reversed(state.env["spans"]):
        left, right = max(start - first, 0), min(end - first, len(text))
        if is_prose:
            left, right = _inside_emphasis(text, left, right)
        if left < right:
            left, right = left + indent, right + indent
            line = line[:left] + _MARK_ON + line[left:right] + _MARK_OFF + line[right:]
    return line, first + len(text)


def _inside_emphasis(text: str, left: int, right: int) -> tuple[int, int]:
    """Move a span's ends past the signs that would no longer count beside a letter."""
    while left < right and text[left] in "*_~`":
        left += 1
    while left < right and text[right - 1] in "*_~`":
        right -= 1
    return left, right


def _with_marks(rendered: str) -> str:
    """Turn signs into `<mark>`, one for each run of text between two tags."""
    parts = []
    inside = False
    for part in _TAG_OR_SIGN.split(rendered):
        if part in (_MARK_ON, _MARK_OFF):
            inside = part == _MARK_ON
        elif _BLOCK_TAG.match(part):
            # A sign inside an address is lost; the mark then ends with its block.
            inside = False
            parts.append(part)
        elif inside and part.strip() and not part.startswith("<"):
            parts.append(f"<mark>{part}</mark>")
        else:
            parts.append(part)
    return "".join(parts)


def _math(content: str, display: bool) -> str:
    """A formula between the signs that the page's KaTeX looks for."""
    signs = "".join(re.findall(f"[{_MARK_ON}{_MARK_OFF}]", content))
    formula = escapeHtml(re.sub(f"[{_MARK_ON}{_MARK_OFF}]", "", content).strip())
    on, off = (_DISPLAY_ON, _DISPLAY_OFF) if display else (_INLINE_ON, _INLINE_OFF)
    return on + formula + off + signs


def _render_math(
    self: RendererHTML, tokens: Sequence[Token], at: int, options: Any, env: Any
) -> str:
    return _math(tokens[at].content, display=tokens[at].type != "math_inline")


def _render_math_block(
    self: RendererHTML, tokens: Sequence[Token], at: int, options: Any, env: Any
) -> str:
    content = tokens[at].content
    cited = ' class="cited-formula"' if _MARK_ON in content else ""
    formula = _math(content.replace(_MARK_ON, "").replace(_MARK_OFF, ""), display=True)
    return f"<div{cited}>{formula}</div>\n"


def _render_image(
    self: RendererHTML, tokens: Sequence[Token], at: int, options: Any, env: Any
) -> str:
    description = escapeHtml(tokens[at].content) or "image"
    return f'<span class="image">{description}</span>'


def _render_link(
    self: RendererHTML, tokens: Sequence[Token], at: int, options: Any, env: Any
) -> str:
    address = str(tokens[at].attrs.get("href", ""))
    if not re.match(r"(?:https?://|mailto:)", address):
        return "<a>"
    address = escapeHtml(re.sub("%EE%80%8[01]", "", address))
    return f'<a href="{address}" target="_blank" rel="noopener noreferrer">'


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    parser.use(dollarmath_plugin, allow_digits=False, allow_space=False, double_inline=True)
    parser.use(texmath_plugin, delimiters="brackets")
    parser.inline.ruler.at("math_inline", _formula_between_dollars)
    parser.core.ruler.after("block", "mark_cited", _mark_cited)
    parser.core.ruler.after("mark_cited", "anchor", _anchor)
    parser.core.ruler.after("inline", "keep_in_line", _keep_in_line)
    for name in ("math_inline", "math_inline_double"):
        parser.add_render_rule(name, _render_math)
    for name in ("math_block", "math_block_label"):
        parser.add_render_rule(name, _render_math_block)
    parser.add_render_rule("image", _render_image)
    parser.add_render_rule("link_open", _render_link)
    return parser


_DOLLAR_RULE = math_inline_dollar(allow_space=False, allow_digits=False, allow_double=True)
_PARSER = _parser()
