"""Other models come into use only when all of them work, and answers never stop meanwhile."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from rag_tutor.domain import Encoder, Generator, Message, Span, TextStream, Vectors
from rag_tutor.errors import ModelUnavailableError, SettingsError
from rag_tutor.generation import load_generator
from rag_tutor.inventory import index_facts
from rag_tutor.preferences import saved_preferences
from rag_tutor.switching import Change, ModelChange, generator_name, model_name
from rag_tutor.tutor import Tutor
from rag_tutor.ui.settings import announcement, choose_length, choose_passages
from tests.conftest import MakeTutor
from tests.fakes import HashedEncoder, ScriptedGenerator, says, serving

CROWNED = "Napoleon was crowned emperor in 1804 in Paris."
QUESTION = "When was Napoleon crowned emperor?"
SECONDS = 20


class ShortEncoder(HashedEncoder):
    """Another encoder, with shorter vectors; waits before it encodes a note."""

    name = "short"
    dimension = 64

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Event()
        self.may_go_on = threading.Event()

    def encode_passages(
        self, texts: Sequence[str], sentences: Sequence[Sequence[Span]]
    ) -> tuple[Vectors, Vectors]:
        self.asked.set()
        assert self.may_go_on.wait(SECONDS)
        return super().encode_passages(texts, sentences)


class DumbGenerator(ScriptedGenerator):
    """Loads, but can't write."""

    name = "dumb"

    def stream(self, messages: Sequence[Message], max_tokens: int) -> TextStream:
        raise RuntimeError("this model has no head")


class PoliteGenerator(ScriptedGenerator):
    """Another generator."""

    name = "polite"


def nothing_to_download(name: str, tell_missing: Callable[[int], None]) -> None:
    pass


def never_download(name: str, tell_missing: Callable[[int], None]) -> None:
    raise AssertionError(f"{name} is of no hub")


def change_of(
    tutor: Tutor,
    encoder: Encoder | None = None,
    generator: Generator | None = None,
    download: Callable[[str, Callable[[int], None]], None] = nothing_to_download,
) -> ModelChange:
    def load_encoder(name: str) -> Encoder:
        if encoder is None or name != encoder.name:
            raise ModelUnavailableError(f"There is no encoder {name}.")
        return encoder

    def load_generator(name: str) -> Generator:
        if generator is None or name != generator.name:
            raise ModelUnavailableError(f"There is no generator {name}.")
        return generator

    return ModelChange(tutor, load_encoder, load_generator, download)


def wait(change: ModelChange, until: Callable[[Change], bool]) -> Change:
    for _ in range(SECONDS * 100):
        now = change.progress
        if until(now):
            return now
        threading.Event().wait(0.01)
    raise AssertionError(f"still {change.progress}")


def finished(change: ModelChange) -> Change:
    return wait(change, lambda now: now.state != "running")


def ask(tutor: Tutor, question: str = QUESTION) -> str:
    return list(tutor.reply(question))[-1].turn.answer.text


def test_another_encoder_takes_over_when_its_index_is_built(
    make_tutor: MakeTutor, index: Path
) -> None:
    tutor, encoder = make_tutor(), ShortEncoder()
    change = change_of(tutor, encoder)
    assert "1804" in ask(tutor)
    change.start("short", tutor.settings.generator)
    assert encoder.asked.wait(SECONDS)
    assert wait(change, lambda now: now.total > 0).text.startswith("Rebuilding the index: 0 of")
    while_changing = ask(tutor, "When was Napoleon crowned?")
    assert "1804" in while_changing, "the old index answers until the new one is there"
    with pytest.raises(SettingsError, match="Wait"):
        change.start("short", tutor.settings.generator)

    replies = tutor.reply("When was Napoleon crowned emperor in Paris?")
    next(replies)  # this answer is on its way when the models change
    encoder.may_go_on.set()
    assert finished(change).state == "done"
    assert "1804" in list(replies)[-1].turn.answer.text
    assert "1804" in ask(tutor)
    assert index_facts(index).encoder == "short"
    assert index_facts(index).dimension == 64
    assert tutor.encoder is encoder
    assert saved_preferences() == {"encoder": "short"}


def test_a_cancelled_rebuild_leaves_all_as_it_was(make_tutor: MakeTutor, index: Path) -> None:
    tutor, encoder = make_tutor(), ShortEncoder()
    change = change_of(tutor, encoder)
    facts = index_facts(index)
    change.start("short", tutor.settings.generator)
    assert encoder.asked.wait(SECONDS)
    change.cancel()
    encoder.may_go_on.set()
    end = finished(change)
    assert (end.state, end.text[:10]) == ("failed", "Cancelled.")
    assert index_facts(index) == facts
    assert tutor.encoder.name == "hashed"
    assert "1804" in ask(tutor)
    assert saved_preferences() == {}


