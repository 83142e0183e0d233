"""Requests that no page makes, sent to a real server: it stays up, says what is wrong with them,
writes no traceback, and neither reads nor writes anything but its notes.

300 calls by default; 2,000 with RAG_TUTOR_ROBUSTNESS=full in the environment.
"""

import http.client
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from rag_tutor.conversation import is_unicode
from tests.browser.conftest import RIVERS, VOLCANOES, Server, _free_port
from tests.fakes import says, serving
from tests.robustness.conftest import Record, record

pytestmark = pytest.mark.models

CALLS = 2_000 if os.environ.get("RAG_TUTOR_ROBUSTNESS") == "full" else 300
SEED = 20_261
PLANTED = "the-secret-beside-the-notes"
ESCAPED = "escaped-from-the-corpus"  # in each name that leads out of the corpus
OUTSIDE = f"../{ESCAPED}.md"
TMP = "/tmp"  # noqa: S108 - nothing is written there
CONVERSATION = "0123456789abcdef" * 2
# What no response may hold: files that aren't notes, the environment, the program's own insides.
FORBIDDEN = (
    PLANTED,
    "root:x:0:",
    "RAG_TUTOR_DATA=",
    "Traceback (most recent call last)",
    'File "/',
)
TEXTS = [
    *("", " ", "What is a meander?", "rivers.md", "volcanoes.md", CONVERSATION, "short"),
    *("x" * 200_000, "word " * 20_000, "\ud800", "a\udfffb.md", "\0", "\x1b[2J\x07", "\u202e.md"),
    *("link.md", "linked/inside.md", "linked/new.md", OUTSIDE, f"{TMP}/{ESCAPED}.md"),
    *(f"..\\{ESCAPED}.md", f"x/../../{ESCAPED}.md", f"rivers.md/{ESCAPED}.md", f"~/{ESCAPED}.md"),
    *("%2e%2e%2fsecret.md", ".rag-tutor/trash/1/x.md", ".hidden.md", "con.md", "x" * 300 + ".md"),
    *(f"0:{CONVERSATION}:x", f"-1:{CONVERSATION}:x", f"x:{CONVERSATION}:", "' OR 1=1 --", '"*"'),
    *("{{7*7}}", "<img src=x onerror=alert(1)>", "$\\input{/etc/passwd}$", "a\r\nb", "²", "1e400"),
    *("http://127.0.0.1:1/v1#x", "./nowhere", "Rebuild and use", "/etc/passwd", "../secret.md"),
]
STREAMS = ("/queue/data", "/heartbeat/", "/upload_progress", "/dev/reload")


@dataclass(frozen=True, slots=True)
class Call:
    """A request as it goes over the wire; the path may be one that no client would send."""

    method: str
    path: str
    body: bytes = b""
    kind: str = "application/json"


@dataclass(frozen=True, slots=True)
class Target:
    """A server, what its pages are made of, and the folder that holds all of its own."""

    server: Server
    folder: Path
    config: dict[str, Any]

    def send(self, call: Call, extra: dict[str, str] | None = None) -> tuple[int, str]:
        """The status and the body; waits as long as it is told to slow down."""
        for _ in range(60):
            connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
            try:
                connection.putrequest(call.method, call.path, skip_accept_encoding=True)
                headers = {"Content-Type": call.kind, "Content-Length": str(len(call.body))}
                for name, value in (headers | (extra or {})).items():
                    connection.putheader(name, value)
                connection.endheaders(call.body)
                response = connection.getresponse()
                is_preflight = call.method == "OPTIONS"  # Gradio answers these before anything
                assert is_preflight or response.headers["X-Content-Type-Options"], call
                if response.status != 429:
                    return response.status, _read(response, call.path)
                time.sleep(int(response.headers["Retry-After"]))
            finally:
                connection.close()
        pytest.fail("The server asked to slow down for a minute.")

    def said(self) -> str:
        """What stands in the server's log."""
        return self.server.log.read_text(encoding="utf-8", errors="replace")

    def component(self, elem_id: str) -> int:
        """The number of a component."""
        named = (
            each["id"]
            for each in self.config["components"]
            if each["props"].get("elem_id") == elem_id
        )
        return next(named)

    def event(self, elem_id: str, name: str) -> dict[str, Any]:
        """What is called by an event of a component."""
        wanted = [self.component(elem_id), name]
        return next(each for each in self.events if wanted in each["targets"])

    @property
    def events(self) -> list[dict[str, Any]]:
        """All events that the server has a function for."""
        return [each for each in self.config["dependencies"] if each["backend_fn"]]


