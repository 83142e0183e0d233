"""The settings page: how answers are made, how the pages look, which models are in use and what
the index holds.

It knows nothing of how a model is loaded or an index built. What is chosen here holds for all
windows, but the theme, which each browser keeps for itself.
"""

import html
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from rag_tutor.chat_server import EXAMPLE, what_leaves
from rag_tutor.config import (
    ANSWER_LENGTHS,
    DEFAULT_ENCODER,
    DEFAULT_GENERATOR,
    Settings,
    read_answer_length,
    read_passages,
    settings_from,
)
from rag_tutor.errors import SettingsError, TutorError
from rag_tutor.inventory import IndexFacts, ModelFacts, index_facts, model_facts
from rag_tutor.preferences import KEPT, save_preferences, saved_preferences
from rag_tutor.switching import Change, ModelChange, generator_name, model_name
from rag_tutor.tutor import Tutor
from rag_tutor.ui import render

Update = dict[Any, Any]

_PASSAGES = (2, 3, 5, 8, 12, 20)
_POLL_SECONDS = 0.3
_FOLDER_OR_HUB = "A folder on this computer, or an id of Hugging Face, which is downloaded."
_OR_SERVER = f"{_FOLDER_OR_HUB} Or a server's address and model, such as {EXAMPLE}."
_HINT = "Takes effect with the next answer."
_LOAD = "Use these models"
_REBUILD = "Rebuild and use"
_UNTIL_LOADED = "Answers come from the present models until the new one is loaded."
_UNTIL_REBUILT = "Until that is done, answers come from the present index."
_QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
_SAY_THEME = "(theme) => document.dispatchEvent(new CustomEvent('tutor:theme', {detail: theme}))"
_KEPT_THEME = "() => localStorage.getItem('rag-tutor-theme') ?? 'system'"


@dataclass(frozen=True, slots=True)
class _Parts:
    """The components of the page that change."""

    passages: gr.Radio
    length: gr.Radio
    answers_message: gr.HTML
    theme: gr.Radio
    models: gr.HTML
    generator: gr.Textbox
    encoder: gr.Textbox
    models_message: gr.HTML
    apply: gr.Button
    defaults: gr.Button
    cancel: gr.Button
    index: gr.HTML

    @property
    def shown(self) -> list[Any]:
        """All that a look at the settings in use may change."""
        choices = [self.passages, self.length, self.generator, self.encoder]
        buttons = [self.apply, self.cancel]
        return [*choices, *buttons, self.models, self.models_message, self.index]


def choose_passages(tutor: Tutor, passages: int) -> str:
    """Read as many passages for the next answers, and keep that choice; says so.

    Raises SettingsError for a number that can't be used, or if it can't be kept.
    """
    chosen = replace(tutor.settings, passages=read_passages(str(passages)))
    tutor.use(chosen)
    save_preferences(chosen, ("passages",))
    return f"Saved. The next answer reads {_passages(chosen.passages)}."


def choose_length(tutor: Tutor, length: str) -> str:
    """Write the next answers at such length, and keep that choice. Raises as above."""
    chosen = replace(tutor.settings, answer_length=read_answer_length(length))
    tutor.use(chosen)
    save_preferences(chosen, ("answer_length",))
    return f"Saved. The next answer is {chosen.answer_length}."


def _passages(count: int) -> str:
    return "1 passage" if count == 1 else f"{count} passages"


def announcement(tutor: Tutor, encoder: str, generator: str) -> tuple[str, bool]:
    """What taking these models means, and whether the index has to be rebuilt for them.

    Nothing is said of the two in use. Raises SettingsError for a name that no model can have.
    """
    encoder, generator = model_name(encoder), generator_name(generator)
    is_new = generator != tutor.settings.generator
    sent = what_leaves(generator) if is_new else ""
    if encoder != tutor.settings.encoder:
        return f"{_rebuild_warning(tutor.settings)} {_UNTIL_REBUILT} {sent}".rstrip(), True
    if is_new:
        return f"No rebuild is needed. {_UNTIL_LOADED} {sent}".rstrip(), False
    return "", False


