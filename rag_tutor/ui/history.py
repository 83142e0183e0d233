"""Turns the list of conversations into the HTML of the page's sidebar; pure."""

import html
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from rag_tutor.conversations import Conversation, Hit

_SHOWN_CHARACTERS = 60
_TOOLS = (("rename", "Rename"), ("export", "Export as Markdown"), ("delete", "Delete"))


@dataclass(frozen=True, slots=True)
class Deletion:
    """A conversation that was deleted, and whether it was open then."""

    conversation: str
    title: str
    was_open: bool


def list_html(conversations: Sequence[Conversation], current: str, now: float) -> str:
    """All conversations in groups of days; `now` is in seconds."""
    if not conversations:
        return _current(current) + '<p class="empty">Your conversations are kept here.</p>'
    groups = groupby(conversations, key=lambda each: _day(each.changed, now))
    return _current(current) + "".join(
        f"<h2>{day}</h2>{_items([_item(each, current, '') for each in group])}"
        for day, group in groups
    )


def hits_html(hits: Sequence[Hit], current: str, wanted: str) -> str:
    """The conversations that a search found, the words wanted marked in their excerpts."""
    if not hits:
        return _current(current) + '<p class="empty">No conversation holds all these words.</p>'
    count = "1 conversation" if len(hits) == 1 else f"{len(hits)} conversations"
    items = [_item(hit.conversation, current, _excerpt(hit.excerpt, wanted)) for hit in hits]
    return f"{_current(current)}<h2>{count}</h2>{_items(items)}"


def deleted_html(deletion: Deletion) -> str:
    """What offers to undo a deletion."""
    reopen = " was-open" if deletion.was_open else ""
    title = deletion.title
    shown = title if len(title) <= _SHOWN_CHARACTERS else f"{title[:_SHOWN_CHARACTERS].rstrip()}…"
    return (
        f'<p class="deleted" role="status"><span>Deleted “{html.escape(shown)}”.</span> '
        f'<button type="button" class="restore{reopen}" '
        f'value="{html.escape(deletion.conversation)}">Undo</button></p>'
    )


def _current(conversation: str) -> str:
    """Tells the page which conversation is open, for its address."""
    return f'<span id="current-chat" data-chat="{html.escape(conversation)}"></span>'


def _items(items: Sequence[str]) -> str:
    return f'<ul class="chats">{"".join(items)}</ul>'


def _item(conversation: Conversation, current: str, excerpt: str) -> str:
    title = html.escape(conversation.title)
    key = html.escape(conversation.id)
    tools = "".join(
        f'<button type="button" class="{name}" value="{key}" title="{text}" '
        f'aria-label="{text}: {title}"></button>'
        for name, text in _TOOLS
    )
    is_current = ' aria-current="true"' if conversation.id == current else ""
    return (
        f'<li><button type="button" class="open" value="{key}"{is_current}>'
        f'<span class="title">{title}</span>{excerpt}</button>'
        f'<span class="tools">{tools}</span></li>'
    )


def _excerpt(text: str, wanted: str) -> str:
    words = "|".join(re.escape(word) for word in sorted(wanted.split(), key=len, reverse=True))
    return f'<span class="excerpt">{"".join(_marked(text, words))}</span>'


def _marked(text: str, words: str) -> Iterator[str]:
    for number, part in enumerate(re.split(f"({words})", text, flags=re.IGNORECASE)):
        yield f"<mark>{html.escape(part)}</mark>" if number % 2 else html.escape(part)


def _day(changed: float, now: float) -> str:
    today = time.localtime(now)[:3]
    if time.localtime(changed)[:3] >= today:
        return "Today"
    if time.localtime(changed + 24 * 3600)[:3] >= today:
        return "Yesterday"
    return "Earlier"
