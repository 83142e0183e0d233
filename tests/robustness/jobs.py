"""Work to be killed at: a process that forks a worker for each line of its input, kills it after
some seconds, or before it calls the system for files so many times, and says so. It has all
modules loaded, so that a worker begins at once.

    {"job": "build", "folder": "...", "seed": 1, "seconds": 0.02, "calls": 0}   ->   killed

A worker writes a line into its log before each step and after it.
"""

import json
import os
import random
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from rag_tutor.conversations import Conversations
from rag_tutor.corpus import create_document, save_document, scan_corpus
from rag_tutor.domain import Answer, Turn
from rag_tutor.indexing import update_index
from rag_tutor.library import delete_note, list_trash, rename_note, restore_note
from rag_tutor.store import open_store
from rag_tutor.ui.drafts import delete_draft, keep_mine, open_note
from tests.fakes import HashedEncoder

NOTES = 6
_FILE_CALLS = frozenset(
    "open write close flush tofile fsync replace rename unlink rmdir mkdir chmod utime"
    " execute".split()
)


class Log:
    """What a worker was about to do and what it has done, in order."""

    def __init__(self, folder: Path) -> None:
        self._file = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, *entry: Any) -> None:
        os.write(self._file, (json.dumps(entry) + "\n").encode())


def revised(name: str, revision: int) -> str:
    """The text of a note at a revision: some sections, all of which tell it."""
    word = f"{Path(name).stem.replace(' ', '')}rev{revision}"
    return f"# {name}\n\n" + "\n\n".join(
        f"## Part {part}\n\n" + f"The word of part {part} is {word}. " * 12 for part in range(4)
    )


def build(folder: Path, seed: int, log: Log) -> None:
    """Revise notes and bring the index up to date, now and then anew."""
    chance = random.Random(seed)
    names, _ = scan_corpus(folder / "notes")
    revisions = dict.fromkeys(names, seed * 1000)
    for step in range(1, 1000):
        changed = chance.sample(names, chance.randint(1, NOTES))
        revisions |= dict.fromkeys(changed, seed * 1000 + step)
        for name in changed:
            save_document(folder / "notes", name, revised(name, revisions[name]))
        log.write("begin")
        update_index(folder / "notes", folder / "index", HashedEncoder(), full=step % 3 == 0)
        log.write("done", open_store(folder / "index").manifest.documents)


def written(name: str) -> str:
    """A text of some size whose end shows whether it is whole."""
    return (
        f"begin {name}\n" + f"{name} is written here.\n" * (sum(name.encode()) * 7) + f"end {name}"
    )


def keep_notes(folder: Path, seed: int, log: Log) -> None:
    """Write, rename, delete and restore notes."""
    chance = random.Random(seed)
    for step in range(1000):
        names, _ = scan_corpus(folder)
        trashed = {each.document: each.key for each in list_trash(folder)}
        times = Counter(each.document for each in list_trash(folder))
        restorable = sorted(name for name in times if times[name] == 1 and name not in names)
        name, new = chance.choice(names), f"note {seed} {step}.md"
        text = written(f"{seed} {step}")
        kind = chance.choice(["create", "save", "rename", "delete", "restore", "keep", "discard"])
        if len(names) < 3:
            kind = "create"
        if kind == "restore" and not restorable:
            kind = "save"
        if kind == "restore":
            name = chance.choice(restorable)
        log.write("begin", kind, name, new, text)
        match kind:
            case "create":
                create_document(folder, new, text)
            case "save":
                save_document(folder, name, text)
            case "rename":
                rename_note(folder, name, new)
            case "delete":
                delete_note(folder, name)
            case "restore":
                restore_note(folder, trashed[name])
            case "keep":
                keep_mine(folder, open_note(folder, name, None).draft, text)
            case "discard":
                delete_draft(folder, open_note(folder, name, None).draft, text)
        log.write("done")


def talk(folder: Path, seed: int, log: Log) -> None:
    """Ask questions whose answers grow, and edit some of them."""
    chance = random.Random(seed)
    kept = Conversations(folder / "conversations.sqlite3")
    for step in range(1000):
        turns = kept.turns("c")
        question = f"question {seed} {step}"
        is_edit = len(turns) > 3 and chance.random() < 0.5
        log.write("begin", "edit" if is_edit else "ask", question)
        if is_edit:
            turn = kept.replace("c", turns[-2].id, question)
        else:
            turn = kept.ask("c", question, len(turns))
        log.write("done")
        text = ""
        for _ in range(chance.randint(1, 4)):
            text += f"{question} is answered. " * 200
            log.write("begin", "grow", text)
            kept.grow(turn, Turn(question, question, Answer(text, (), (), refused=False)))
            log.write("done")
        log.write("begin", "finish", text)
        kept.finish(turn, Turn(question, question, Answer(text, (), (), False)), "done", {}, {})
        log.write("done")


def build_once(folder: Path, seed: int, log: Log) -> None:
    """Build the index anew, and be done with it."""
    update_index(folder / "notes", folder / "index", HashedEncoder(), full=True)
    log.write("done", seed)


JOBS: dict[str, Callable[[Path, int, Log], None]] = {
    "build": build,
    "keep notes": keep_notes,
    "talk": talk,
    "build once": build_once,
}


def main() -> None:
    """Fork, kill and tell, until the input ends."""
    for line in sys.stdin:
        order = json.loads(line)
        folder = Path(order["folder"])
        log = Log(folder)
        worker = os.fork()
        if not worker:
            if order["calls"]:
                die_before_call(order["calls"])
            work(order["job"], folder, order["seed"], log)
        ends, ended = time.monotonic() + order["seconds"], 0
        while not ended and time.monotonic() < ends:
            ended, status = os.waitpid(worker, os.WNOHANG)
            time.sleep(0.001)
        if not ended:
            os.kill(worker, signal.SIGKILL)
            _, status = os.waitpid(worker, 0)
        print("killed" if os.WIFSIGNALED(status) else "ended by itself", flush=True)


def die_before_call(number: int) -> None:
    """Kill this process right before the n-th call that opens, writes, moves or deletes a file."""
    left = number

    def count(frame: FrameType, event: str, called: Any) -> None:
        nonlocal left
        if event == "c_call" and called.__name__ in _FILE_CALLS:
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count)


def work(job: str, folder: Path, seed: int, log: Log) -> NoReturn:
    """Do a job in a process that has nothing else to do."""
    try:
        JOBS[job](folder, seed, log)
        os._exit(0)
    except Exception:  # noqa: BLE001 - the test is told, whatever it is
        log.write("failed", traceback.format_exc())
    finally:
        os._exit(1)


if __name__ == "__main__":
    main()