def _rebuild_warning(settings: Settings) -> str:
    try:
        chunks = f"All {index_facts(settings.index).chunks:,} chunks"
    except TutorError:
        chunks = "All notes"
    return f"Another encoder needs a new index. {chunks} are encoded again, which takes a while."


def settings_page(page: gr.Blocks, tab: gr.Tab, tutor: Tutor, change: ModelChange) -> None:
    """Build the settings page in its tab of the whole page."""
    in_use = tutor.settings
    with gr.Column(elem_id="settings"):
        passages, length, said = _answers_section()
        theme = _appearance_section()
        models, generator, encoder, message, apply, defaults, cancel = _models_section()
        index = _index_section()
    choices = (passages, length, said, theme, models, generator, encoder)
    parts = _Parts(*choices, message, apply, defaults, cancel, index)
    pinned = _pinned(in_use)
    _connect_choices(parts, tutor)
    _connect_models(parts, tutor, change, pinned)

    def on_load() -> Iterator[Update]:
        in_use = tutor.settings
        numbers = [(str(number), number) for number in sorted({*_PASSAGES, in_use.passages})]
        passages = gr.update(choices=numbers, value=in_use.passages)
        choices = {parts.passages: passages, parts.length: in_use.answer_length}
        yield choices | _names(parts, in_use)
        yield from _follow(parts, change)
        yield _in_use_shown(parts, tutor, change, pinned)

    # What is being typed there stays when the page is opened again.
    def on_open(encoder: str, generator: str) -> Iterator[Update]:
        yield from _followed(parts, tutor, change, pinned, encoder, generator)

    unending: dict[str, Any] = _QUIET | {"concurrency_limit": None}
    page.load(on_load, None, parts.shown, **unending)
    tab.select(on_open, [parts.encoder, parts.generator], parts.shown, **unending)
    page.load(None, None, parts.theme, js=_KEPT_THEME, **_QUIET)


def _answers_section() -> tuple[gr.Radio, gr.Radio, gr.HTML]:
    with gr.Column(elem_classes="section"):
        gr.HTML("<h2>Answers</h2>")
        passages = gr.Radio(
            label="Passages that are read for an answer",
            info="More of them find more, and take longer.",
            elem_id="passages",
        )
        length = gr.Radio(
            [(name.capitalize(), name) for name in ANSWER_LENGTHS],
            label="Length of answers",
            elem_id="answer-length",
        )
        return passages, length, gr.HTML(_say(_HINT), elem_id="answers-message")


def _appearance_section() -> gr.Radio:
    with gr.Column(elem_classes="section"):
        gr.HTML("<h2>Appearance</h2>")
        return gr.Radio(
            [("System", "system"), ("Light", "light"), ("Dark", "dark")],
            label="Theme",
            info="Kept in this browser.",
            elem_id="theme",
        )


def _models_section() -> tuple[
    gr.HTML, gr.Textbox, gr.Textbox, gr.HTML, gr.Button, gr.Button, gr.Button
]:
    with gr.Column(elem_classes="section"):
        gr.HTML("<h2>Models</h2>")
        facts = gr.HTML("", elem_id="models")
        generator = _model_box("Generator, which writes the answers", "generator", _OR_SERVER)
        encoder = _model_box("Encoder, which finds the passages", "encoder", _FOLDER_OR_HUB)
        message = gr.HTML("", elem_id="models-message")
        with gr.Row(elem_id="models-buttons"):
            apply = gr.Button(_LOAD, variant="primary", elem_id="use-models", interactive=False)
            defaults = gr.Button("Name the defaults", elem_id="default-models")
            # Not where the first button was: a double click must not start and cancel.
            cancel = gr.Button("Cancel", elem_id="cancel-models", visible=False)
    return facts, generator, encoder, message, apply, defaults, cancel


