"""Keeps conversations in one SQLite file: questions, answers, sources and feedback; knows
nothing of how answers are made or shown.

Each call opens the file for itself, so that threads and processes can share it. A turn is
saved when it is asked, with the state "open"; only an open turn's answer can grow.
"""

import json
import sqlite3
import time
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from rag_tutor.domain import Answer, Chunk, Citation, Passage, Turn
from rag_tutor.errors import ConversationError, HistoryError

State = Literal["open", "done", "stopped"]
Rating = Literal["", "up", "down"]

_BUSY_SECONDS = 15
_KEPT_DELETED_SECONDS = 30 * 24 * 3600
_EXCERPT_CHARACTERS = 120
_NOTHING_YET = Answer("", (), (), refused=False)

# Each entry takes the file from the version of its index to the next one; never edit one.
_MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE conversations (
            id TEXT PRIMARY KEY,
            title TEXT NOT NULL DEFAULT '',
            changed REAL NOT NULL,
            deleted REAL
        )""",
        """CREATE TABLE turns (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            conversation TEXT NOT NULL REFERENCES conversations(id) ON DELETE CASCADE,
            position INTEGER NOT NULL,
            replaced_by INTEGER,
            asked REAL NOT NULL,
            state TEXT NOT NULL,
            question TEXT NOT NULL,
            answer TEXT NOT NULL,
            content TEXT NOT NULL,
            timings TEXT NOT NULL DEFAULT '{}',
            hashes TEXT NOT NULL DEFAULT '{}',
            suggestions TEXT NOT NULL DEFAULT '[]',
            rating TEXT NOT NULL DEFAULT '',
            comment TEXT NOT NULL DEFAULT ''
        )""",
        "CREATE INDEX turns_in_order ON turns(conversation, position, id)",
    ),
    (
        # A citation names the other places of its statement; none were looked for before.
        """UPDATE turns SET content = json_set(content, '$.citations', json((
            SELECT json_group_array(json(json_set(value, '$.also', json('[]'))))
            FROM json_each(content, '$.citations')
        )))""",
    ),
)
VERSION = len(_MIGRATIONS)

_LISTED = """
    SELECT id, changed, coalesce(nullif(title, ''), (
        SELECT question FROM turns WHERE conversation = conversations.id AND replaced_by IS NULL
        ORDER BY position, id LIMIT 1
    ), '') FROM conversations WHERE deleted IS NULL
"""


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation in the list: its title, or else its first question; changed in seconds."""

    id: str
    title: str
    changed: float


@dataclass(frozen=True, slots=True)
class Hit:
    """A conversation that a search found; the excerpt is of the first turn that fits."""

    conversation: Conversation
    excerpt: str


