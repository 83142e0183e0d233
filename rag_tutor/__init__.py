"""A study assistant that answers from your own notes, on your own machine, with its sources."""

from rag_tutor.config import Settings, settings_from
from rag_tutor.domain import Answer, Chunk, Citation, Document, Passage, Turn
from rag_tutor.errors import (
    ConversationError,
    CorpusError,
    HistoryError,
    IndexMissingError,
    ModelUnavailableError,
    SettingsError,
    StaleIndexError,
    TutorError,
)

__all__ = [
    "Answer",
    "Chunk",
    "Citation",
    "ConversationError",
    "CorpusError",
    "Document",
    "HistoryError",
    "IndexMissingError",
    "ModelUnavailableError",
    "Passage",
    "Settings",
    "SettingsError",
    "StaleIndexError",
    "Turn",
    "TutorError",
    "settings_from",
]
