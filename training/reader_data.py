"""What the reader learns from: questions with passages, and follow-ups with conversations; knows
nothing of the model.

The negatives are passages of the hybrid list or of the same note that don't hold the answer, the
right-looking passages of unanswerable questions, the passages of another question of the subject,
and right passages without the sentences that answer. What a student's notes and questions vary in
and what says nothing about the answer is varied at random: how much of a passage there is, whether
a heading stands above it, how the question is spelt, and whether some of its words were carried
over from a conversation.
"""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bm25s
import numpy as np
from check_data import parts
from train_generator import DATA as NOTES
from train_generator import HELD_OUT, Example, read_examples

from rag_tutor.chunking import SearchableText, searchable_text
from rag_tutor.config import DEFAULT_ENCODER
from rag_tutor.conversation import conversation_text
from rag_tutor.domain import Span
from rag_tutor.encoding import load_encoder
from rag_tutor.grounding import Grounding, claimed_numbers
from rag_tutor.sentences import sentence_spans
from rag_tutor.words import STOPWORDS, content_words, words

# Rows of each source in `grounded`. Only SQuAD's rows name the sentences that support the answer;
# of the others, the passages serve as negatives.
ROWS = {"squad1dev": 8000, "squad2dev": 2500, "fairytaleqa": 2500, "pubmedqa": 300}
NEGATIVES = 3
# How often the right passage is also shown without its answer, and with how many words at least.
DEPRIVED = 0.6
DEPRIVED_WORDS = 12
MOST_PASSAGES = 5
# How often a passage is cut to a few sentences, and loses its heading then.
CUT = 0.4
MOST_SENTENCES = 4
HEADLESS = 0.4
# How often a question is worded as `conversation.standalone_question` words follow-ups.
REWORDED = 0.2
# How often an example's passages are also shown to another question of its subject, and how many.
ELSEWHERE = 0.5
PASSAGES_ELSEWHERE = 3
# How often a question that is full already is asked in its own conversation, and in another one.
FULL = 0.2


@dataclass(frozen=True, slots=True)
class Candidate:
    """A passage as the application writes it, its sentences, and which of them answer."""

    text: str
    sentences: list[Span]
    supporting: list[int]


@dataclass(frozen=True, slots=True)
class Group:
    """A question with passages; those that have a supporting sentence answer it."""

    question: str
    candidates: list[Candidate]


@dataclass(frozen=True, slots=True)
class FollowUp:
    """A follow-up, what was said before it, the words that a person took over, and the question
    that this person wrote.
    """

    question: str
    conversation: str
    carried: list[str]
    written_out: str


