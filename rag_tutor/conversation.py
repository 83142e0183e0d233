"""Makes a follow-up searchable: what it leaves out is taken from the questions before it;
knows nothing of how passages are found.
"""

import math
import re
from collections.abc import Sequence, Set

from rag_tutor.domain import Reader, Turn
from rag_tutor.errors import ConversationError
from rag_tutor.hidden import without_shapeless
from rag_tutor.words import content_words, words

MAX_QUESTION_CHARACTERS = 2_000
# A word is carried over if a person would do so with at least this probability.
_CARRIED = 0.06
_MAX_CARRIED = 5
_MAX_TURNS = 12
# A question that leans on the conversation less than this is one of its own.
_LEANING = 0.15
# Of the features below: a logistic regression, which training/fit_leaning.py makes.
_INTERCEPT = -0.160
_COEFFICIENTS = (0.585, -0.569, 1.933, 3.324)
_MANY_WORDS = 8
_LEAST_CHANCE = 0.001

_NEW_TOPIC = re.compile(
    r"\b(?:different|new|another|other|next|change of) (?:topic|question|subject)\b"
    r"|\bbtw\b|\bby the way\b|^\W*something else\b",
    re.IGNORECASE,
)
_REFERS_BACK = re.compile(
    r"\b(?:it|its|it's|they|them|their|theirs|this|those|these|former|latter|ones|both|he|she|his"
    r"|him|her|second|first|third|other|same|such|there|two|else|instead|then)\b"
    r"|\bthat\b(?! (?:\w+ )?(?:is|are|was|were|has|have|keeps?|mention|can|my|the)\b)",
    re.IGNORECASE,
)
_GOES_ON = re.compile(
    r"^\W*(?:and|but|so|or|then|ok|okay|what about|how about|also|why|how so|thanks|hm|no|fine"
    r"|interesting|cool|great)\b",
    re.IGNORECASE,
)

# "The second one", of what the answer before lists or the question before compares.
_ORDERED = re.compile(
    r"\bthe (?:(?P<of_two>former|latter)|(?P<of_all>first|second|third|fourth|fifth|last)"
    r"(?: (?:ones?|of (?:them|these|those)|kind|type|option|method|approach|way|term|part)\b"
    r"|(?=\W*\Z|[,.?!]| (?:then|please|pls|is|was|do|does|can)\b)))",
    re.IGNORECASE,
)
_PLACES = {"first": 0, "former": 0, "second": 1, "third": 2, "fourth": 3, "fifth": 4}
_COMPARED = re.compile(
    r"\bbetween (?P<one>.+?) and (?P<other>.+)"
    r"|\bcompare (?P<first>.+?) (?:and|with|to) (?P<second>.+)"
    r"|^\W*(?P<this>.+?) (?:vs\.?|versus) (?P<that>.+)",
    re.IGNORECASE,
)
# What follows the second of the things that are compared.
_AFTER_COMPARED = re.compile(
    r"[?.!,;:(\u2013\u2014]| (?:when|in|for|as|with|again|what|which|how)\b"
)
_MOST_NAME_WORDS = 6
# Of a list item or quotation "- *label:* **name**: text".
_LISTED = re.compile(r"- (?:\*[^*]+:\* )?\**`?([^*`.:]{2,60}?)`?(?:\**:|\*\*| \[\d)")


def check_question(question: str) -> str:
    """Return the question without white space around it and characters without a shape.

    Raises ConversationError.
    """
    question = without_shapeless(question).strip()
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


def with_names(question: str, history: Sequence[Turn]) -> str:
    """Return the question with a name in the place of "the second one": of what the question before
    compares, or the answer before lists. Where nothing is the second, it is returned as it is.
    """
    ordered = _ORDERED.search(question)
    if not ordered or not history:
        return question
    names = _compared(history[-1].standalone) or _listed(history[-1].answer.text)
    place = _PLACES.get((ordered["of_two"] or ordered["of_all"]).lower(), len(names) - 1)
    if len(names) < 2 or place >= len(names):
        return question
    return question[: ordered.start()] + names[place] + question[ordered.end() :]


def standalone_question(
    question: str, history: Sequence[Turn], reader: Reader, vocabulary: Set[str]
) -> str:
    """Return the question as it would be asked without the conversation before it.

    It is followed, in brackets, by the words of the conversation that a person would take over
    in writing it so that it stands alone, as far as they are in the `vocabulary` of the notes
    (stemmed). No word is invented. What announces a new topic, or hardly leans on what was said,
    is returned as it is.
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
    if not best or leaning(question, best[0][1]) < _LEANING:
        return question
    kept = [pair[0] for pair in carried if pair in best]
    return f"{question} ({' '.join(kept)})"


def _compared(question: str) -> list[str]:
    """The names of the two things that a question compares, if it does: of "word and sentence
    embeddings" the first is "word embeddings".
    """
    found = _COMPARED.search(question)
    names = [name for name in found.groups() if name] if found else []
    words_of = [_AFTER_COMPARED.split(name.strip())[0].strip(" -").split() for name in names]
    if not all(0 < len(own) <= _MOST_NAME_WORDS for own in words_of) or len(words_of) < 2:
        return []
    one, other = words_of
    return [" ".join([*one, *other[len(one) :]]), " ".join(other)]


def _listed(text: str) -> list[str]:
    """The names of the items of an answer's list, or of what it quotes, if all of them have one."""
    for mark in ("", "> "):
        items = [line for line in text.split("\n") if line.startswith(f"{mark}- ")]
        names = [_LISTED.match(item, len(mark)) for item in items]
        if items:
            return [name[1] for name in names if name] if all(names) else []
    return []


def leaning(question: str, chance: float) -> float:
    """The probability that a question can't be understood without the conversation before it;
    `chance` is that of the word of it which is likeliest to be carried over.
    """
    terms = zip(_COEFFICIENTS, leaning_features(question, chance), strict=True)
    score = _INTERCEPT + sum(coefficient * feature for coefficient, feature in terms)
    return 1 / (1 + math.exp(-score))


def leaning_features(question: str, chance: float) -> tuple[float, ...]:
    """The logit of the chance, the number of content words, whether a word of the question refers
    back, and whether it begins as if it went on.
    """
    logit = math.log((chance + _LEAST_CHANCE) / (1 - chance + _LEAST_CHANCE))
    count = min(len(content_words(question)), _MANY_WORDS)
    refers, goes_on = _REFERS_BACK.search(question), _GOES_ON.search(question)
    return logit, float(count), float(bool(refers)), float(bool(goes_on))


def conversation_text(said: Sequence[str]) -> str:
    """What the reader is shown of a conversation: the questions, newest first."""
    return " \n ".join(said)
