"""Measures the answers: what they cover, what supports them, what is declined, and how long it
takes; beside the same model merely prompted, and beside plain quotation.

    python benchmarks/answers.py [--questions FILE …] [--system NAME …] [--sheet FILE] [--results]
    python benchmarks/answers.py [--questions FILE …] --curve

The questions and conversations over the notes in corpus/ are by default those in
benchmarks/questions/; each has a reference answer and key points. Prints a table with a row for
each system and group of questions, the follow-ups once as typed and once as a person words them in
full, without what was said before:

- answered, declined: of the questions that the notes answer, and of those that they don't;
- key points: those of which most words stand in the answer (a person who reads finds more, as
  other words aren't counted); list points: the same for questions of the type "list";
- ROUGE-L: F of the longest common subsequence with the reference (Lin 2004);
- supported: the sentences that the passages hold by the check in `grounding`;
- recall, precision: of citations, after ALCE (Gao et al. 2023): the sentences that what they cite
  supports, and the citations that support their sentence. ALCE asks a model for entailment; here,
  offline, it is the check in `grounding`, for which one passage alone has to support a sentence, so
  a citation that doesn't support by itself is never of use beside others;
- written: the sentences that the model wrote; the others are quotations;
- words, first, whole: medians of an answer's words, and of the milliseconds to its first part
  and to its end.

--results also writes the table, and the curve, to benchmarks/results/answers.md.
--curve prints instead what share of the unanswerable questions is declined, and where the relevance
is then drawn, for shares of the answerable ones that are answered.

SHEET receives every answer of our own to what was typed, in Markdown, to be read and judged.
"""

import argparse
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np

from rag_tutor.chunking import plain_text
from rag_tutor.config import Settings, cache_folder
from rag_tutor.domain import Answer, Message, Passage, TextStream, Turn
from rag_tutor.evaluation import read_items
from rag_tutor.generation import default_generator_folder
from rag_tutor.grounding import (
    MARKER,
    MISSING,
    Grounding,
    bare_sentence,
    claimed_numbers,
    prompt,
    without_markers,
)
from rag_tutor.indexing import update_index
from rag_tutor.reading import load_reader
from rag_tutor.sentences import sentence_spans
from rag_tutor.tutor import Tutor, open_tutor
from rag_tutor.words import content_words, share_in_order, words

HERE = Path(__file__).parent
NOTES = HERE.parent / "corpus"
RESULTS = HERE / "results"
MOST = 0.6
MAX_TOKENS = 200
IN_FULL = "follow-ups, in full"
COLUMNS = (
    *("answered", "declined", "key points", "list points", "ROUGE-L", "supported", "recall"),
    *("precision", "written", "words", "first ms", "whole ms"),
)

Ask = Callable[[str, Sequence[Turn]], tuple[Turn, float]]


@dataclass(frozen=True, slots=True)
class Asked:
    """A question of a file, what a system answered, and the milliseconds that it took."""

    group: str
    item: dict[str, Any]
    turn: Turn
    first: float
    whole: float


class Silent:
    """A generator that was trained to quote and writes nothing: all that is shown is quoted."""

    name = "silent"
    context_tokens = 8192
    knows_the_task = True

    def count_tokens(self, text: str) -> int:
        """Nothing is read, so nothing is too long."""
        return 0

    def stream(self, messages: Sequence[Message], max_tokens: int) -> TextStream:
        """Nothing."""
        yield from ()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    own = sorted((HERE / "questions").glob("*.jsonl"))
    parser.add_argument("--questions", nargs="+", type=Path, default=own, metavar="FILE")
    parser.add_argument("--system", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--sheet", type=Path, metavar="FILE")
    parser.add_argument("--results", action="store_true")
    parser.add_argument("--curve", action="store_true")
    options = parser.parse_args()
    settings = Settings(corpus=NOTES, index=cache_folder() / "benchmarks" / "notes" / "index")
    update_index(NOTES, settings.index, open_tutor(settings).encoder)
    if options.curve:
        print(curve(options.questions, open_tutor(settings)))
        return
    lines = [" | ".join(["| system", "questions", *COLUMNS]) + " |"]
    lines.append("|---" * (len(COLUMNS) + 2) + "|")
    print("\n".join(lines))
    for name in options.system:
        asked = list(ask_all(options.questions, SYSTEMS[name](settings)))
        for group in dict.fromkeys(each.group for each in asked):
            row = measures([each for each in asked if each.group == group])
            lines.append(" | ".join([f"| {name}", group, *row]) + " |")
            print(lines[-1], flush=True)
        if options.sheet and name == "ours":
            read = [each for each in asked if each.group != IN_FULL]
            options.sheet.write_text(sheet(read), encoding="utf-8")
    if options.results:
        report = ["## Answers", "\n".join(lines), "## Answered against declined"]
        report.append(curve(options.questions, open_tutor(settings)))
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "answers.md").write_text("\n\n".join(report) + "\n", encoding="utf-8")


