"""Turns answers, passages and notes into the Markdown and HTML that the pages show; pure.

It knows nothing of Gradio's components or of sessions. All text of notes, questions and
models is data: whatever of it could act in a browser is escaped or left out here.
"""

import html
import re
from collections.abc import Iterable, Mapping, Sequence

from rag_tutor.chunking import Heading, plain_text
from rag_tutor.domain import Answer, Citation, Passage, Span, Turn
from rag_tutor.grounding import closest_headings, row_as_text
from rag_tutor.ui.markdown import PRIVATE, formula, one_line, passage_html

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
    | \[(?P<label>[^\[\]\n<$`!]{1,200})\]
      \((?!https?://|mailto:)(?=[^()\s]*[.\#:/])(?:[^()\n]|\([^()\n]*\)){1,500}\)
    | (?P<address>\]\((?!https?://|mailto:)|\]:)
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
_WAITING = '<span class="waiting"><i></i><i></i><i></i></span>'


def question_markdown(question: str) -> str:
    """A question as it was typed: none of its characters acts as Markdown or HTML."""
    return _literal(question.translate(PRIVATE))


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

    return searched + _ANSWER_PARTS.sub(part, turn.answer.text.translate(PRIVATE))


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
    shown = passage_html(text, spans, lower=2, anchors=anchors)
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
        f'<div class="text">{shown}</div></article></div>'
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
        return formula(display, display=True)
    if inline := display or match["inline"]:
        return formula(inline, display=False)
    if match["dollar"]:
        is_formula = not _PRICE.match(match["dollar"])
        return formula(match["dollar"], display=False) if is_formula else match[0]
    if match["number"]:
        # Markers stand in the order of the citations: each is of its own sentence.
        own = waiting.get(int(match["number"]), [])
        citation = own.pop() if len(own) > 1 else own[0] if own else None
        shown = (
            f"&#91;{match['number']}&#93;"  # behind brackets of its own, an address makes a link
        )
        return _citation_link(turn_id, citation) if citation else shown
    if match["label"]:
        return match["label"]  # as in a passage, only web links can be clicked
    if match["address"]:
        return f"]&#{ord(match['address'][1])};"
    if match["image"]:
        return "!&#91;"
    if match["tag"]:
        return "&lt;"
    return match[0]


def _stands_alone(found: re.Match[str]) -> bool:
    """Whether a formula shares its lines with nothing but signs of Markdown and markers."""
    text = found.string
    before = text[text.rfind("\n", 0, found.start()) + 1 : found.start()]
    after = text[found.end() :].partition("\n")[0]
    return bool(_BEFORE_FORMULA.fullmatch(before) and _AFTER_FORMULA.fullmatch(after))


def _refusal(answer: Answer, turn_id: int) -> str:
    """A refusal, with the headings that it names as links to their passages."""
    numbers = closest_headings(answer.passages)
    lines = []
    for line in answer.text.split("\n"):
        item = line.removeprefix("- ")
        shown = _literal(item.translate(PRIVATE))
        if number := numbers.get(item):
            note = _literal(answer.passages[number - 1].chunk.document_id.translate(PRIVATE))
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
    title = "&#10;".join(_literal(line.translate(PRIVATE)) for line in lines)
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
