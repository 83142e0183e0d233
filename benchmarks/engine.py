"""Compares what our engine writes with what transformers writes in single precision.

    python benchmarks/engine.py [--results]

PROMPTS of the questions in benchmarks/questions/questions.jsonl, each with the passages that are
found for it, are answered greedily with the weights that the default generator uses. Prints for
each type of numbers:

- same text: the share of replies of which every token is the same; and of all tokens, those that
  stand before the first different one;
- first token: milliseconds, median; of the same prompt again; and of another question on the same
  passages.

--results also writes the table to benchmarks/results/engine.md.
"""

import argparse
import os
import platform
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import cast

import torch
from transformers import AutoModelForCausalLM

from rag_tutor.config import Settings
from rag_tutor.evaluation import read_items
from rag_tutor.generation import LanguageModel, learnt_generator_folder
from rag_tutor.grounding import prompt
from rag_tutor.indexing import update_index
from rag_tutor.llama import Llama
from rag_tutor.tutor import open_tutor
from rag_tutor.writing import TransformersWriter

HERE = Path(__file__).parent
NOTES = HERE.parent / "corpus"
PROMPTS, MAX_TOKENS = 50, 120
ANOTHER = "Why is that so, and what follows from it?"
HEAD = ("numbers", "same text", "tokens before a difference", "first token ms", "again", "another")

Tokens = list[int]


@dataclass(frozen=True, slots=True)
class Pair:
    """The tokens of a prompt, and of another question on the same passages."""

    first: Tokens
    other: Tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--results", action="store_true")
    options = parser.parse_args()
    pairs = list(prompts())
    folder = learnt_generator_folder()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    reference = TransformersWriter(model.eval())
    expected = [list(reference.write(pair.first, MAX_TOKENS)) for pair in pairs]
    lines = [HEAD, ("---",) * len(HEAD)]
    for dtype in (torch.bfloat16, torch.float32):
        lines.append(row(dtype, Llama(folder, dtype), pairs, expected))
    size = sum(len(pair.first) for pair in pairs) / len(pairs)
    about = (
        f"{platform.platform()}, {os.cpu_count()} cores; {len(pairs)} prompts, {size:.0f} tokens."
    )
    report = "\n".join([about, "", *(f"| {' | '.join(line)} |" for line in lines)])
    print(report)
    if options.results:
        (HERE / "results" / "engine.md").write_text(f"# The engine\n\n{report}\n", encoding="utf-8")


def prompts() -> Iterator[Pair]:
    """What the tutor asks the generator of the first questions."""
    with tempfile.TemporaryDirectory() as name:
        tutor = open_tutor(Settings(corpus=NOTES, index=Path(name)))
        update_index(NOTES, Path(name), tutor.encoder)
        generator = cast(LanguageModel, tutor.generator)
        for item in islice(read_items(HERE / "questions" / "questions.jsonl"), PROMPTS):
            passages = tutor.search(item["question"]).answer.passages
            first, other = (prompt(each, passages) for each in (item["question"], ANOTHER))
            yield Pair(generator.prompt_tokens(first), generator.prompt_tokens(other))


def row(
    dtype: torch.dtype, engine: Llama, pairs: Sequence[Pair], expected: Sequence[Tokens]
) -> tuple[str, ...]:
    times: list[tuple[float, float, float]] = []
    alike: list[tuple[int, int]] = []
    for pair, reply in zip(pairs, expected, strict=True):
        first = milliseconds(engine, pair.first)
        written = list(engine.write(pair.first, MAX_TOKENS))
        times.append((first, milliseconds(engine, pair.first), milliseconds(engine, pair.other)))
        both = zip(written, reply, strict=False)
        same = sum(1 for _ in takewhile(lambda tokens: tokens[0] == tokens[1], both))
        alike.append((same, max(len(written), len(reply))))
    whole = sum(same == length for same, length in alike)
    tokens = sum(same for same, _ in alike) / sum(length for _, length in alike)
    medians = [f"{median(column):.0f}" for column in zip(*times, strict=True)]
    name = str(dtype).removeprefix("torch.")
    return name, f"{whole / len(alike):.2f}", f"{tokens:.2f}", *medians


def milliseconds(engine: Llama, tokens: Sequence[int]) -> float:
    """Until the first token."""
    started = perf_counter()
    next(engine.write(tokens, MAX_TOKENS))
    return (perf_counter() - started) * 1000


if __name__ == "__main__":
    main()
