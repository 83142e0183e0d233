"""Puts the pages together and serves them, on this machine only unless told otherwise; knows
nothing of what the pages do.
"""

import copy
import ctypes
import gc
import logging
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Read when Gradio and the libraries below it are imported.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

import gradio as gr
from fastapi import Depends
from gradio.blocks import Block
from gradio_client.utils import is_file_obj_with_meta, is_http_url_like, traverse
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from rag_tutor.config import Settings
from rag_tutor.conversation import is_unicode
from rag_tutor.conversion import MAX_FILE_BYTES
from rag_tutor.domain import Encoder, Generator
from rag_tutor.errors import TutorError
from rag_tutor.live import LiveIndex
from rag_tutor.switching import ModelChange
from rag_tutor.tutor import Tutor, open_tutor
from rag_tutor.ui import notes_html
from rag_tutor.ui.access import MALFORMED, Guard, login_for, rules_for
from rag_tutor.ui.chat import chat_page
from rag_tutor.ui.notes import CHIP_SCRIPT, notes_page
from rag_tutor.ui.sent import MalformedError
from rag_tutor.ui.settings import settings_page

_log = logging.getLogger(__name__)
_FOLDER = Path(__file__).parent
_EMPTY: dict[type, Any] = {gr.Textbox: "", gr.Number: 0}
_SECONDS_BETWEEN_LOOKS = 1.0
_MOST_ARENAS = -8  # M_ARENA_MAX of malloc.h
_UPLOAD_SECONDS = 3600  # an uploaded file that became no note is deleted then
# The first is shared; each page has its own.
_STYLES = ("base", "chat", "history", "notes", "settings")
_SCRIPTS = ("base", "chat", "notes", "settings")
_HEADER = (
    '<header id="brand"><span class="logo" aria-hidden="true"></span><h1>RAG Tutor</h1></header>'
)


def serve(settings: Settings) -> None:
    """Serve the pages until the process is interrupted; print the address when ready.

    Raises TutorError if the port or the log-in can't be used.
    """
    login = login_for(settings)
    # Freed memory is kept in two places, not in one for every thread.
    _call_allocator("mallopt", _MOST_ARENAS, 2)
    # Gradio asks its own address whether it is up, which no proxy of a network can answer.
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(
            filter(None, [os.environ.get(name), settings.host, "localhost"])
        )
    tutor = open_tutor(settings)
    live = LiveIndex(tutor)
    page = build_page(tutor, settings, live)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    try:
        page.launch(
            server_name=host,
            server_port=settings.port,
            prevent_thread_lock=True,
            quiet=True,
            share=False,
            run_history=False,
            enable_monitoring=False,
            footer_links=[],
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            max_file_size=MAX_FILE_BYTES,
            favicon_path=_FOLDER / "favicon.svg",
            theme=_theme(),
            css_paths=[_FOLDER / f"{name}.css" for name in _STYLES],
            js=_scripts(),
            app_kwargs={
                "middleware": [Middleware(Guard, rules_for(login))],
                "exception_handlers": {MalformedError: _answer_malformed},
                "dependencies": [Depends(_require_session)],
            },
        )
    except OSError as error:
        raise TutorError(
            f"Can't listen on {settings.host}, port {settings.port}: {error}. "
            "Choose another with --host and --port."
        ) from error
    if login:
        login.started.set()
    print(f"RAG Tutor is ready: http://{host}:{settings.port}", flush=True)
    live.start()
    threading.Thread(target=_warm_up, args=(tutor,), daemon=True).start()
    page.block_thread()


def build_page(tutor: Tutor, settings: Settings, live: LiveIndex) -> gr.Blocks:
    """The whole page, not served yet."""
    page = _Page(
        title="RAG Tutor",
        analytics_enabled=False,
        fill_width=True,
        delete_cache=(_UPLOAD_SECONDS, _UPLOAD_SECONDS),
    )
    with page:
        gr.HTML(_HEADER)
        shown = notes_html.chip_html(live.state)
        chip = gr.HTML(shown, elem_id="index-chip", js_on_load=CHIP_SCRIPT)
        timer = gr.Timer(_SECONDS_BETWEEN_LOOKS)
        with gr.Tabs(elem_id="pages"):
            with gr.Tab("Chat"):
                connect_chat = chat_page(tutor, settings, live)
            with gr.Tab("Notes") as notes_tab:
                list_notes, draft, lists = notes_page(lambda: tutor.settings, live, chip, timer)
            with gr.Tab("Settings") as settings_tab:
                settings_page(page, settings_tab, tutor, _model_change(tutor, live))
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        connect_chat(page)
        page.load(list_notes, draft, lists, **quiet)
        notes_tab.select(list_notes, draft, lists, **quiet)
    return page


