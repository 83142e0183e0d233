"""Tells from a question's words what form of answer it asks for; knows nothing of the notes."""

import re

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


def tells_what_is_asked(question: str, sentence: str) -> bool:
    """Whether a question asks for a person, a time or an amount, and a sentence names one."""
    return any(asked.search(question) and told.search(sentence) for asked, told in _FACTS)


def asks_for_much(question: str) -> bool:
    """Whether a sentence or two can't answer a question: it compares, wants something explained,
    or asks for several things.
    """
    forms = (_SEVERAL, _COMPARING, _EXPLAINING, _TWO_QUESTIONS)
    return any(form.search(question) for form in forms)
