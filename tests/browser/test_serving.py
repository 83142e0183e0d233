"""Whom the server answers, and with which headers."""

import httpx
import pytest

from tests.browser.conftest import Server

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
        response = httpx.get(server.address + path, headers={"Host": host}, trust_env=False)
        assert response.status_code == status
        policy = response.headers["content-security-policy"]
        assert "default-src 'self'" in policy
    if status == 400:
        assert "start it with --host" in response.text
