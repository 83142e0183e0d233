"""Makes a follow-up searchable: what it leaves out is taken from the questions before it;
knows nothing of how passages are found.
"""

import re
from collections.abc import Sequence, Set

from rag_tutor.domain import Reader, Turn
from rag_tutor.errors import ConversationError
from rag_tutor.words import content_words, words

MAX_QUESTION_CHARACTERS = 2_000
# A word is carried over if a person would do so with at least this probability.
_CARRIED = 0.06
_MAX_CARRIED = 5
_MAX_TURNS = 12

_NEW_TOPIC = re.compile(
    r"\b(?:different|new|another|other|next|change of) (?:topic|question|subject)\b"
    r"|\bbtw\b|\bby the way\b|^\W*something else\b",
    re.IGNORECASE,
)


def check_question(question: str) -> str:
    """Return the question without white space around it. Raises ConversationError."""
    question = question.strip()
    if not question:
        raise ConversationError("The question is empty. Type a question about your notes.")
    if len(question) > MAX_QUESTION_CHARACTERS:
        raise ConversationError(
            f"The question has {len(question):,} characters; at most "
            f"{MAX_QUESTION_CHARACTERS:,} can be read. Shorten it."
        )
    if not is_unicode(question):
        raise ConversationError("The question is not valid Unicode. Type it again.")
    if not words(question):
        raise ConversationError("The question has no words in it. Type a question in words.")
    return question


def is_unicode(text: str) -> bool:
    """Whether a text has no half of a character pair, which no model can read."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def standalone_question(
    question: str, history: Sequence[Turn], reader: Reader, vocabulary: Set[str]
) -> str:
    """Return the question as it would be asked without the conversation before it.

    It is followed, in brackets, by the words of the conversation that a person would take over
    in writing it so that it stands alone, as far as they are in the `vocabulary` of the notes
    (stemmed). No word is invented. What announces a new topic is returned as it is.
    """
    if not history or _NEW_TOPIC.search(question):
        return question
    conversation = conversation_text([turn.question for turn in reversed(history[-_MAX_TURNS:])])
    known = set(content_words(question))
    carried: list[tuple[str, float]] = []
    for word, probability in reader.carried_words(question, conversation):
        stems = set(content_words(word)) & vocabulary
        if probability >= _CARRIED and not stems <= known:
            known |= stems
            carried.append((word, probability))
    best = sorted(carried, key=lambda pair: -pair[1])[:_MAX_CARRIED]
    kept = [pair[0] for pair in carried if pair in best]
    return f"{question} ({' '.join(kept)})" if kept else question


def conversation_text(said: Sequence[str]) -> str:
    """What the reader is shown of a conversation: the questions, newest first."""
    return " \n ".join(said)
