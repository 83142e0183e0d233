"""Turns a heading into the question that a student would ask about what stands below it; pure.

It knows no subject: only how headings are worded, and how the text below one writes its words.
"""

import re

from rag_tutor.words import STOPWORDS, content_words

_LABEL = re.compile(
    r"(?:chapter|section|part|lecture|lesson|unit|week|day|module|topic|step|page|slide|figure|"
    r"table|appendix|question|q)\s*(?:\d+(?:\.\d+)*|[ivxlc]+\b)[\s:.)–—-]*",
    re.IGNORECASE,
)
_LEAD = re.compile(
    r"(?:an?\s+|the\s+)?(?:(?:brief|short|general|quick)\s+)?"
    r"(?:introduction to|intro to|overview of|basics of|fundamentals of|summary of|understanding|"
    r"key points (?:about|on|of)|about|more on|notes on)\s+(?:the\s+)?",
    re.IGNORECASE,
)
_VERBS = (
    "is|are|was|were|am|do|does|did|can|could|should|would|will|has|have|had|might|must|"
    "isn't|aren't|don't|doesn't|can't"
)
_HELPING_VERB = re.compile(rf"\b(?:{_VERBS})\b", re.IGNORECASE)
_YES_OR_NO = re.compile(rf"(?:{_VERBS})\s", re.IGNORECASE)
_INDIRECT = re.compile(r"(what|who|when|where|why|how)\s+(?!many\b|much\b)", re.IGNORECASE)
_DIRECT = re.compile(
    rf"(?:(?:what|who|when|where|why|how)\s+(?:{_VERBS}|many|much)|which|whose)\s", re.IGNORECASE
)
_TO_DO = re.compile(r"(what|when|where|how)\s+to\s+", re.IGNORECASE)
_VERSUS = re.compile(r",?\s+(?:vs\.?|versus)\s+", re.IGNORECASE)
_OF = re.compile(
    r"(?:an?\s+|the\s+)?(?P<noun>[\w'-]+(?:\s+and\s+[\w'-]+)?)\s+(?P<rest>(?:of|between)\s.+)",
    re.IGNORECASE,
)
_DOING = re.compile(
    r"\w{2,}ing\s+(?:an?|the|your|with|from|for|to|in|on|by|between)\s", re.IGNORECASE
)
_PREPOSITION = re.compile(
    r"\s+(?:of|in|on|for|with|by|at|from|to|under|during|as)\s", re.IGNORECASE
)
_GENERAL = frozenset(
    "introduction intro overview summary conclusion conclusions references reference example "
    "examples notes note contents index appendix answer answers solution solutions exercise "
    "exercises further reading key takeaway takeaways points resources links bibliography".split()
)
# What something has: of what, only the heading above tells.
_ASPECT = re.compile(
    r"(?:(?:key|main|major|common|other|some)\s+)?(?P<noun>advantages|disadvantages|benefits|"
    r"drawbacks|strengths|weaknesses|challenges|limitations|problems|applications|uses|use cases|"
    r"types|kinds|components|parts|features|properties|steps|stages|phases|causes|effects|"
    r"consequences|symptoms|origins|methods|techniques|history|definition|purpose|importance|"
    r"structure|function|role|impact)(?P<more>\s+(?:in|on)\s.+)?",
    re.IGNORECASE,
)
_TASK = re.compile(
    r"(?:explain|describe|define|compare|discuss|name|list|prove|derive|outline)\s", re.IGNORECASE
)
# A line that leads to a list below it is cut off in the middle of a sentence.
_CUT_OFF = re.compile(
    r".*\b(?:by|as|includes?|including|can|is|are|was|the|an?|of|for|with|in|on|to|and|or|that|"
    r"like|follows|following|below)|to\s.*|.*[.!;]\s.*"
    r"|.*\b(?:consists? of|involves?|refers? to|means|works|typically|usually)\b.*",
    re.IGNORECASE,
)
_MOST_CHARACTERS = 120
_MOST_WORDS = 8


def question_about(heading: str, above: str, text: str) -> str:
    """The question that a heading stands for, or "" where it names no subject.

    `above` is the heading above it, or "". `text` is what stands below it: its words show which
    capitals and which article the heading's words have in a sentence.
    """
    text = _without_headings(text)
    heading = _LABEL.sub("", " ".join(heading.split()), count=1).strip(" .:;–—-")
    if not heading.endswith("?"):
        heading = _subject(heading)
    is_general = not set(heading.lower().split()) - _GENERAL
    if not content_words(heading) or is_general or len(heading) > _MOST_CHARACTERS:
        return ""
    aspect = _ASPECT.fullmatch(heading)
    if aspect:
        return _asked_of(aspect, above, text)
    return _asked(heading) or _named(heading, text)


