"""Our engine against transformers, with the default generator's weights."""

from collections.abc import Sequence

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rag_tutor.generation import learnt_generator_folder
from rag_tutor.llama import Llama
from rag_tutor.writing import TransformersWriter

pytestmark = pytest.mark.models

NOTES = (
    "[1] Rivers > Meanders\nA meander is a bend of a river. Water flows faster along its outer "
    "bank and wears it away; along the inner bank it drops sand and gravel.",
    "[2] Rivers > Oxbow lakes\nAn oxbow lake forms where a river cuts through the neck of a "
    "meander. The old bend is left behind without a current and slowly fills with mud.",
    "[3] Volcanoes > Magma\nMagma is molten rock below the surface. When it reaches the surface "
    "it is called lava.",
)
QUESTIONS = ("What is a meander?", "How does an oxbow lake form?", "What is magma called above?")


@pytest.fixture(scope="module")
def prompts() -> list[list[int]]:
    """Three short ones on the same notes, and one of more tokens than are read in one step."""
    tokenizer = AutoTokenizer.from_pretrained(learnt_generator_folder(), local_files_only=True)
    notes = "\n\n".join(NOTES)
    texts = [f"{notes}\n\nQuestion: {question}" for question in QUESTIONS]
    texts.append(f"{notes}\n\n" * 5 + QUESTIONS[0])
    return [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], add_generation_prompt=True
        )["input_ids"]
        for text in texts
    ]


@pytest.fixture(scope="module")
def expected(prompts: list[list[int]]) -> list[list[int]]:
    folder = learnt_generator_folder()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    writer = TransformersWriter(model.eval())
    return [list(writer.write(prompt, 40)) for prompt in prompts]


@pytest.fixture(params=["as oneDNN lays it out", "as it is"])
def llama(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Llama:
    if request.param == "as it is":
        monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    return Llama(learnt_generator_folder(), torch.float32)


def test_it_writes_the_tokens_that_transformers_writes(
    llama: Llama, prompts: list[list[int]], expected: list[list[int]]
) -> None:
    assert [list(llama.write(prompt, 40)) for prompt in prompts] == expected
    assert all(len(reply) > 5 for reply in expected)


def test_what_was_read_before_changes_nothing(
    prompts: list[list[int]], expected: list[list[int]]
) -> None:
    llama = Llama(learnt_generator_folder(), torch.float32)

    def begun(prompt: Sequence[int], count: int) -> None:
        reply = llama.write(prompt, 40)
        for _ in range(count):
            next(reply)

    for count, at in ((1, 0), (3, 0), (2, 3), (9, 1), (1, 2)):
        begun(prompts[at], count)
        for own in (at, 1, 3):
            assert list(llama.write(prompts[own], 40)) == expected[own]


def test_a_reply_ends_at_the_most_tokens(
    prompts: list[list[int]], expected: list[list[int]]
) -> None:
    llama = Llama(learnt_generator_folder(), torch.float32)
    for most in (1, 2, 7):
        assert list(llama.write(prompts[1], most)) == expected[1][:most]
    with pytest.raises(ValueError, match="more than the model's 8192"):
        next(llama.write(prompts[0] * 60, 40))


def test_in_half_the_memory_it_begins_alike(
    prompts: list[list[int]], expected: list[list[int]]
) -> None:
    llama = Llama(learnt_generator_folder(), torch.bfloat16)
    for prompt, reply in zip(prompts, expected, strict=True):
        assert list(llama.write(prompt, 4)) == reply[:4]