class _Page(gr.Blocks):
    """Refuses what no page sends before anything is done with it.

    Gradio itself would fetch a file that is named by a web address; a text with half a pair of
    characters can be neither kept, searched for nor sent back.
    """

    async def process_api(
        self, block_fn: Any, inputs: list[Any], *rest: Any, **named: Any
    ) -> dict[str, Any]:
        """Do what an event asks for, if it can be used."""
        event, request = named.get("event_data"), named.get("request")
        try:
            _refuse_unusable([inputs, event and event._data])
            return await super().process_api(block_fn, inputs, *rest, **named)
        except gr.Error as error:  # no event of ours raises one for another reason
            _log.error("Refused what no page sends to %r.", block_fn.name)
            for each in request if isinstance(request, list) else [request]:
                if each and each.request:
                    each.request.scope[MALFORMED] = True
            raise MalformedError(error.message) from error

    async def preprocess_data(self, block_fn: Any, *rest: Any, **named: Any) -> list[Any]:
        """What an event's function is called with; an empty box may be sent as nothing."""
        try:
            read = await super().preprocess_data(block_fn, *rest, **named)
        except gr.Error:
            raise
        except Exception as error:
            kind = type(error.__cause__ or error).__name__
            raise MalformedError(
                f"The page sent what can't be read ({kind}). Load it again."
            ) from error
        return [
            _EMPTY.get(type(part)) if value is None else value
            for part, value in zip(block_fn.inputs, read, strict=True)
        ]

    async def postprocess_data(
        self, block_fn: Any, predictions: Any, *rest: Any, **named: Any
    ) -> list[Any]:
        """What the browser is told of an event's outputs.

        Gradio makes each component anew that an event leaves alone: 3 ms for a chat, with every
        look and for every page that waits. So it is only told of the others.
        """
        given = {} if predictions == gr.skip() else predictions
        if not isinstance(given, dict) or not all(isinstance(part, Block) for part in given):
            return await super().postprocess_data(block_fn, predictions, *rest, **named)
        changed = copy.copy(block_fn)
        changed.outputs = [part for part in block_fn.outputs if part in given]
        shown = await super().postprocess_data(changed, given, *rest, **named) if given else []
        values = dict(zip(changed.outputs, shown, strict=True))
        return [values.get(part, None if part.stateful else gr.skip()) for part in block_fn.outputs]


def _refuse_unusable(sent: Any) -> None:
    try:
        traverse(sent, _refuse, _is_refused)
    except RecursionError as error:
        raise MalformedError("What was sent is nested too deep.") from error


async def _require_session(request: Request) -> None:
    """Refuse a session without a name, for which Gradio's queue has no place."""
    if not request.url.path.startswith("/gradio_api/queue/join"):
        return
    try:
        sent = await request.json()
    except (ValueError, RecursionError):
        return  # Gradio answers that
    if isinstance(sent, dict) and sent.get("session_hash") == "":
        raise HTTPException(400, "The session has no name. Load the page again.")


async def _answer_malformed(request: Request, error: Exception) -> Response:
    """The answer to a call of a function that the page's script calls by name."""
    _log.error("Refused what no page sends to %s.", request.url.path)
    return JSONResponse({"detail": getattr(error, "message", "")}, status_code=400)


def _is_refused(value: Any) -> bool:
    if isinstance(value, str):
        return not is_unicode(value)
    return bool(is_file_obj_with_meta(value) and is_http_url_like(value["path"]))


def _refuse(value: str | dict[str, Any]) -> None:
    message = (
        "This text holds signs that are no valid Unicode. Type it again."
        if isinstance(value, str)
        else "Upload the file itself: nothing is fetched from other hosts."
    )
    raise MalformedError(message)


def _model_change(tutor: Tutor, live: LiveIndex) -> ModelChange:
    def load_encoder(name: str) -> Encoder:
        from rag_tutor.encoding import load_encoder

        return load_encoder(name)

    def load_generator(name: str) -> Generator:
        from rag_tutor.generation import load_generator

        return load_generator(name)

    def download(name: str, tell_missing: Callable[[int], None]) -> None:
        from rag_tutor.hub import download

        download(name, tell_missing)

    return ModelChange(tutor, load_encoder, load_generator, download, live.held)


def _call_allocator(function: str, *values: int) -> None:
    """Call a function of the GNU C library's allocator; other libraries have none of them."""
    if sys.platform == "linux":
        call = getattr(ctypes.CDLL(None), function, None)
        if call:
            call(*values)


def _warm_up(tutor: Tutor) -> None:
    gc.disable()  # as for Gradio's import
    try:
        tutor.warm_up()
    except TutorError:
        return  # the first question meets the same error and shows it where it is read
    finally:
        gc.enable()
    _call_allocator("malloc_trim", 0)  # loading models leaves holes of 40 MB


def _scripts() -> str:
    """One function that calls each script's own; none sees another's names."""
    files = [(_FOLDER / f"{name}.js").read_text(encoding="utf-8") for name in _SCRIPTS]
    # A script begins with a comment and ends with its function's brace.
    calls = "\n".join(f"({text.rstrip()}\n)();" for text in files)
    return f"() => {{\n{calls}\n}}"


def _theme() -> gr.themes.Base:
    sans = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif")
    mono = ("ui-monospace", "SF Mono", "Cascadia Mono", "DejaVu Sans Mono", "monospace")
    theme = gr.themes.Base(
        primary_hue="indigo",
        neutral_hue="stone",
        radius_size="md",
        font=sans,
        font_mono=mono,
    )
    return theme.set(
        body_background_fill="#faf9f6",
        body_background_fill_dark="#171614",
        background_fill_primary="#ffffff",
        background_fill_primary_dark="#211f1c",
        block_background_fill="transparent",
        block_background_fill_dark="transparent",
        block_border_width="0px",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_500",
        button_primary_text_color="white",
        button_large_text_size="*text_md",
        button_large_radius="0.55rem",
        button_small_radius="0.5rem",
        button_border_width="1px",
        button_secondary_background_fill="transparent",
        button_secondary_background_fill_dark="transparent",
        button_secondary_background_fill_hover="transparent",
        button_secondary_background_fill_hover_dark="transparent",
        button_secondary_border_color="#d6cfc4",
        button_secondary_border_color_dark="#4b4640",
        input_background_fill="#ffffff",
        input_background_fill_dark="#211f1c",
    )