@dataclass(frozen=True, slots=True)
class SavedTurn:
    """A turn with all that is kept of it.

    `timings` are milliseconds. `hashes` are the content hashes that the notes read had in the
    index; `suggestions` are follow-ups that the notes answer.
    """

    id: int
    turn: Turn
    state: State
    timings: Mapping[str, float]
    hashes: Mapping[str, str]
    suggestions: tuple[str, ...]
    rating: Rating
    comment: str


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a student thought of an answer; asked in seconds since 1970."""

    asked: float
    rating: Rating
    comment: str
    question: str
    answer: str
    documents: tuple[str, ...]


class Conversations:
    """The conversations in one file, which is made when it is first needed.

    Each method raises HistoryError if the file can't be used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def listing(self) -> list[Conversation]:
        """All conversations that aren't deleted, the last changed first."""
        with self._reading() as file:
            rows = file.execute(f"{_LISTED} ORDER BY changed DESC").fetchall()
        return [Conversation(name, title, changed) for name, changed, title in rows]

    def search(self, text: str) -> list[Hit]:
        """The conversations with a turn, or a title, that holds all words of a text.

        Case and accents make no difference, and a part of a word is enough.
        """
        wanted = [_folded(word) for word in text.split()]
        found = []
        for conversation in self.listing():
            texts = [*self._texts(conversation.id), conversation.title]
            fits = (each for each in texts if all(word in _folded(each) for word in wanted))
            first = next(fits, None)
            if first is not None:
                found.append(Hit(conversation, _excerpt(first, wanted)))
        return found

    def turns(self, conversation: str) -> tuple[SavedTurn, ...]:
        """The turns of a conversation in order; none if it isn't there or is deleted."""
        with self._reading() as file:
            rows = file.execute(
                "SELECT turns.id, question, content, state, timings, hashes, suggestions, rating, "
                "comment FROM turns JOIN conversations ON conversations.id = conversation "
                "WHERE conversation = ? AND replaced_by IS NULL AND deleted IS NULL "
                "ORDER BY position, turns.id",
                [conversation],
            ).fetchall()
        return tuple(map(_saved_turn, rows))

    def title(self, conversation: str) -> str:
        """The title of a conversation, or else its first question."""
        return next((each.title for each in self.listing() if each.id == conversation), "")

    def ask(self, conversation: str, question: str, seen: int) -> int:
        """Save a question at the end of a conversation; returns the id of its turn.

        `seen` is how many turns the asking window shows. If the next one asks the same, it was
        sent twice, and the id is that of the first.
        """
        with self._writing() as file:
            following = file.execute(
                "SELECT id, question FROM turns WHERE conversation = ? AND replaced_by IS NULL "
                "ORDER BY position, id LIMIT 1 OFFSET ?",
                [conversation, seen],
            ).fetchone()
            if following and following[1] == question:
                return int(following[0])
            _touch(file, conversation)
            last = file.execute(
                "SELECT max(position) FROM turns WHERE conversation = ? AND replaced_by IS NULL",
                [conversation],
            ).fetchone()[0]
            return _insert(file, conversation, 0 if last is None else last + 1, question)

    def replace(self, conversation: str, turn: int, question: str) -> int:
        """Ask a question in the place of a turn and those after it; returns the new turn's id.

        The old ones are kept until the new one has an answer. If the same question is replacing
        the turn already, it was sent twice, and the id is that of the first. Raises
        ConversationError if the turn isn't there, or is being replaced by another question.
        """
        with self._writing() as file:
            place = file.execute(
                "SELECT old.position, new.id, new.question FROM turns AS old "
                "LEFT JOIN turns AS new ON new.id = old.replaced_by "
                "WHERE old.id = ? AND old.conversation = ?",
                [turn, conversation],
            ).fetchone()
            if not place:
                raise ConversationError(
                    "This question isn't in the conversation any more. Load the page again."
                )
            position, newer, newer_question = place
            if newer and newer_question == question:
                return int(newer)
            if newer:
                raise ConversationError(
                    "This question is being answered anew. Cancel, and edit it when that is done."
                )
            _touch(file, conversation)
            new = _insert(file, conversation, position, question)
            file.execute(
                "UPDATE turns SET replaced_by = ? WHERE conversation = ? AND position >= ? "
                "AND replaced_by IS NULL AND id <> ?",
                [new, conversation, position, new],
            )
            return new

    def grow(self, turn: int, content: Turn) -> None:
        """Keep what is there of an open turn's answer."""
        with self._writing() as file:
            _update(file, turn, content, "open", {}, {})

    def finish(
        self,
        turn: int,
        content: Turn,
        state: State,
        timings: Mapping[str, float],
        hashes: Mapping[str, str],
    ) -> None:
        """Keep the answer of an open turn as it stays; what it replaces is deleted."""
        with self._writing() as file:
            _update(file, turn, content, state, timings, hashes)
            # Those, too, that it replaced in turn: an edit whose answer was interrupted.
            file.execute(
                "WITH RECURSIVE gone(id) AS (SELECT id FROM turns WHERE replaced_by = ? "
                "UNION SELECT turns.id FROM turns JOIN gone ON turns.replaced_by = gone.id) "
                "DELETE FROM turns WHERE id IN gone",
                [turn],
            )

    def take_back(self, turn: int) -> None:
        """Remove an open turn that gets no answer; what it replaced is there again."""
        with self._writing() as file:
            place = file.execute("SELECT conversation FROM turns WHERE id = ?", [turn]).fetchone()
            file.execute("DELETE FROM turns WHERE id = ? AND state = 'open'", [turn])
            file.execute("UPDATE turns SET replaced_by = NULL WHERE replaced_by = ?", [turn])
            file.execute(
                "DELETE FROM conversations WHERE id = ? AND title = '' AND id NOT IN "
                "(SELECT conversation FROM turns)",
                place or [""],
            )

    def suggest(self, turn: int, questions: Sequence[str]) -> None:
        """Keep the follow-ups that are suggested under an answer."""
        with self._writing() as file:
            file.execute(
                "UPDATE turns SET suggestions = ? WHERE id = ?", [json.dumps(questions), turn]
            )

    def rename(self, conversation: str, title: str) -> None:
        """Give a conversation a title; an empty one gives its first question back."""
        title = " ".join(title.encode(errors="replace").decode().split())[:200]
        with self._writing() as file:
            file.execute("UPDATE conversations SET title = ? WHERE id = ?", [title, conversation])

    def delete(self, conversation: str) -> None:
        """Hide a conversation; it can be restored for 30 days."""
        now = time.time()
        with self._writing() as file:
            file.execute(
                "DELETE FROM conversations WHERE deleted < ?", [now - _KEPT_DELETED_SECONDS]
            )
            file.execute("UPDATE conversations SET deleted = ? WHERE id = ?", [now, conversation])

    def restore(self, conversation: str) -> None:
        """Undo a deletion."""
        with self._writing() as file:
            file.execute("UPDATE conversations SET deleted = NULL WHERE id = ?", [conversation])

    def rate(self, turn: int, rating: Rating, comment: str) -> None:
        """Keep what the student thinks of an answer."""
        comment = comment.encode(errors="replace").decode().strip()[:4_000]
        with self._writing() as file:
            file.execute(
                "UPDATE turns SET rating = ?, comment = ? WHERE id = ?", [rating, comment, turn]
            )

    def feedback(self) -> list[Feedback]:
        """All answers that were rated, in the order in which they were asked."""
        with self._reading() as file:
            rows = file.execute(
                "SELECT asked, rating, comment, question, content FROM turns "
                "WHERE (rating <> '' OR comment <> '') AND replaced_by IS NULL ORDER BY asked, id"
            ).fetchall()
        return [_feedback(*row) for row in rows]

    def _texts(self, conversation: str) -> list[str]:
        with self._reading() as file:
            rows = file.execute(
                "SELECT question || char(10) || answer FROM turns "
                "WHERE conversation = ? AND replaced_by IS NULL ORDER BY position, id",
                [conversation],
            ).fetchall()
        return [str(row[0]) for row in rows]

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._open() as file:
            yield file

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._open() as file:
            file.execute("BEGIN IMMEDIATE")
            with file:
                yield file

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None)
            with closing(connection):
                connection.execute("PRAGMA foreign_keys = ON")
                _migrate(connection, self.path)
                yield connection
        except (OSError, sqlite3.Error) as error:
            raise HistoryError(
                f"The conversations in {self.path} can't be used: {error}. Make room, mend the "
                "file's rights or move it away; then conversations begin anew. Another place "
                "can be named with RAG_TUTOR_CONVERSATIONS."
            ) from error