def _read(response: http.client.HTTPResponse, path: str) -> str:
    """The body as far as it comes: Gradio breaks off the events of a session it doesn't know."""
    if not any(each in path for each in STREAMS):
        try:
            return response.read().decode("utf-8", errors="replace")
        except http.client.IncompleteRead as error:
            return error.partial.decode("utf-8", errors="replace")
    # These may never end: until the event is over, the server closes or nothing comes.
    text, deadline = "", time.monotonic() + 3
    while time.monotonic() < deadline and "process_completed" not in text:
        assert response.fp
        response.fp.raw._sock.settimeout(1)  # type: ignore[attr-defined]
        try:
            part = response.read1(65_536)
        except (TimeoutError, ValueError, http.client.IncompleteRead):
            break
        if not part:
            break
        text += part.decode("utf-8", errors="replace")
    return text


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("robust")
    corpus, linked = folder / "corpus", folder / "linked"
    for each in (corpus, linked, folder / "temporary"):
        each.mkdir()
    (corpus / "rivers.md").write_text(RIVERS, encoding="utf-8")
    (corpus / "volcanoes.md").write_text(VOLCANOES, encoding="utf-8")
    for place in (folder / "secret.md", linked / "inside.md"):
        place.write_text(f"# Secret\n\n{PLANTED}\n", encoding="utf-8")
    (corpus / "link.md").symlink_to(folder / "secret.md")
    (corpus / "linked").symlink_to(linked)
    with serving(says("A meander is a bend in the course of a river. [1]")) as model:
        environment = os.environ | {
            "RAG_TUTOR_CORPUS": str(corpus),
            "RAG_TUTOR_INDEX": str(folder / "index"),
            "RAG_TUTOR_DATA": str(folder / "data"),
            "RAG_TUTOR_GENERATOR": f"{model.address}#scripted",
            "GRADIO_TEMP_DIR": str(folder / "uploads"),
            "TMPDIR": str(folder / "temporary"),
            "HF_HUB_OFFLINE": "1",
            "NO_PROXY": "127.0.0.1",
        }
        server = Server(_free_port(), corpus, dict(environment), folder / "server.log")
        try:
            server.start()
            target = Target(server, folder, {})
            _, config = target.send(Call("GET", "/config"))
            yield Target(server, folder, json.loads(config))
        finally:
            server.stop()


def test_requests_that_no_page_makes_do_no_harm(target: Target, record_property: Record) -> None:
    before, told, longest = _outside(target), target.said(), 0.0
    statuses: Counter[int] = Counter()
    for number, call in enumerate(_calls(target)):
        started = time.monotonic()
        status, body = target.send(call)
        is_stream = any(each in call.path for each in STREAMS)
        longest = max(longest, 0.0 if is_stream else time.monotonic() - started)
        statuses[status] += 1
        assert status < 500, f"call {number}: {call}: {body[:300]}"
        for forbidden in FORBIDDEN:
            assert forbidden not in body, f"call {number}: {call}"
        assert target.server.process and target.server.process.poll() is None, call
    answers = {f"answered {status}": count for status, count in statuses.items()}
    record(record_property, answers, longest)
    assert statuses.total() >= CALLS
    log = target.said()[len(told) :]
    assert "Traceback" not in log, log[:5_000]
    assert len(log) < 200 * CALLS  # one short line for each
    assert statuses[200] > CALLS // 10  # some were close enough to be carried out
    assert _outside(target) == before
    assert _escaped() == []
    assert (target.folder / "secret.md").read_text(encoding="utf-8").count(PLANTED) == 1
    _assert_answers(target)


