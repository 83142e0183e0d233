"""Whom the server answers, and how often; the same on a real server is in browser/test_serving."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from rag_tutor.__main__ import main
from rag_tutor.config import Settings
from rag_tutor.conversation import is_unicode
from rag_tutor.ui.access import Allowance, Guard, Rule, limited_pace, login_for, rules_for

ADDRESS = "http://127.0.0.1:7860"
CALL = "/gradio_api/queue/join"
ANYWHERE = "0.0.0.0"  # noqa: S104 - nothing listens there


class Clock:
    """Stands still until it is moved."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text("grün und lang \nnot this\n", encoding="utf-8")
    return path


def client(rules: list[Rule], address: str = ADDRESS, of: str = "10.0.0.1") -> TestClient:
    async def answer(request: Request) -> Response:
        match request.url.path:
            case "/failing":
                is_unicode(request)  # type: ignore[arg-type]  # a defect of this program
            case "/full":
                raise OSError("no space left for what a note says")
            case "/senseless":
                raise KeyError("what a note says")
            case "/senseless-stream":
                return StreamingResponse(broken_off())
        return PlainTextResponse("notes")

    async def broken_off() -> AsyncIterator[str]:
        yield "begun"
        raise KeyError("what a note says")

    route = Route("/{path:path}", answer, methods=["GET", "POST"])
    app = Starlette(routes=[route], middleware=[Middleware(Guard, rules)])
    return TestClient(app, base_url=address, client=(of, 50_000), raise_server_exceptions=False)


def logged_in(user: str, password: str) -> dict[str, str]:
    credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {credentials}"}


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost", "::1"])
def test_this_computer_needs_no_login(host: str) -> None:
    assert login_for(Settings(host=host)) is None


