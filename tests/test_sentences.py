import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_tutor.sentences import sentence_spans


def sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in sentence_spans(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One is here. Two is there.", ["One is here.", "Two is there."]),
        ("It costs 3.5 dollars. Cheap!", ["It costs 3.5 dollars.", "Cheap!"]),
        ("Models, e.g. GPT, learn. So do we.", ["Models, e.g. GPT, learn.", "So do we."]),
        ("Vaswani et al. Wrote it. Then J. Smith.", ["Vaswani et al. Wrote it.", "Then J. Smith."]),
        ("A line\nthat wraps. And on.", ["A line\nthat wraps.", "And on."]),
        ("- first item\n- second item", ["- first item", "- second item"]),
        ("1. **Role:** It acts. It stops.", ["1. **Role:** It acts.", "It stops."]),
        ("Cited [1]. Next [2].", ["Cited [1].", "Next [2]."]),
        ("He said it. [1] She too. [2]", ["He said it. [1]", "She too. [2]"]),
        ("He said it. [1, 3] She too. [2] [4]", ["He said it. [1, 3]", "She too. [2] [4]"]),
        ("# Title\nBody here.", ["# Title", "Body here."]),
        ("```py\na. B = 1\n\nb = 2\n```\nAfter.", ["```py\na. B = 1\n\nb = 2\n```", "After."]),
        ("$$\nx\n\ny\n$$", ["$$\nx\n\ny\n$$"]),
        ("| a | b |\n|---|---|\n| 1. X | 2 |", ["| a | b |", "| 1. X | 2 |"]),
        ("***\n\n---", []),
        ("- ```py\n  a. B\n  ```\nAfter it.", ["- ```py\n  a. B\n  ```", "After it."]),
        ("code end\n```\nAfter. Then.", ["code end\n```\nAfter.", "Then."]),
        ("$$\nE = m c^2 $$\nAfter it.", ["$$\nE = m c^2 $$", "After it."]),
        ("$$a$$ and $$b$$ are sums. Yes.", ["$$a$$ and $$b$$ are sums.", "Yes."]),
        ("A | B\n---|---\nc. D | e", ["A | B", "c. D | e"]),
        ("Use `a. B` here. Next $x. Y$ too.", ["Use `a. B` here.", "Next $x. Y$ too."]),
        ("One. <b>Two</b> is here.", ["One.", "<b>Two</b> is here."]),
        ("One.<|end|> Two.</s> Three is < 4.", ["One.", "<|end|> Two.", "</s> Three is < 4."]),
        ("One. ![two](a.png) It is 1. < 2.", ["One.", "![two](a.png) It is 1. < 2."]),
        (
            "One. [/INST] Two.\u3010 3 \u3011 Four.",
            ["One.", "[/INST] Two.", "\u3010 3 \u3011 Four."],
        ),
        ("One.\u200b Two.\u2069\u202c Three.", ["One.", "Two.", "Three."]),
        ("One. [<b>2</b>] Three.", ["One.", "[<b>2</b>] Three."]),
        ("One. 二。 Three.", ["One.", "二。", "Three."]),
        ("One <!-- two --> is. <!-- Three. --> Four.", ["One <!-- two --> is.", "Four."]),
        ("It costs $5. Now $6.", ["It costs $5.", "Now $6."]),
        ("", []),
    ],
)
def test_sentences_are_found(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


@given(st.text(alphabet="aB1 .!?\n-*|#`$[]\t", max_size=200) | st.text(max_size=100))
def test_spans_are_in_order_trimmed_and_lose_no_word(text: str) -> None:
    spans = sentence_spans(text)
    position = 0
    for start, end in spans:
        assert position <= start < end <= len(text)
        assert text[start:end] == text[start:end].strip()
        assert not any(character.isalpha() for character in text[position:start])
        position = end
    assert not any(character.isalpha() for character in text[position:])
