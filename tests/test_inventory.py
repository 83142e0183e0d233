from datetime import datetime, timedelta
from pathlib import Path

import pytest

from rag_tutor.config import Settings
from rag_tutor.errors import IndexMissingError
from rag_tutor.inventory import index_facts, model_facts, size_on_disk
from rag_tutor.store import open_store
from rag_tutor.ui.settings import index_html, models_html, size_text


def test_the_facts_of_an_index_are_those_of_its_store(index: Path) -> None:
    store = open_store(index)
    facts = index_facts(index)
    assert (facts.notes, facts.chunks) == (2, len(store.chunks))
    sentences = sum(len(store.sentence_vectors(row)) for row in range(len(store.chunks)))
    assert facts.vectors == len(store.chunks) + sentences
    assert (facts.dimension, facts.encoder) == (256, "hashed")
    assert facts.size > 1000
    assert datetime.now().astimezone() - facts.built < timedelta(minutes=5)


def test_without_an_index_there_are_no_facts(tmp_path: Path) -> None:
    with pytest.raises(IndexMissingError):
        index_facts(tmp_path)


def test_models_tell_where_they_come_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "<b>model"
    folder.mkdir()
    (folder / "weights").write_bytes(b"x" * 3_000_000)
    finds, _, writes = model_facts(Settings(encoder=str(folder), generator="owner/name"))
    assert (finds.origin, finds.size) == (f"folder {folder}", 3_000_000)
    assert writes.origin.startswith("Hugging Face")
    assert "models--owner--name" in writes.origin
    monkeypatch.setenv("HOME", str(tmp_path))
    [finds, *_] = model_facts(Settings(encoder=str(folder)))
    assert finds.origin == "folder ~/<b>model"
    assert "&lt;b&gt;model" in models_html([finds])
    assert "<b>" not in models_html([finds])


def test_a_server_tells_where_it_is_and_has_no_size() -> None:
    [*_, here] = model_facts(Settings(generator="http://127.0.0.1:11434/v1#m"))
    assert (here.origin, here.size) == ("a server on this machine", 0)
    assert "kB" not in models_html([here])
    [*_, elsewhere] = model_facts(Settings(generator="https://example.org/v1#m"))
    assert elsewhere.origin.endswith("are sent to example.org.")


def test_a_file_that_two_names_share_is_counted_once(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"x" * 10)
    (tmp_path / "link").symlink_to(tmp_path / "blob")
    assert size_on_disk(tmp_path) == 10
    assert size_on_disk(tmp_path / "nothing") == 0


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 kB"), (45_400_000, "45 MB"), (12_300, "12 kB"), (2_340_000_000, "2.3 GB")],
)
def test_sizes_are_written_as_a_person_would(size: int, text: str) -> None:
    assert size_text(size) == text


def test_the_index_is_told_in_words(index: Path) -> None:
    shown = index_html(index_facts(index))
    assert "<dt>Notes</dt><dd>2</dd>" in shown
    assert "of 256 numbers" in shown
    assert "hashed" in shown