def _index_section() -> gr.HTML:
    with gr.Column(elem_classes="section"):
        gr.HTML("<h2>Index</h2>")
        return gr.HTML("", elem_id="index-facts")


def _connect_choices(parts: _Parts, tutor: Tutor) -> None:
    """Say what keeps the choices on answers and the theme."""

    def on_passages(passages: int) -> str:
        return _said(lambda: choose_passages(tutor, passages))

    def on_length(length: str) -> str:
        return _said(lambda: choose_length(tutor, length))

    said = parts.answers_message
    latest = _QUIET | {"trigger_mode": "always_last"}
    parts.passages.input(on_passages, parts.passages, said, **latest)
    parts.length.input(on_length, parts.length, said, **latest)
    parts.theme.input(None, parts.theme, None, js=_SAY_THEME)


def _said(choose: Callable[[], str]) -> str:
    try:
        return _say(choose())
    except SettingsError as error:
        return _warn(error)


def _connect_models(parts: _Parts, tutor: Tutor, change: ModelChange, pinned: str) -> None:
    """Say what announces, starts, follows and cancels a change of models."""

    def announce(encoder: str, generator: str) -> Update:
        if change.progress.state == "running":
            return {parts.apply: gr.skip()}
        return _announce(parts, tutor, change, encoder, generator)

    def on_apply(encoder: str, generator: str, label: str) -> Iterator[Update]:
        announced = _announce(parts, tutor, change, encoder, generator)
        # A rebuild starts only from a button that names it: the announcement may be on its way.
        if label != announced[parts.apply]["value"]:
            yield announced
            return
        try:
            change.start(encoder, generator)
        except SettingsError as error:
            yield {parts.models_message: _warn(error)}
            return
        yield from _followed(parts, tutor, change, pinned, encoder, generator)

    def on_defaults() -> Update:
        names = {parts.encoder: DEFAULT_ENCODER, parts.generator: DEFAULT_GENERATOR}
        return names | announce(DEFAULT_ENCODER, DEFAULT_GENERATOR)

    typed = [parts.encoder, parts.generator]
    said = [*typed, parts.apply, parts.models_message]
    for box in typed:
        box.change(announce, typed, said, trigger_mode="always_last", **_QUIET)
    parts.defaults.click(on_defaults, None, said, **_QUIET)
    parts.apply.click(
        on_apply, [*typed, parts.apply], parts.shown, concurrency_limit=None, **_QUIET
    )
    parts.cancel.click(change.cancel, None, None, queue=False, **_QUIET)


def _announce(
    parts: _Parts, tutor: Tutor, change: ModelChange, encoder: str, generator: str
) -> Update:
    try:
        text, rebuilds = announcement(tutor, encoder, generator)
    except SettingsError as error:
        button = gr.update(value=_LOAD, interactive=False)
        return {parts.apply: button, parts.models_message: _warn(error)}
    button = gr.update(value=_REBUILD if rebuilds else _LOAD, interactive=bool(text))
    message = _say(text) if text else _outcome_html(change.progress)
    return {parts.apply: button, parts.models_message: message}


def _follow(parts: _Parts, change: ModelChange) -> Iterator[Update]:
    """Show a change of models as long as it goes on, also after a reload."""
    while (now := change.progress).state == "running":
        yield {
            parts.apply: gr.update(interactive=False),
            parts.cancel: gr.update(visible=True),
            parts.models_message: _progress_html(now),
        }
        time.sleep(_POLL_SECONDS)


def _followed(
    parts: _Parts, tutor: Tutor, change: ModelChange, pinned: str, encoder: str, generator: str
) -> Iterator[Update]:
    """Show a change of models as long as it goes on, and then the two that are in use; but names
    that were typed stay if nothing came of them, so that they can be mended.
    """
    was_running = change.progress.state == "running"
    yield from _follow(parts, change)
    is_made = was_running and change.progress.state == "done"
    if is_made or not (encoder and generator):  # empty until the page is loaded
        yield _in_use_shown(parts, tutor, change, pinned)
    else:
        yield _result(parts, tutor, change, pinned, encoder, generator)


