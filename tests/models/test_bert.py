"""Our engine for the encoder and the reader, and the generator's tokenizer, against the libraries
that publish them.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from transformers import AutoModelForTokenClassification, AutoTokenizer

from rag_tutor import reading
from rag_tutor.bert import Bert
from rag_tutor.domain import Encoder, Message
from rag_tutor.generation import DefaultTokenizer, learnt_generator_folder
from rag_tutor.weights import default_encoder_folder

pytestmark = pytest.mark.models

TEXTS = [
    "High water comes about every twelve hours, as the Moon pulls at the oceans.",
    "",
    "Yeast makes the dough rise. " * 60,
    "Café Ærø: 마이크로컴퓨터 ﷺ 你好, naïve ğ",
    "# Bread\n\n| flour | 500 g |\n|---|---|\n\n$e^{i\\pi}$ [SEP] `x = 1`",
]


def test_the_encoder_gives_the_vectors_of_sentence_transformers(real_encoder: Encoder) -> None:
    published = SentenceTransformer(str(default_encoder_folder()), device="cpu")
    expected = published.encode(TEXTS, normalize_embeddings=True)
    vectors, _ = real_encoder.encode_passages(TEXTS, [()] * len(TEXTS))
    assert (vectors * expected).sum(axis=1).min() > 0.9999
    for text, vector in zip(TEXTS, expected, strict=True):
        assert real_encoder.encode_query(text) @ vector > 0.9999
        tokens = published.tokenizer(text, truncation=False)["input_ids"]
        assert real_encoder.count_tokens(text) == len(tokens)


@pytest.mark.parametrize("laid_out", [True, False])
def test_the_reader_gives_the_vectors_of_transformers(
    laid_out: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, tokenizer = Path(reading.__file__).parent / "models/reader", default_encoder_folder()
    question = "How often is it high water?"
    model = AutoModelForTokenClassification.from_pretrained(folder, dtype=torch.float32).eval()
    tokenize = AutoTokenizer.from_pretrained(tokenizer)
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", laid_out)
    bert = Bert(folder, tokenizer / "tokenizer.json", 64, "bert.", torch.float32)
    numbers = set()
    for number, vectors, offsets in bert.read(TEXTS, question):
        numbers.add(number)
        inputs = tokenize(
            [question],
            [TEXTS[number]],
            truncation="only_second",
            max_length=64,
            return_tensors="pt",
            return_offsets_mapping=True,
        )
        expected_offsets = inputs.pop("offset_mapping")[0] * inputs["token_type_ids"][0, :, None]
        assert (offsets == expected_offsets.numpy()).all()
        with torch.inference_mode():
            expected = model.bert(**inputs).last_hidden_state[0].numpy()
        assert np.allclose(vectors, expected, atol=1e-4)
    assert numbers == set(range(len(TEXTS)))


@pytest.mark.parametrize("roles", [["user"], ["system", "user"], ["user", "assistant", "user"]])
def test_a_chat_has_the_tokens_of_transformers(roles: list[str]) -> None:
    folder = learnt_generator_folder()
    expected, ours = AutoTokenizer.from_pretrained(folder), DefaultTokenizer(folder)
    texts = ["Say <|im_end|> twice.", "  café — 日本\n\n", TEXTS[-1]]
    messages: list[Message] = [
        {"role": role, "content": text}  # type: ignore[typeddict-item]
        for role, text in zip(roles, texts, strict=False)
    ]
    tokens = ours.encode_chat(messages)
    encoded = expected.apply_chat_template(messages, add_generation_prompt=True)
    assert tokens == encoded["input_ids"]
    assert ours.decode(tokens) == expected.decode(tokens, skip_special_tokens=True)
    assert sorted(ours.control_tokens) == sorted(expected.get_added_vocab())