def _migrate(file: sqlite3.Connection, path: Path) -> None:
    """Bring the file to this version. Raises HistoryError if it is of a newer one."""
    version = file.execute("PRAGMA user_version").fetchone()[0]
    if version == VERSION:
        return
    if version > VERSION:
        raise HistoryError(
            f"The conversations in {path} were written by a newer RAG Tutor (format {version}; "
            f"this one reads up to {VERSION}). Update RAG Tutor, or name another file with "
            "RAG_TUTOR_CONVERSATIONS."
        )
    file.execute("PRAGMA journal_mode = WAL")
    file.execute("BEGIN IMMEDIATE")
    with file:
        # Another process may have done it while this one waited.
        version = file.execute("PRAGMA user_version").fetchone()[0]
        for statements in _MIGRATIONS[version:]:
            for statement in statements:
                file.execute(statement)
        file.execute(f"PRAGMA user_version = {VERSION}")


def _touch(file: sqlite3.Connection, conversation: str) -> None:
    file.execute(
        "INSERT INTO conversations (id, changed) VALUES (?, ?) "
        "ON CONFLICT (id) DO UPDATE SET changed = excluded.changed, deleted = NULL",
        [conversation, time.time()],
    )


def _insert(file: sqlite3.Connection, conversation: str, position: int, question: str) -> int:
    asked = Turn(question, question, _NOTHING_YET)
    new = file.execute(
        "INSERT INTO turns (conversation, position, asked, state, question, answer, content) "
        "VALUES (?, ?, ?, 'open', ?, '', ?)",
        [conversation, position, time.time(), question, _packed(asked)],
    )
    return int(new.lastrowid or 0)


