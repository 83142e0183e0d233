"""Reads what the page's script sends along with an event, which may be anything; knows nothing of
what it is for.
"""

import re
from typing import Any

import gradio as gr

from rag_tutor.conversation import is_unicode

_NUMBER = re.compile(r"[0-9]{1,18}")  # SQLite holds no larger ones


class MalformedError(gr.Error):
    """What was sent isn't what a page sends; the page shows the message, and no log a traceback."""

    def __init__(self, message: str) -> None:
        super().__init__(message, print_exception=False)


class Sent(gr.EventData):
    """Named values; Gradio makes it of the data of an event whose handler asks for one."""

    def value(self, *names: str) -> Any:
        """What stands under a name, or under a name within that, and so on.

        Raises MalformedError if there is nothing, as do the others.
        """
        found = self._data
        for name in names:
            if not isinstance(found, dict) or name not in found:
                raise _malformed(names)
            found = found[name]
        return found

    def text(self, *names: str) -> str:
        """A text that is valid Unicode."""
        found = self.value(*names)
        if not isinstance(found, str) or not is_unicode(found):
            raise _malformed(names)
        return found

    def number(self, *names: str) -> int:
        """A whole number, which may be sent as a text."""
        found = str(self.value(*names))
        if not _NUMBER.fullmatch(found):
            raise _malformed(names)
        return int(found)


def _malformed(names: tuple[str, ...]) -> MalformedError:
    return MalformedError(f"The page sent no {' '.join(names)} that can be used. Load it again.")
