import itertools
import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_tutor.checking import (
    Part,
    checked_parts,
    disagreeing_part,
    joined,
    listed_parts,
    quoted_part,
)
from rag_tutor.domain import Chunk, Citation, Passage
from rag_tutor.grounding import MARKER, Grounding

TOWER = "The Eiffel Tower was built in 1889 by Gustave Eiffel."
HEIGHT = "It is 330 metres high."
TEXT = f"""{TOWER} {HEIGHT}

- base of stone
- frame of iron

```python
height = 330
floor = floors[1]
```

Write `floors[2]` for the top floor.
"""
PASSAGES = [
    Passage(Chunk("tower.md", ("Paris", "The tower"), 0, len(TEXT), TEXT), 1.0, ("dense",)),
    Passage(Chunk("sea.md", ("Sea",), 0, 28, "The sea is salty everywhere."), 0.5, ("dense",)),
]


def letters(text: str) -> Iterator[str]:
    yield from text


def parts_of(text: str) -> list[Part]:
    return list(checked_parts(letters(text), Grounding(PASSAGES)))


def test_the_mark_of_the_first_item_is_kept_though_it_arrives_alone() -> None:
    pieces = iter(["-", " base of ", "stone [1]", "\n", "- ", "frame of iron [1]"])
    shown = joined(list(checked_parts(pieces, Grounding(PASSAGES))))
    assert shown == "- base of stone [1]\n- frame of iron [1]"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (f"{TOWER} [1] {HEIGHT} [1]", f"{TOWER} [1] {HEIGHT} [1]"),
        (f"{TOWER} [2]", f"{TOWER} [1]"),
        (f"{TOWER}", f"{TOWER} [1]"),
        (
            "The tower has:\n- base of stone [1]\n- frame of iron [1]",
            "The tower has:\n\n- base of stone [1]\n- frame of iron [1]",
        ),
        (
            "Martians brought:\n- base of stone [1]",
            "- base of stone [1]",
        ),
        (
            "```python\nheight = 330\n```\n\n[1]",
            "```python\nheight = 330\n```\n\n[1]",
        ),
        (
            "```python\nfloor = floors[1]\n```\n\nWrite `floors[2]` for the top floor. [1]",
            "```python\nfloor = floors[1]\n```\n\n[1]\n\nWrite `floors[2]` for the top floor. [1]",
        ),
        (
            "The Eiffel Tower was built in 1887 by Gustave Eiffel. [1] The sea is salty. [2]",
            "The sea is salty. [2]",
        ),
        (f"{TOWER} [1, 1]", f"{TOWER} [1]"),
        ("Gustave Eiffel and the tower [1]\n\nThe sea is salty. [2]", "The sea is salty. [2]"),
        ("- The tower in Paris [1]\n- base of stone [1]", "- base of stone [1]"),
        ("Bananas grow in warm countries. [1] The sea is salty. [2]", "The sea is salty. [2]"),
        (f"{TOWER} [1] {TOWER} [1] The sea is salty. [2]", f"{TOWER} [1]"),
        ("Your notes don't say who built it. The sea is salty. [2]", "The sea is salty. [2]"),
        ("[1] [2] [99]", ""),
        ("```python\nheight = 331\n```\n\n[1]", ""),
        ("", ""),
    ],
    ids=[
        "supported",
        "wrong marker",
        "no marker",
        "list",
        "a lead that the notes don't know",
        "code",
        "brackets in code",
        "wrong year",
        "a marker twice",
        "no sentence",
        "a title",
        "invented",
        "repeated",
        "a gap",
        "only markers",
        "wrong code",
        "nothing",
    ],
)
def test_what_is_shown_of_what_was_written(written: str, shown: str) -> None:
    parts = parts_of(written)
    assert joined(parts) == shown
    for part in parts:
        outside_code = re.sub(r"```.*?```|`.*?`", "", part.text, flags=re.DOTALL)
        numbers = [int(n) for each in MARKER.findall(outside_code) for n in each.split(",")]
        assert numbers == [citation.number for citation in part.citations]


def test_notes_that_disagree_stand_apart_from_what_is_written_and_quoted() -> None:
    height, sea = (
        Citation(number, found, 0, len(found.chunk.text), "quoted")
        for number, found in [(1, replace_text(PASSAGES[0], HEIGHT)), (2, PASSAGES[1])]
    )
    [written] = parts_of(TOWER)
    sides = disagreeing_part([height, sea])
    quoted = quoted_part(sea, is_led=True)
    assert joined([written, sides, quoted]) == (
        f"{TOWER} [1]\n\nYour notes disagree:\n\n> - *The tower:* {HEIGHT} [1]\n"
        "> - The sea is salty everywhere. [2]\n\n"
        "From your notes:\n\n> - The sea is salty everywhere. [2]"
    )


@pytest.mark.parametrize(
    ("quote", "shown"),
    [
        ("- base of stone", "base of stone"),
        ("## **Base**", "Base"),
        ("### 1. Base\n\nIt is of stone.", "**Base**: It is of stone."),
        ("### 1984 and after", "1984 and after"),
        ("## Base\n\nIt is of\nstone.", "**Base**: It is of stone."),
        ("2. **Base:**\n   - It is of stone.", "**Base**: It is of stone."),
        ("2. **Base**\n   - It is of stone.", "**Base**: It is of stone."),
        ("- **Base:**\n\n  - of stone.\n  - of iron.", "**Base**: of stone; of iron."),
        ("**Base:**\n\n- It is of\n  stone.", "**Base**: It is of stone."),
        ("## Base\n\n> It is of stone.", "**Base**: It is of stone."),
        ("- It is of **old stone**\n  and of iron.", "It is of **old stone** and of iron."),
        ("- **Base:** it is\n  of stone.", "**Base:** it is of stone."),
    ],
)
def test_a_name_in_a_list_is_followed_by_what_stands_below_it(quote: str, shown: str) -> None:
    citation = Citation(1, replace_text(PASSAGES[0], quote), 0, len(quote), "quoted")
    assert joined(list(listed_parts("The tower", [citation]))) == f"The tower:\n\n- {shown} [1]"


