"""Turns a note's Markdown into safe HTML, with what is cited marked and its formulas between signs
of our own; pure.

It knows nothing of answers or sources. All text is data: whatever of it could act in a browser is
escaped or left out.
"""

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
from mdit_py_plugins.dollarmath.index import math_inline_dollar
from mdit_py_plugins.texmath import texmath_plugin

from rag_tutor.domain import Span
from rag_tutor.formulas import formulas

# Private characters, removed from all data: a note can't forge them, as it could forge "$$".
_MARK_ON, _MARK_OFF = "\ue000", "\ue001"
_DISPLAY_ON, _DISPLAY_OFF, _INLINE_ON, _INLINE_OFF = "\ue002", "\ue003", "\ue004", "\ue005"
PRIVATE = dict.fromkeys(range(0xE000, 0xE006))
LATEX_DELIMITERS: list[dict[str, str | bool]] = [
    {"left": _DISPLAY_ON, "right": _DISPLAY_OFF, "display": True},
    {"left": _INLINE_ON, "right": _INLINE_OFF, "display": False},
]
_TAG_OR_SIGN = re.compile(f"(<[^>]*>|{_MARK_ON}|{_MARK_OFF})")
_BLOCK_TAG = re.compile(r"</?(?:p|h\d|[uo]l|li|pre|blockquote|table|t\w+|div|hr)\b")
_NO_ANCHORS: Mapping[int, str] = {}


def passage_html(
    text: str, spans: Iterable[Span], lower: int = 3, anchors: Mapping[int, str] = _NO_ANCHORS
) -> str:
    """The Markdown of a passage as safe HTML with `<mark>` around `spans` of its characters.

    Its headings stand below one of level `lower`; `anchors` are the names of blocks by the line
    that they begin at. Raw HTML is shown as text, images by their description, and only web links
    can be clicked.
    """
    env = {"spans": _merged(spans), "lower": lower, "anchors": anchors}
    rendered: str = _PARSER.render(_same_length(text), env)
    return _with_marks(rendered)


def one_line(page: str) -> str:
    """Gradio's Markdown takes HTML as it is only up to a blank line."""
    return page.replace("\n", "&#10;")


def formula(content: str, display: bool) -> str:
    """A formula between the signs that the page's KaTeX looks for."""
    on, off = (_DISPLAY_ON, _DISPLAY_OFF) if display else (_INLINE_ON, _INLINE_OFF)
    return on + content + off


def _same_length(text: str) -> str:
    return text.translate(dict.fromkeys(PRIVATE, "\ufffd"))


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
            token.tag = f"h{min(len(above) + state.env['lower'], 6)}"
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
    anchors = dict(state.env["anchors"])
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
    """A formula of a note, with the signs of what is cited beside it."""
    signs = "".join(re.findall(f"[{_MARK_ON}{_MARK_OFF}]", content))
    bare = escapeHtml(re.sub(f"[{_MARK_ON}{_MARK_OFF}]", "", content).strip())
    return formula(bare, display) + signs


def _render_math(
    self: RendererHTML, tokens: Sequence[Token], at: int, options: Any, env: Any
) -> str:
    return _math(tokens[at].content, display=tokens[at].type != "math_inline")


def _render_math_block(
    self: RendererHTML, tokens: Sequence[Token], at: int, options: Any, env: Any
) -> str:
    content = tokens[at].content
    cited = ' class="cited-formula"' if _MARK_ON in content else ""
    shown = _math(content.replace(_MARK_ON, "").replace(_MARK_OFF, ""), display=True)
    return f"<div{cited}>{shown}</div>\n"


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
    parser.use(formulas, allow_digits=False, allow_space=False, double_inline=True)
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
