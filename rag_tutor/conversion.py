"""Keeps the text of PDF, Office, HTML, EPUB and notebook files beside them, for `corpus` to
read; knows nothing of what is inside such a file.

    corpus/
      lecture.pdf                              the original, never touched
      .rag-tutor/converted-1/lecture.pdf.md        its text: what citations count characters of
      .rag-tutor/converted-1/lecture.pdf.reason    or why there is none

Either bears the original's time of change; another time means that it has to be made again.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from rag_tutor.atomic import replace_file
from rag_tutor.converter import MAX_SECONDS, REFUSED
from rag_tutor.corpus import converted_path, failure_path, is_converted, needs_conversion
from rag_tutor.errors import CorpusError

MAX_FILE_BYTES = 100_000_000

Progress = Callable[[int, int], None]


def convert_missing(
    folder: Path, names: Sequence[str], progress: Progress | None = None, again: bool = False
) -> None:
    """Convert the notes that have no text of their present state, and forget those that went.

    `again` also tries those that failed before. `progress` is called with the number of files
    done and to do. Raises CorpusError if the texts can't be kept.
    """
    waiting = [name for name in names if needs_conversion(folder, name)]
    if again:
        converted = (name for name in names if is_converted(name))
        waiting += [name for name in converted if failure_path(folder, name).exists()]
    waiting = list(dict.fromkeys(waiting))
    for done, name in enumerate(waiting):
        if progress:
            progress(done, len(waiting))
        _convert(folder, name)
    _forget_others(folder, names)


def _convert(folder: Path, name: str) -> None:
    """Write the text of a file, or the reason why there is none, beside it."""
    original = folder / name
    text, failure = converted_path(folder, name), failure_path(folder, name)
    try:
        status = original.stat()
        reason = _too_large(status.st_size)
        made, content = (failure, reason.encode()) if reason else _run(original, text, failure)
        made.parent.mkdir(parents=True, exist_ok=True)
        replace_file(made, content)
        # Before the new one counts, so that a crash in between can't leave both.
        (text if made == failure else failure).unlink(missing_ok=True)
        os.utime(made, ns=(status.st_atime_ns, status.st_mtime_ns))
    except FileNotFoundError:
        return  # it went away meanwhile, and so does its text
    except OSError as error:
        raise CorpusError(
            f"The text of {name} can't be kept in {text.parent}: {error.strerror}. "
            "Make room or mend the folder's rights."
        ) from error


def _run(original: Path, text: Path, failure: Path) -> tuple[Path, bytes]:
    """Convert in a process of its own; returns the file to write, and its content."""
    command = [sys.executable, "-m", "rag_tutor.converter", str(original)]
    with tempfile.TemporaryFile() as output:
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.PIPE,
                timeout=MAX_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return failure, f"takes more than {MAX_SECONDS} s to convert.".encode()
        output.seek(0)
        if done.returncode == 0:
            return text, output.read()
    if done.returncode == REFUSED:
        return failure, done.stderr.strip().splitlines()[-1]
    return failure, b"is damaged: it brings the converter down."


def _too_large(size: int) -> str:
    if size > MAX_FILE_BYTES:
        return f"is larger than {MAX_FILE_BYTES // 1_000_000} MB. Split it into several files."
    return ""


def _forget_others(folder: Path, names: Sequence[str]) -> None:
    """Delete the texts of notes that are gone."""
    root = converted_path(folder, "x").parent
    converted = [name for name in names if is_converted(name)]
    kept = {converted_path(folder, name) for name in converted}
    kept |= {failure_path(folder, name) for name in converted}
    for path in root.rglob("*") if root.is_dir() else ():
        if path.is_file() and path not in kept:
            path.unlink(missing_ok=True)
    for other in root.parent.glob("converted-*"):
        if other != root:
            shutil.rmtree(other, ignore_errors=True)
