"""Brings other models into use while the tutor goes on answering: loads them, rebuilds the index
where the encoder is another one, and only then lets them take over; knows nothing of pages.
"""

import logging
import re
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar

from rag_tutor.chat_server import is_server
from rag_tutor.config import DEFAULT_ENCODER, DEFAULT_GENERATOR
from rag_tutor.domain import Encoder, Generator
from rag_tutor.errors import ModelUnavailableError, SettingsError, TutorError
from rag_tutor.indexing import update_index
from rag_tutor.inventory import hub_cache_folder, size_on_disk
from rag_tutor.preferences import save_preferences
from rag_tutor.tutor import Tutor
from rag_tutor.weights import first_line, full_name, is_folder

_log = logging.getLogger(__name__)
Model = TypeVar("Model")
# Owner and name; a default model, and some old ones of the hub, have no owner.
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)?")
_BUSY = "Other models are being brought into use. Wait until that is done, or cancel it."


@dataclass(frozen=True, slots=True)
class Change:
    """How far a change of models has come: in words, and as a share, where all is known: of the
    bytes of a download, or of the chunks of an index.
    """

    state: Literal["none", "running", "done", "failed"]
    text: str = ""
    done: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class _Hub:
    """A download: its folder, how many bytes were there before, and how many are to come."""

    name: str
    folder: Path
    size_before: int
    missing: int


class ModelChange:
    """Changes the models of one tutor, one change at a time, in the background.

    Whatever fails, or is cancelled, leaves the models and the index in use as they were.
    `download` fetches a model of the hub, and tells first how many bytes are missing. `hold`
    keeps whatever else brings the index up to date from doing so while an encoder changes.
    """

    def __init__(
        self,
        tutor: Tutor,
        load_encoder: Callable[[str], Encoder],
        load_generator: Callable[[str], Generator],
        download: Callable[[str, Callable[[int], None]], None],
        hold: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._tutor = tutor
        self._load_encoder = load_encoder
        self._load_generator = load_generator
        self._fetch = download
        self._hold = hold
        self._change = Change("none")
        self._lock = threading.Lock()
        self._cancelled = threading.Event()
        self._hub: _Hub | None = None

    @property
    def progress(self) -> Change:
        """How far the last change that was started has come."""
        change, hub = self._change, self._hub
        if change.state == "running" and hub:
            arrived = min(max(size_on_disk(hub.folder) - hub.size_before, 0), hub.missing)
            megabytes = f"{arrived / 1e6:,.0f} of {hub.missing / 1e6:,.0f} MB"
            text = f"Downloading {hub.name}: {megabytes}."
            return replace(change, text=text, done=arrived, total=hub.missing)
        return change

    def start(self, encoder: str, generator: str) -> None:
        """Start to bring two models into use, each a hub id, a folder or the default's name; the
        generator may be a server's too.

        Raises SettingsError if a name can't be one, or while another change goes on.
        """
        wanted = (model_name(encoder), generator_name(generator))
        with self._lock:
            if self._change.state == "running":
                raise SettingsError(_BUSY)
            self._change = Change("running", "Starting…")
        self._cancelled.clear()
        threading.Thread(target=self._run, args=wanted, daemon=True).start()

    def cancel(self) -> None:
        """Ask for an end; what is being loaded is loaded first."""
        self._cancelled.set()

    def _run(self, encoder: str, generator: str) -> None:
        try:
            self._change = Change("done", self._make(encoder, generator))
        except TutorError as error:
            in_use = self._tutor.settings
            kept = f"{in_use.generator} and {in_use.encoder} stay in use."
            self._change = Change("failed", f"{error} {kept}")
        except Exception:  # noqa: BLE001  (whatever fails, it must not go on for ever)
            _log.exception("a change of models failed")
            text = "Something went wrong in the tutor itself; the terminal shows what."
            self._change = Change("failed", f"{text} The models are as they were.")

    def _make(self, encoder: str, generator: str) -> str:
        before = self._tutor.settings
        writer = self._generator(generator) if generator != before.generator else None
        finder = self._encoder(encoder) if encoder != before.encoder else None
        self._require_not_cancelled()
        with self._hold() if finder else nullcontext():
            if finder:
                with self._tutor.admitting(finder):
                    update_index(before.corpus, before.index, finder, progress=self._show_progress)
            # Other settings may have been chosen meanwhile.
            settings = replace(self._tutor.settings, encoder=encoder, generator=generator)
            self._tutor.use(settings, finder, writer)
        save_preferences(settings, ("encoder", "generator"))
        return f"{generator} writes the answers, from what {encoder} finds."

    def _generator(self, name: str) -> Generator:
        generator = self._loading(name, self._load_generator)
        try:
            list(generator.stream([{"role": "user", "content": "Hello"}], 1))
        except ModelUnavailableError:
            raise
        except Exception as error:
            raise ModelUnavailableError(
                f"{name} was loaded, but can't write: {first_line(error)} Choose another."
            ) from error
        return generator

    def _encoder(self, name: str) -> Encoder:
        return self._loading(name, self._load_encoder)

    def _loading(self, name: str, load: Callable[[str], Model]) -> Model:
        self._change = Change("running", f"Loading {name}…")
        is_here = name in (DEFAULT_ENCODER, DEFAULT_GENERATOR) or is_folder(name)
        if not is_here and not is_server(name):
            self._download(name)
        return load(name)

    def _download(self, name: str) -> None:
        folder = hub_cache_folder(name)

        def tell_missing(size: int) -> None:
            self._hub = _Hub(name, folder, size_on_disk(folder), size)

        try:
            self._fetch(name, tell_missing)
        finally:
            self._hub = None

    def _show_progress(self, done: int, total: int) -> None:
        self._require_not_cancelled()
        text = f"Rebuilding the index: {done:,} of {total:,} chunks."
        self._change = Change("running", text, done, total)

    def _require_not_cancelled(self) -> None:
        if self._cancelled.is_set():
            raise SettingsError("Cancelled.")


def model_name(text: str) -> str:
    """The name of a model as settings keep it: a folder's in full. Raises SettingsError."""
    text = text.strip()
    name = full_name(text)
    if HUB_ID.fullmatch(name) or is_folder(name):
        return name
    raise SettingsError(
        f"There is no folder at {text!r}, and it is no hub id either. Name a model's folder, or "
        "its id on Hugging Face, such as owner/model."
    )


def generator_name(text: str) -> str:
    """The same of a generator, which may be a server's model. Raises SettingsError."""
    return text.strip() if is_server(text.strip()) else model_name(text)
