"""Turns what a generator writes into an answer whose every sentence is supported: checks each one
as soon as it is complete, and leaves it out if nothing supports it.

It knows nothing of how passages are found or of what a model is.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rag_tutor.chunking import label_of
from rag_tutor.domain import Citation
from rag_tutor.grounding import (
    MARKER,
    MISSING,
    Grounding,
    bare_sentence,
    escape_markers,
    quotation,
)
from rag_tutor.hidden import visible, without_shapeless
from rag_tutor.sentences import LIST_MARK, sentence_spans

_FENCE = re.compile(r"^[ \t]*(?:```|~~~)", re.MULTILINE)
_QUOTED = "From your notes:\n\n"
_DISAGREE = "Your notes disagree:\n\n"
_ENDS = (".", "!", ".”", '."', ".)", "$", "`")
# What the notes say can be checked; whether that means yes or no can't.
_VERDICT = re.compile(r"\A(?:yes|no),\s+(.)", re.IGNORECASE)
_NAME = re.compile(r"(?:\*\*[^*]{1,60}\*\*|[^.:*]{1,60}):\s|\*\*[^*]{1,60}:\*\*")
_MAX_FAILURES = 2


@dataclass(frozen=True, slots=True)
class Part:
    """A sentence, list item or code block that was written, an item of the notes, a quotation, or
    quotations that disagree.

    `text` ends with the markers of `citations`, which are never none.
    """

    form: Literal["sentence", "item", "code", "quotation", "disagreement"]
    text: str
    citations: tuple[Citation, ...]


def checked_parts(pieces: Iterator[str], grounding: Grounding) -> Iterator[Part]:
    """What the passages support of a text that arrives in pieces, a sentence at a time.

    A "Yes," or "No," before a sentence is left out. After the second sentence that isn't supported,
    or a repetition, nothing more is read: a small model that has left the notes seldom comes back.
    """
    said: set[str] = set()
    lead, failures = "", 0
    for sentence in _sentences(pieces):
        sentence = _VERDICT.sub(lambda found: found[1].upper(), without_shapeless(sentence))
        bare = bare_sentence(sentence)
        if bare.endswith(":"):
            lead = bare
            continue
        if not bare:
            continue
        is_item = bool(LIST_MARK.match(sentence))  # one may be a part of another's words
        if bare in said or (not is_item and any(bare in earlier for earlier in said)):
            return
        said.add(bare)
        # Whether the notes answer is decided before; the model says too often that they don't.
        if bare.startswith(MISSING):
            continue
        part = _supported(sentence, bare, grounding)
        can_be_led = part and part.form in ("item", "code")
        if part and lead and can_be_led and grounding.introduces(lead, part.citations[0]):
            part = Part(part.form, f"{lead}\n\n{part.text}", part.citations)
        lead = ""
        if part:
            yield part
        failures += part is None
        if failures == _MAX_FAILURES:
            return


def quoted_part(citation: Citation, is_led: bool) -> Part:
    """A sentence of the notes, marked as a quotation; `is_led` if the one that leads to it is
    shown right before.
    """
    return Part("quotation", quotation(citation, is_led), (citation,))


def leading_part(citation: Citation) -> Part:
    """A sentence of the notes that is the answer's first; code stays a quotation."""
    text = quotation(citation)
    if not text.startswith("> - "):
        return quoted_part(citation, is_led=False)
    return Part("sentence", text.removeprefix("> - "), (citation,))


def disagreeing_part(citations: Sequence[Citation]) -> Part:
    """Sentences of the notes that disagree, side by side."""
    quotations = "\n".join(quotation(each) for each in citations)
    return Part("disagreement", f"{_DISAGREE}{quotations}", tuple(citations))


def listed_parts(
    heading: str,
    citations: Sequence[Citation],
    lead: Citation | None = None,
    names_only: bool = False,
) -> Iterator[Part]:
    """The items of a list of the notes, below the sentence that leads to them, or the heading; of
    items such as "Name: what it is", if so wanted, the names only.
    """
    above = f"{escape_markers(heading).rstrip(':?')}:\n\n"
    if lead:
        above = f"{escape_markers(' '.join(visible(lead.quote).split()))} [{lead.number}]\n\n"
    for citation in citations:
        item = escape_markers(_item(visible(citation.quote)))
        if names_only and (name := _NAME.match(item)):
            item = name[0].rstrip(": ").replace(":**", "**")
        cited = (lead, citation) if lead else (citation,)
        yield Part("item", f"{above}- {item} [{citation.number}]", cited)
        above, lead = "", None


def _item(quote: str) -> str:
    """A list item in one line, and one sentence; of a name, what stands below it after a colon."""
    first, *below = quote.split("\n")
    name = LIST_MARK.sub("", label_of(first))
    if not name:
        return " ".join(LIST_MARK.sub("", quote.strip(), count=1).split())
    said = ""
    for line in filter(str.strip, below):
        text = LIST_MARK.sub("", line.strip(), count=1).lstrip("> ")
        said = f"{said.rstrip('.')}; {text}" if said and LIST_MARK.match(line) else f"{said} {text}"
    return f"**{name}**: {' '.join(said.split())}" if said else name


def joined(parts: Sequence[Part]) -> str:
    """The Markdown of an answer's parts; that of more parts begins with that of fewer."""
    text, before = "", ""
    for part in parts:
        if part.form == before == "sentence":
            text += " "
        elif part.form == before and before not in ("code", "disagreement"):
            text += "\n"
        elif before:
            text += "\n\n"
        if part.form == "quotation" != before:
            text += _QUOTED
        text += part.text
        before = part.form
    return text


def _supported(sentence: str, bare: str, grounding: Grounding) -> Part | None:
    citations = grounding.find(sentence)
    if not citations:
        return None
    markers = f"[{', '.join(str(citation.number) for citation in citations)}]"
    if _FENCE.match(bare):
        return Part("code", f"{bare}\n\n{markers}", citations)
    if LIST_MARK.match(sentence):
        return Part("item", f"- {bare} {markers}", citations)
    # Without its end it is a title, or was cut off.
    is_whole = bare.rstrip("*_").endswith(_ENDS)
    return Part("sentence", f"{bare} {markers}", citations) if is_whole else None


def _sentences(pieces: Iterator[str]) -> Iterator[str]:
    """The sentences of a text that arrives in pieces, each when the next one begins."""
    text = ""
    for piece in pieces:
        text += piece
        if len(_FENCE.findall(text)) % 2:
            continue  # inside code, nothing is a sentence
        spans = sentence_spans(text)
        for start, end in spans[:-1]:
            yield text[start:end]
        # The mark of a list item may arrive before its text.
        text = text[spans[-1][0] :] if spans else text
    for start, end in sentence_spans(text):
        if _is_complete(text[start:end]):
            yield text[start:end]


def _is_complete(sentence: str) -> bool:
    """Whether the last sentence of a text was not cut off."""
    return bool(MARKER.search(sentence) or sentence.endswith((".", "!", ":", "```", "~~~")))
