"""Says where the models in use come from, how large they are, and what the index holds; loads
neither.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from huggingface_hub.constants import HF_HUB_CACHE
from huggingface_hub.file_download import repo_folder_name

from rag_tutor.chat_server import is_server, what_leaves
from rag_tutor.config import DEFAULT_ENCODER, DEFAULT_GENERATOR, Settings
from rag_tutor.errors import ModelUnavailableError
from rag_tutor.store import open_store
from rag_tutor.weights import (
    ENCODER_PACKAGE,
    GENERATOR_PACKAGE,
    adapted_generator_folder,
    default_encoder_folder,
    default_generator_file,
    is_folder,
)


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A model in use: what it does, and the folders and files that it comes from, in bytes; a
    server's has none here.
    """

    role: str
    name: str
    origin: str
    size: int


@dataclass(frozen=True, slots=True)
class IndexFacts:
    """What an index holds: `vectors` are those of its chunks and of their sentences."""

    notes: int
    chunks: int
    vectors: int
    dimension: int
    size: int
    built: datetime
    encoder: str


def model_facts(settings: Settings) -> list[ModelFacts]:
    """The three models behind an answer, in the order in which they come to it."""
    reader = Path(__file__).parent / "models" / "reader"
    return [
        ModelFacts("Finds passages", settings.encoder, *_origin_of_encoder(settings.encoder)),
        ModelFacts("Reads them", "Reader", "part of RAG Tutor", size_on_disk(reader)),
        ModelFacts("Writes answers", settings.generator, *_origin_of_generator(settings.generator)),
    ]


def index_facts(index: Path) -> IndexFacts:
    """What the index in use holds. Raises IndexMissingError or StaleIndexError."""
    store = open_store(index)
    try:
        built = datetime.fromtimestamp(store.folders[0].stat().st_mtime).astimezone()
    except FileNotFoundError:  # a newer build has taken its place meanwhile
        return index_facts(index)
    return IndexFacts(
        notes=len(store.manifest.documents),
        chunks=store.row_count,
        vectors=store.vector_count,
        dimension=store.manifest.dimension,
        size=sum(map(size_on_disk, store.folders)),
        built=built,
        encoder=store.manifest.encoder,
    )


def hub_cache_folder(name: str) -> Path:
    """Where the hub's library keeps, or will keep, a model that is named by its hub id."""
    return Path(HF_HUB_CACHE) / repo_folder_name(repo_id=name, repo_type="model")


def size_on_disk(path: Path) -> int:
    """Bytes of a file, or of all files in a folder, each counted once; 0 where there is none."""
    if path.is_file():
        return path.stat().st_size
    files = (each for each in path.rglob("*") if each.is_file() and not each.is_symlink())
    return sum(_size(each) for each in files)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # a download, or a build, was moved to its place meanwhile
        return 0


def _origin_of_encoder(name: str) -> tuple[str, int]:
    if name == DEFAULT_ENCODER:
        return _package(ENCODER_PACKAGE, default_encoder_folder)
    return _folder_or_hub(name)


def _origin_of_generator(name: str) -> tuple[str, int]:
    if name == DEFAULT_GENERATOR:
        origin, size = _package(GENERATOR_PACKAGE, default_generator_file)
        converted = adapted_generator_folder()
        return f"{origin}; converted in {_short(converted.parent)}", size + size_on_disk(converted)
    if is_server(name):
        return what_leaves(name) or "a server on this machine", 0
    return _folder_or_hub(name)


def _package(package: str, find: Callable[[], Path]) -> tuple[str, int]:
    try:
        return f"package {package.replace('==', ' ')}", size_on_disk(find())
    except ModelUnavailableError as error:
        return str(error), 0


def _folder_or_hub(name: str) -> tuple[str, int]:
    if is_folder(name):
        return f"folder {_short(Path(name).absolute())}", size_on_disk(Path(name))
    folder = hub_cache_folder(name)
    return f"Hugging Face, kept in {_short(folder)}", size_on_disk(folder)


def _short(path: Path) -> str:
    home = Path.home()
    return f"~/{path.relative_to(home).as_posix()}" if path.is_relative_to(home) else str(path)
