import os
from pathlib import Path

import pytest

from rag_tutor.atomic import remove_left_overs, replace_file, sync_folder


def test_a_file_is_replaced_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "note.md"
    replace_file(path, b"old")
    replace_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_replacement_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "note.md"
    path.mkdir()
    with pytest.raises(OSError, match=r"note\.md"):
        replace_file(path, b"new")
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_synced_only_where_it_can_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync_folder(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync_folder(tmp_path / "missing")
    monkeypatch.delattr(os, "O_DIRECTORY")  # as on Windows
    sync_folder(tmp_path / "missing")


def test_left_overs_go_after_a_while_and_nothing_else_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", killed)
        patch.setattr(Path, "unlink", killed)  # nothing is tidied up
        with pytest.raises(KeyboardInterrupt):
            replace_file(tmp_path / "note.md", b"new")
    (tmp_path / ".mine.tmp").touch()
    os.utime(tmp_path / ".mine.tmp", (0, 0))
    remove_left_overs(tmp_path)
    [left_over] = set(tmp_path.iterdir()) - {tmp_path / ".mine.tmp"}  # it may be in use
    os.utime(left_over, (0, 0))
    remove_left_overs(tmp_path)
    assert list(tmp_path.iterdir()) == [tmp_path / ".mine.tmp"]