def test_requests_made_from_the_servers_own_description_do_no_harm(
    target: Target, is_full: bool, record_property: Record
) -> None:
    """Gradio describes its public calls only, of which there are none here; FastAPI below it
    describes every route, private ones included.
    """
    program = shutil.which(
        "schemathesis", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    )
    if not is_full or not program:
        pytest.skip("only with RAG_TUTOR_ROBUSTNESS=full and pip install -e '.[robustness]'")
    before, told = _outside(target), target.said()
    # Streams end with the page that reads them, and too many calls a second are refused.
    command = f"""run {target.server.address}/openapi.json --checks not_a_server_error --seed {SEED}
        --exclude-path-regex heartbeat|queue/data|upload_progress|event_id --rate-limit 90/s
        --max-examples 20 --request-timeout 60 --no-color --output-truncate false"""
    done = subprocess.run(
        [program, *command.split()],
        cwd=target.folder / "temporary",
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,
    )
    assert done.returncode == 0, done.stdout
    found = re.search(r"(\d+) generated", done.stdout)
    assert found
    record_property("answered without a failure", int(found[1]))
    log = target.said()[len(told) :]
    assert "Traceback" not in log, log[:5_000]
    assert _outside(target) == before
    _assert_answers(target)


def test_texts_that_no_student_types_are_answered(target: Target) -> None:
    """Whatever stands in a box or in what the script sends, an event says what is wrong with it."""
    told, before = target.said(), _outside(target)
    chance = random.Random(SEED + 1)
    failed: list[str] = []
    types = {each["id"]: each["type"] for each in target.config["components"]}
    for event in target.events:
        if "radio" in [types[number] for number in event["inputs"]]:
            continue  # takes no text
        for text in ["\0", "9" * 30, "\ud800", OUTSIDE, *chance.sample(_texts(target), 3)]:
            status, body = target.send(_event_call(target, event, text))
            is_told = status == 400 and "no valid Unicode" in body
            if status != 200 and not (is_told and not is_unicode(text)):
                failed.append(f"{event['api_name']} of {text[:50]!r}: {body[:300]}")
    assert failed == []
    assert _outside(target) == before
    log = target.said()[len(told) :]
    assert "Traceback" not in log, log[:5_000]


@pytest.mark.parametrize("place", ["secret.md", "corpus/link.md", "linked/inside.md", "index"])
def test_no_note_can_be_opened_outside_of_the_corpus(target: Target, place: str) -> None:
    for name in (str(target.folder / place), f"../{place}", f"x/../../{place}", "link.md"):
        event = target.event("notes", "open")
        data = {"note": name, "unsaved": None}
        _, body = _run(target, event, [""], data, "opening")
        assert "is not the name of a note" in body
        assert PLANTED not in body


def test_a_window_knows_nothing_of_the_note_that_another_has_open(target: Target) -> None:
    (target.server.corpus / "mine.md").write_text("# Mine\n\nof one window", encoding="utf-8")
    opening, saving = target.event("notes", "open"), target.event("save", "click")
    _, opened = _run(target, opening, [""], {"note": "mine.md", "unsaved": None}, "one")
    assert "of one window" in opened
    _, refused = _run(target, saving, [None, "overwritten"], None, "another")
    assert "open any more" in refused
    assert "of one window" in (target.server.corpus / "mine.md").read_text(encoding="utf-8")
    _, saved = _run(target, saving, [None, "# Mine\n\nsaved"], None, "one")
    assert "Saved." in saved


def test_uploads_are_bounded(target: Target) -> None:
    path = "/gradio_api/upload"
    assert target.send(Call("POST", path), {"Content-Length": "3000000000"})[0] == 413
    too_large = _form("large.md", b"x" * 100_000_001)
    assert target.send(Call("POST", path, *too_large))[0] == 413
    kept = [each for each in target.folder.rglob("*") if each.is_file()]
    assert max(each.stat().st_size for each in kept) < 50_000_000
    assert (
        target.send(Call("POST", "/gradio_api/queue/join"), {"Content-Length": "40000000"})[0]
        == 413
    )


