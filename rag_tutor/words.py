"""Reduces text to the words that carry its meaning; knows nothing of where they are used.

The same words serve BM25, the choice of what a follow-up takes from the conversation and
the check that a sentence is supported.
"""

import re
import threading
from collections.abc import Sequence

import Stemmer

STOPWORDS = frozenset(
    """
    a about above after again against all also am an and any are aren't as at be because been
    before being below between both but by can can't cannot could couldn't did didn't do does
    doesn't doing don't down during each either etc few for from further get gets had hadn't has
    hasn't have haven't having he he'd he'll he's her here hers herself him himself his how how's
    i i'd i'll i'm i've if in into is isn't it it's its itself just let let's like may me might
    more most much must my myself neither no nor not of off on once only or other our ours
    ourselves out over own please pls same shall she should shouldn't so some such than that
    that's the their theirs them themselves then there there's these they they'd they'll they're
    they've this those through thus to too under until up us very was wasn't we we'd we'll we're
    we've were weren't what what's whats when when's where where's which while who who's whom whose
    why why's will with within without won't would wouldn't yes yet you you'd you'll you're you've
    your yours yourself yourselves s t d ll re ve m ok okay thanks thank hi hello
    """.split()
)

# Stop words for a search, but a statement with one of them exchanged is another statement.
RELATIONS = frozenset(
    """
    above after again against all any because before below between both but down during each either
    few if less more most neither no nor not off only or other out over same some than through
    under until up with within without
    """.split()
)

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?(?:[+#]+(?!\w))?")
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")

# A stemmer keeps state while it works, so each thread has its own.
_local = threading.local()


def words(text: str) -> list[str]:
    """Lower-case words of a text in order, with curly quotes made straight."""
    return _WORD.findall(text.replace("\u2019", "'").lower())


def content_words(text: str) -> list[str]:
    """Stemmed words of a text in order, without stop words (Snowball, English)."""
    return _stemmed([word for word in words(text) if word not in STOPWORDS])


def claim_words(text: str) -> list[str]:
    """The content words and the words that relate them: what a statement claims."""
    return _stemmed([word for word in words(text) if word not in STOPWORDS - RELATIONS])


def numbers(text: str) -> set[str]:
    """The numbers that a text names: years, amounts, versions."""
    return {match.rstrip(".,:").replace(",", "") for match in _NUMBER.findall(text)}


def share_in_order(wanted: Sequence[str], source: Sequence[str]) -> float:
    """The share of the words wanted that stand in the source in the same order, 0 to 1.

    Length of the longest common subsequence over that of `wanted`: ROUGE-L's recall
    (Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", 2004), with a bit for each
    word of the source (Hyyrö, "Bit-Parallel LCS-length Computation Revisited", 2004).
    """
    if not wanted:
        return 0.0
    places: dict[str, int] = {}
    for at, word in enumerate(source):
        places[word] = places.get(word, 0) | 1 << at
    left = everything = (1 << len(source)) - 1
    for word in wanted:
        found = left & places.get(word, 0)
        left = (left + found | left - found) & everything
    return (len(source) - left.bit_count()) / len(wanted)


def _stemmed(kept: Sequence[str]) -> list[str]:
    return list(map(str, _stemmer().stemWords([word.removesuffix("'s") for word in kept])))


def _stemmer() -> Stemmer.Stemmer:
    if not hasattr(_local, "stemmer"):
        _local.stemmer = Stemmer.Stemmer("english")
    return _local.stemmer
