"""The settings, all in one place: defaults, then what was chosen on the settings page, then the
environment, then the command line.

Knows nothing of what they are used for.
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import platformdirs

from rag_tutor.errors import SettingsError

AnswerLength = Literal["short", "normal", "detailed"]
ANSWER_LENGTHS: tuple[AnswerLength, ...] = get_args(AnswerLength)
DEFAULT_ENCODER = "all-MiniLM-L6-v2"
DEFAULT_GENERATOR = "SmolLM2-135M-Instruct"
MAX_PASSAGES = 20


@dataclass(frozen=True, slots=True)
class Settings:
    """Plain values. A model is a hub id, a folder, or the default's name; the generator may be
    a server's, ADDRESS#MODEL.

    Without `conversations`, they are in a file of their own for each corpus. `auth` is the
    log-in to the pages, USER:PASSWORD_FILE, or "" for none.
    """

    corpus: Path = Path("corpus")
    index: Path = Path("index")
    encoder: str = DEFAULT_ENCODER
    generator: str = DEFAULT_GENERATOR
    passages: int = 5
    answer_length: AnswerLength = "normal"
    host: str = "127.0.0.1"
    port: int = 7860
    auth: str = ""
    conversations: Path | None = None

    @property
    def conversations_file(self) -> Path:
        """Where conversations are kept: by default in the user's data folder."""
        if self.conversations:
            return self.conversations
        corpus = self.corpus.resolve()
        key = hashlib.sha256(os.fsencode(corpus)).hexdigest()[:12]
        return data_folder() / "conversations" / f"{corpus.name}-{key}.sqlite3"


def settings_from(
    environment: Mapping[str, str], saved: Mapping[str, Any] | None = None
) -> Settings:
    """The defaults, with what was saved on the page and then the environment in their place.

    Read are RAG_TUTOR_CORPUS, _INDEX, _ENCODER, _GENERATOR, _CONVERSATIONS, _PASSAGES and
    _ANSWER_LENGTH.
    Raises SettingsError for a value that can't be used.
    """
    named = {name: environment.get(f"RAG_TUTOR_{name.upper()}") or "" for name in _READERS}
    try:
        read = {name: _READERS[name](text) for name, text in named.items() if text}
    except SettingsError as error:
        raise SettingsError(f"{error} It comes from the environment, RAG_TUTOR_….") from error
    return replace(Settings(), **{**(saved or {}), **read})


def read_passages(text: str) -> int:
    """A number of passages from its text. Raises SettingsError."""
    if not text.isdecimal() or not 0 < int(text) <= MAX_PASSAGES:
        raise SettingsError(f"{text!r} is no number of passages: choose 1 to {MAX_PASSAGES}.")
    return int(text)


def read_answer_length(text: str) -> AnswerLength:
    """The length of answers from its name. Raises SettingsError."""
    for length in ANSWER_LENGTHS:
        if text == length:
            return length
    raise SettingsError(f"{text!r} is no length of answers: choose {', '.join(ANSWER_LENGTHS)}.")


def cache_folder() -> Path:
    """Where converted weights are kept between starts: RAG_TUTOR_CACHE or the user's cache."""
    named = os.environ.get("RAG_TUTOR_CACHE")
    return Path(named) if named else platformdirs.user_cache_path("rag-tutor")


def data_folder() -> Path:
    """Where what the student made or chose is kept: RAG_TUTOR_DATA or the user's data folder."""
    named = os.environ.get("RAG_TUTOR_DATA")
    return Path(named) if named else platformdirs.user_data_path("rag-tutor", appauthor=False)


_READERS: dict[str, Callable[[str], Any]] = {
    "corpus": Path,
    "index": Path,
    "encoder": str,
    "generator": str,
    "conversations": Path,
    "passages": read_passages,
    "answer_length": read_answer_length,
}