def test_nothing_is_fetched_for_an_event(target: Target) -> None:
    file = {"path": "http://notes.example/a.md", "meta": {"_type": "gradio.FileData"}}
    status, body = _run(target, target.event("upload", "upload"), [[file], None], None, "fetch")
    assert status == 400
    assert "nothing is fetched from other hosts" in body


def _calls(target: Target) -> Iterator[Call]:
    """Each event with too little, each file by each route that serves some, then by chance."""
    chance = random.Random(SEED)
    made = [_body(event["id"], [], None, "none") for event in target.events]
    yield from (Call("POST", "/gradio_api/run/predict", body) for body in made)
    component = "/gradio_api/custom_component/html/client/component/"
    routes = (
        "/gradio_api/file=",
        "/gradio_api/file/",
        "/static/",
        "/assets/",
        "/svelte/",
        component,
    )
    files = [f"{route}{place}" for route in routes for place in _files(target)]
    yield from (Call("GET", path) for path in files)
    kinds = (
        _event_by_chance,
        _event_by_chance,
        _queued,
        _function,
        _path,
        _path,
        _uploaded,
        _other,
    )
    left = CALLS - len(made) - len(files)
    while left > 0:
        for call in chance.choice(kinds)(target, chance):
            yield call
            left -= 1


def _event_by_chance(target: Target, chance: random.Random) -> list[Call]:
    event = chance.choice(target.events)
    return [Call("POST", "/gradio_api/run/predict", _body_by_chance(target, chance, event))]


def _queued(target: Target, chance: random.Random) -> list[Call]:
    """An event by way of the queue, and what comes of it."""
    event, session = chance.choice(target.events), f"session-{chance.random()}"
    body = _body_by_chance(target, chance, event, session)
    data = f"/gradio_api/queue/data?session_hash={session}"
    return [Call("POST", "/gradio_api/queue/join", body), Call("GET", data)]


def _function(target: Target, chance: random.Random) -> list[Call]:
    """A function that the page's script calls, or one that isn't there for it."""
    names = ["rate", "copied", "exported", "preprocess", "__init__", "__class__", "\ud800"]
    number = chance.choice([target.component("bridge"), chance.randrange(200), -1])
    sent = {
        "session_hash": _session(chance),
        "component_id": number,
        "fn_name": chance.choice(names),
        "data": _detail(target, chance),
    }
    return [Call("POST", "/gradio_api/component_server", json.dumps(sent).encode())]


def _path(target: Target, chance: random.Random) -> list[Call]:
    """A path that might lead to a file."""
    routes = """/ /gradio_api/file= /gradio_api/file/ /file= /static/ /assets/ /svelte/ /theme.css/
        /gradio_api/custom_component/ /gradio_api/custom_component/html/client/component/
        /gradio_api/stream/a/b/1/ /gradio_api/deep_link?session_hash= /?deep_link= /?chat=
        /gradio_api/proxy= /gradio_api/call/ /monitoring/ /gradio_api/upload_progress?upload_id=
        /pwa_icon/ /gradio_api/heartbeat/ /gradio_api/info?x= /gradio_api/runs?x=
        /gradio_api/queue/data?session_hash= /gradio_api/dev/ /logout?x= /gradio_api/token?x=
        /gradio_api/openapi.json?x= /manifest.json?x= /robots.txt?x= /favicon.ico?x=""".split()
    places = [*_places(target), *(quote(each, errors="surrogatepass") for each in _texts(target))]
    place = chance.choice(places).encode("utf-8", errors="surrogateescape")
    wire = re.sub(rb"[^!-~]", lambda found: b"%%%02X" % found[0], place)[:3_000].decode("ascii")
    return [Call(chance.choice(["GET", "GET", "HEAD", "POST"]), chance.choice(routes) + wire)]


