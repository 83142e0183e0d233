"""The settings, all in one place: defaults, then the environment, then the command line.

Knows nothing of what they are used for.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

DEFAULT_ENCODER = "all-MiniLM-L6-v2"
DEFAULT_GENERATOR = "SmolLM2-135M-Instruct"


@dataclass(frozen=True, slots=True)
class Settings:
    """Plain values. A model is a hub id, a folder, or the default's name."""

    corpus: Path = Path("corpus")
    index: Path = Path("index")
    encoder: str = DEFAULT_ENCODER
    generator: str = DEFAULT_GENERATOR
    passages: int = 5
    host: str = "127.0.0.1"
    port: int = 7860


def settings_from(environment: Mapping[str, str]) -> Settings:
    """Settings with RAG_TUTOR_CORPUS, _INDEX, _ENCODER, _GENERATOR taken from the environment."""
    default = Settings()
    return Settings(
        corpus=Path(environment.get("RAG_TUTOR_CORPUS") or default.corpus),
        index=Path(environment.get("RAG_TUTOR_INDEX") or default.index),
        encoder=environment.get("RAG_TUTOR_ENCODER") or default.encoder,
        generator=environment.get("RAG_TUTOR_GENERATOR") or default.generator,
    )


def cache_folder() -> Path:
    """Where converted weights are kept between starts: RAG_TUTOR_CACHE or the user's cache."""
    named = os.environ.get("RAG_TUTOR_CACHE")
    return Path(named) if named else platformdirs.user_cache_path("rag-tutor")