def _without_headings(text: str) -> str:
    """Text without the lines that write each word with a capital."""
    return "\n".join(line for line in text.split("\n") if not re.match(r"\s*(?:#|\*\*)", line))


def _asked_of(aspect: re.Match[str], above: str, text: str) -> str:
    """The question about what the subject of the heading above has."""
    subject = _subject(above)
    if aspect["more"] or not content_words(subject) or len(subject.split()) > _MOST_WORDS:
        return ""
    verb = "are" if _is_plural(aspect["noun"]) else "is"
    return f"What {verb} the {aspect['noun'].lower()} of {_as_written(subject, text)}?"


def _subject(heading: str) -> str:
    """What a heading is about: no lead-in, and of a title with a subtitle the one that tells."""
    title, colon, subtitle = heading.partition(": ")
    if colon:
        heading = title if set(title.lower().split()) - _GENERAL else subtitle
    return _LEAD.sub("", heading, count=1)


def _asked(heading: str) -> str:
    """The question of a heading that is worded as one, as a task or as an answer; else ""."""
    if _TASK.match(heading):
        return f"{_capital(heading)}."
    if heading.endswith("?") or _DIRECT.match(heading) or _YES_OR_NO.match(heading):
        return f"{_capital(heading.rstrip('? '))}?"
    to_do = _TO_DO.match(heading)
    if to_do:
        word = to_do[1].capitalize()
        verb = "do" if word == "How" else "should"
        return f"{word} {verb} I {heading[to_do.end() :]}?"
    if _INDIRECT.match(heading):
        if _HELPING_VERB.search(heading) and not _HELPING_VERB.search(heading.split()[-1]):
            return f"{_capital(heading)}?"
        return f"Can you explain {heading[0].lower()}{heading[1:]}?"
    if _HELPING_VERB.search(heading) and not _is_no_name(heading):
        return f"What does “{heading}” mean?"
    return ""


def _is_no_name(heading: str) -> bool:
    return bool(_CUT_OFF.fullmatch(heading)) or len(heading.split()) > _MOST_WORDS


def _named(heading: str, text: str) -> str:
    """The question about what a heading names; "" if it is a sentence rather than a name."""
    sides = [_as_written(side, text) for side in _VERSUS.split(heading)]
    if len(sides) > 1:
        return f"How do {', '.join(sides[:-1])} and {sides[-1]} differ?"
    if _is_no_name(heading):
        return ""
    name = _as_written(heading, text)
    if _DOING.match(heading):
        return f"What does {name} involve?"
    of = _OF.fullmatch(name)
    if of:
        verb = "are" if _is_plural(of["noun"]) else "is"
        article = "some" if of["noun"].lower() == "examples" else "the"
        return f"What {verb} {article} {of['noun'].lower()} {of['rest']}?"
    return _about_name(name, text)


def _about_name(name: str, text: str) -> str:
    found = re.escape(name)
    if re.search(rf"\b{found}\s+(?:are|were)\b", text, re.IGNORECASE):
        return f"What are {name}?"
    # Before a longer name, the article is of that one.
    for article, after in re.findall(rf"\b(an?|the)\s+{found}\b(\W+\w*)", text, re.IGNORECASE):
        if not after[0].isspace() or after.strip().lower() in STOPWORDS:
            return f"What is {article.lower()} {name}?"
    if re.match(r"[A-Z][a-z]", name):  # what the text never writes small may be a person
        return f"What should I know about {name}?"
    return f"Can you explain {name}?" if _is_plural(name) else f"What is {name}?"


def _as_written(heading: str, text: str) -> str:
    """A heading within a sentence: small where the text writes one of its words small, but for
    names and abbreviations.
    """
    words = heading.split()
    if not any(_is_capital(word) and _is_in(_stem(word), text) for word in words):
        return heading
    return " ".join(
        word.lower() if _is_capital(word) and not _is_name(word, text) else word for word in words
    )


def _is_capital(word: str) -> bool:
    return bool(re.fullmatch(r"\W*[A-Z][a-z'-]+\W*", word))


def _is_name(word: str, text: str) -> bool:
    """Whether the text writes a word with a capital within a sentence, and never small."""
    in_sentence = re.search(rf"\b[a-z][a-z'-]*[,;]? {_stem(word).capitalize()}", text)
    return bool(in_sentence) and not _is_in(_stem(word), text)


def _stem(word: str) -> str:
    return re.escape(word.lower().strip("(),.!").rstrip("s"))


def _is_in(stem: str, text: str) -> bool:
    return bool(re.search(rf"\b{stem}", text))


def _is_plural(name: str) -> bool:
    """Whether a name is likely of several things."""
    head = _PREPOSITION.split(name, maxsplit=1)[0]
    is_several = head.endswith("s") and not head.endswith(("ss", "us", "is", "ics"))
    return is_several or " and " in f" {head} "


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
