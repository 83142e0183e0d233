"""Fits how much a question leans on the conversation before it, as rag_tutor/conversation.py
weighs it, and prints the coefficients to be written there.

    python training/fit_leaning.py [--questions FILE …]

From training/data/: questions that stand below a conversation lean on it; other questions, put
below conversations that they don't belong to, don't. FILEs are measured, by default those of
benchmarks/questions/: their conversations, and their questions below the conversations of others.
"""

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from rag_tutor.conversation import conversation_text, leaning_features
from rag_tutor.evaluation import read_items
from rag_tutor.reading import TokenReader, load_reader
from rag_tutor.words import content_words

HERE = Path(__file__).parent
SEED = 1
UNRELATED_PER_CONVERSATION = 1.5
THRESHOLDS = (0.1, 0.15, 0.2, 0.3)

Example = tuple[Sequence[str], str, bool]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    own = sorted((HERE.parent / "benchmarks" / "questions").glob("*.jsonl"))
    parser.add_argument("--questions", nargs="+", type=Path, default=own, metavar="FILE")
    options = parser.parse_args()
    reader = load_reader()
    features, labels = described(written_examples(), reader)
    model = LogisticRegression(C=10).fit(features, labels)
    print("intercept", model.intercept_.round(3), "coefficients", model.coef_.round(3))
    features, labels = described(measured_examples(options.questions), reader)
    found = model.predict_proba(features)[:, 1]
    print(f"{sum(labels)} of {len(labels)} lean; AUC {roc_auc_score(labels, found):.3f}")
    for threshold in THRESHOLDS:
        kept, wrong = (np.mean(found[labels == lean] >= threshold) for lean in (True, False))
        print(f"from {threshold}: {kept:.3f} of those that lean, {wrong:.3f} of the others")


def written_examples() -> Iterator[Example]:
    rows = [
        json.loads(line)
        for path in sorted((HERE / "data").glob("*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    questions = [row for row in rows if "question" in row]
    said = [([turn["question"] for turn in row["history"]], row) for row in questions]
    conversations = [(history, row["question"]) for history, row in said if history]
    alone = [row["question"] for history, row in said if not history]
    for history, question in conversations:
        yield history, question, True
    yield from unrelated(
        alone, [history for history, _ in conversations], UNRELATED_PER_CONVERSATION
    )


def measured_examples(paths: Sequence[Path]) -> Iterator[Example]:
    items = [item for path in paths for item in read_items(path)]
    conversations = [
        [turn["question"] for turn in item["turns"]] for item in items if "turns" in item
    ]
    for item in items:
        for at, turn in enumerate(item.get("turns", [])[1:], start=1):
            before = [each["question"] for each in item["turns"][:at]]
            added = set(content_words(turn["standalone"])) - set(content_words(turn["question"]))
            if added & set(content_words(" ".join(before))):
                yield before, turn["question"], True
    alone = [item["question"] for item in items if "turns" not in item]
    yield from unrelated(alone, conversations, len(alone) / len(conversations))


def unrelated(
    questions: Sequence[str], conversations: Sequence[Sequence[str]], share: float
) -> Iterator[Example]:
    """Questions below conversations that they don't belong to, so many per conversation."""
    chance = random.Random(SEED)
    wanted = min(len(questions), round(share * len(conversations)))
    for question in chance.sample(questions, wanted):
        history = chance.choice(conversations)
        yield history[: chance.randint(1, len(history))], question, False


def described(examples: Iterator[Example], reader: TokenReader) -> tuple[np.ndarray, np.ndarray]:
    features, labels = [], []
    for history, question, leans in examples:
        words = reader.carried_words(question, conversation_text(history[::-1]))
        known = set(content_words(question))
        chances = [chance for word, chance in words if not set(content_words(word)) <= known]
        features.append(leaning_features(question, max(chances, default=0.0)))
        labels.append(leans)
    return np.array(features), np.array(labels)


if __name__ == "__main__":
    main()
