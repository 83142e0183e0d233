"""Makes a follow-up searchable: what it leaves out is taken from the questions before it;
knows nothing of how passages are found.
"""

import re
from collections.abc import Sequence, Set

from rag_tutor.domain import Turn
from rag_tutor.errors import ConversationError
from rag_tutor.words import content_words, words

MAX_QUESTION_CHARACTERS = 2_000
_MAX_CARRIED = 8
# Words of asking, not of what is asked about; headings that are questions hold them too.
_ASKING = frozenset(
    content_words(
        "ask called come compare define describe difference different discuss enough example"
        " explain find give go good know known list look made main make many mean name need"
        " normally one possible show specific take tell two understand usually use used using want"
        " way well work write"
    )
)
_WORD = re.compile(r"[^\W_]+(?:[-'’][^\W_]+)*")

_NEW_TOPIC = re.compile(
    r"\b(?:different|new|another|other|next|change of) (?:topic|question|subject)\b"
    r"|\bbtw\b|\bby the way\b",
    re.IGNORECASE,
)
# Words that point back at something said before, and openings that go on from it.
_POINTS_BACK = re.compile(
    r"\b(?:it|its|they|them|their|theirs|that|this|those|these|ones?|there|he|she|him|her"
    r"|former|latter|both|others?|same|such)\b"
    r"|^\W*(?:and|but|so|or|ok(?:ay)?|then|also|why|(?:what|how) about)\b"
    r"|\bwhich (?:two|one|of)\b"
    r"|\bthe (?:whole|first|second|third|last|other|two|three|[\w-]+ (?:one|bit|part))\b"
    r"|\bthe (?:approach|method|step|thing)\b(?! (?:of|for|to|in)\b)",
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
    question: str, history: Sequence[Turn], topics: Set[str], vocabulary: Set[str]
) -> str:
    """Return the question as it would be asked without the conversation before it.

    A question that points back is followed, in brackets, by words of earlier questions,
    newest first: those among the `topics` (stemmed words of the notes' headings), or, in a
    question that names none, those in the `vocabulary` of the notes. Any other question is
    returned as it is.
    """
    if not history or _NEW_TOPIC.search(question) or not _POINTS_BACK.search(question):
        return question
    known = set(content_words(question))
    carried: list[str] = []
    for turn in reversed(history):
        spoken = _WORD.findall(turn.question)
        stems = {word: set(content_words(word)) - _ASKING for word in spoken}
        named = [word for word in stems if stems[word] & topics]
        for word in named or [word for word in stems if stems[word] & vocabulary]:
            if not stems[word] <= known:
                known |= stems[word]
                carried.append(word)
    return f"{question} ({' '.join(carried[:_MAX_CARRIED])})" if carried else question
