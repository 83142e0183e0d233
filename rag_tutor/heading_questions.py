"""Turns a heading into the question that a student would ask about what stands below it; pure.

It knows no subject: only how headings are worded, and how the notes' sentences write their words.
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from rag_tutor.words import STOPWORDS, content_words

_LABEL = re.compile(
    r"(?:chapter|section|part|lecture|lesson|unit|week|day|module|topic|step|page|slide|figure|"
    r"table|appendix|question|q)\s*(?:\d+(?:\.\d+)*|[ivxlc]+\b)[\s:.)–—-]*",
    re.IGNORECASE,
)
_NUMBER = re.compile(
    r"\d{1,3}[.):]?\s+(?=(?:what|who|when|where|why|how|which|explain|describe)\s)", re.IGNORECASE
)
_LEAD = re.compile(
    r"(?:an?\s+|the\s+)?(?:(?:brief|short|general|quick)\s+)?"
    r"(?:introduction to|intro to|overview of|basics of|fundamentals of|summary of|understanding|"
    r"explaining|describing|exploring|key points (?:about|on|of)|about|more on|notes on)"
    r"\s+(?:the\s+)?",
    re.IGNORECASE,
)
_TAIL = re.compile(r"\s+(?:in (?:more )?(?:detail|depth)|at a glance)$", re.IGNORECASE)
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
    r"like|because|follows|following|below)|to\s.*|.*[.!;]\s.*"
    r"|.*\b(?:consists? of|depends? on|involves?|refers? to|requires|provides|allows|enables|means"
    r"|works|typically|usually)\b.*",
    re.IGNORECASE,
)
_MOST_CHARACTERS = 120
_MOST_WORDS = 8
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)
# No part of an address, a path or a name in code.
_WORD = re.compile(r"(?<![\w./@:-])[^\W\d_][\w'’-]*(?![\w/@]|\.\w)")
_SENTENCE_END = re.compile(r"[.:!?]\s|\n\s*(?:\n|[-*+•>|]|\d+[.)])|\*\*|[|]")
_CAPITAL = re.compile(r"\W*[A-Z][a-z]['’a-z]*(?:-[A-Za-z]['’a-z]*)*\W*")


def question_about(heading: str, above: str, text: str, capitals: Mapping[str, bool]) -> str:
    """The question that a heading stands for, or "" where it names no subject.

    `above` is the heading above it, or "". `text` is what stands below it, which shows the
    article of what it names; `capitals` is what `written_capitals` gives of all notes.
    """
    text = _running(text)
    heading = _LABEL.sub("", " ".join(heading.split()), count=1).strip(" .:;–—-")
    heading = _NUMBER.sub("", heading)
    if not heading.endswith("?"):
        heading = _subject(heading)
    is_general = not set(heading.lower().split()) - _GENERAL
    if not content_words(heading) or is_general or len(heading) > _MOST_CHARACTERS:
        return ""
    aspect = _ASPECT.fullmatch(heading)
    if aspect:
        return _asked_of(aspect, above, capitals)
    return _asked(heading, capitals) or _named(heading, text, capitals)


def written_capitals(texts: Iterable[str]) -> dict[str, bool]:
    """Of each word, and each two words, in the sentences of some texts, whether they have
    capitals there: within a sentence, and more often than not. Words are as `_stem` makes them.
    """
    capital: Counter[str] = Counter()
    small: Counter[str] = Counter()
    for text in texts:
        for part in _SENTENCE_END.split(_running(text)):
            for before, word, is_adjacent in _within(part):
                (capital if word[0].isupper() else small)[_stem(word)] += 1
                if is_adjacent:
                    has_both = word[0].isupper() and before[0].isupper()
                    (capital if has_both else small)[f"{_stem(before)} {_stem(word)}"] += 1
    return {word: capital[word] > small[word] for word in small | capital}


def _within(part: str) -> Iterator[tuple[str, str, bool]]:
    """The words within a sentence, each with the one before it and whether nothing is between.

    A capital at its beginning says nothing, nor do those right after it, nor do those of a title.
    """
    found = list(_WORD.finditer(part))
    if all(word[0][0].isupper() or word[0].lower() in STOPWORDS for word in found):
        return
    before, ends, is_inside = "", 0, False
    for match in found:
        word = match[0]
        if is_inside or word[0].islower():
            yield before, word, bool(before) and part[ends : match.start()].isspace()
        before, ends = word, match.end()
        is_inside = is_inside or word[0].islower() or word.lower() in STOPWORDS


def _running(text: str) -> str:
    """A text without its headings and code."""
    lines = _CODE.sub(" ", text).split("\n")
    return "\n".join(line for line in lines if not re.match(r"\s*(?:#|\*\*)", line))


def _asked_of(aspect: re.Match[str], above: str, capitals: Mapping[str, bool]) -> str:
    """The question about what the subject of the heading above has."""
    subject = _subject(above)
    if aspect["more"] or not content_words(subject) or len(subject.split()) > _MOST_WORDS:
        return ""
    verb = "are" if _is_plural(aspect["noun"]) else "is"
    return f"What {verb} the {aspect['noun'].lower()} of {_as_written(subject, capitals)}?"


def _subject(heading: str) -> str:
    """What a heading is about: no lead-in, and of a title with a subtitle the one that tells."""
    title, colon, subtitle = heading.partition(": ")
    if colon:
        heading = title if set(title.lower().split()) - _GENERAL else subtitle
    return _TAIL.sub("", _LEAD.sub("", heading, count=1))


def _asked(heading: str, capitals: Mapping[str, bool]) -> str:
    """The question of a heading that is worded as one, as a task or as an answer; else ""."""
    first, _, rest = heading.partition(" ")
    asked = f"{first} {_as_written(rest, capitals)}".strip()
    if _TASK.match(asked):
        return _capital(asked) if asked.endswith("?") else f"{_capital(asked)}."
    if asked.endswith("?") or _DIRECT.match(asked) or _YES_OR_NO.match(asked):
        return f"{_capital(asked.rstrip('? '))}?"
    to_do = _TO_DO.match(asked)
    if to_do:
        word = to_do[1].capitalize()
        verb = "do" if word == "How" else "should"
        return f"{word} {verb} I {asked[to_do.end() :]}?"
    if _INDIRECT.match(asked):
        if _HELPING_VERB.search(asked) and not _HELPING_VERB.search(asked.split()[-1]):
            return f"{_capital(asked)}?"
        return f"Can you explain {asked[0].lower()}{asked[1:]}?"
    if _HELPING_VERB.search(heading) and not _is_no_name(heading):
        return f"What does “{heading}” mean?"
    return ""


def _is_no_name(heading: str) -> bool:
    return bool(_CUT_OFF.fullmatch(heading)) or len(heading.split()) > _MOST_WORDS


def _named(heading: str, text: str, capitals: Mapping[str, bool]) -> str:
    """The question about what a heading names; "" if it is a sentence rather than a name."""
    sides = [_as_written(side, capitals) for side in _VERSUS.split(heading)]
    if len(sides) > 1:
        return f"How do {', '.join(sides[:-1])} and {sides[-1]} differ?"
    if _is_no_name(heading):
        return ""
    name = _as_written(heading, capitals)
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


def _as_written(heading: str, capitals: Mapping[str, bool]) -> str:
    """A heading within a sentence: a title small, where one of its words is, but for names and
    abbreviations; of one that is written as a sentence only the first word.

    Words that no sentence of the notes shows are taken for what the others are.
    """
    words = heading.split()
    if not any(_is_capital(word) and _is_small(word, capitals) for word in words):
        return heading
    is_title = all(not word[0].islower() or word.lower() in STOPWORDS for word in words)
    end = len(words) if is_title else 1
    small = [
        word.lower() if _is_article(words, at) or _is_common(words, at, capitals) else word
        for at, word in enumerate(words[:end])
    ]
    return " ".join(small + words[end:])


def _is_capital(word: str) -> bool:
    return bool(_CAPITAL.fullmatch(word))


def _is_small(word: str, capitals: Mapping[str, bool]) -> bool:
    """Whether the notes show that a word is small within a sentence."""
    return word.lower() in STOPWORDS or capitals.get(_stem(word)) is False


def _is_common(words: list[str], at: int, capitals: Mapping[str, bool]) -> bool:
    """Whether a word with a capital is no name, and no part of a name of two words."""
    if not _is_capital(words[at]) or words[at].lower() in STOPWORDS:
        return _is_capital(words[at])
    stems = [_stem(word) for word in words[max(at - 1, 0) : at + 2]]
    names = [_stem(words[at]), *map(" ".join, itertools.pairwise(stems))]
    return not any(capitals.get(name, False) for name in names)


def _is_article(words: list[str], at: int) -> bool:
    """Whether an A is an article with a capital, as other such words have, and no name."""
    others = (word for word in words if _is_capital(word) and word.lower() in STOPWORDS)
    return words[at] == "A" and words[at:] != ["A"] and any(others)


def _stem(word: str) -> str:
    return word.lower().strip('(),.!?:;*_"“”').rstrip("s")


def _is_plural(name: str) -> bool:
    """Whether a name is likely of several things."""
    head = _PREPOSITION.split(name, maxsplit=1)[0]
    is_several = head.endswith("s") and not head.endswith(("ss", "us", "is", "ics"))
    return is_several or " and " in f" {head} "


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
