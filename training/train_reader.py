"""Trains the reader: one small model that reads a question with a passage or a conversation.

    python training/train_reader.py DATA_FOLDER WORK_FOLDER [--steps N]

Three passes, each from the weights that the one before it made, the first from the default
encoder's: `general`, over DATA_FOLDER, which holds `grounded/train.jsonl` (SQuAD; passages of
FairytaleQA and PubMedQA) and `rewriting/*.jsonl` (CANARD, TREC CAsT, iKAT); `notes`, twice over
`training/data/` without the subjects that are held out, with some of the first pass's again; and
`varied`, once over the same with passages cut short, questions worded like follow-ups, and more
questions that nothing answers or that need no conversation. For each token the model gives three
logits, used at different places:

- RELEVANCE, at the first token: whether the passage answers the question;
- EVIDENCE, averaged over the tokens of a sentence: whether that sentence answers it;
- CARRY, at the words of a conversation: whether a person who writes the follow-up as a question
  of its own takes the word over.

`reader_data.py` makes what it learns from. WORK_FOLDER receives the mined groups, for each pass a
checkpoint every few minutes, from which a second call goes on, and at its end a folder of its name.
"""

import argparse
import json
import random
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from reader_data import (
    Candidate,
    FollowUp,
    Group,
    deprived,
    full_questions,
    grounded_rows,
    groups_elsewhere,
    make_groups,
    notes_examples,
    notes_groups,
    read_follow_ups,
    varied,
)
from torch.nn import functional
from train_generator import Example, rate
from transformers import AutoModelForTokenClassification, AutoTokenizer

from rag_tutor.reading import CARRY, EVIDENCE, LABELS, RELEVANCE
from rag_tutor.weights import default_encoder_folder
from rag_tutor.words import content_words

SEED = 7
PASSAGE_TOKENS = 224
CONVERSATION_TOKENS = 192
GROUPS_IN_BATCH = 6
CONVERSATIONS_IN_BATCH = 12
LEARNING_RATES = {"general": 8e-5, "notes": 5e-5, "varied": 4e-5}
# So many groups of the first pass are read again in each of the others.
GROUPS_AGAIN = 1500
WARM_UP = 0.06
PAIR_LOSS_WEIGHT = 0.4
CHECKPOINT_SECONDS = 240

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
    random.seed(SEED)  # the same from here on whether the groups were there or not
    follow_ups = read_follow_ups(options.data / "rewriting")
    examples = notes_examples()
    print(f"{len(groups)} groups, {len(follow_ups)} follow-ups, {len(examples)} examples of notes")
    base = default_encoder_folder()
    for name, learning_rate in LEARNING_RATES.items():
        made = options.work / name
        # Each pass makes the same whether those before it were made now or earlier.
        random.seed(SEED)
        if not made.exists():
            batches = batches_of(name, groups, follow_ups, examples)
            train(batches, base, made, learning_rate, options.steps)
        base = made


def batches_of(
    name: str,
    groups: Sequence[Group],
    follow_ups: Sequence[FollowUp],
    examples: Sequence[Example],
) -> list[Batch]:
    """What is read in a pass."""
    if name == "general":
        return make_batches(groups, [*follow_ups, *follow_ups])
    again = random.sample(groups, GROUPS_AGAIN)
    if name == "notes":
        of_notes = [*notes_groups(examples), *notes_groups(examples)]
        return make_batches([*map(deprived, of_notes), *map(deprived, again)], follow_ups)
    of_notes = [*notes_groups(examples), *groups_elsewhere(examples)]
    some = random.sample(follow_ups, len(follow_ups) // 3)
    return make_batches(
        [*map(varied, of_notes), *map(varied, again)], [*some, *full_questions(some)]
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
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda at: rate(at / len(batches), WARM_UP)
    )
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
