"""Cuts a Document into Chunks along its own structure, with exact offsets; pure: it reads no
files and knows no model, only how long a text is.

Markdown gives the outline: headings, but also lines that serve as headings in notes (a
numbered bold question, a plain title line). A section that fits is one chunk, so that a
question stays with its answer. A longer one is cut between its blocks, a longer block
between its items, and only then between sentences and words.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from langchain_text_splitters import RecursiveCharacterTextSplitter
from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

from rag_tutor.domain import Chunk, Document, Span
from rag_tutor.formulas import formulas
from rag_tutor.hidden import blanked, visible
from rag_tutor.sentences import LIST_MARK, sentence_spans

# To be raised when chunks, their sentences or their searchable text change: an index holds all.
CHUNKING_VERSION = 3
# Bounds a chunk where tokens don't: a tokenizer may read a page without spaces as one word.
MAX_CHUNK_CHARACTERS = 2_400
_MAX_LABEL_WORDS = 6
_MAX_HEADING_CHARACTERS = 160
_STEP = 8
_SEPARATORS = [r"\n\s*\n", r"\n", r"(?<=[.!?;])\s+", r"\s+", ""]

_NUMBER = re.compile(r"\d{1,3}[.)]\s+(?=\S)")
_HEADING_LINE = re.compile(r"#{1,6}\s")
_BOLD_LINE = re.compile(r"\*\*[^*]+\*\*:?$")
# No two parts of it can take the same sign, or a long line would be tried in all ways.
_TABLE_LINE = re.compile(r"^[ \t]*(?:\|[ \t]*)?:?--[-|: \t]*$", re.MULTILINE)
_LABELS = frozenset({"answer", "answers", "solution", "ans", "a", "example", "examples"})
_MAX_TITLE_WORDS = 14
# Markdown headings have the levels 1 to 6. A numbered bold question stands just below the
# heading that it follows, so that deeper headings are part of its answer; any other line that
# serves as a title stands below all headings, so that none becomes part of it.
_QUESTION_STEP = 0.5
_PLAIN_TITLE, _NUMBERED_TITLE, _BOLD_TITLE = 7.0, 8.0, 9.0

CountTokens = Callable[[str], int]


@dataclass(slots=True)
class _Block:
    """A block of Markdown as a range of lines; a list holds items, an item holds blocks."""

    kind: str
    first: int
    last: int
    level: int = 0
    children: list["_Block"] = field(default_factory=list)


@dataclass(slots=True)
class _Section:
    """A heading with the blocks up to the next heading, and the sections below it."""

    level: float
    title: str
    blocks: list[_Block] = field(default_factory=list)
    sections: list["_Section"] = field(default_factory=list)

    @property
    def last(self) -> int:
        """The line after the last one of the section."""
        return self.sections[-1].last if self.sections else self.blocks[-1].last


def chunk_document(document: Document, count_tokens: CountTokens, max_tokens: int) -> list[Chunk]:
    """Cut a document into chunks that don't overlap, in the order of the text.

    Each line with text that isn't hidden is in a chunk, or is a heading in the path of the chunks
    below it (which keeps 160 characters of a heading, and the innermost ones where many don't fit).
    What is hidden is in none, or whole between what a chunk shows.
    The `searchable_text` of a chunk takes at most `max_tokens` as `count_tokens` counts them.
    """
    cutter = _Cutter(document, count_tokens, max_tokens)
    return list(cutter.cut(_outline(document.text), ()))


@dataclass(frozen=True, slots=True)
class SearchableText:
    """The text of a chunk that is embedded, indexed and read by the reader.

    `sentences[i]` is where the sentence `sentence_spans(chunk.text)[i]` stands in `text`.
    """

    text: str
    sentences: tuple[Span, ...]


def searchable_text(chunk: Chunk) -> SearchableText:
    """The path of headings, then the chunk's sentences without their Markdown signs."""
    heading = chunk.heading
    if heading and clean_heading(chunk.text.split("\n", 1)[0]) == heading[-1]:
        heading = heading[:-1]
    text, spans = _join(heading, ""), []
    for start, end in sentence_spans(chunk.text):
        sentence = plain_text(chunk.text[start:end])
        spans.append((len(text), len(text) + len(sentence)))
        text += sentence + "\n"
    return SearchableText(text.rstrip("\n"), tuple(spans))


def is_title(chunk: Chunk, span: Span) -> bool:
    """Whether a sentence of a chunk is one of its titles, which can be long and look like one."""
    sentence = chunk.text[slice(*span)]
    line = clean_heading(sentence)
    if LIST_MARK.match(sentence):
        return line in chunk.heading  # an item may well be a word of its heading
    return any(line and line in heading for heading in chunk.heading)


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading, or a line that serves as one: its depth in the outline from 1, and its line."""

    depth: int
    title: str
    line: int


def headings(text: str) -> list[Heading]:
    """The outline of a text, in its order."""
    return list(_headings(_outline(text), 0))


def _headings(section: _Section, depth: int) -> Iterator[Heading]:
    if section.title:
        yield Heading(depth, section.title, section.blocks[0].first)
    for below in section.sections:
        yield from _headings(below, depth + 1)


def plain_text(text: str) -> str:
    """Markdown without the signs that only draw it, emphasis, table rules, link addresses, and
    without what it hides.
    """
    text = _TABLE_LINE.sub("", visible(text))
    text = _without_links(text)
    text = re.sub(r"\*\*|`(?!``)(?<!``)", "", text)
    text = re.sub(r"(?<=\S)[ \t]{2,}", " ", text)
    return re.sub(r"\n{2,}", "\n", text)


def label_of(line: str) -> str:
    """The name on a line that is nothing but a name, such as "## Scope", "2. **Scope**" or
    "- Scope:"; "" on any other.
    """
    bare = LIST_MARK.sub("", line).strip()
    is_name = (
        _HEADING_LINE.match(bare)
        or _BOLD_LINE.fullmatch(bare)
        or bare.rstrip("*_`").endswith((":", "："))
    )
    return plain_text(bare).strip("#*_`:： ") if is_name else ""


def label_above(text: str, start: int) -> str:
    """The label that stands on a line of its own above the paragraph or the list that a sentence
    is part of, such as "**Scope:**", if any.
    """
    *above, own = text[:start].split("\n")
    is_over = False
    for line in reversed(above):
        if not line.strip():
            is_over = True
            continue
        name = label_of(line)
        is_marked = LIST_MARK.match(line) or line.lstrip().startswith(("*", "_", "`"))
        if name and is_marked and not _is_beside(line, own + text[start:]):
            is_label = len(name.split()) <= _MAX_LABEL_WORDS and name.lower() not in _LABELS
            return name if is_label else ""
        if is_over:
            return ""
    return ""


def _is_beside(line: str, other: str) -> bool:
    """Whether two lines are items of the same list."""
    marks = LIST_MARK.match(line), LIST_MARK.match(other)
    if not all(marks):
        return False
    first, second = (mark[0] for mark in marks if mark)
    same_kind = first.strip()[-1] == second.strip()[-1]
    return same_kind and _indent(first) >= _indent(second)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def clean_heading(line: str) -> str:
    """A heading as a person would say it: no Markdown signs, no leading number, 160 characters."""
    text = _without_links(visible(line)[: 8 * _MAX_HEADING_CHARACTERS])
    text = re.sub(r"^[\s>]*#{1,6}\s+", "", text)
    text = re.sub(r"[*_`]+", "", text)
    text = re.sub(r"^\s*\d{1,3}[.)]\s+", "", text)
    return " ".join(text.split())[:_MAX_HEADING_CHARACTERS].strip(" #:")


def _without_links(text: str) -> str:
    """Links and images as their text alone; what follows "[" is bounded, to stay linear."""
    return re.sub(r"!?\[([^\[\]\n]{0,500})\]\([^()\s]{0,2000}\)", r"\1", text)


class _Cutter:
    """Cuts the sections of one document."""

    def __init__(self, document: Document, count_tokens: CountTokens, max_tokens: int) -> None:
        self.document = document
        self.shown = blanked(document.text)
        self.hides = self.shown != document.text
        self.count_tokens = count_tokens
        self.max_tokens = max_tokens
        self.line_starts = [0]
        for line in document.text.split("\n"):
            self.line_starts.append(self.line_starts[-1] + len(line) + 1)

    def cut(self, section: _Section, above: tuple[str, ...]) -> Iterator[Chunk]:
        path = self._shorten((*above, section.title)) if section.title else above
        if not section.blocks and len(section.sections) <= 1:
            for below in section.sections:
                yield from self.cut(below, path)
            return
        first = section.blocks[0].first if section.blocks else section.sections[0].blocks[0].first
        whole = self._span(first, section.last)
        is_one_subject = bool(section.title) or not section.sections
        if is_one_subject and self._fits(path, whole):
            yield from self._chunk(path, whole)
            return
        has_text = len(section.blocks) > (1 if section.title else 0)
        if has_text or not section.sections:
            pieces = [piece for block in section.blocks for piece in self._pieces(block, path)]
            for span in self._pack(pieces, path):
                yield from self._chunk(path, span)
        for below in section.sections:
            yield from self.cut(below, path)

    def _pieces(self, block: _Block, path: tuple[str, ...]) -> Iterator[Span]:
        """The spans of a block that fit: itself, or its items, or parts of its text."""
        span = self._span(block.first, block.last)
        if self._fits(path, span):
            yield span
        elif block.children:
            for child in block.children:
                yield from self._pieces(child, path)
        else:
            yield from self._split_text(span, path)

    def _split_text(self, span: Span, path: tuple[str, ...]) -> Iterator[Span]:
        room = self.max_tokens - self.count_tokens(_join(path, ""))
        splitter = RecursiveCharacterTextSplitter(
            separators=_SEPARATORS,
            is_separator_regex=True,
            keep_separator="end",
            strip_whitespace=False,
            chunk_overlap=0,
            chunk_size=max(room, 1),
            length_function=self.count_tokens,
        )
        for start, end in _bounded(self.shown, span):
            # With separators kept and nothing stripped, the parts add up to the text again.
            for part in splitter.split_text(self._text((start, end))):
                yield from self._halve((start, start + len(part)), path)
                start += len(part)

    def _halve(self, span: Span, path: tuple[str, ...]) -> Iterator[Span]:
        """Tokens of the parts needn't add up to those of the whole: cut until it fits."""
        start, end = span
        if end - start <= 1 or self._fits(path, span):
            yield span
            return
        middle = (start + end) // 2
        yield from self._halve((start, middle), path)
        yield from self._halve((middle, end), path)

    def _pack(self, pieces: Sequence[Span], path: tuple[str, ...]) -> Iterator[Span]:
        """Join neighbouring pieces into as few spans as fit, of about the same size."""
        room = self.max_tokens - self.count_tokens(_join(path, ""))
        sizes = [self.count_tokens(_join((), self._text(piece))) for piece in pieces]
        fewest = len(_group(sizes, room))
        even = -(-sum(sizes) // fewest)
        limits = (
            limit for limit in range(even, room, _STEP) if len(_group(sizes, limit)) <= fewest
        )
        for group in _group(sizes, next(limits, room)):
            yield from self._halve((pieces[group[0]][0], pieces[group[-1]][1]), path)

    def _fits(self, path: tuple[str, ...], span: Span) -> bool:
        text = self._text(span)
        if len(text) - self._hidden(span) > MAX_CHUNK_CHARACTERS:
            return False
        return self.count_tokens(_join(path, text)) <= self.max_tokens

    def _hidden(self, span: Span) -> int:
        """How many characters of a span are hidden."""
        if not self.hides:
            return 0
        return sum(map(str.__ne__, self._text(span), self.document.text[slice(*span)]))

    def _shorten(self, path: tuple[str, ...]) -> tuple[str, ...]:
        """Leave at least half of the tokens to the text: drop the outermost headings first."""
        while len(path) > 1 and self.count_tokens(_join(path, "")) > self.max_tokens // 2:
            path = path[1:]
        while path[0] and self.count_tokens(_join(path, "")) > self.max_tokens // 2:
            path = (path[0][: len(path[0]) // 2],)
        return path

    def _text(self, span: Span) -> str:
        return self.shown[span[0] : span[1]]

    def _span(self, first: int, last: int) -> Span:
        return self.line_starts[first], min(self.line_starts[last], len(self.document.text))

    def _chunk(self, path: tuple[str, ...], span: Span) -> Iterator[Chunk]:
        start, end = span
        text = self.shown[start:end]
        start += len(text) - len(text.lstrip())
        end = start + len(text.strip())
        if start < end:
            yield Chunk(self.document.id, path, start, end, self.document.text[start:end])


def _join(path: tuple[str, ...], text: str) -> str:
    text = plain_text(text)
    return " > ".join(path) + "\n" + text if path else text


def _group(sizes: Sequence[int], limit: int) -> list[range]:
    """Runs of neighbours whose sizes add up to at most `limit`; one alone may exceed it."""
    starts, total = [0], sizes[0]
    for index in range(1, len(sizes)):
        total += sizes[index]
        if total > limit:
            starts.append(index)
            total = sizes[index]
    return [range(start, end) for start, end in zip(starts, [*starts[1:], len(sizes)], strict=True)]


def _bounded(text: str, span: Span) -> Iterator[Span]:
    """Cut an endless line, at a space where there is one, before anything counts its tokens."""
    start, end = span
    while end - start > MAX_CHUNK_CHARACTERS:
        space = text.rfind(" ", start + 1, start + MAX_CHUNK_CHARACTERS)
        cut = space + 1 if space > 0 else start + MAX_CHUNK_CHARACTERS
        yield start, cut
        start = cut
    yield start, end


def _outline(text: str) -> _Section:
    """The sections of a text, as a tree below a root without a title."""
    text = blanked(text)
    lines = text.split("\n")
    stack = [_Section(0, "")]
    blocks = _blocks(text)
    for number, block in enumerate(blocks):
        following = blocks[number + 1] if number + 1 < len(blocks) else None
        level = block.level or _title_level(block, following, lines, stack)
        if not level:
            stack[-1].blocks.append(block)
            continue
        if stack[-1].level == level != block.level and len(stack[-1].blocks) == 1:
            level += 0.1  # a title right below a title that has nothing of its own
        while stack[-1].level >= level:
            stack.pop()
        title = " ".join(lines[block.first : block.last]) if block.kind == "heading" else ""
        title = re.sub(r"\s[=-]+\s*$", "", title) or lines[block.first]
        section = _Section(level, clean_heading(title), [block])
        stack[-1].sections.append(section)
        stack.append(section)
    return stack[0]


def _title_level(
    block: _Block, following: _Block | None, lines: Sequence[str], stack: Sequence[_Section]
) -> float:
    """The level of a line that serves as a heading without being one in Markdown, or 0.

    It is a single line with something below it: bold, or short and without a full stop.
    """
    line = lines[block.first].strip()
    if following is None or following.level or "".join(lines[block.first + 1 : block.last]).strip():
        return 0
    words = clean_heading(line).rstrip(":").split()
    if not words or " ".join(words).lower() in _LABELS:
        return 0
    body = _NUMBER.sub("", line, count=1)
    numbered = block.kind == "list" and body != line
    bold = bool(_BOLD_LINE.fullmatch(body))
    if numbered and bold and re.search(r"[?.][*:]*$", body):
        return _question_level(stack)
    plain = (
        len(words) <= _MAX_TITLE_WORDS
        and words[0][0].isupper()
        and not re.search(r"[.;,!|=]$|https?://|[`$\[\]<>]|^\*", body)
    )
    if numbered:
        return _NUMBERED_TITLE if bold or plain else 0
    if block.kind != "paragraph":
        return 0
    return _BOLD_TITLE if bold else _PLAIN_TITLE if plain else 0


def _question_level(stack: Sequence[_Section]) -> float:
    """The level of the question before, if it is still open, or just below the last heading."""
    open_levels = [section.level for section in stack]
    questions = [level for level in open_levels if level % 1 == _QUESTION_STEP]
    headings = [level for level in open_levels if level <= 6]
    return questions[0] if questions else max(headings) + _QUESTION_STEP


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark").enable("table").use(formulas)
    parser.core.ruler.enableOnly(["block"])
    return parser


_PARSER = _parser()


def _blocks(text: str) -> list[_Block]:
    """The top-level blocks of a Markdown text (markdown-it-py, CommonMark with tables)."""
    lines = text.split("\n")
    tree = SyntaxTreeNode(_PARSER.parse(text))
    return _children(tree, 0, len(lines), lines)


def _children(node: SyntaxTreeNode, first: int, last: int, lines: Sequence[str]) -> list[_Block]:
    """The blocks below a node, and the text between them that makes none (link definitions)."""
    blocks: list[_Block] = []
    for child in node.children:
        if child.type == "inline" or child.map is None:
            continue
        child_first, child_last = child.map
        blocks.extend(_gap(first, child_first, lines))
        first = child_last
        if child.type == "hr":  # it only draws; at the end of a chunk it would be a stray line
            continue
        kind = "list" if child.type.endswith("_list") else child.type
        level = int(child.tag[1]) if kind == "heading" and node.is_root else 0
        children = _children(child, child_first, child_last, lines)
        blocks.append(_Block(kind, child_first, child_last, level, children))
    if blocks or node.is_root:
        blocks.extend(_gap(first, last, lines))
    return blocks


def _gap(first: int, last: int, lines: Sequence[str]) -> Iterator[_Block]:
    if "".join(lines[first:last]).strip():
        yield _Block("gap", first, last)