def replace_text(found: Passage, text: str) -> Passage:
    return Passage(Chunk("t.md", found.chunk.heading, 0, len(text), text), 1.0, ("dense",))


def test_nothing_more_is_read_after_two_inventions() -> None:
    pieces = letters("Bananas grow in Peru. Apes eat many of them. " + "And so on they go. " * 50)
    assert list(checked_parts(pieces, Grounding(PASSAGES))) == []
    assert len(list(pieces)) > 500


@given(
    st.lists(
        st.sampled_from(
            [f"{TOWER} [1]", f"- {HEIGHT} [1]", "Bananas.", "The sea was salty in 3. [2]", "a:\n"]
        )
    )
)
def test_an_answer_only_grows(written: list[str]) -> None:
    parts = parts_of("\n".join(written))
    texts = [joined(parts[:count]) for count in range(len(parts) + 1)]
    assert all(later.startswith(text) for text, later in itertools.pairwise(texts))
    assert all(part.citations for part in parts)


@pytest.mark.parametrize(
    ("note", "written", "shown"),
    [
        (
            "Supervised learning requires labels.",
            "No, supervised learning requires labels. [1]",
            "Supervised learning requires labels. [1]",
        ),
        (
            "No planet has more rings than Saturn.",
            "No planet has more rings than Saturn. [1]",
            "No planet has more rings than Saturn. [1]",
        ),
        (
            "The sigmoid maps any value to [0, 1], the range of probabilities.",
            "The sigmoid maps any value to [0, 1]. [1]",
            "The sigmoid maps any value to [0, 1]. [1]",
        ),
        (
            "- JavaScript\n- Java\n- Python\n",
            "- JavaScript [1]\n- Java [1]\n- Python [1]",
            "- JavaScript [1]\n- Java [1]\n- Python [1]",
        ),
        (
            "**Plants make sugar from light.**",
            "**Plants make sugar from light.** [1]",
            "**Plants make sugar from light.** [1]",
        ),
        (
            "Advantages of trees:\n\n- fast\n- cheap\n\nDisadvantages of trees:\n\n- unstable\n",
            "Disadvantages of trees:\n- fast [1]",
            "- fast [1]",
        ),
        (
            "Advantages of trees:\n\n- fast\n- cheap\n\nDisadvantages of trees:\n\n- unstable\n",
            "Disadvantages of trees:\n- unstable [1]",
            "Disadvantages of trees:\n\n- unstable [1]",
        ),
    ],
    ids=[
        "a verdict that nothing supports",
        "no, as part of the sentence",
        "an interval",
        "an item within another's word",
        "a sentence in bold",
        "the lead of another list",
        "the list's own lead",
    ],
)
def test_what_is_shown_beside_a_note(note: str, written: str, shown: str) -> None:
    passages = [Passage(Chunk("note.md", ("Note",), 0, len(note), note), 1.0, ("dense",))]
    assert joined(list(checked_parts(letters(written), Grounding(passages)))) == shown


def test_an_interval_in_an_item_of_the_notes_stays() -> None:
    text = "- Probability: a number in [0, 1]"
    passage = Passage(Chunk("note.md", ("Note",), 0, len(text), text), 1.0, ("dense",))
    (part,) = listed_parts("Terms", [Citation(1, passage, 0, len(text), "quoted")])
    assert part.text.replace("\u2060", "") == f"Terms:\n\n{text} [1]"


def test_a_list_stands_below_the_sentence_that_leads_to_it() -> None:
    text = "A GAN is two networks that compete:\n\n- generator\n- discriminator"
    passage = Passage(Chunk("note.md", ("GANs",), 0, len(text), text), 1.0, ("dense",))
    lead, *items = (
        Citation(1, passage, text.index(part), text.index(part) + len(part), "quoted")
        for part in ("A GAN is two networks that compete:", "- generator", "- discriminator")
    )
    parts = list(listed_parts("GANs", items, lead))
    assert joined(parts) == (
        "A GAN is two networks that compete: [1]\n\n- generator [1]\n- discriminator [1]"
    )
    assert [part.citations for part in parts] == [(lead, items[0]), (items[1],)]


@pytest.mark.parametrize(
    ("item", "short"),
    [
        ("- **Mode collapse**: few kinds of images.", "- **Mode collapse** [1]"),
        ("- **Mode collapse:** few kinds of images.", "- **Mode collapse** [1]"),
        ("- Mode collapse: few kinds of images.", "- Mode collapse [1]"),
        (
            "- It makes few kinds of images. Why: noise.",
            "- It makes few kinds of images. Why: noise. [1]",
        ),
    ],
)
def test_a_short_list_holds_the_names_of_its_items(item: str, short: str) -> None:
    passage = Passage(Chunk("note.md", ("GANs",), 0, len(item), item), 1.0, ("dense",))
    citations = [Citation(1, passage, 0, len(item), "quoted")]
    assert (
        joined(list(listed_parts("Trouble", citations, names_only=True))) == f"Trouble:\n\n{short}"
    )
