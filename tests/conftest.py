"""Notes and tutors that many tests start from."""

from collections.abc import Callable
from pathlib import Path

import pytest

from rag_tutor.config import Settings
from rag_tutor.domain import Generator
from rag_tutor.indexing import update_index
from rag_tutor.tutor import Tutor
from tests.fakes import HashedEncoder, OverlapReader, ScriptedGenerator

BIOLOGY = """# Biology

## Cells

### What is a mitochondrion?

A mitochondrion is the organelle that releases energy from sugar. It has two membranes.

### What is a chloroplast?

A chloroplast captures light and makes sugar in plant cells. Chloroplasts hold chlorophyll.
Damage to the chloroplast membrane is a problem because the plant then makes no sugar.
"""
HISTORY = """The French Revolution began in 1789 with the storming of the Bastille.

Napoleon was crowned emperor in 1804 in Paris.
"""


@pytest.fixture(autouse=True)
def _nobodys_choices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the person who runs the tests has chosen on the settings page is not read."""
    monkeypatch.setenv("RAG_TUTOR_DATA", str(tmp_path / "data"))


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "biology.md").write_text(BIOLOGY, encoding="utf-8")
    (folder / "history.txt").write_text(HISTORY, encoding="utf-8")
    return folder


@pytest.fixture
def encoder() -> HashedEncoder:
    return HashedEncoder()


@pytest.fixture
def index(tmp_path: Path, corpus: Path, encoder: HashedEncoder) -> Path:
    folder = tmp_path / "index"
    update_index(corpus, folder, encoder)
    encoder.encoded.clear()
    return folder


MakeTutor = Callable[..., Tutor]


@pytest.fixture
def make_tutor(corpus: Path, index: Path, encoder: HashedEncoder) -> MakeTutor:
    def make(generator: Generator | None = None) -> Tutor:
        settings = Settings(corpus=corpus, index=index, encoder=encoder.name)
        chosen = generator or ScriptedGenerator()
        return Tutor(settings, lambda: encoder, OverlapReader, lambda: chosen)

    return make