def _result(
    parts: _Parts, tutor: Tutor, change: ModelChange, pinned: str, encoder: str, generator: str
) -> Update:
    """Show what is in use and what the last change came to, beside the two names typed."""
    in_use, last = tutor.settings, change.progress
    shown = _announce(parts, tutor, change, encoder, generator)
    if last.state == "failed":
        shown[parts.models_message] = _outcome_html(last)
    return shown | {
        parts.cancel: gr.update(visible=False),
        parts.models: models_html(model_facts(in_use)) + (_say(pinned) if pinned else ""),
        parts.index: _index_html(in_use),
    }


def _in_use_shown(parts: _Parts, tutor: Tutor, change: ModelChange, pinned: str) -> Update:
    names = tutor.settings.encoder, tutor.settings.generator
    return _names(parts, tutor.settings) | _result(parts, tutor, change, pinned, *names)


def _names(parts: _Parts, settings: Settings) -> Update:
    return {parts.generator: settings.generator, parts.encoder: settings.encoder}


def _outcome_html(change: Change) -> str:
    return render.message_html(change.text, failed=change.state == "failed")


def models_html(models: list[ModelFacts]) -> str:
    """What each model does, its name, where it comes from and its size, as a list."""
    rows = (
        f"<div><dt>{model.role}</dt><dd><strong>{html.escape(model.name)}</strong></dd>"
        f'<dd class="size">{size_text(model.size) if model.size else ""}</dd>'
        f'<dd class="origin">{html.escape(model.origin)}</dd></div>'
        for model in models
    )
    return f'<dl class="facts">{"".join(rows)}</dl>'


def index_html(facts: IndexFacts) -> str:
    """What the index holds, as a list."""
    rows = {
        "Notes": f"{facts.notes:,}",
        "Chunks": f"{facts.chunks:,}",
        "Vectors": f"{facts.vectors:,} of {facts.dimension} numbers, for chunks and sentences",
        "On disk": size_text(facts.size),
        "Built": f"{facts.built:%d %B %Y, %H:%M}",
        "Built with": facts.encoder,
    }
    items = (
        f"<div><dt>{name}</dt><dd>{html.escape(text)}</dd></div>" for name, text in rows.items()
    )
    return f'<dl class="facts">{"".join(items)}</dl>'


def size_text(size: int) -> str:
    """Bytes in the unit that a person would use."""
    if size < 1_000_000:
        return f"{size / 1000:,.0f} kB"
    return f"{size / 1e6:,.0f} MB" if size < 1_000_000_000 else f"{size / 1e9:,.1f} GB"


def _say(text: str) -> str:
    return render.message_html(text, failed=False)


def _warn(error: TutorError) -> str:
    return render.message_html(str(error), failed=True)


def _index_html(settings: Settings) -> str:
    try:
        return index_html(index_facts(settings.index))
    except TutorError as error:
        return _warn(error)


def _progress_html(change: Change) -> str:
    share = f' value="{change.done}" max="{change.total}"' if change.total else ""
    bar = f'<progress aria-label="Progress"{share}></progress>'
    return _say(change.text) + bar


def _pinned(settings: Settings) -> str:
    """That the command line or the environment goes before what is chosen here, where it does."""
    chosen = settings_from({}, saved_preferences())
    names = [name for name in KEPT if getattr(settings, name) != getattr(chosen, name)]
    if not names:
        return ""
    named = " and ".join(name.replace("_", " ") for name in names)
    return (
        f"The command line or the environment sets the {named}, and does so again at the next "
        "start, whatever is chosen here."
    )


def _model_box(label: str, elem_id: str, info: str) -> gr.Textbox:
    return gr.Textbox(
        "",
        elem_id=elem_id,
        label=label,
        info=info,
        max_lines=1,
    )
