"""Checks the training examples in training/data/ and prints what they consist of.

    python training/check_data.py [FILE.jsonl …]

A file is one subject: lines `{"passage", "note", "heading", "text"}` and, after those that they
use, lines `{"example", "kind", "passages", "history", "question", "answer"}`. `[n]` in an answer
is the n-th of the example's passages. Each sentence or item of an answer must cite, and its
words must stand in what it cites, in the question, or among a few words of joining; its numbers
must stand in what it cites. An answer of the kind "missing" says what is missing and cites
nothing. Exits with 1 if an example fails.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rag_tutor.grounding import MARKER
from rag_tutor.sentences import sentence_spans
from rag_tutor.words import content_words, numbers

FOLDER = Path(__file__).parent / "data"
KINDS = frozenset(
    """
    definition fact list comparison how why simple detail yesno code formula table disagree missing
    """.split()
)
HELD = 0.8
# Words that join what is quoted, and say where it stands.
JOINING = frozenset(
    content_words(
        "notes note first second third one two three whereas instead hence therefore because means"
        " mean called example however while also but differ differs same both former latter another"
        " say says give gives state states disagree according lecture book sheet depends"
    )
)
MISSING_START = "Your notes don't say"


def main() -> None:
    paths = [Path(name) for name in sys.argv[1:]] or sorted(FOLDER.glob("*.jsonl"))
    kinds: Counter[str] = Counter()
    faults = follow_ups = 0
    for path in paths:
        passages: dict[str, dict[str, str]] = {}
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
            if not line.strip():
                continue
            row = json.loads(line)
            if "passage" in row:
                passages[row["passage"]] = row
                continue
            kinds[row["kind"]] += 1
            follow_ups += bool(row["history"])
            for fault in check(row, passages):
                faults += 1
                print(f"{path.name}:{number} {row['example']}: {fault}")
    total = sum(kinds.values())
    print(
        f"\n{len(paths)} subjects, {total} examples, {follow_ups} with a history, {faults} faults"
    )
    for kind, count in kinds.most_common():
        print(f"{kind:12} {count:5} {count / total:6.1%}")
    sys.exit(1 if faults else 0)


def check(row: dict[str, Any], passages: dict[str, dict[str, str]]) -> Iterator[str]:
    """What is wrong with an example."""
    if row["kind"] not in KINDS:
        yield f"unknown kind {row['kind']}"
    if not 3 <= len(row["passages"]) <= 6 or len(set(row["passages"])) < len(row["passages"]):
        yield "not 3 to 6 different passages"
    if unknown := set(row["passages"]) - passages.keys():
        yield f"unknown passages {sorted(unknown)}"
        return
    if len(row["history"]) > 3 or any(set(t) != {"question", "answer"} for t in row["history"]):
        yield "history is no list of up to three turns"
    shown = [f"{passages[p]['heading']}\n{passages[p]['text']}" for p in row["passages"]]
    answer = row["answer"]
    cited = {int(n) for marker in MARKER.findall(answer) for n in marker.split(",")}
    if not cited <= set(range(1, len(shown) + 1)):
        yield f"a marker without a passage in {answer!r}"
        return
    if row["kind"] == "missing":
        if cited or not answer.startswith(MISSING_START):
            yield f"should start with {MISSING_START!r} and cite nothing"
        return
    for part in parts(answer):
        markers = [int(n) for marker in MARKER.findall(part) for n in marker.split(",")]
        text = MARKER.sub("", part).strip()
        if not markers:
            if not text.endswith(":"):
                yield f"cites nothing: {text!r}"
            continue
        sources = "\n".join(shown[number - 1] for number in markers)
        known = {*content_words(sources), *content_words(row["question"]), *JOINING}
        own = content_words(text)
        strange = [word for word in own if word not in known]
        if len(strange) > (1 - HELD) * len(own):
            yield f"words that its passages don't hold {strange}: {text!r}"
        if foreign := set(numbers(text)) - set(numbers(sources + row["question"])):
            yield f"numbers that its passages don't hold {sorted(foreign)}: {text!r}"


def parts(answer: str) -> Iterator[str]:
    """The sentences and items of an answer, each with its marker; that of code stands below it."""
    spans = [answer[start:end] for start, end in sentence_spans(answer)]
    for part, following in zip(spans, [*spans[1:], ""], strict=True):
        if not MARKER.fullmatch(part):
            yield f"{part}\n{following}" if MARKER.fullmatch(following) else part


if __name__ == "__main__":
    main()