def _places(target: Target) -> list[str]:
    """Where there is what must not be read, in plain words and as it may be disguised."""
    plain = _files(target)
    encoded = [quote(each, safe="") for each in plain]
    dotted = [each.replace("../", "%2e%2e%2f") for each in plain]
    windows = [each.replace("/", "\\") for each in plain]
    return [*plain, *encoded, *dotted, *windows, *(quote(each) for each in encoded)]


def _files(target: Target) -> list[str]:
    secret, up = str(target.folder / "secret.md"), "../" * 12
    return [
        *(secret, "/etc/passwd", f"{up}etc/passwd", f"{up}{secret}", "/proc/self/environ"),
        *(f"{target.server.corpus}/{name}" for name in ("link.md", "linked/inside.md")),
        *(
            f"{target.folder}/uploads/../secret.md",
            f"file://{secret}",
            f"/{secret}",
            "../secret.md",
        ),
        *(f"http://127.0.0.1:{target.server.port}/config", str(target.server.log)),
    ]


def _uploaded(target: Target, chance: random.Random) -> list[Call]:
    """A file with a name of the worst kind."""
    names = [OUTSIDE, f"{TMP}/{ESCAPED}.md", f"..\\{ESCAPED}.md", "n\0.md", "x" * 300]
    names += ["", ".", "..", ".hidden.md", "link.md", "linked/inside.md", "con.md", "a\r\nb.md"]
    name = chance.choice([*names, *_texts(target)])[:3_000].replace('"', "")
    kind = chance.choice(["multipart/form-data", "multipart/form-data; boundary=", ""])
    form = _form(name, chance.randbytes(chance.choice([0, 10, 100_000])))
    return [Call("POST", "/gradio_api/upload", form[0], chance.choice([form[1], form[1], kind]))]


def _form(name: str, content: bytes) -> tuple[bytes, str]:
    head = f'--edge\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
    body = head.encode("utf-8", errors="surrogatepass") + content + b"\r\n--edge--\r\n"
    return body, "multipart/form-data; boundary=edge"


def _other(target: Target, chance: random.Random) -> list[Call]:
    """Any other route of Gradio, with a body that isn't for it."""
    routes = """cancel reset stream/x stream/x/close process_recording vibe-edit undo-vibe-edit
        vibe-code vibe-starter-queries call/ask call/v2/ask api/ask run/ask login queue/join
        component_server upload run-history/connect profiling/clear""".split()
    junk = [b"", b"{", b"[" * 50_000, b"\xff\xfe", b"null", b'{"data": ' + b"9" * 5_000 + b"}"]
    fields = "data session_hash event_id fn_index prompt code hash username password".split()
    values = {name: _value(target, chance) for name in chance.sample(fields, 4)}
    body = chance.choice([*junk, json.dumps(values).encode(), json.dumps(values).encode()])
    kinds = ["application/json", "text/plain", "application/x-www-form-urlencoded", "x"]
    route = f"/gradio_api/{chance.choice(routes)}"
    method = chance.choice(["POST", "POST", "POST", "PUT", "DELETE", "OPTIONS"])
    return [Call(method, route, body, chance.choice(kinds))]


def _body_by_chance(
    target: Target, chance: random.Random, event: dict[str, Any], session: str = ""
) -> bytes:
    values = [_input(target, chance, number) for number in event["inputs"]]
    if chance.random() < 0.1:
        values = [*values[: chance.randrange(len(values) + 1)], _value(target, chance)]
    detail = _detail(target, chance)
    number = event["id"] if chance.random() < 0.95 else chance.choice([-1, 9_999, 2**63, "x"])
    return _body(number, values, detail, session or _session(chance))


def _input(target: Target, chance: random.Random, number: int) -> Any:
    """A value for a component: one that it may have, or any."""
    if chance.random() < 0.3:
        return _value(target, chance)
    kinds = {each["id"]: each["type"] for each in target.config["components"]}
    if kinds[number] == "number":
        return chance.choice([0, 1, 2, -1, 10**30])
    return None if kinds[number] in ("state", "file") else chance.choice(_texts(target))