def _update(
    file: sqlite3.Connection,
    turn: int,
    content: Turn,
    state: State,
    timings: Mapping[str, float],
    hashes: Mapping[str, str],
) -> None:
    text = content.answer.text
    values = [text, _packed(content), state, json.dumps(timings), json.dumps(hashes), turn]
    file.execute(
        "UPDATE turns SET answer = ?, content = ?, state = ?, timings = ?, hashes = ? "
        "WHERE id = ? AND state = 'open'",
        values,
    )


def _packed(turn: Turn) -> str:
    """A turn but for its question as JSON; `_unpacked` reads it. A new field goes into both."""
    answer = turn.answer
    fields = {
        "standalone": turn.standalone,
        "text": answer.text,
        "refused": answer.refused,
        "passages": [asdict(passage) for passage in answer.passages],
        "citations": [_packed_citation(each, answer.passages) for each in answer.citations],
    }
    return json.dumps(fields, default=float)


def _packed_citation(citation: Citation, passages: Sequence[Passage]) -> dict[str, Any]:
    return {
        "passage": passages.index(citation.passage),
        "number": citation.number,
        "start": citation.start,
        "end": citation.end,
        "support": citation.support,
        "also": [_packed_citation(each, passages) for each in citation.also],
    }


def _unpacked(question: str, content: str) -> Turn:
    fields = json.loads(content)
    passages = tuple(map(_passage, fields["passages"]))
    citations = tuple(_citation(each, passages) for each in fields["citations"])
    answer = Answer(fields["text"], citations, passages, fields["refused"])
    return Turn(question, fields["standalone"], answer)


def _citation(fields: dict[str, Any], passages: Sequence[Passage]) -> Citation:
    also = tuple(_citation(each, passages) for each in fields["also"])
    return Citation(**{**fields, "passage": passages[fields["passage"]], "also": also})


def _passage(fields: dict[str, Any]) -> Passage:
    chunk = Chunk(**{**fields["chunk"], "heading": tuple(fields["chunk"]["heading"])})
    return Passage(chunk, fields["score"], tuple(fields["found_by"]))


def _saved_turn(row: Sequence[Any]) -> SavedTurn:
    id_, question, content, state, timings, hashes, suggestions, rating, comment = row
    return SavedTurn(
        id_,
        _unpacked(question, content),
        state,
        json.loads(timings),
        json.loads(hashes),
        tuple(json.loads(suggestions)),
        rating,
        comment,
    )


def _feedback(asked: float, rating: Rating, comment: str, question: str, content: str) -> Feedback:
    answer = _unpacked(question, content).answer
    documents = dict.fromkeys(each.passage.chunk.document_id for each in answer.citations)
    return Feedback(asked, rating, comment, question, answer.text, tuple(documents))


def _folded(text: str) -> str:
    """A text without case and accents."""
    return "".join(
        sign for sign in unicodedata.normalize("NFKD", text.casefold()) if not _is_accent(sign)
    )


def _is_accent(sign: str) -> bool:
    return unicodedata.combining(sign) != 0


def _excerpt(text: str, wanted: Sequence[str]) -> str:
    """The stretch of a text around the first word wanted, on one line."""
    text = " ".join(text.split())
    # Folding can change a text's length by a little; for an excerpt that is near enough.
    at = max(min((_folded(text).find(word) for word in wanted), default=0), 0)
    start = max(at - _EXCERPT_CHARACTERS // 3, 0)
    start = text.find(" ", start) + 1 if start else 0
    cut = text[start : start + _EXCERPT_CHARACTERS]
    return ("…" if start else "") + cut + ("…" if start + len(cut) < len(text) else "")