def read_rows(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def grounded_rows(path: Path) -> list[dict[str, Any]]:
    rows = read_rows(path)
    random.shuffle(rows)
    by_source = {source: [row for row in rows if row["src"] == source] for source in ROWS}
    chosen = [row for source, most in ROWS.items() for row in by_source[source][:most]]
    random.shuffle(chosen)
    return chosen


def make_groups(rows: Sequence[dict[str, Any]]) -> Iterator[Group]:
    passages = {passage["id"]: passage for row in rows for passage in row["passages"]}
    pool = [candidate_of(passage, []) for passage in passages.values()]
    names = list(passages)
    texts = [candidate.text for candidate in pool]
    lists = hybrid_lists(texts, [row["question"] for row in rows])
    for row, ranked in zip(rows, lists, strict=True):
        own = {passage["id"] for passage in row["passages"]}
        answers = [a.lower() for a in row["alt_answers"] or [row["answer"]] if a]
        others = [
            pool[at]
            for at in ranked
            if names[at] not in own and not any(a in texts[at].lower() for a in answers)
        ][:16]
        support = row["support"] or []
        if row["answerable"] and not support:
            continue
        where = support[0][0] if support else 0
        supporting = [sentence for passage, sentence in support if passage == where]
        first = candidate_of(row["passages"][where], supporting)
        wanted = NEGATIVES if row["answerable"] else 1
        negatives = random.sample(others, min(wanted, len(others)))
        yield Group(as_typed(row["question"]), [first, *negatives])


def candidate_of(passage: dict[str, Any], supporting: list[int]) -> Candidate:
    text, spans = passage["title"].replace("_", " ") + "\n", []
    for sentence in passage["sentences"]:
        spans.append((len(text), len(text) + len(sentence)))
        text += sentence + " "
    return Candidate(text.rstrip(), spans, supporting)


def notes_examples() -> list[Example]:
    """The examples of study notes that aren't held out."""
    return [example for example in read_examples(NOTES) if example.subject not in HELD_OUT]


def notes_groups(examples: Sequence[Example]) -> Iterator[Group]:
    """The examples, each with its own passages."""
    for example in examples:
        yield Group(as_typed(example.standalone), list(candidates_of(example)))


def groups_elsewhere(examples: Sequence[Example]) -> Iterator[Group]:
    """Passages of an example with a question of its subject that they don't answer."""
    for example in examples:
        other = random.choice([each for each in examples if each.subject == example.subject])
        passages = example.passages[:PASSAGES_ELSEWHERE]
        cited = {number - 1 for number in claimed_numbers(other.answer)}
        if random.random() > ELSEWHERE or any(other.passages[at] in passages for at in cited):
            continue
        grounding = Grounding(passages)
        if not any(grounding.find(part) for part in parts(other.answer)):
            texts = [searchable_text(passage.chunk) for passage in passages]
            candidates = [Candidate(each.text, list(each.sentences), []) for each in texts]
            yield Group(as_typed(other.standalone), candidates)


def candidates_of(example: Example) -> Iterator[Candidate]:
    """The passages of an example, without those that hold a part of the answer and aren't cited."""
    written = [] if example.kind == "missing" else list(parts(example.answer))
    cited = [claimed_numbers(part) for part in written]
    for number, passage in enumerate(example.passages, start=1):
        own = [part for part, numbers in zip(written, cited, strict=True) if number in numbers]
        grounding = Grounding([passage])
        found = searchable_text(passage.chunk)
        starts = [start for start, _ in sentence_spans(passage.chunk.text)]
        if not own:
            if not any(grounding.find(part) for part in written):
                yield Candidate(found.text, list(found.sentences), [])
            continue
        supporting = set()
        for part in own:
            citations = grounding.find(part)
            supporting |= {starts.index(c.start) for c in citations} or {most_alike(part, found)}
        yield Candidate(found.text, list(found.sentences), sorted(supporting))


def most_alike(part: str, found: SearchableText) -> int:
    """The sentence that holds most of a part's words."""
    wanted = set(content_words(part))
    held = [len(wanted & set(content_words(found.text[slice(*s)]))) for s in found.sentences]
    return held.index(max(held))


def varied(group: Group) -> Group:
    """The group with what says nothing about the answer varied at random."""
    others = [each for each in deprived(group).candidates if not each.supporting]
    right = [each for each in group.candidates if each.supporting]
    room = max(1, MOST_PASSAGES - len(right))
    candidates = [cut(each) for each in right + random.sample(others, min(room, len(others)))]
    return Group(reworded(group.question, candidates), candidates)


def deprived(group: Group) -> Group:
    """Now and then the group with one of its right passages also without its answer."""
    right = [each for each in group.candidates if each.supporting]
    if not right or random.random() > DEPRIVED:
        return group
    rest = without_support(random.choice(right))
    if len(content_words(rest.text)) < DEPRIVED_WORDS or not rest.sentences:
        return group
    return Group(group.question, [*group.candidates, rest])


def without_support(candidate: Candidate) -> Candidate:
    """The passage with its supporting sentences cut out."""
    heading = candidate.text[: candidate.sentences[0][0]]
    text, spans = heading, []
    for number, span in enumerate(candidate.sentences):
        if number not in candidate.supporting:
            spans.append((len(text), len(text) + span[1] - span[0]))
            text += candidate.text[slice(*span)] + candidate.text[span[1] : span[1] + 1]
    return Candidate(text.rstrip(), spans, [])


def cut(candidate: Candidate) -> Candidate:
    """Now and then a few sentences of a passage, one that answers among them if there is one."""
    count = len(candidate.sentences)
    if random.random() > CUT or not count:
        return candidate
    size = random.randint(1, min(MOST_SENTENCES, count))
    kept = random.choice(candidate.supporting or range(count))
    first = random.randint(max(0, kept - size + 1), min(kept, count - size))
    text = "" if random.random() < HEADLESS else candidate.text[: candidate.sentences[0][0]]
    spans = []
    for start, end in candidate.sentences[first : first + size]:
        spans.append((len(text), len(text) + end - start))
        text += candidate.text[start : end + 1]
    supporting = [at - first for at in candidate.supporting if first <= at < first + size]
    return Candidate(text.rstrip(), spans, supporting)


def reworded(question: str, candidates: Sequence[Candidate]) -> str:
    """Now and then a question with up to three of its words left out and put in brackets behind
    it, perhaps with words of a passage: as if they had been carried over.
    """
    said = question.split()
    full = [at for at, word in enumerate(said) if content_words(word)]
    if random.random() > REWORDED or len(full) < 2 or "(" in question:
        return question
    chosen = random.choice(full)
    left_out = [at for at in range(chosen, chosen + random.randint(1, 3)) if at in full]
    carried = [said[at].strip("?.,:;") for at in left_out]
    others = random.choice(candidates).text.split("\n")[0].split() if candidates else []
    carried += random.sample(others, min(len(others), random.choice((0, 0, 1, 2))))
    stands_for = random.choice(("it", "that", "this", "they", ""))
    rest = [*said[:chosen], stands_for, *said[left_out[-1] + 1 :]]
    return f"{' '.join(filter(None, rest))} ({' '.join(carried)})"


def hybrid_lists(texts: Sequence[str], questions: Sequence[str]) -> Iterator[list[int]]:
    """For each question, passages from the top of the dense and the BM25 list in turn."""
    encoder = load_encoder(DEFAULT_ENCODER)
    vectors, _ = encoder.encode_passages(texts, [()] * len(texts))
    asked, _ = encoder.encode_passages(questions, [()] * len(questions))
    bm25 = bm25s.BM25()
    bm25.index([[*content_words(text), "\0"] for text in texts], show_progress=False)
    for question, vector in zip(questions, asked, strict=True):
        dense = np.argsort(-(vectors @ vector))[:24].tolist()
        known = [word for word in content_words(question) if word in bm25.vocab_dict]
        by_words = np.argsort(-bm25.get_scores(known))[:24].tolist() if known else dense
        pairs = zip(dense, by_words, strict=True)
        yield list(dict.fromkeys(at for pair in pairs for at in pair))


def as_typed(question: str) -> str:
    """Now and then a question as students type it: in lower case, as key words, with a slip."""
    chance = random.random()
    if chance < 0.2:
        return question.lower().rstrip(" ?")
    if chance < 0.3:
        kept = [word for word in words(question) if word not in STOPWORDS]
        return " ".join(kept) if len(kept) > 1 else question
    if chance < 0.37:
        at = random.randrange(len(question) - 1) if len(question) > 1 else 0
        swapped = question[at + 1 : at + 2] + question[at : at + 1]
        return question[:at] + random.choice(["", swapped]) + question[at + 2 :]
    return question


def read_follow_ups(folder: Path) -> list[FollowUp]:
    """The follow-ups of all files."""
    rows = [row for path in sorted(folder.glob("*.jsonl")) for row in read_rows(path)]
    return [follow_up(row, *split_history(row)) for row in rows if row["history"]]


def full_questions(follow_ups: Sequence[FollowUp]) -> Iterator[FollowUp]:
    """Questions that need nothing of what was said before: follow-ups as a person wrote them out,
    in their own conversation, and some in another one, as a change of topic.
    """
    for own in follow_ups:
        for other in (own, random.choice(follow_ups)):
            if random.random() < FULL:
                yield FollowUp(as_typed(other.written_out), own.conversation, [], other.written_out)


def split_history(row: dict[str, Any]) -> tuple[list[str], str]:
    """The earlier questions, newest first, and the last answer, if the set holds answers."""
    history: list[str] = row["history"]
    if row["src"].startswith("canard"):
        # The name of the article and of its section come before the questions.
        asked = [*history[2::2][::-1], f"{history[0]}, {history[1]}"]
        return asked, history[-1] if len(history) > 2 else ""
    if row["src"] in {"cast21", "cast22", "ikat24", "ikat25"}:
        return history[-2::-2], history[-1] if history else ""
    return history[::-1], ""


def follow_up(row: dict[str, Any], asked: list[str], answer: str) -> FollowUp:
    known = set(content_words(row["question"]))
    carried = sorted(set(content_words(row["rewrite"])) - known)
    conversation = conversation_text([*asked, answer] if answer else asked)
    return FollowUp(row["question"], conversation, carried, row["rewrite"])