def ask_all(files: Sequence[Path], ask: Ask) -> Iterator[Asked]:
    """Every question of the files, those of a conversation with the turns before them."""
    for path in files:
        for item in read_items(path):
            history: tuple[Turn, ...] = ()
            for each in item.get("turns", [item]):
                group = "questions" if "turns" not in item else "turns"
                asked = timed(ask, "follow-ups" if history else group, each, history)
                yield asked
                if history:
                    yield timed(ask, IN_FULL, each | {"question": each["standalone"]}, ())
                history = (*history, asked.turn)


def timed(ask: Ask, group: str, item: dict[str, Any], history: Sequence[Turn]) -> Asked:
    """What a system answers to a question of a group, and how long it takes."""
    started = time.perf_counter()
    turn, first = ask(item["question"], history)
    return Asked(group, item, turn, first, (time.perf_counter() - started) * 1000)


def curve(files: Sequence[Path], tutor: Tutor) -> str:
    """How many unanswerable questions are declined if so many answerable ones are answered."""
    relevance: dict[bool, list[float]] = {True: [], False: []}
    for path in files:
        for item in read_items(path):
            history: tuple[Turn, ...] = ()
            for each in item.get("turns", [item]):
                standalone, found = tutor.find(each["question"], history)
                relevance[each["answerable"]].append(found.relevance)
                answer = Answer("", (), found.passages, refused=False)
                history = (*history, Turn(each["question"], standalone, answer))
    answerable, others = (np.array(relevance[kind]) for kind in (True, False))
    above = (answerable[:, None] > others).mean()
    lines = [
        f"{len(answerable)} answerable questions and {len(others)} others, AUC {above:.3f}\n",
        "| answered | declined | relevance |",
        "|---|---|---|",
    ]
    for share in (0.99, 0.98, 0.97, 0.95, 0.92, 0.9, 0.85, 0.8):
        least = np.quantile(answerable, 1 - share)
        lines.append(f"| {share:.2f} | {(others < least).mean():.3f} | {least:.3f} |")
    return "\n".join(lines)


def ours(settings: Settings) -> Ask:
    """The tutor as it is."""
    return _asking(open_tutor(settings))


def quotation(settings: Settings) -> Ask:
    """The tutor without what a model writes: lists and the best sentences."""
    tutor = open_tutor(settings)
    return _asking(Tutor(settings, lambda: tutor.encoder, load_reader, Silent))


def prompted(settings: Settings) -> Ask:
    """The published model, prompted with the same passages; what it says is believed."""
    base = open_tutor(replace(settings, generator=str(default_generator_folder())))

    def ask(question: str, history: Sequence[Turn]) -> tuple[Turn, float]:
        started = time.perf_counter()
        turn = base.search(question, history)
        first, text = 0.0, ""
        for piece in base.generator.stream(
            prompt(turn.standalone, turn.answer.passages, history, base.generator.knows_the_task),
            MAX_TOKENS,
        ):
            first = first or (time.perf_counter() - started) * 1000
            text += piece
        refused = text.startswith(MISSING)
        return replace(turn, answer=replace(turn.answer, text=text, refused=refused)), first

    return ask


def _asking(tutor: Tutor) -> Ask:
    tutor.warm_up()

    def ask(question: str, history: Sequence[Turn]) -> tuple[Turn, float]:
        started, first = time.perf_counter(), 0.0
        for reply in tutor.reply(question, history):
            if reply.turn.answer.text:
                first = first or (time.perf_counter() - started) * 1000
        return reply.turn, first

    return ask


SYSTEMS: dict[str, Callable[[Settings], Ask]] = {
    "ours": ours,
    "quotation": quotation,
    "prompted": prompted,
}


