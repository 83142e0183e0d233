"""Trains the reader: one small model that reads a question with a passage or a conversation.

    python training/train_reader.py DATA_FOLDER WORK_FOLDER [--steps N]

Two passes: `general`, over DATA_FOLDER, which holds `grounded/train.jsonl` (SQuAD; passages of
FairytaleQA and PubMedQA) and `rewriting/*.jsonl` (CANARD, TREC CAsT, iKAT), starts from the default
encoder's weights; `notes`, twice over `training/data/` without the subjects that are held out, with
some of the first pass's again, starts from what the first one made. For each token the model gives
three logits, used at different places:

- RELEVANCE, at the first token: whether the passage answers the question;
- EVIDENCE, averaged over the tokens of a sentence: whether that sentence answers it;
- CARRY, at the words of a conversation: whether a person who writes the follow-up as a question
  of its own takes the word over.

The negatives are passages of the hybrid list or of the same note that don't hold the answer, the
right-looking passages of unanswerable questions, and right passages without the sentences that
answer. WORK_FOLDER receives the mined groups, for each pass a checkpoint every few minutes, from
which a second call goes on, and at its end `general/` and `notes/`.
"""

import argparse
import json
import random
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import bm25s
import numpy as np
import torch
from check_data import parts
from torch.nn import functional
from train_generator import DATA as NOTES
from train_generator import HELD_OUT, Example, read_examples
from transformers import AutoModelForTokenClassification, AutoTokenizer

from rag_tutor.chunking import SearchableText, searchable_text
from rag_tutor.config import DEFAULT_ENCODER
from rag_tutor.conversation import conversation_text
from rag_tutor.domain import Span
from rag_tutor.encoding import load_encoder
from rag_tutor.grounding import Grounding, claimed_numbers
from rag_tutor.reading import CARRY, EVIDENCE, LABELS, RELEVANCE
from rag_tutor.sentences import sentence_spans
from rag_tutor.weights import default_encoder_folder
from rag_tutor.words import STOPWORDS, content_words, words

SEED = 7
# Rows of each source in `grounded`. Only SQuAD's rows name the sentences that support the answer;
# of the others, the passages serve as negatives.
ROWS = {"squad1dev": 8000, "squad2dev": 2500, "fairytaleqa": 2500, "pubmedqa": 300}
NEGATIVES = 3
PASSAGE_TOKENS = 224
CONVERSATION_TOKENS = 192
GROUPS_IN_BATCH = 6
CONVERSATIONS_IN_BATCH = 12
CONVERSATION_EPOCHS = 2
LEARNING_RATE = 8e-5
NOTES_EPOCHS = 2
NOTES_LEARNING_RATE = 5e-5
# Of the first pass, so many groups are read again with the notes, and the follow-ups once.
GROUPS_AGAIN = 1500
# How often the right passage is also shown without its answer, and with how many words at least.
DEPRIVED = 0.6
DEPRIVED_WORDS = 12
WARM_UP = 0.06
PAIR_LOSS_WEIGHT = 0.4
CHECKPOINT_SECONDS = 240


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
    """A follow-up, what was said before it, and the words that a person took over."""

    question: str
    conversation: str
    carried: list[str]


Batch = Sequence[Group] | Sequence[FollowUp]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--steps", type=int, help="stop after so many steps, to try it out")
    options = parser.parse_args()
    random.seed(SEED)
    torch.manual_seed(SEED)
    options.work.mkdir(parents=True, exist_ok=True)
    mined = options.work / "groups.json"
    if not mined.exists():
        made = make_groups(grounded_rows(options.data / "grounded" / "train.jsonl"))
        mined.write_text(json.dumps([asdict(group) for group in made]), encoding="utf-8")
    groups = [
        Group(row["question"], [Candidate(**candidate) for candidate in row["candidates"]])
        for row in json.loads(mined.read_text(encoding="utf-8"))
    ]
    follow_ups = list(read_follow_ups(options.data / "rewriting"))
    print(f"{len(groups)} groups, {len(follow_ups)} follow-ups", flush=True)
    general, notes = options.work / "general", options.work / "notes"
    if not general.exists():
        batches = make_batches(groups, follow_ups * CONVERSATION_EPOCHS)
        train(batches, default_encoder_folder(), general, LEARNING_RATE, options.steps)
    of_notes = list(notes_groups())
    print(f"{len(of_notes)} groups of notes", flush=True)
    again = random.Random(SEED).sample(groups, GROUPS_AGAIN)
    batches = make_batches([*of_notes, *map(deprive, again)], follow_ups)
    train(batches, general, notes, NOTES_LEARNING_RATE, options.steps)


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
        yield Group(vary(row["question"]), [first, *negatives])


