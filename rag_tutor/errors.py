"""The errors that a person can cause or mend; knows nothing of where they are shown.

    TutorError
    ├── CorpusError             a note or the folder of notes can't be read or written
    ├── IndexMissingError       there is no index yet
    ├── StaleIndexError         the index was built by another encoder or format
    ├── ModelUnavailableError   a model's weights are missing, broken or unreachable
    ├── ConversationError       a question can't be asked as it stands
    ├── SettingsError           a setting can't be used, or not be kept
    └── HistoryError            the file of conversations can't be used

Each message says what happened, to what, and what to do next. Anything else that is
raised is a defect in this program.
"""


class TutorError(Exception):
    """Base of all expected failures; the command line prints it and exits with status 1."""


class CorpusError(TutorError):
    """A note, or the folder of notes, can't be read or written."""


class IndexMissingError(TutorError):
    """There is no index to search."""


class StaleIndexError(TutorError):
    """The index on disk can't be used with these settings, or is damaged."""


class ModelUnavailableError(TutorError):
    """A model can't be loaded."""


class ConversationError(TutorError):
    """A question, or a line of a batch of questions, can't be used."""


class SettingsError(TutorError):
    """A setting that was named or saved can't be used, or can't be kept."""


class HistoryError(TutorError):
    """The file that keeps the conversations is broken, too new or can't be written."""
