"""Models of the hub, from a small hub of our own on this machine."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import close_session, constants

from rag_tutor import hub, inventory
from rag_tutor.errors import ModelUnavailableError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "config.json": b"{}",
    "model.safetensors": b"w" * 5000,
    "pytorch_model.bin": b"w" * 7000,
    "onnx/model.onnx": b"w" * 9000,
}


class Hub(BaseHTTPRequestHandler):
    """Answers as the hub does, for one model; another one is gated."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        if path.startswith("/api/models/owner/model/tree/"):
            files = [
                {"type": "file", "path": name, "size": len(content), "oid": f"{len(content):040}"}
                for name, content in FILES.items()
            ]
            self.answer(json.dumps(files).encode())
        elif path.startswith("/api/models/owner/model"):
            siblings = [{"rfilename": name, "size": len(FILES[name])} for name in FILES]
            about = {"id": "owner/model", "sha": COMMIT, "siblings": siblings}
            self.answer(json.dumps(about).encode())
        elif path.startswith("/owner/model/resolve/"):
            self.answer(FILES[path.split("/", 5)[5]])
        elif "owner/gated" in path:
            self.refuse(403, "GatedRepo")
        else:
            self.refuse(404, "RepoNotFound")

    def answer(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{len(content):040}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *values: object) -> None:
        pass


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(inventory, "HF_HUB_CACHE", str(folder))
    close_session()  # a new one sees the test's proxies
    return folder


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    address = f"http://127.0.0.1:{server.server_port}"
    files = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
    yield
    server.shutdown()
    thread.join()
    server.server_close()


def download(name: str) -> list[int]:
    """Download a model; returns how many bytes were told to be missing, if any."""
    told: list[int] = []
    hub.download(name, told.append)
    return told


@pytest.mark.usefixtures("served")
def test_what_a_model_is_loaded_from_arrives_once(cache: Path) -> None:
    assert download("owner/model") == [5002]
    assert inventory.size_on_disk(cache / "models--owner--model" / "blobs") == 5002
    assert download("owner/model") == []


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize(
    ("name", "reason"), [("owner/none", "has no model owner/none"), ("owner/gated", "its terms")]
)
def test_a_model_that_cant_be_had_says_why(name: str, reason: str) -> None:
    with pytest.raises(ModelUnavailableError, match=reason):
        download(name)


def test_without_a_connection_only_a_model_that_is_here_can_be_used(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelUnavailableError, match="can't be reached"):
        download("owner/model")
    kept = cache / "models--owner--model" / "snapshots" / COMMIT
    kept.mkdir(parents=True)
    (kept / "config.json").write_text("{}")
    assert download("owner/model") == []
