"""Fetches a model's files from the hub, and tells beforehand how much that is; knows nothing of
what a model does.

Nothing here is called unless a person names a model by its hub id.
"""

from collections.abc import Callable
from fnmatch import fnmatch

from huggingface_hub import HfApi, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

from rag_tutor.errors import ModelUnavailableError
from rag_tutor.inventory import hub_cache_folder
from rag_tutor.weights import first_line

# The same weights for other programs, and what no model is loaded from.
_NOT_READ = [
    *("*.h5", "*.msgpack", "*.ot", "*.onnx", "*.onnx_data", "*.gguf", "*.tflite", "*.pth"),
    *("onnx/*", "openvino/*", "original/*", "consolidated*", "*.png", "*.jpg", "*.mlmodel"),
]


def download(name: str, tell_missing: Callable[[int], None]) -> None:
    """Fetch what isn't here yet of the files that a model is loaded from.

    How many bytes that is, is told first. Raises ModelUnavailableError; what has arrived is kept.
    """
    try:
        about = HfApi().model_info(name, files_metadata=True)
    except Exception as error:  # several libraries below raise their own
        if _is_kept(name):  # then the hub needn't be reached
            return
        raise ModelUnavailableError(_explained(name, error)) from error
    sizes = {file.rfilename: file.size or 0 for file in about.siblings or ()}
    names = [file for file in sizes if not any(fnmatch(file, each) for each in _NOT_READ)]
    if any(file.endswith(".safetensors") for file in names):
        names = [file for file in names if not file.endswith(".bin")]
    missing = [file for file in names if not try_to_load_from_cache(name, file, revision=about.sha)]
    if not missing:
        return
    tell_missing(sum(sizes[file] for file in missing))
    try:
        snapshot_download(name, allow_patterns=names)
    except Exception as error:
        raise ModelUnavailableError(
            f"The download of {name} broke off: {first_line(error)} Try again: what has arrived "
            "is kept."
        ) from error


def _is_kept(name: str) -> bool:
    return any((hub_cache_folder(name) / "snapshots").glob("*/config.json"))


def _explained(name: str, error: Exception) -> str:
    if isinstance(error, GatedRepoError):
        return (
            f"{name} is given only to those who accept its terms on huggingface.co. Accept them "
            "there, log in with `hf auth login`, and try again."
        )
    if isinstance(error, RepositoryNotFoundError):
        return f"Hugging Face has no model {name}, or it is private. Check its id."
    return (
        f"Hugging Face can't be reached, and {name} isn't on this computer: {first_line(error)} "
        "Check the connection, or name a folder."
    )
