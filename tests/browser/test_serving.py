"""Whom the server answers, and with which headers."""

import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from threading import Thread

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import LOGIN, Desk, Server

HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
# What a page can make a browser send to any address without asking that first.
ATTACK = """async (address) => {
  const form = new FormData();
  form.append("files", new File(["planted"], "planted.md"));
  const json = JSON.stringify({ fn_index: 0, data: [], session_hash: "planted" });
  const tries = [
    [`${address}/gradio_api/upload`, { method: "POST", mode: "no-cors", body: form }],
    [`${address}/gradio_api/component_server`, { method: "POST", mode: "no-cors", body: form }],
    [`${address}/gradio_api/run/predict`, { method: "POST", mode: "no-cors", body: json }],
    [`${address}/gradio_api/queue/join`, { method: "POST", mode: "no-cors", body: json }],
    [`${address}/config`, { mode: "no-cors" }],
    [`${address}/config`, {}],
  ];
  const read = [];
  for (const [url, options] of tries) {
    read.push(await fetch(url, options).then((answer) => answer.text(), () => ""));
  }
  return read.join("");
}"""

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:7860", 200),
        ("LOCALHOST:7860", 200),
        ("localhost", 200),
        ("[::1]:7860", 200),
        ("notes.example:7860", 400),
        ("localhost.example", 400),
        ("127.0.0.1.example", 400),
        ("localhost@notes.example", 400),
        ("[::1", 400),
        ("", 400),
    ],
)
def test_only_requests_to_this_computer_are_answered(
    server: Server, host: str, status: int
) -> None:
    for path in ("/", "/config"):
        response = httpx.get(
            server.address + path, headers={"Host": host}, trust_env=False, timeout=60
        )
        assert response.status_code == status
        policy = response.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert HEADERS.items() <= response.headers.items()
        assert "microphone=()" in response.headers["permissions-policy"]
        assert "set-cookie" not in response.headers
    if status == 400:
        assert "start it with --auth" in response.text


def test_nothing_is_answered_without_the_login(closed_server: Server) -> None:
    # All routes of Gradio, whether or not a page uses them; importing it takes seconds.
    (folder,) = find_spec("gradio").submodule_search_locations
    source = Path(folder, "routes.py").read_text(encoding="utf-8")
    found = re.findall(r'@(app|router)\.\w+\(\s*f?"(/[^"]*)"', source)
    routes = {f"/gradio_api{path}" if of == "router" else path for of, path in found}
    assert {"/", "/config", "/gradio_api/cancel", "/gradio_api/queue/join"} <= routes
    with httpx.Client(base_url=closed_server.address, trust_env=False, timeout=60) as client:
        for route in routes:
            path = re.sub(r"\{.*?\}", "x", route)
            for method in ("GET", "POST"):
                assert client.request(method, path).status_code == 401, path
        wrong = client.get("/", auth=(LOGIN[0], "a long password"))
        assert wrong.status_code == 401
        assert "rivers" not in wrong.text


def test_the_pages_work_after_the_login(closed_server: Server, browser: Browser) -> None:
    login = {"username": LOGIN[0], "password": LOGIN[1]}
    context = browser.new_context(http_credentials=login)
    desk = Desk(context.new_page())
    failed: list[str] = []
    desk.page.on("response", lambda got: failed.append(got.url) if got.status >= 400 else None)
    desk.page.goto(closed_server.address)
    desk.page.wait_for_selector("#chat .example")
    desk.wait_until_indexed()
    desk.ask("What is an oxbow lake?")
    assert "curved lake" in desk.page.inner_text("#chat .bot-row")
    desk.open_notes()
    desk.page.set_input_files("#upload input", [closed_server.corpus / "lab.md"])
    expect(desk.page.locator("#notes-message")).to_contain_text("Added lab.md")
    desk.open_note("rivers.md")
    desk.page.wait_for_function("() => document.querySelector('#editor textarea').value")
    assert [url for url in failed if not url.endswith("/manifest.json")] == []
    assert context.cookies() == []
    context.close()


@pytest.fixture
def other_site() -> Iterator[int]:
    """The port of a web site that isn't ours."""

    class Site(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    site = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    Thread(target=site.serve_forever, daemon=True).start()
    yield site.server_port
    site.shutdown()
    site.server_close()


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_the_page_of_another_site_can_call_nothing(
    server: Server, browser: Browser, other_site: int, name: str
) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"http://{name}:{other_site}")
    answered: list[tuple[str, int]] = []
    page.on("response", lambda got: answered.append((got.url, got.status)))
    assert "RAG Tutor" not in page.evaluate(ATTACK, server.address)
    ours = [status for url, status in answered if url.startswith(server.address)]
    assert ours
    assert set(ours) == {403}
    page.evaluate("address => { location.href = address; }", f"{server.address}/?chat={'0' * 32}")
    page.wait_for_selector("#chat .example")
    context.close()
