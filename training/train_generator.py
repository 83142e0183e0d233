"""Trains the adapter that makes the default generator answer from numbered passages.

    python training/train_generator.py WORK_FOLDER [--epochs N] [--steps N]

Learns from `training/data/`, subject by subject: those in HELD_OUT are left for evaluating. The
prompt is the application's own (`grounding.prompt`), with a follow-up reworded by its own reader.
What is learnt are low-rank additions (Hu et al. 2021, "LoRA") to the linear layers of the upper two
thirds of the model; the loss counts the answer's tokens only. Passages are put in another order
half of the time, and some of those that nobody cites are left out: the model must look, not count.
WORK_FOLDER receives a checkpoint every few minutes, from which a second call goes on, and at the
end `adapter.safetensors`.
"""

import argparse
import json
import random
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer

from rag_tutor.conversation import standalone_question
from rag_tutor.domain import Answer, Chunk, Passage, Turn
from rag_tutor.generation import default_generator_folder
from rag_tutor.grounding import MARKER, prompt
from rag_tutor.reading import load_reader
from rag_tutor.words import content_words

SEED = 7
DATA = Path(__file__).parent / "data"
HELD_OUT = frozenset({"astronomy", "contract-law", "databases", "music-theory", "nutrition"})
RANK = 32
SCALE = 2.0
FIRST_LAYER = 10
LEARNING_RATE = 5e-4
WARM_UP = 0.05
EXAMPLES_IN_STEP = 8
CHECKPOINT_SECONDS = 240
ROLES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True, slots=True)
class Example:
    """A question about passages, the first of which is `[1]`, and the answer to it."""

    subject: str
    kind: str
    question: str
    standalone: str
    history: tuple[Turn, ...]
    passages: tuple[Passage, ...]
    answer: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--steps", type=int, help="learn from no more than so many times eight")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    examples = [each for each in read_examples(DATA) if each.subject not in HELD_OUT]
    print(f"{len(examples)} examples", flush=True)
    train(list(make_steps(examples, options.epochs))[: options.steps], options.work)


def read_examples(folder: Path) -> Iterator[Example]:
    """All examples, subject by subject."""
    reader = load_reader()
    for path in sorted(folder.glob("*.jsonl")):
        found: dict[str, Passage] = {}
        for line in path.read_text(encoding="utf-8").split("\n"):
            row = json.loads(line) if line.strip() else {}
            if "passage" in row:
                found[row["passage"]] = passage_of(row)
            elif row:
                passages = tuple(found[name] for name in row["passages"])
                vocabulary = {word for each in passages for word in words_of(each)}
                history = tuple(turn_of(**turn) for turn in row["history"])
                question = row["question"]
                standalone = standalone_question(question, history, reader, vocabulary)
                subject, kind = path.stem, row["kind"]
                yield Example(subject, kind, question, standalone, history, passages, row["answer"])


def passage_of(row: dict[str, str]) -> Passage:
    heading = tuple(row["heading"].split(" > "))
    chunk = Chunk(row["note"], heading, 0, len(row["text"]), row["text"])
    return Passage(chunk, 0.0, ())


def turn_of(question: str, answer: str) -> Turn:
    return Turn(question, question, Answer(answer, (), (), refused=False))


def words_of(passage: Passage) -> list[str]:
    return content_words(" ".join([*passage.chunk.heading, passage.chunk.text]))


def make_steps(examples: Sequence[Example], epochs: int) -> Iterator[list[Example]]:
    """The examples of each step, in an order and with passages that the seed decides."""
    chance = random.Random(SEED)
    for _ in range(epochs):
        varied = [vary(example, chance) for example in examples]
        chance.shuffle(varied)
        for start in range(0, len(varied) - EXAMPLES_IN_STEP + 1, EXAMPLES_IN_STEP):
            yield varied[start : start + EXAMPLES_IN_STEP]


def vary(example: Example, chance: random.Random) -> Example:
    """The example with some passages left out and, half of the time, in another order."""
    cited = {int(n) - 1 for marker in MARKER.findall(example.answer) for n in marker.split(",")}
    places = list(range(len(example.passages)))
    spare = [place for place in places if place not in cited]
    wanted = max(chance.randint(2, 4) - len(cited), 1)
    kept = set(chance.sample(spare, min(wanted, len(spare)))) | cited
    places = [place for place in places if place in kept]
    if chance.random() < 0.5:
        chance.shuffle(places)
    numbers = {old + 1: new for new, old in enumerate(places, start=1)}
    answer = MARKER.sub(lambda found: renumbered(found, numbers), example.answer)
    passages = tuple(example.passages[place] for place in places)
    return Example(
        example.subject,
        example.kind,
        example.question,
        example.standalone,
        example.history,
        passages,
        answer,
    )


def renumbered(marker: re.Match[str], numbers: dict[int, int]) -> str:
    new = sorted(numbers[int(n)] for n in marker[1].split(","))
    before = marker[0][: marker[0].index("[")]
    return f"{before}[{', '.join(map(str, new))}]"