def candidate_of(passage: dict[str, Any], supporting: list[int]) -> Candidate:
    text, spans = passage["title"].replace("_", " ") + "\n", []
    for sentence in passage["sentences"]:
        spans.append((len(text), len(text) + len(sentence)))
        text += sentence + " "
    return Candidate(text.rstrip(), spans, supporting)


def notes_groups() -> Iterator[Group]:
    """The examples of study notes that aren't held out, as often as there are epochs."""
    examples = [example for example in read_examples(NOTES) if example.subject not in HELD_OUT]
    for _ in range(NOTES_EPOCHS):
        for example in examples:
            candidates = list(candidates_of(example))
            yield deprive(Group(vary(example.standalone), candidates))


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


def deprive(group: Group) -> Group:
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


def vary(question: str) -> str:
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


def read_follow_ups(folder: Path) -> Iterator[FollowUp]:
    for path in sorted(folder.glob("*.jsonl")):
        for row in read_rows(path):
            if row["history"]:
                yield follow_up(row, *split_history(row))


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
    return FollowUp(
        row["question"], conversation_text([*asked, answer] if answer else asked), carried
    )


def make_batches(groups: Sequence[Group], follow_ups: Sequence[FollowUp]) -> list[Batch]:
    """Items of similar length together, the batches in random order."""
    by_length = sorted(groups, key=lambda group: max(len(c.text) for c in group.candidates))
    conversations = sorted(follow_ups, key=lambda item: len(item.conversation))
    batches: list[Batch] = list(_cut(by_length, GROUPS_IN_BATCH))
    batches += list(_cut(conversations, CONVERSATIONS_IN_BATCH))
    random.Random(SEED).shuffle(batches)
    return batches


def _cut(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def train(
    batches: Sequence[Batch], base: Path, made: Path, learning_rate: float, steps: int | None
) -> None:
    """One pass over the batches with the weights of `base`, from its last checkpoint if there is
    one; `made` receives the result.
    """
    tokenizer = AutoTokenizer.from_pretrained(str(default_encoder_folder()))
    model = AutoModelForTokenClassification.from_pretrained(
        base,
        dtype=torch.float32,
        num_labels=len(LABELS),
        id2label=dict(enumerate(LABELS)),
        label2id={label: number for number, label in enumerate(LABELS)},
        attention_probs_dropout_prob=0.0,  # on a CPU its random numbers take a third of the time
    )
    # Words that the training texts don't hold keep their place among those that they hold.
    model.bert.embeddings.word_embeddings.weight.requires_grad = False
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device).train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda at: _rate(at / len(batches)))
    checkpoint, step = made.with_suffix(".checkpoint.pt"), 0
    states = {"model": model, "optimizer": optimizer, "schedule": schedule}
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        step = saved["step"]
        for name, part in states.items():
            part.load_state_dict(saved[name])
    started = saved_at = time.monotonic()
    losses: dict[bool, list[float]] = {True: [], False: []}
    while step < min(len(batches), steps or len(batches)):
        batch = batches[step]
        is_reading = isinstance(batch[0], Group)
        loss_of = reading_loss if is_reading else carrying_loss
        loss = loss_of(model, tokenizer, batch, device)  # type: ignore[arg-type]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses[is_reading].append(loss.item())
        step += 1
        if step % 50 == 0:
            reading, carrying = (np.mean(losses[kind][-100:] or [0]) for kind in (True, False))
            print(
                f"step {step}/{len(batches)} {time.monotonic() - started:.0f} s "
                f"reading {reading:.3f} carrying {carrying:.3f}",
                flush=True,
            )
        if time.monotonic() - saved_at > CHECKPOINT_SECONDS:
            saved_at = time.monotonic()
            state = {name: part.state_dict() for name, part in states.items()}
            torch.save(state | {"step": step}, checkpoint)
    model.eval().to(torch.bfloat16).save_pretrained(made)