@pytest.mark.parametrize(
    ("finds", "writes", "reason"),
    [
        ("hashed", "nowhere", "There is no generator nowhere"),
        ("nowhere", "SmolLM2-135M-Instruct", "There is no encoder nowhere"),
        ("nowhere", "polite", "There is no encoder nowhere"),
        ("hashed", "dumb", "can't write: this model has no head"),
    ],
)
def test_a_model_that_fails_leaves_both_in_use(
    make_tutor: MakeTutor, index: Path, finds: str, writes: str, reason: str
) -> None:
    tutor = make_tutor(ScriptedGenerator("Napoleon was crowned emperor in 1804 in Paris."))
    others = {"polite": PoliteGenerator(), "dumb": DumbGenerator()}
    change = change_of(tutor, generator=others.get(writes))
    settings, facts = tutor.settings, index_facts(index)
    change.start(finds, writes)
    end = finished(change)
    assert end.state == "failed"
    assert reason in end.text
    assert "SmolLM2-135M-Instruct and hashed stay in use" in end.text
    assert (tutor.settings, index_facts(index)) == (settings, facts)
    assert ask(tutor).startswith("Napoleon was crowned")
    assert saved_preferences() == {}


def test_another_generator_writes_the_next_answer_without_a_rebuild(
    make_tutor: MakeTutor, index: Path
) -> None:
    tutor = make_tutor(ScriptedGenerator())
    polite = PoliteGenerator("", "Napoleon was crowned emperor in 1804 in Paris.")
    change = change_of(tutor, generator=polite)
    build = (index / "CURRENT").read_text()
    tutor.use(replace(tutor.settings, passages=2))
    change.start("hashed", "polite")
    assert finished(change).state == "done"
    assert ask(tutor).startswith("Napoleon was crowned emperor in 1804 in Paris. [")
    assert (index / "CURRENT").read_text() == build
    assert tutor.settings.passages == 2, "what was chosen meanwhile stays"
    assert saved_preferences()["generator"] == "polite"


def test_a_download_shows_how_much_of_it_has_arrived(
    make_tutor: MakeTutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rag_tutor.inventory.HF_HUB_CACHE", str(tmp_path))
    blobs = tmp_path / "models--owner--polite" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / "old").write_bytes(b"w" * 7_000_000)
    may_go_on = threading.Event()

    def download(name: str, tell_missing: Callable[[int], None]) -> None:
        tell_missing(4_000_000)
        (blobs / "new.incomplete").write_bytes(b"w" * 1_000_000)
        assert may_go_on.wait(SECONDS)

    change = change_of(make_tutor(), download=download)
    change.start("hashed", "owner/polite")
    now = wait(change, lambda now: now.done > 0)
    assert now.text == "Downloading owner/polite: 1 of 4 MB."
    assert (now.done, now.total) == (1_000_000, 4_000_000)
    may_go_on.set()
    assert "There is no generator owner/polite" in finished(change).text


def test_what_a_change_means_is_said_before_it_is_made(make_tutor: MakeTutor) -> None:
    tutor = make_tutor()
    in_use = tutor.settings
    assert announcement(tutor, in_use.encoder, in_use.generator) == ("", False)
    text, rebuilds = announcement(tutor, in_use.encoder, "owner/model")
    assert "No rebuild" in text
    assert not rebuilds
    text, rebuilds = announcement(tutor, "owner/model", in_use.generator)
    assert "new index" in text
    assert rebuilds


def test_the_number_of_passages_holds_from_the_next_answer_on(make_tutor: MakeTutor) -> None:
    tutor = make_tutor()
    assert "reads 1 passage." in choose_passages(tutor, 1)
    assert "is short" in choose_length(tutor, "short")
    assert len(tutor.search(QUESTION).answer.passages) == 1
    assert saved_preferences() == {"passages": 1, "answer_length": "short"}
    for passages in (0, 21, -1):
        with pytest.raises(SettingsError):
            choose_passages(tutor, passages)
    with pytest.raises(SettingsError):
        choose_length(tutor, "endless")
    assert (tutor.settings.passages, tutor.settings.answer_length) == (1, "short")


def test_a_server_takes_over_once_it_has_written(make_tutor: MakeTutor) -> None:
    tutor = make_tutor()
    encoder = tutor.settings.encoder
    with serving(says(CROWNED)) as server:
        name = f"{server.address}#m"
        assert "sent to" not in announcement(tutor, encoder, name)[0]
        change = ModelChange(tutor, lambda name: HashedEncoder(), load_generator, never_download)
        change.start(encoder, f" {name} ")
        assert finished(change).state == "done"
        assert ask(tutor).startswith(f"{CROWNED} [")
    assert saved_preferences()["generator"] == name

    change.start(encoder, name.replace("#m", "#another"))
    end = finished(change)
    assert end.text.startswith("No server can be reached at")
    assert end.text.endswith(f"{name} and hashed stay in use.")


def test_a_server_elsewhere_is_announced_with_what_it_is_sent(make_tutor: MakeTutor) -> None:
    tutor = make_tutor()
    name = "https://example.org/v1#m"
    for encoder in (tutor.settings.encoder, "owner/model"):
        text, _ = announcement(tutor, encoder, name)
        assert text.endswith("passages of your notes are sent to example.org.")
    with pytest.raises(SettingsError, match="folder"):
        model_name(name)  # no server is an encoder
    assert generator_name("owner/model") == "owner/model"


@pytest.mark.parametrize("text", ["", "  ", "./no/such/folder", "a/b/c", "~/nowhere", "a b", "-x"])
def test_a_name_that_no_model_can_have_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="folder"):
        model_name(text)


def test_a_folder_is_kept_in_full_and_a_hub_id_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    assert model_name(" ./model ") == str(tmp_path / "model")
    assert model_name("owner/model-1.5_b") == "owner/model-1.5_b"