@pytest.mark.parametrize("host", [ANYWHERE, "::", "192.168.1.5", "notes.example", ""])
def test_other_computers_need_a_login(
    host: str, password_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--host", host]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "Add a log-in with --auth USER:PASSWORD_FILE" in line
    assert login_for(Settings(host=host, auth=f"ada:{password_file}"))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("ada", "write it as USER:PASSWORD_FILE"),
        ("ada:", "write it as USER:PASSWORD_FILE"),
        (":password", "write it as USER:PASSWORD_FILE"),
        ("ada:nowhere", "'nowhere' can't be read: [Errno 2]"),
        ("ada:no\0where", "can't be read: embedded null"),
        ("ada:folder", "'folder' can't be read"),
        ("ada:binary", "'binary' can't be read"),
        ("ada:empty", "'empty' is empty. Write one on its first line."),
        ("ada:line", "'line' is empty. Write one on its first line."),
    ],
)
def test_a_login_that_cannot_be_used_is_told_in_one_line(
    option: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("binary").write_bytes(b"\xff\xff")
    Path("empty").touch()
    Path("line").write_bytes(b"\r\nsecond line")
    assert main(["serve", "--auth", option]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_only_the_right_password_opens(password_file: Path) -> None:
    settings = Settings(host=ANYWHERE, auth=f"ada:{password_file}")
    rules = rules_for(login_for(settings))
    pages = client(rules)
    assert pages.get("/", headers=logged_in("ada", "grün und lang ")).text == "notes"
    wrong = [
        {},
        logged_in("ada", "grün und lang"),
        logged_in("ada", "not this"),
        logged_in("", "grün und lang "),
        logged_in("ada:grün und lang ", ""),
        {"Authorization": "Basic"},
        {"Authorization": "Basic ?"},
        {
            "Authorization": logged_in("ada", "grün und lang ")["Authorization"].replace(
                "Basic", "Bearer"
            )
        },
    ]
    for number, headers in enumerate(wrong):
        for path in ("/", CALL, "/assets/index.js", "/static/x"):
            refused = client(rules, of=f"10.0.1.{number}").get(path, headers=headers)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"].startswith("Basic ")
            assert "notes" not in refused.text


def test_a_password_file_from_windows_is_read(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_bytes(b"\xef\xbb\xbfpw\r\n")
    login = login_for(Settings(auth=f"ada:{path}"))
    assert client(rules_for(login)).get("/", headers=logged_in("ada", "pw")).is_success


def test_with_a_login_the_server_may_have_any_name(password_file: Path) -> None:
    rules = rules_for(login_for(Settings(auth=f"ada:{password_file}")))
    pages = client(rules, address="https://notes.example")
    assert pages.get("/", headers=logged_in("ada", "grün und lang ")).is_success
    assert pages.get("/").status_code == 401
    assert client(rules_for(None), address="https://notes.example").get("/").status_code == 400


def test_passwords_cannot_be_tried_without_end(password_file: Path) -> None:
    rules = rules_for(login_for(Settings(auth=f"ada:{password_file}")))
    guessing, right = client(rules), logged_in("ada", "grün und lang ")
    codes = [guessing.get("/", headers=logged_in("ada", str(n))).status_code for n in range(40)]
    assert codes[:20] == [401] * 20
    assert codes[-1] == 429
    too_many = guessing.get("/", headers=right)
    assert too_many.status_code == 429
    assert 0 < int(too_many.headers["retry-after"]) <= 2
    assert client(rules, of="10.0.0.2").get("/", headers=right).is_success


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("POST", {}, 200),  # no browser
        ("POST", {"Origin": ADDRESS}, 200),
        ("POST", {"Sec-Fetch-Site": "same-origin", "Origin": ADDRESS}, 200),
        ("POST", {"Sec-Fetch-Site": "same-origin", "Origin": "https://proxy.example"}, 200),
        ("GET", {"Sec-Fetch-Site": "none"}, 200),
        ("POST", {"Origin": "http://evil.example"}, 403),
        ("POST", {"Origin": "http://127.0.0.1:3000"}, 403),
        ("POST", {"Origin": "null"}, 403),
        ("POST", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("POST", {"Sec-Fetch-Site": "same-site", "Origin": ADDRESS}, 403),
        ("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
    ],
)
def test_other_sites_can_ask_for_nothing(method: str, headers: dict[str, str], status: int) -> None:
    response = client(rules_for(None)).request(method, CALL, headers=headers)
    assert response.status_code == status
    assert response.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize(
    ("method", "into", "status"),
    [("GET", "document", 200), ("GET", "iframe", 403), ("POST", "document", 403)],
)
def test_a_link_of_another_site_can_be_followed(method: str, into: str, status: int) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": into}
    pages = client(rules_for(None))
    assert pages.request(method, "/?chat=0", headers=headers).status_code == status


@pytest.mark.parametrize("path", ["/failing", "/full"])
def test_a_failure_is_told_without_what_failed_and_with_the_headers(path: str) -> None:
    failed = client(rules_for(None)).get(path)
    assert failed.status_code == 500
    assert failed.text.startswith("This can't be answered")
    assert "note" not in failed.text
    assert failed.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'self'" in failed.headers["content-security-policy"]


def test_a_defect_is_logged_whole_and_a_senseless_request_in_a_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pages = client(rules_for(None))
    refused = pages.get("/senseless?what=a%20note")
    assert refused.status_code == 400
    assert refused.json()["detail"].startswith("No page asks for anything like this")
    assert refused.headers["x-content-type-options"] == "nosniff"
    assert pages.get("/senseless-stream").text == "begun"
    told = [record.getMessage() for record in caplog.records]
    assert [line.partition(":")[0] for line in told] == [
        "Refused GET '/senseless'",
        "Refused GET '/senseless-stream'",
    ]
    assert all("KeyError in test_access.py, line " in line for line in told)
    assert not any("\n" in line or "note" in line for line in told)
    raising = TestClient(pages.app, base_url=ADDRESS)
    with pytest.raises(AttributeError):  # the server below logs it
        raising.get("/failing")


def test_calls_without_end_are_slowed_down_and_files_are_not() -> None:
    rules = [limited_pace(Allowance(a_second=1, at_once=5, clock=Clock()))]
    flooding = client(rules)
    assert all(flooding.post(CALL).is_success for _ in range(5))
    refused = flooding.post(CALL)
    assert refused.status_code == 429
    assert refused.text == ("Too many requests from this computer. Wait a moment and try again.")
    assert int(refused.headers["retry-after"]) == 1
    assert flooding.get("/assets/index.js").is_success
    assert client(rules, of="10.0.0.2").post(CALL).is_success


def test_an_allowance_comes_back_with_time_and_no_more_than_it_was() -> None:
    clock = Clock()
    allowance = Allowance(a_second=0.5, at_once=2, clock=clock)

    def spend() -> int:
        spent = 0
        while not allowance.wait("a"):
            allowance.take("a")
            spent += 1
        return spent

    assert spend() == 2
    assert allowance.wait("a") == 2
    assert allowance.wait("b") == 0
    clock.now += 2
    assert spend() == 1
    clock.now += 1_000
    assert spend() == 2


def test_clients_without_end_take_no_memory_without_end() -> None:
    allowance = Allowance(a_second=0.001, at_once=1, clock=Clock())
    for number in range(5_000):
        allowance.take(str(number))
    remembered = [number for number in range(5_000) if allowance.wait(str(number))]
    assert remembered == list(range(5_000 - 256, 5_000))


def test_what_is_too_large_is_refused_before_it_is_read() -> None:
    pages = client(rules_for(None))

    def status(path: str, headers: dict[str, str]) -> int:
        return pages.post(path, headers=headers).status_code

    assert status(CALL, {"Content-Length": "32000000"}) == 200
    assert status(CALL, {"Content-Length": "32000001"}) == 413
    assert status("/gradio_api/upload", {"Content-Length": "100000001"}) == 200
    assert status("/gradio_api/upload", {"Content-Length": "2000000001"}) == 413
    assert status(CALL, {"Transfer-Encoding": "chunked"}) == 411


@pytest.mark.parametrize("path", ["file=http://a.example/x", "file=HTTPS:/a", "proxy=http://a/x"])
def test_nothing_is_fetched_from_other_hosts(path: str) -> None:
    refused = client(rules_for(None)).get(f"/gradio_api/{path}")
    assert refused.status_code == 403
    assert "fetches nothing" in refused.text
