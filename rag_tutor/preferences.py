"""Keeps what was chosen on the settings page between starts, in one small JSON file beside the
user's data; knows nothing of the page, nor of the environment and the command line, which go
before it.
"""

import json
from pathlib import Path
from typing import Any

from rag_tutor.atomic import replace_file
from rag_tutor.config import Settings, data_folder, read_answer_length, read_passages
from rag_tutor.errors import SettingsError

KEPT = ("encoder", "generator", "passages", "answer_length")


def preferences_file() -> Path:
    """Where the choices are kept."""
    return data_folder() / "settings.json"


def saved_preferences() -> dict[str, Any]:
    """The choices by the names of Settings; empty where none was made. Raises SettingsError."""
    path = preferences_file()
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        return {name: _checked(name, value) for name, value in fields.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, RecursionError, SettingsError) as error:
        raise SettingsError(
            f"The saved settings in {path} can't be used ({error}). Mend the file, or delete it "
            "to go back to the defaults."
        ) from error


def save_preferences(chosen: Settings, names: tuple[str, ...] = KEPT) -> None:
    """Keep the named ones of some settings; what equals its default is not kept.

    Raises SettingsError if the disk refuses or what was kept before can't be read.
    """
    path = preferences_file()
    saved = saved_preferences() | {name: getattr(chosen, name) for name in names}
    kept = {name: value for name, value in saved.items() if value != getattr(Settings(), name)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, json.dumps(kept, ensure_ascii=False, indent=1).encode("utf-8"))
    except OSError as error:
        raise SettingsError(
            f"The choice holds until the app is closed, but can't be kept in {path}: "
            f"{error.strerror}. Make room or mend the folder's rights."
        ) from error


def _checked(name: str, value: Any) -> Any:
    if name == "passages":
        return read_passages(str(value))
    if name == "answer_length":
        return read_answer_length(str(value))
    if name not in KEPT or not isinstance(value, str) or not value:
        raise SettingsError(f"{name!r} can't be {value!r}.")
    return value