def _detail(target: Target, chance: random.Random) -> Any:
    """What the page's script sends along with an event, or anything."""
    if chance.random() < 0.2:
        return _value(target, chance)
    keys = "chat turn number note unsaved key title reopen rating comment value text".split()
    return {key: _value(target, chance) for key in keys}


def _value(target: Target, chance: random.Random) -> Any:
    file = {"meta": {"_type": "gradio.FileData"}, "orig_name": OUTSIDE}
    place = chance.choice(_places(target))
    files = [file | {"path": place}, file | {"path": "x", "url": place}, file | {"path": 1}]
    nested: Any = []
    for _ in range(200):
        nested = [nested]
    deep = json.loads("[" * 900 + "]" * 900)
    plain = [None, True, 0, -1, 1, 2**63, 10**30, 1.5, float("nan"), [], {}, nested, deep]
    plain += [*files, files]
    plain += [{"__type__": "update", "value": place}, {"text": "x", "hash": ""}, {"meta": "x"}]
    return chance.choice([*plain, *_texts(target), *_texts(target)])


def _texts(target: Target) -> list[str]:
    return [*TEXTS, str(target.folder / "secret.md"), str(target.folder)]


def _session(chance: random.Random) -> str:
    return chance.choice(["a", "b", "c", "", "../x", "\ud800", "x" * 5_000])


def _body(number: Any, data: Sequence[Any], detail: Any, session: str) -> bytes:
    sent = {"fn_index": number, "data": data, "event_data": detail, "session_hash": session}
    return json.dumps(sent).encode()


def _event_call(target: Target, event: dict[str, Any], text: str) -> Call:
    """An event with the same text in all of its boxes, and in all that the script sends."""
    types = {each["id"]: each["type"] for each in target.config["components"]}
    values = [_typed(types[number], text) for number in event["inputs"]]
    keys = "chat note key title question text".split()
    detail = dict.fromkeys(keys, text) | {"turn": "1", "number": "1", "reopen": False}
    detail |= {"value": {"text": text}, "index": 0}
    detail["unsaved"] = {"text": text, "hash": text}
    return Call("POST", "/gradio_api/run/predict", _body(event["id"], values, detail, "texts"))


def _typed(kind: str, text: str) -> Any:
    fixed: dict[str, Any] = {"number": 0, "state": None, "file": []}
    return fixed.get(kind, text)


def _run(
    target: Target, event: dict[str, Any], data: Sequence[Any], detail: Any, session: str
) -> tuple[int, str]:
    body = _body(event["id"], data, detail, session)
    return target.send(Call("POST", "/gradio_api/run/predict", body))


def _outside(target: Target) -> list[str]:
    """All files beside the folders that belong to the server."""
    own = ("corpus", "index", "data", "uploads", "temporary", "server.log")
    return sorted(
        f"{path}: {path.stat().st_size}"
        for top in target.folder.iterdir()
        if top.name not in own
        for path in [top, *top.rglob("*")]
    )


def _escaped() -> list[Path]:
    """Files that a name has brought out of the corpus."""
    here = Path.cwd()
    places = [here, *here.parents, Path.home(), Path(tempfile.gettempdir()), Path(TMP)]
    return [path for place in places for path in place.glob(f"*{ESCAPED}*")]


def _assert_answers(target: Target) -> None:
    """The pages are there, a note can be opened, and nobody waits long."""
    started = time.monotonic()
    (target.server.corpus / "rivers.md").write_text(RIVERS, encoding="utf-8")
    assert "RAG Tutor" in target.send(Call("GET", "/"))[1]
    opening = target.event("notes", "open")
    _, opened = _run(target, opening, [""], {"note": "rivers.md", "unsaved": None}, "last")
    assert "oxbow" in opened
    with socket.create_connection(("127.0.0.1", target.server.port), timeout=5) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\nHost: \xff\r\nContent-Length: x\r\n\r\n")
        assert b" 400 " in raw.recv(1_000)
    assert time.monotonic() - started < 30