def measures(asked: Sequence[Asked]) -> list[str]:
    """The columns of a group of answers."""
    answerable = [each for each in asked if each.item["answerable"]]
    answered = [each for each in answerable if not each.turn.answer.refused]
    refused = [each.turn.answer.refused for each in asked if not each.item["answerable"]]
    lists = [each for each in answerable if each.item.get("type") == "list"]
    checked = [support for each in answered for support in supports(each.turn)]
    cited = [held for each in answered for held in citation_checks(each.turn.answer)]
    texts = [plain_text(without_markers(each.turn.answer.text)) for each in answered]
    return [
        _mean([not each.turn.answer.refused for each in answerable]),
        _mean(refused),
        _mean([covered for each in answerable for covered in covered_points(each)]),
        _mean([covered for each in lists for covered in covered_points(each)]),
        _mean([rouge(each.item["answer"], each.turn.answer.text) for each in answered]),
        _mean([support != "" for support in checked]),
        _mean([any(held) for held in cited]),
        _mean([each for held in cited for each in held]),
        _mean([support in ("verbatim", "reworded") for support in checked]),
        f"{median(len(words(text)) for text in texts):.0f}" if texts else "",
        f"{median(each.first for each in answered):.0f}" if answered else "",
        f"{median(each.whole for each in answered):.0f}" if answered else "",
    ]


def supports(turn: Turn) -> Iterator[str]:
    """How each sentence of an answer is supported; "" if it isn't."""
    if turn.answer.citations:
        yield from (citation.support for citation in turn.answer.citations)
        return
    grounding = Grounding(turn.answer.passages)
    text = turn.answer.text
    for start, end in sentence_spans(text):
        if not MARKER.fullmatch(text[start:end]):
            found = grounding.find(text[start:end])
            yield found[0].support if found else ""


def citation_checks(answer: Answer) -> Iterator[list[bool]]:
    """For each sentence of an answer, whether each of the passages that it cites supports it."""
    text = re.sub(r"^> ?", "", answer.text, flags=re.MULTILINE)
    parts = [text[start:end] for start, end in sentence_spans(text)]
    for part, following in zip(parts, [*parts[1:], ""], strict=True):
        bare = bare_sentence(part)
        if not words(bare) or bare.endswith((":", "?")) or bare.startswith(MISSING):
            continue  # claims nothing
        # The marker of code stands below it.
        marked = f"{part} {following}" if MARKER.fullmatch(following) else part
        yield [
            0 < number <= len(answer.passages) and holds(answer.passages[number - 1], part)
            for number in claimed_numbers(marked)
        ]


def holds(passage: Passage, sentence: str) -> bool:
    """Whether a passage supports a sentence, or has it word for word, as titles in a list."""
    said = words(plain_text(bare_sentence(sentence)))
    is_quoted = f" {' '.join(said)} " in f" {' '.join(words(plain_text(passage.chunk.text)))} "
    return is_quoted or bool(Grounding([passage]).find(without_markers(sentence)))


def covered_points(asked: Asked) -> Iterator[bool]:
    """For each key point, whether most of its words stand in the answer."""
    said = set() if asked.turn.answer.refused else set(content_words(asked.turn.answer.text))
    for point in asked.item["key_points"]:
        wanted = set(content_words(point))
        yield len(wanted & said) >= MOST * len(wanted)


def rouge(reference: str, text: str) -> float:
    """F of the longest common subsequence of words."""
    wanted, said = words(reference), words(plain_text(without_markers(text)))
    recall, precision = share_in_order(wanted, said), share_in_order(said, wanted)
    return 2 * recall * precision / (recall + precision) if recall else 0.0


def sheet(asked: Sequence[Asked]) -> str:
    """The answers beside what they should say, in Markdown."""
    blocks = []
    for number, each in enumerate(asked, start=1):
        cited = "\n".join(
            f"- [{citation.number}] {citation.support}: {' '.join(citation.quote.split())}"
            for citation in each.turn.answer.citations
        )
        blocks.append(
            f"## {number}. {each.turn.standalone}\n\n{each.turn.answer.text}\n\n{cited}\n\n"
            f"*Should say:* {'; '.join(each.item['key_points'])}"
        )
    return "\n\n".join(blocks) + "\n"


def _mean(values: Sequence[float]) -> str:
    return f"{fmean(values):.3f}" if values else ""


if __name__ == "__main__":
    main()
