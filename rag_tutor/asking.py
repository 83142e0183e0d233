"""Tells from a question's words what form of answer it asks for, and which questions it asks in a
row; knows nothing of the notes.
"""

import re

from rag_tutor.domain import Span
from rag_tutor.words import content_words

# Of the questions in training/data/, these find two thirds of those for a list, and 3 % of others.
_SEVERAL = re.compile(
    r"\b(?:list(?!ed| compre)|name (?:all|the|some)|give me|collect|all the|all of them"
    r"|which ones|steps|stages|in (?:what|which) order"
    r"|(?:what|which) (?:are|were) (?:the|some|its|their|common|typical|main|possible|different)"
    r"|(?:what|which) (?:\w+ ){0,2}\w+[^\Wsu]s (?:are|do|can|does|did|have|could|should|were|make)"
    r"|(?<!what )(?<!which )(?<!a )(?:kind|type)|kinds|types|options|ways|techniques|methods"
    r"|challenges|advantages|drawbacks|benefits|limitations|reasons|symptoms|conditions"
    r"|applications|strategies|examples)\b",
    re.IGNORECASE,
)
_COMPARING = re.compile(
    r"\b(?:vs|versus|differences?|differs?|compare[ds]?|comparison|distinguish)\b", re.IGNORECASE
)
_REASON = re.compile(r"\b(?:why|how come)\b", re.IGNORECASE)
_EXPLAINING = re.compile(
    r"\b(?:how (?!many|much|long|often|big|large|old|come)|explain|describe|walk (?:me|us) through"
    r"|tell me (?:more )?about)\b",
    re.IGNORECASE,
)
_TWO_QUESTIONS = re.compile(
    r"\?.*\w.*\?|\band (?:what|why|which|who|when|where|does|do|is|are)\b", re.IGNORECASE
)

# "When" and "where" may as well begin a clause that asks nothing.
_ASKED = (
    r"(?:(?:in|for|on|by|with|at|from|to|of|under) )?"
    r"(?:what|which|who|whom|whose|why|how"
    r"|(?:when|where)(?= (?:is|are|was|were|do|does|did|has|have|can|could|should|will|would)\b))\b"
)
_YES_OR_NO = r"(?:is|are|was|were|do|does|did|can|could|should|would|will|has|have)(?:n't)?\b"
# Behind a comma alone, "which" and "who" rather go on with the words before them.
_JOINT = re.compile(
    rf"(?<=\?)\s+(?:(?:and|or)\s+)?|(?:,\s*|\s+)(?:and|but)\s+(?:also\s+|then\s+)?(?={_ASKED})"
    r"|[,;]\s+(?=(?:what|why|how|(?:in|for|by|of) (?:what|which))\b)",
    re.IGNORECASE,
)
_BEGINS_ASKING = re.compile(
    rf"\W*(?:(?:and|but|so|or|then|ok|okay)\W+)*(?:{_ASKED}|{_YES_OR_NO})", re.IGNORECASE
)
_ASKS_LATER = re.compile(rf"[\w)][:,;\u2013-]? {_ASKED}|\?\W*\Z", re.IGNORECASE)
# "If I build one, how …?" is one question, and so is "In a GAN, what …?".
_SETTING = re.compile(
    r"\W*(?:(?:and|but|so|ok|okay)\W+)*(?:if|when|once|while|in|for|with|on|at|from|to)\b",
    re.IGNORECASE,
)
_MOST_QUESTIONS = 4

# For a person, a time or an amount; and what tells one. A name is two capitalised words, or one
# before "et al.", of which the first doesn't begin the sentence.
_FACTS = (
    (
        re.compile(r"\bwho(?:m|se)?\b", re.IGNORECASE),
        re.compile(r"(?<=[\w,(*] )[A-Z]\w+ (?:(?:and|[A-Z]\.|[a-z]{2,3}) )?[A-Z]\w+|\bet al\b"),
    ),
    (
        re.compile(r"\b(?:when|(?:what|which) (?:year|date|decade|century))\b", re.IGNORECASE),
        re.compile(r"\b(?:1\d|20)\d\d\b|\d(?:st|nd|rd|th) century"),
    ),
    (
        re.compile(r"\bhow (?:many|much|long|old|large|big|often|fast)\b", re.IGNORECASE),
        re.compile(
            r"\d|\b(?:two|three|four|five|six|seven|eight|nine|ten|hundreds?|thousands?|[mb]illions?)\b"
        ),
    ),
)


def asks_for_several(question: str) -> bool:
    """Whether the answer to a question is a list."""
    return bool(_SEVERAL.search(question)) and not (
        _COMPARING.search(question) or _REASON.search(question)
    )


def questions_in(question: str) -> list[str]:
    """The questions that a question asks in a row, in their order: itself, if it is one.

    "What is a cell and who found it?" asks two. What has no content word of its own, such as "and
    why?", is part of the one before.
    """
    joints = list(_JOINT.finditer(question))
    starts = [0, *(joint.end() for joint in joints)]
    ends = [*(joint.start() for joint in joints), len(question)]
    found: list[Span] = []
    for start, end in zip(starts, ends, strict=True):
        if found and not _goes_on(question[slice(*found[-1])], question[start:end]):
            found[-1] = found[-1][0], end
        else:
            found.append((start, end))
    if len(found) > _MOST_QUESTIONS:
        return [question]
    return [question[slice(*span)] for span in found]


def _goes_on(before: str, part: str) -> bool:
    """Whether a part asks something else than the one before it, which is a question too."""
    is_other = bool(set(content_words(part)) - set(content_words(before)))
    return is_other and bool(_BEGINS_ASKING.match(part)) and _is_question(before)


def _is_question(part: str) -> bool:
    """Whether a part asks something by itself, and doesn't only lead to what follows."""
    if not content_words(part):
        return False
    if _BEGINS_ASKING.match(part):
        return True
    return bool(_ASKS_LATER.search(part)) and not _SETTING.match(part)


def tells_what_is_asked(question: str, sentence: str) -> bool:
    """Whether a question asks for a person, a time or an amount, and a sentence names one."""
    return any(asked.search(question) and told.search(sentence) for asked, told in _FACTS)


def asks_for_much(question: str) -> bool:
    """Whether a sentence or two can't answer a question: it compares, wants something explained,
    or asks for several things.
    """
    forms = (_SEVERAL, _COMPARING, _EXPLAINING, _TWO_QUESTIONS)
    return any(form.search(question) for form in forms)
