"""Measures how well a model's own signs of doubt predict that what it writes isn't in the notes.

    python benchmarks/faithfulness.py [--questions FILE …] [--limit N]

Each sentence that the default generator writes, before anything is checked, is judged by the check
in `grounding`: the passages hold it, or they don't. The measures are those that the notes in
corpus/ describe, each the higher, the more the sentence is to be trusted:

- sequence log-probability: the mean log-probability of the sentence's tokens;
- sentence similarity: the best cosine of the sentence and one of the passages, by the encoder;
- self-consistency: the same with the sentences of another reply, the mean over five that are
  sampled (as SelfCheckGPT does; Manakul, Liusie and Gales 2023).

AUC is how often a sentence that is held scores higher than one that isn't; 0.5 is chance.
"""

import argparse
import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from transformers import DynamicCache

from rag_tutor.config import Settings, cache_folder
from rag_tutor.domain import Encoder, Passage, Vectors
from rag_tutor.evaluation import read_items
from rag_tutor.generation import LanguageModel, learnt_generator_folder, load_generator
from rag_tutor.grounding import MISSING, Grounding, bare_sentence, prompt
from rag_tutor.indexing import update_index
from rag_tutor.sentences import sentence_spans
from rag_tutor.tutor import open_tutor
from rag_tutor.writing import TransformersWriter

HERE = Path(__file__).parent
NOTES = HERE.parent / "corpus"
MEASURES = ("sequence log-probability", "sentence similarity", "self-consistency")
# The tutor lets the generator read as many passages, and write as much.
READ = 3
MAX_TOKENS = 200
SAMPLES = 5
TEMPERATURE = 0.7


@dataclass(frozen=True, slots=True)
class Written:
    """A sentence of a reply, and the mean log-probability of its tokens."""

    text: str
    log_probability: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    own = [HERE / "questions" / "questions.jsonl"]
    parser.add_argument("--questions", nargs="+", type=Path, default=own, metavar="FILE")
    parser.add_argument("--limit", type=int, metavar="N", help="ask N questions, evenly spread")
    options = parser.parse_args()
    settings = Settings(corpus=NOTES, index=cache_folder() / "benchmarks" / "notes" / "index")
    tutor = open_tutor(settings)
    update_index(NOTES, settings.index, tutor.encoder)
    generator = cast(LanguageModel, load_generator(str(learnt_generator_folder())))
    torch.manual_seed(0)
    questions = [
        each["question"]
        for path in options.questions
        for item in read_items(path)
        for each in item.get("turns", [item])[:1]
    ]
    step = len(questions) / (options.limit or len(questions))
    chosen = [questions[int(at * step)] for at in range(round(len(questions) / step))]
    rows, held = [], []
    for question in chosen:
        _, found = tutor.find(question)
        for scores, is_held in judged(question, found.passages, generator, tutor.encoder):
            rows.append(scores)
            held.append(is_held)
    print(f"{len(chosen)} questions, {len(held)} sentences, {held.count(False)} not held\n")
    print(table(np.array(rows), np.array(held)))


def judged(
    question: str, passages: Sequence[Passage], generator: LanguageModel, encoder: Encoder
) -> Iterator[tuple[list[float], bool]]:
    """Each measure of each sentence of a reply, and whether the passages hold the sentence."""
    greedy, samples = replies(generator, question, passages[:READ])
    notes = vectors(encoder, [passage.chunk.text for passage in passages])
    others = [vectors(encoder, [sample]) for sample in samples]
    grounding = Grounding(passages)
    said: set[str] = set()
    for sentence in greedy:
        bare = bare_sentence(sentence.text)
        if not bare or bare in said or bare.startswith(MISSING) or bare.endswith(":"):
            continue  # claims nothing that a passage could hold, or nothing new
        said.add(bare)
        vector = encoder.encode_query(bare)
        likeness, *agreement = (_nearest(each, vector) for each in (notes, *others))
        scores = [sentence.log_probability, likeness, float(np.mean(agreement))]
        yield scores, bool(grounding.find(sentence.text))


def replies(
    generator: LanguageModel, question: str, passages: Sequence[Passage]
) -> tuple[list[Written], list[str]]:
    """The sentences of the likeliest reply, and the text of sampled ones."""
    model, tokenizer = cast(TransformersWriter, generator._writer).model, generator._tokenizer
    tokens = torch.tensor([generator.prompt_tokens(prompt(question, passages))])
    asked = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    start = tokens.shape[1]
    # Reading the passages takes longer than writing, so they are read once for all replies.
    read = DynamicCache(config=model.config)
    with torch.inference_mode():
        model(asked["input_ids"][:, :-1], past_key_values=read)
        greedy = model.generate(
            **asked,
            past_key_values=copy.deepcopy(read),
            max_new_tokens=MAX_TOKENS,
            do_sample=False,
            return_dict_in_generate=True,
            output_logits=True,
        )
        read.batch_repeat_interleave(SAMPLES)
        sampled = model.generate(
            **{name: tensor.repeat(SAMPLES, 1) for name, tensor in asked.items()},
            past_key_values=read,
            max_new_tokens=MAX_TOKENS,
            do_sample=True,
            temperature=TEMPERATURE,
        )
    likely = model.compute_transition_scores(
        greedy.sequences, greedy.logits, normalize_logits=True
    )[0].float()
    tokens = greedy.sequences[0, start:].tolist()
    ends = [len(tokenizer.decode(tokens[: count + 1])) for count in range(len(tokens))]
    text = tokenizer.decode(tokens)
    written = [
        Written(
            text[slice(*span)],
            float(np.mean([likely[at] for at, end in enumerate(ends) if span[0] < end <= span[1]])),
        )
        for span in sentence_spans(text)
    ]
    return written, [tokenizer.decode(tokens) for tokens in sampled[:, start:].tolist()]


def vectors(encoder: Encoder, texts: Sequence[str]) -> Vectors:
    """The vectors of all sentences of some texts."""
    return encoder.encode_passages(texts, [sentence_spans(text) for text in texts])[1]


def table(scores: Vectors, held: Vectors) -> str:
    """The mean of each measure for sentences that are held and for others, and its AUC."""
    lines = ["| measure | held | not held | AUC |", "|---|---|---|---|"]
    for name, column in zip(MEASURES, scores.T, strict=True):
        good, bad = column[held], column[~held]
        auc = (good[:, None] > bad).mean() + (good[:, None] == bad).mean() / 2
        lines.append(f"| {name} | {good.mean():.3f} | {bad.mean():.3f} | {auc:.3f} |")
    return "\n".join(lines)


def _nearest(sentences: Vectors, vector: Vectors) -> float:
    return float((sentences @ vector).max(initial=0.0))


if __name__ == "__main__":
    main()