class Adapted(nn.Module):
    """A frozen linear layer with a low-rank addition, `up @ down`.

    Their sum is kept in `merged` from one step to the next, so that adapted layers take as long as
    plain ones.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        outputs, inputs = linear.weight.shape
        self.frozen = linear.weight.requires_grad_(False)
        self.down = nn.Parameter(torch.randn(RANK, inputs) / inputs**0.5)
        self.up = nn.Parameter(torch.zeros(outputs, RANK))
        self.merge()

    def merge(self) -> None:
        """Take over what was learnt since the last time."""
        with torch.no_grad():
            added = SCALE * self.up @ self.down
            self.merged = (self.frozen.float() + added).to(self.frozen.dtype)

    def forward(self, inputs: Tensor) -> Tensor:
        """As of a plain linear layer."""
        output: Tensor = _AdaptedLinear.apply(inputs, self.merged, self.down, self.up)
        return output


class _AdaptedLinear(torch.autograd.Function):
    """`inputs @ merged.T`, with the gradients of the low-rank part in place of `merged`'s."""

    @staticmethod
    def forward(context: Any, inputs: Tensor, merged: Tensor, down: Tensor, up: Tensor) -> Tensor:
        context.save_for_backward(inputs, merged, down, up)
        return functional.linear(inputs, merged)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, Tensor, Tensor]:
        inputs, merged, down, up = context.saved_tensors
        rows, above = inputs.flatten(0, -2), gradient.flatten(0, -2)
        for_down = (above @ up.to(above.dtype)).T @ rows
        for_up = above.T @ (rows @ down.to(rows.dtype).T)
        return gradient @ merged, None, SCALE * for_down.float(), SCALE * for_up.float()


def adapt(model: Any) -> dict[str, Adapted]:
    """Put an adapted layer in the place of each that is to learn; return them by name."""
    model.requires_grad_(False)
    adapted = {}
    for number, layer in list(enumerate(model.model.layers))[FIRST_LAYER:]:
        for name, part in list(layer.named_modules()):
            owner, _, role = name.rpartition(".")
            if role in ROLES:
                replaced = Adapted(part)
                setattr(layer.get_submodule(owner), role, replaced)
                adapted[f"model.layers.{number}.{name}"] = replaced
    return adapted


def train(steps: Sequence[Sequence[Example]], work: Path) -> None:
    """All steps, from the last checkpoint if there is one."""
    torch.manual_seed(SEED)
    base = str(default_generator_folder())
    tokenizer = AutoTokenizer.from_pretrained(base)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    # On a CPU, eager attention is twice as fast as the fused one where gradients are needed.
    model = AutoModelForCausalLM.from_pretrained(
        base, dtype=torch.bfloat16, attn_implementation="eager"
    )
    adapted = nn.ModuleDict({name.replace(".", "/"): part for name, part in adapt(model).items()})
    model.to(device)
    learnt = [each for each in adapted.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(learnt, lr=LEARNING_RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda at: rate(at / len(steps), WARM_UP)
    )
    checkpoint, step = work / "checkpoint.pt", 0
    states = {"adapted": adapted, "optimizer": optimizer, "schedule": schedule}
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        step = saved["step"]
        for name, state in states.items():
            state.load_state_dict(saved[name])
    started = saved_at = time.monotonic()
    losses: list[float] = []
    while step < len(steps):
        for part in adapted.values():
            part.merge()
        losses.append(_learn(model, tokenizer, steps[step], device))
        torch.nn.utils.clip_grad_norm_(learnt, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        step += 1
        if step % 10 == 0:
            loss = sum(losses[-40:]) / len(losses[-40:])
            seconds = time.monotonic() - started
            print(f"step {step}/{len(steps)} {seconds:.0f} s loss {loss:.3f}", flush=True)
        if time.monotonic() - saved_at > CHECKPOINT_SECONDS:
            saved_at = time.monotonic()
            state = {name: each.state_dict() for name, each in states.items()}
            torch.save(state | {"step": step}, work / "checkpoint.new")
            (work / "checkpoint.new").replace(checkpoint)
    weights = {}
    for name, part in adapted.items():
        weights[f"{name.replace('/', '.')}.down"] = part.down.data.to(torch.bfloat16)
        weights[f"{name.replace('/', '.')}.up"] = (SCALE * part.up.data).to(torch.bfloat16)
    save_file(
        {name: each.cpu().contiguous() for name, each in weights.items()},
        work / "adapter.safetensors",
        {"format": "pt"},
    )


def rate(done: float, warm_up: float) -> float:
    """The share of the learning rate when a share of the steps is done: rising while they are
    fewer than `warm_up`, then falling to a hundredth.
    """
    return max(0.01, min(done / warm_up, (1 - done) / (1 - warm_up)))


def _learn(model: Any, tokenizer: Any, examples: Sequence[Example], device: str) -> float:
    """Add the gradient of some examples' mean loss; return that loss."""
    total = sum(len(answer_tokens(example, tokenizer)) for example in examples)
    sum_of_losses = 0.0
    for example in examples:
        loss = answer_loss(model, tokenizer, example, device) / total
        loss.backward()
        sum_of_losses += loss.item()
    return sum_of_losses


def answer_loss(model: Any, tokenizer: Any, example: Example, device: str) -> torch.Tensor:
    """The sum over the answer's tokens of their negative log-probability."""
    messages = prompt(example.standalone, example.passages, example.history)
    form = {"add_generation_prompt": True, "return_dict": True}
    before = tokenizer.apply_chat_template(messages, **form)["input_ids"]
    answer = answer_tokens(example, tokenizer)
    tokens = torch.tensor([[*before, *answer]], device=device)
    logits = model(tokens[:, :-1], logits_to_keep=len(answer)).logits[0]
    return functional.cross_entropy(logits.float(), tokens[0, -len(answer) :], reduction="sum")


def answer_tokens(example: Example, tokenizer: Any) -> list[int]:
    text = f"{example.answer}{tokenizer.eos_token}"
    tokens: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return tokens


if __name__ == "__main__":
    main()
