import json
from pathlib import Path

import pytest

from rag_tutor.__main__ import main
from rag_tutor.config import Settings, settings_from
from rag_tutor.errors import SettingsError
from rag_tutor.preferences import preferences_file, save_preferences, saved_preferences


def test_saved_choices_go_above_the_defaults_and_below_the_environment() -> None:
    save_preferences(Settings(generator="chosen", passages=7, answer_length="short"))
    saved = settings_from({}, saved_preferences())
    assert (saved.generator, saved.passages, saved.answer_length) == ("chosen", 7, "short")
    assert saved.encoder == Settings().encoder

    named = {"RAG_TUTOR_PASSAGES": "3", "RAG_TUTOR_ANSWER_LENGTH": "detailed"}
    above = settings_from(named, saved_preferences())
    assert (above.generator, above.passages, above.answer_length) == ("chosen", 3, "detailed")


def test_the_command_line_goes_above_all(
    index: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_preferences(Settings(encoder="saved"))
    for named, wanted in ([], "saved"), (["--encoder", "typed"], "typed"):
        assert main(["ask", "What is a cell?", "--index", str(index), *named]) == 1
        assert f"not {wanted!r}" in capsys.readouterr().err
    monkeypatch.setenv("RAG_TUTOR_ENCODER", "exported")
    assert main(["ask", "What is a cell?", "--index", str(index)]) == 1
    assert "not 'exported'" in capsys.readouterr().err


def test_one_choice_keeps_the_others_and_a_default_is_not_kept() -> None:
    save_preferences(Settings(generator="chosen", passages=7))
    save_preferences(Settings(generator="of this start only", passages=2), ("passages",))
    assert saved_preferences() == {"generator": "chosen", "passages": 2}
    save_preferences(Settings(), ("passages",))
    assert json.loads(preferences_file().read_text(encoding="utf-8")) == {"generator": "chosen"}


@pytest.mark.parametrize(
    "content",
    [
        "not json",
        "[]",
        "5",
        "null",
        "[" * 100_000,
        '{"passages": 0}',
        '{"passages": "many"}',
        '{"passages": null}',
        '{"answer_length": "endless"}',
        '{"generator": ""}',
        '{"encoder": 5}',
        '{"port": 80}',
        b"\xff\xfe\x00",
    ],
)
def test_a_file_that_cant_be_used_is_named_and_not_replaced(
    content: str | bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    written = content if isinstance(content, bytes) else content.encode()
    preferences_file().parent.mkdir()
    preferences_file().write_bytes(written)
    assert main(["search", "What is a cell?"]) == 1
    said = capsys.readouterr().err
    assert str(preferences_file()) in said
    assert "delete it" in said
    assert len(said.strip().splitlines()) == 1
    with pytest.raises(SettingsError):
        save_preferences(Settings(passages=7))
    assert preferences_file().read_bytes() == written


@pytest.mark.parametrize(
    "named",
    [
        {"RAG_TUTOR_PASSAGES": "0"},
        {"RAG_TUTOR_PASSAGES": "21"},
        {"RAG_TUTOR_PASSAGES": "²"},
        {"RAG_TUTOR_PASSAGES": "five"},
        {"RAG_TUTOR_ANSWER_LENGTH": "Normal"},
    ],
)
def test_a_wrong_value_in_the_environment_is_named(named: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=r"choose .*environment"):
        settings_from(named)


def test_a_folder_that_cant_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("RAG_TUTOR_DATA", str(tmp_path / "file" / "data"))
    with pytest.raises(SettingsError, match="file"):
        save_preferences(Settings(passages=7))
