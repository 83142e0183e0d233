"""The real models on the real notes; the index is built once for all tests."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rag_tutor.config import Settings
from rag_tutor.domain import Encoder
from rag_tutor.encoding import load_encoder
from rag_tutor.indexing import update_index
from rag_tutor.tutor import Tutor, open_tutor

ROOT = Path(__file__).parent.parent.parent
RunCommand = Callable[..., subprocess.CompletedProcess[str]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.models)


@pytest.fixture(scope="session")
def real_encoder() -> Encoder:
    return load_encoder(Settings().encoder)


@pytest.fixture(scope="session")
def real_settings(tmp_path_factory: pytest.TempPathFactory, real_encoder: Encoder) -> Settings:
    settings = Settings(corpus=ROOT / "corpus", index=tmp_path_factory.mktemp("index"))
    update_index(settings.corpus, settings.index, real_encoder)
    return settings


@pytest.fixture(scope="session")
def tutor(real_settings: Settings) -> Tutor:
    return open_tutor(real_settings)


@pytest.fixture(scope="session")
def run_command(real_settings: Settings) -> RunCommand:
    """Runs `python -m rag_tutor` with the real notes and index, as a process of its own."""

    def run(
        *arguments: str, text: str = "", start: str = "-m rag_tutor", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        places = {
            "RAG_TUTOR_CORPUS": str(real_settings.corpus),
            "RAG_TUTOR_INDEX": str(real_settings.index),
            "PYTHONPATH": str(ROOT),
        }
        return subprocess.run(
            [sys.executable, *start.split(), *arguments],
            input=text,
            capture_output=True,
            text=True,
            encoding="utf-8",
            env=os.environ | places | environment,
            cwd=ROOT,
            timeout=300,
            check=False,
        )

    return run
