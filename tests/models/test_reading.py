from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

from rag_tutor.domain import Encoder
from rag_tutor.encoding import load_encoder
from rag_tutor.errors import ModelUnavailableError
from rag_tutor.reading import TokenReader, load_reader
from rag_tutor.sentences import sentence_spans
from rag_tutor.weights import default_encoder_folder

TEXTS = [
    "# Tides\nThe Moon pulls at the oceans. High water comes about every twelve hours.",
    "# Bread\nYeast makes the dough rise. It is baked at 220 degrees.",
]
SPANS = [sentence_spans(text) for text in TEXTS]


@pytest.fixture(scope="module")
def reader() -> TokenReader:
    return load_reader()


@pytest.mark.parametrize(
    ("question", "right", "sentence"),
    [
        ("how hot must the oven be", 1, "It is baked"),
        ("what lets dough rise?", 1, "Yeast makes"),
        ("How often is it high water?", 0, "High water"),
    ],
)
def test_the_passage_and_the_sentence_that_answer_score_highest(
    reader: TokenReader, question: str, right: int, sentence: str
) -> None:
    readings = reader.read(question, TEXTS, SPANS)
    assert np.argmax([reading.relevance for reading in readings]) == right
    start, end = SPANS[right][int(np.argmax(readings[right].evidence))]
    assert TEXTS[right][start:end].startswith(sentence)


def test_readings_come_in_the_order_of_the_texts_whatever_their_lengths(
    reader: TokenReader,
) -> None:
    texts = [TEXTS[number % 2] + " More." * (7 - number) for number in range(7)]
    spans = [sentence_spans(text) for text in texts]
    together = reader.read("how hot must the oven be", texts, spans)
    alone = [
        reader.read("how hot must the oven be", [text], [own])[0]
        for text, own in zip(texts, spans, strict=True)
    ]
    for one, other in zip(together, alone, strict=True):
        assert one.relevance == pytest.approx(other.relevance, abs=0.3)
        assert len(one.evidence) == len(other.evidence)


def test_what_lies_beyond_the_reader_is_not_taken_as_evidence(reader: TokenReader) -> None:
    text = "# Bread\n" + "Flour and water are mixed. " * 80 + "It is baked at 220 degrees."
    spans = sentence_spans(text)
    (reading,) = reader.read("how hot must the oven be", [text], [spans])
    assert len(reading.evidence) == len(spans)
    assert reading.evidence[-1] == float("-inf")
    assert reader.read("anything", [], []) == []


@pytest.mark.parametrize("endless", ["why oh why " * 180, "왜 그런가요 " * 180])
def test_an_endless_question_leaves_room_for_the_text(reader: TokenReader, endless: str) -> None:
    for reading in reader.read(endless, TEXTS, SPANS):
        assert np.isfinite(reading.evidence[0])


def test_two_questions_at_once_are_read_like_one(reader: TokenReader) -> None:
    text = "# Bread\n" + "Flour and water are mixed. " * 40 + "It is baked at 220 degrees."
    spans = sentence_spans(text)

    def read(number: int) -> bool:
        if number % 2:
            reader.carried_words("and why?", "What is photosynthesis? " * 20)
            return True
        (reading,) = reader.read("how hot must the oven be", [text], [spans])
        return bool(np.isfinite(reading.evidence).all())

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(read, range(24)))


def chance_to_carry(reader: TokenReader, question: str) -> float:
    found = reader.carried_words(question, "What is photosynthesis in plants?")
    return dict(found)["photosynthesis"]


def test_a_follow_up_carries_its_topic(reader: TokenReader) -> None:
    assert chance_to_carry(reader, "and why is it important?") > 0.5


def test_a_full_question_carries_less(reader: TokenReader) -> None:
    assert chance_to_carry(reader, "When was Napoleon crowned emperor of France?") < 0.3


def test_a_reader_that_is_missing_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailableError, match="install that again"):
        TokenReader(tmp_path)


def test_sentences_are_encoded_within_their_text(real_encoder: Encoder) -> None:
    texts = [*TEXTS, TEXTS[0] * 3]
    vectors, sentences = real_encoder.encode_passages(texts, [*SPANS, ()])
    alone = [real_encoder.encode_query(text) for text in texts]  # this model has no prompts
    assert np.allclose(vectors, alone, atol=1e-4)
    assert sentences.shape == (sum(map(len, SPANS)), real_encoder.dimension)
    assert np.allclose(np.linalg.norm(sentences, axis=1), 1, atol=1e-5)
    question = real_encoder.encode_query("what lets dough rise?")
    starts = [text[slice(*span)] for text, own in zip(TEXTS, SPANS, strict=True) for span in own]
    assert starts[int((sentences @ question).argmax())].startswith("Yeast makes")


def test_an_encoder_that_takes_no_mean_encodes_sentences_alone(tmp_path: Path) -> None:
    transformer = Transformer(str(default_encoder_folder()))
    pooling = Pooling(transformer.get_embedding_dimension(), pooling_mode="cls")
    SentenceTransformer(modules=[transformer, pooling]).save(str(tmp_path))
    encoder = load_encoder(str(tmp_path))
    _, sentences = encoder.encode_passages(TEXTS, SPANS)
    start, end = SPANS[1][1]
    alone, _ = encoder.encode_passages([TEXTS[1][start:end]], [()])
    assert np.allclose(sentences[len(SPANS[0]) + 1], alone[0], atol=1e-4)
