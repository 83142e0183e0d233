"""The command line: index, search, ask, chat, eval, feedback, serve; knows only how to call and
to print.

Exit status: 0 on success, 2 for wrong usage, 1 for an expected failure, told in one line.
"""

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rag_tutor.config import (
    ANSWER_LENGTHS,
    Settings,
    read_passages,
    settings_from,
)
from rag_tutor.conversation import is_unicode
from rag_tutor.domain import Answer, Citation, Passage, Turn
from rag_tutor.errors import ConversationError, SettingsError, TutorError
from rag_tutor.preferences import saved_preferences
from rag_tutor.weights import full_name

if TYPE_CHECKING:
    from rag_tutor.indexing import IndexReport
    from rag_tutor.tutor import Reply, Tutor

_log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
    try:
        options = _parser().parse_args(arguments)
        level = logging.INFO if options.verbose else logging.ERROR
        logging.basicConfig(level=level, format="%(name)s: %(message)s", stream=sys.stderr)
        options.run(options, _settings(options))
    except TutorError as error:
        print(f"rag-tutor: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader has gone; keep Python from failing once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    default = settings_from(os.environ, saved_preferences())
    parser = argparse.ArgumentParser(
        prog="rag-tutor", description="Answers questions from your own notes, on your own machine."
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, run: Callable[..., None], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        command.set_defaults(run=run)
        _add_common_options(command, default)
        return command

    index = add("index", _index, "Bring the index up to date with the notes.")
    index.add_argument("--full", action="store_true", help="encode every note again")
    search = add("search", _search, "Show the best passages for a question.")
    search.add_argument("question")
    search.add_argument("-k", type=_positive, help="number of passages")
    ask = add("ask", _ask, "Answer one question.")
    ask.add_argument("question")
    chat = add("chat", _chat, "Hold a conversation in the terminal.")
    chat.add_argument("--jsonl", action="store_true", help="read questions from stdin, as JSON")
    evaluate = add("eval", _eval, "Measure retrieval and refusals on question files.")
    evaluate.add_argument("files", nargs="+", type=Path, metavar="FILE")
    feedback = add("feedback", _feedback, "List the answers that were rated on the page.")
    for command in (index, search, ask, evaluate, feedback):
        command.add_argument("--json", action="store_true", help="print JSON on stdout only")
    serve = add("serve", _serve, "Serve the chat and the notes as a web page.")
    serve.add_argument("--host", default=default.host, help="address to listen on")
    serve.add_argument("--port", type=_port, default=default.port, help="port to listen on")
    serve.add_argument(
        "--auth",
        metavar="USER:PASSWORD_FILE",
        default=default.auth,
        help="ask for a log-in; the file's first line is the password",
    )
    for command in (serve, feedback):
        command.add_argument(
            "--conversations",
            type=Path,
            default=default.conversations,
            help="file of the conversations",
        )
    return parser


def _add_common_options(command: argparse.ArgumentParser, default: Settings) -> None:
    command.add_argument("--corpus", type=Path, default=default.corpus, help="folder of notes")
    command.add_argument("--index", type=Path, default=default.index, help="folder of the index")
    command.add_argument("--encoder", default=default.encoder, help="hub id or folder")
    command.add_argument(
        "--generator", default=default.generator, help="hub id or folder, or ADDRESS#MODEL"
    )
    command.add_argument(
        "--passages",
        type=_passages_option,
        default=default.passages,
        help="passages to answer from",
    )
    command.add_argument(
        "--answer-length", choices=ANSWER_LENGTHS, default=default.answer_length, help="of answers"
    )
    command.add_argument("-v", "--verbose", action="store_true", help="tell what is being done")


def _settings(options: argparse.Namespace) -> Settings:
    names = (field.name for field in fields(Settings))
    named = {name: getattr(options, name) for name in names if hasattr(options, name)}
    # An index knows its encoder by name: the same folder has to have the same one tomorrow.
    models = {role: full_name(named[role]) for role in ("encoder", "generator")}
    return replace(Settings(), **named | models)


def _index(options: argparse.Namespace, settings: Settings) -> None:
    report = build_index(settings, full=options.full)
    if options.json:
        fields = asdict(report)
        del fields["changes"]
        _print_json(fields)
        return
    print(
        f"Notes: {report.documents}, chunks: {report.chunks}. {report.added} added, "
        f"{report.changed} changed, {report.removed} removed, {report.unchanged} unchanged, "
        f"in {report.seconds:.1f} s."
    )
    for item in report.skipped:
        print(f"Passed over: {item.document} ({item.reason})")


def _search(options: argparse.Namespace, settings: Settings) -> None:
    turn = _tutor(settings).search(options.question, limit=options.k or settings.passages)
    passages = _passages(turn.answer.passages)
    if options.json:
        _print_json(
            {"question": turn.question, "standalone": turn.standalone, "passages": passages}
        )
        return
    for passage in passages:
        print(f"{passage['rank']}. {passage['document']}: {passage['heading']}")
        print(f"   {' '.join(passage['text'].split())[:300]}\n")


def _ask(options: argparse.Namespace, settings: Settings) -> None:
    _warn_of_sending(settings)
    replies = _tutor(settings).reply(options.question)
    if options.json:
        _print_json(_answer_object("", list(replies)[-1]))
    else:
        _print_streaming(replies)


def _chat(options: argparse.Namespace, settings: Settings) -> None:
    _warn_of_sending(settings)
    tutor = _tutor(settings)
    if options.jsonl:
        _chat_lines(tutor)
        return
    history: tuple[Turn, ...] = ()
    print("Ask about your notes; an empty line ends the conversation.", file=sys.stderr)
    while question := _read_line():
        try:
            history = (*history, _print_streaming(tutor.reply(question, history)))
        except ConversationError as error:
            print(error)


def _chat_lines(tutor: "Tutor") -> None:
    """Batch mode: answers in the order of the lines, a memory for each conversation."""
    conversations: dict[str, tuple[Turn, ...]] = {}
    for line in sys.stdin:
        if not line.strip():
            continue
        try:
            name, question = _parse_line(line)
            *_, last = tutor.reply(question, conversations.get(name, ()))
        except ConversationError as error:
            print(json.dumps({"error": str(error)}, ensure_ascii=False), flush=True)
            continue
        conversations[name] = (*conversations.get(name, ()), last.turn)
        print(json.dumps(_answer_object(name, last), ensure_ascii=False), flush=True)


def _parse_line(line: str) -> tuple[str, str]:
    try:
        fields = json.loads(line)
        name, question = fields.get("conversation", ""), fields["question"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ConversationError(
            'Not a question: write {"conversation": "c1", "question": "..."} on one line.'
        ) from error
    if not isinstance(name, str) or not isinstance(question, str) or not is_unicode(name):
        raise ConversationError('"conversation" and "question" must be strings of Unicode.')
    return name, question


def _eval(options: argparse.Namespace, settings: Settings) -> None:
    from rag_tutor.evaluation import DEPTH, evaluate

    tutor = _tutor(settings)
    metrics = evaluate(options.files, partial(tutor.search, limit=DEPTH))
    if options.json:
        _print_json(metrics)
        return
    for group, values in metrics.items():
        print(group)
        for name, value in values.items():
            print(f"  {name:<10} {value:g}")


def _feedback(options: argparse.Namespace, settings: Settings) -> None:
    from rag_tutor.conversations import Conversations

    found = Conversations(settings.conversations_file).feedback()
    if options.json:
        _print_json([asdict(item) for item in found])
        return
    for item in found:
        day = time.strftime("%Y-%m-%d", time.localtime(item.asked))
        print(f"{day}  {item.rating or '-':<4}  {item.question}")
        for line in filter(None, [item.comment, ", ".join(item.documents)]):
            print(f"{'':18}{' '.join(line.split())}")


def _serve(options: argparse.Namespace, settings: Settings) -> None:
    serve(settings)


def serve(settings: Settings) -> None:
    """Serve the pages until interrupted, as `app.py` does; the index follows the notes."""
    from rag_tutor import ui
    from rag_tutor.corpus import scan_corpus

    ui.require_login(settings)
    ui.require_free_port(settings)
    scan_corpus(settings.corpus)
    _warn_of_sending(settings)
    ui.serve(settings)


def build_index(settings: Settings, full: bool = False) -> "IndexReport":
    """Update the index with a progress bar on stderr; returns the IndexReport."""
    from tqdm import tqdm

    from rag_tutor.encoding import load_encoder
    from rag_tutor.indexing import update_index

    encoder = load_encoder(settings.encoder)
    with tqdm(desc="Indexing", unit="chunk", file=sys.stderr, leave=False, delay=0.5) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        def show_files(done: int, total: int) -> None:
            bar.set_postfix_str(f"converting file {done + 1} of {total}")

        return update_index(settings.corpus, settings.index, encoder, full, show, show_files)


def _tutor(settings: Settings) -> "Tutor":
    from rag_tutor.tutor import open_tutor

    return open_tutor(settings)


def _warn_of_sending(settings: Settings) -> None:
    """Say it on stderr when what the notes hold is sent to another machine."""
    from rag_tutor.chat_server import what_leaves

    if sent := what_leaves(settings.generator):
        print(f"rag-tutor: {sent}", file=sys.stderr)


def _print_streaming(replies: Iterator["Reply"]) -> Turn:
    shown = 0
    try:
        for reply in replies:
            text = reply.turn.answer.text
            print(text[shown:], end="", flush=True)
            shown = len(text)
    finally:
        if shown:
            print("\n", flush=True)  # what fails midway is told on a line of its own
    if reply.turn.standalone != reply.turn.question:
        print(f"Searched for: {reply.turn.standalone}")
    for line in _source_lines(reply.turn.answer):
        print(line)
    return reply.turn


def _source_lines(answer: Answer) -> Iterator[str]:
    cited = {citation.number: citation.passage.chunk for citation in answer.citations}
    for number, chunk in sorted(cited.items()):
        yield f"[{number}] {chunk.document_id}: {' > '.join(chunk.heading)}"


def _answer_object(conversation: str, reply: "Reply") -> dict[str, Any]:
    turn = reply.turn
    return {
        "conversation": conversation,
        "question": turn.question,
        "standalone": turn.standalone,
        "answer": turn.answer.text,
        "refused": turn.answer.refused,
        "citations": [
            {
                **_cited_place(citation),
                "support": citation.support,
                "also": [_cited_place(each) for each in citation.also],
            }
            for citation in turn.answer.citations
        ],
        "passages": _passages(turn.answer.passages),
        "timings_ms": reply.timings_ms,
    }


def _cited_place(citation: Citation) -> dict[str, Any]:
    return {
        "number": citation.number,
        "document": citation.passage.chunk.document_id,
        "heading": " > ".join(citation.passage.chunk.heading),
        "start": citation.start,
        "end": citation.end,
        "quote": citation.quote,
    }


def _passages(passages: Sequence[Passage]) -> list[dict[str, Any]]:
    return [
        {
            "rank": rank,
            "document": passage.chunk.document_id,
            "heading": " > ".join(passage.chunk.heading),
            "start": passage.chunk.start,
            "end": passage.chunk.end,
            "text": passage.chunk.text,
            "score": round(passage.score, 6),
        }
        for rank, passage in enumerate(passages, start=1)
    ]


def _read_line() -> str:
    try:
        return input("> ").strip()
    except EOFError:
        return ""


def _print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2))


def _positive(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 1_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 1000")
    return int(text)


def _passages_option(text: str) -> int:
    try:
        return read_passages(text)
    except SettingsError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65_536:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: a number from 1 to 65535")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
