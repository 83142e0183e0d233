"""The settings, all in one place: defaults, then the environment, then the command line.

Knows nothing of what they are used for.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

DEFAULT_ENCODER = "all-MiniLM-L6-v2"
DEFAULT_GENERATOR = "SmolLM2-135M-Instruct"


@dataclass(frozen=True, slots=True)
class Settings:
    """Plain values. A model is a hub id, a folder, or the default's name.

    Without `conversations`, they are in a file of their own for each corpus.
    """

    corpus: Path = Path("corpus")
    index: Path = Path("index")
    encoder: str = DEFAULT_ENCODER
    generator: str = DEFAULT_GENERATOR
    passages: int = 5
    host: str = "127.0.0.1"
    port: int = 7860
    conversations: Path | None = None

    @property
    def conversations_file(self) -> Path:
        """Where conversations are kept: by default in the user's data folder."""
        if self.conversations:
            return self.conversations
        corpus = self.corpus.resolve()
        key = hashlib.sha256(os.fsencode(corpus)).hexdigest()[:12]
        return data_folder() / "conversations" / f"{corpus.name}-{key}.sqlite3"


def settings_from(environment: Mapping[str, str]) -> Settings:
    """Settings taken from the environment: RAG_TUTOR_CORPUS, _INDEX, _ENCODER, _GENERATOR and
    _CONVERSATIONS.
    """
    default = Settings()
    conversations = environment.get("RAG_TUTOR_CONVERSATIONS")
    return Settings(
        corpus=Path(environment.get("RAG_TUTOR_CORPUS") or default.corpus),
        index=Path(environment.get("RAG_TUTOR_INDEX") or default.index),
        encoder=environment.get("RAG_TUTOR_ENCODER") or default.encoder,
        generator=environment.get("RAG_TUTOR_GENERATOR") or default.generator,
        conversations=Path(conversations) if conversations else None,
    )


def cache_folder() -> Path:
    """Where converted weights are kept between starts: RAG_TUTOR_CACHE or the user's cache."""
    named = os.environ.get("RAG_TUTOR_CACHE")
    return Path(named) if named else platformdirs.user_cache_path("rag-tutor")


def data_folder() -> Path:
    """Where what the student made or chose is kept: RAG_TUTOR_DATA or the user's data folder."""
    named = os.environ.get("RAG_TUTOR_DATA")
    return Path(named) if named else platformdirs.user_data_path("rag-tutor", appauthor=False)