def _rate(done: float) -> float:
    """The share of the learning rate: rising at first, then falling to a hundredth."""
    return max(0.01, min(done / WARM_UP, (1 - done) / (1 - WARM_UP)))


def reading_loss(model: Any, tokenizer: Any, batch: Sequence[Group], device: str) -> torch.Tensor:
    """Rank the right passage of each group, and the right sentences of all its passages, first;
    and judge each passage and sentence on its own, so that scores compare between questions.
    """
    pairs = [(group, candidate) for group in batch for candidate in group.candidates]
    encoded = tokenizer(
        [group.question for group, _ in pairs],
        [candidate.text for _, candidate in pairs],
        padding=True,
        truncation="only_second",
        max_length=PASSAGE_TOKENS,
        return_tensors="pt",
        return_offsets_mapping=True,
    )
    offsets = encoded.pop("offset_mapping")
    with torch.autocast(device, dtype=torch.bfloat16):
        logits = model(**encoded.to(device)).logits
    logits = logits.float()
    relevance = logits[:, 0, RELEVANCE]
    answers = torch.tensor([float(bool(c.supporting)) for _, c in pairs], device=device)
    losses = [PAIR_LOSS_WEIGHT * _binary(relevance, answers)]
    row = 0
    for group in batch:
        rows = range(row, row + len(group.candidates))
        row += len(rows)
        scores, right = [], []
        for at, candidate in zip(rows, group.candidates, strict=True):
            for number, mask in _sentence_masks(encoded, at, offsets[at], candidate):
                scores.append(logits[at, mask.to(device), EVIDENCE].mean())
                right.append(float(number in candidate.supporting))
        if not scores:
            continue
        sentence_scores, supports = torch.stack(scores), torch.tensor(right, device=device)
        losses.append(PAIR_LOSS_WEIGHT * _binary(sentence_scores, supports) / len(batch))
        right_passages = answers[rows.start : rows.stop]
        if right_passages.any():
            losses.append(_first(relevance[rows.start : rows.stop], right_passages) / len(batch))
        if supports.any():
            losses.append(_first(sentence_scores, supports) / len(batch))
    return torch.stack(losses).sum()


def _sentence_masks(
    encoded: Any, row: int, offsets: torch.Tensor, candidate: Candidate
) -> Iterator[tuple[int, torch.Tensor]]:
    """Each sentence's number, and which tokens of the row are its own."""
    in_passage = torch.tensor([part == 1 for part in encoded.sequence_ids(row)])
    for number, (start, end) in enumerate(candidate.sentences):
        mask = in_passage & (offsets[:, 0] >= start) & (offsets[:, 1] <= end)
        mask &= offsets[:, 1] > offsets[:, 0]
        if mask.any():
            yield number, mask


def carrying_loss(
    model: Any, tokenizer: Any, batch: Sequence[FollowUp], device: str
) -> torch.Tensor:
    """Judge each word of a conversation: taken over into the follow-up, or not."""
    encoded = tokenizer(
        [item.question for item in batch],
        [item.conversation for item in batch],
        padding=True,
        truncation="only_second",
        max_length=CONVERSATION_TOKENS,
        return_tensors="pt",
        return_offsets_mapping=True,
    )
    offsets = encoded.pop("offset_mapping")
    labels = torch.full(offsets.shape[:2], -1.0)
    for row, item in enumerate(batch):
        carried = set(item.carried)
        spans = [match.span() for match in re.finditer(r"[^\W_]+", item.conversation)]
        taken = [
            (start, end)
            for start, end in spans
            if carried & set(content_words(item.conversation[start:end]))
        ]
        for at, part in enumerate(encoded.sequence_ids(row)):
            if part == 1:
                begin, stop = offsets[row, at].tolist()
                labels[row, at] = float(any(s <= begin and stop <= e for s, e in taken))
    with torch.autocast(device, dtype=torch.bfloat16):
        logits = model(**encoded.to(device)).logits
    known = labels >= 0
    return _binary(logits.float()[..., CARRY][known.to(device)], labels[known].to(device))


def _binary(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return functional.binary_cross_entropy_with_logits(scores, labels)


def _first(scores: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """The loss of ranking the right ones first, all alike."""
    return -(functional.log_softmax(scores, dim=0) * right).sum() / right.sum()


if __name__ == "__main__":
    main()
