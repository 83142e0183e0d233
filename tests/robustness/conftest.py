"""How hard to try: a few dozen crashes and some hundred bad files and calls in each run of the
tests, and hundreds and thousands of them with RAG_TUTOR_ROBUSTNESS=full in the environment:

    RAG_TUTOR_ROBUSTNESS=full pytest tests/robustness

What came of them stands in the properties of the tests, for benchmarks/robustness.py.
"""

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

Record = Callable[[str, object], None]


def record(record_property: Record, outcomes: Mapping[str, int], longest: float) -> None:
    """Note how often each outcome came of what a test tried, and the most seconds it took."""
    for outcome, times in sorted(outcomes.items()):
        record_property(outcome, times)
    record_property("longest", round(longest, 2))


@pytest.fixture
def is_full() -> bool:
    return os.environ.get("RAG_TUTOR_ROBUSTNESS") == "full"


class Disk:
    """A small file system of its own, which can be filled up or made read-only."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filling = folder / "filling"

    def leave(self, size: int) -> None:
        """Fill it up to so many bytes."""
        self.make_room()
        free = os.statvfs(self.folder).f_bavail * os.statvfs(self.folder).f_frsize
        with self._filling.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(free - size, 1))

    def make_room(self) -> None:
        self._filling.unlink(missing_ok=True)

    def allow_writing(self, is_allowed: bool) -> None:
        options = "remount,rw" if is_allowed else "remount,ro"
        subprocess.run(["mount", "-o", options, str(self.folder)], check=True)  # noqa: S607


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount")
    if mounted.returncode:
        pytest.skip(f"a file system can't be mounted here: {mounted.stderr.strip()}")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", str(folder)], check=True)  # noqa: S607
