"""Lets a Markdown parser find formulas between dollar signs; knows nothing of what is made of
them.
"""

from typing import Any

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from mdit_py_plugins.dollarmath import dollarmath_plugin
from mdit_py_plugins.dollarmath.index import math_block_dollar

_BLOCK_RULE = math_block_dollar(allow_blank_lines=True)
_UNCLOSED = "unclosed formula"


def formulas(parser: MarkdownIt, **options: Any) -> None:
    """The plugin dollarmath, in a time that grows with the text and not with its square."""
    parser.use(dollarmath_plugin, **options)
    parser.block.ruler.at("math_block", _display_formula)


def _display_formula(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """As dollarmath has it, which for each formula that isn't closed reads to the end of the text:
    where nothing closes one, nothing closes those below it either.
    """
    line = state.src[state.bMarks[start] + state.tShift[start] : state.eMarks[start]]
    if not line.startswith("$$") or state.is_code_block(start):
        return False
    is_open = line.count("$$") == 1
    first, last = state.env.get(_UNCLOSED, (end, start))
    if is_open and first <= start and end <= last:
        return False
    is_formula = _BLOCK_RULE(state, start, end, silent)
    if is_open and not is_formula:
        state.env[_UNCLOSED] = start, end
    return is_formula
