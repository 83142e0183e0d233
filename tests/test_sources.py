"""What became of cited notes since they were cited."""

from pathlib import Path

import pytest

from rag_tutor.conversations import SavedTurn
from rag_tutor.corpus import read_document
from rag_tutor.domain import Answer, Chunk, Citation, Passage, Turn
from rag_tutor.errors import CorpusError
from rag_tutor.sources import changes, find_place, read_note

TEXT = "# Rocks\n\nMagma is molten rock. Lava is hot.\n"
QUOTE = "Magma is molten rock."


@pytest.fixture
def cited(tmp_path: Path) -> SavedTurn:
    """An answer that cites a sentence of rocks.md in `tmp_path`."""
    (tmp_path / "rocks.md").write_text(TEXT, encoding="utf-8")
    passage = Passage(Chunk("rocks.md", ("Rocks",), 0, len(TEXT), TEXT), 1.0, ("dense",))
    start = TEXT.index(QUOTE)
    citation = Citation(1, passage, start, start + len(QUOTE), "verbatim")
    turn = Turn("?", "?", Answer(f"{QUOTE} [1]", (citation,), (passage,), refused=False))
    hashes = {"rocks.md": read_document(tmp_path, "rocks.md").content_hash}
    return SavedTurn(1, turn, "done", {}, hashes, (), "", "")


@pytest.mark.parametrize(
    ("text", "change"),
    [
        (TEXT, {}),
        (f"# New\n\nBefore. {QUOTE}\n", {"rocks.md": "changed"}),
        ("# Rocks\n\nMagma is something else.\n", {"rocks.md": "sentence gone"}),
        ("\0\1\2" * 50, {"rocks.md": "not readable"}),
        (None, {"rocks.md": "note gone"}),
    ],
)
def test_a_change_is_told_apart(
    text: str | None, change: dict[str, str], tmp_path: Path, cited: SavedTurn
) -> None:
    if text is None:
        (tmp_path / "rocks.md").unlink()
    else:
        (tmp_path / "rocks.md").write_text(text, encoding="utf-8")
    assert changes(tmp_path, cited) == change


def test_a_moved_sentence_is_found_where_it_is_nearest(tmp_path: Path) -> None:
    text = "Twice. " + "x" * 50 + " Twice. " + "x" * 500 + " Twice."
    (tmp_path / "a.md").write_text(text, encoding="utf-8")
    places = [find_place(tmp_path, "a.md", start, "Twice.").span for start in (0, 70, 1_000)]
    assert places == [(0, 6), (58, 64), (len(text) - 6, len(text))]
    assert find_place(tmp_path, "a.md", 0, "Never.").span is None


@pytest.mark.parametrize("name", ["missing.md", "../outside.md", "\0.md", "sub/../a.md"])
def test_a_name_that_is_no_note_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("x", encoding="utf-8")
    (tmp_path.parent / "outside.md").write_text("secret", encoding="utf-8")
    with pytest.raises(CorpusError):
        read_note(tmp_path, name)
