"""Says whom the server answers: this computer or whoever logs in, no page of another web site,
and nobody too often or too much. Knows nothing of what the pages do.

Gradio's own log-in isn't used: it leaves some routes open (cancel, heartbeat, stream), its cookie
goes along with requests of other sites, and passwords can be tried without end. HTTP Basic stands
before every route, has no cookie, and the browser itself asks for it.
"""

import base64
import binascii
import hashlib
import hmac
import logging
import math
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rag_tutor.config import Settings
from rag_tutor.conversion import MAX_FILE_BYTES
from rag_tutor.errors import SettingsError

_log = logging.getLogger(__name__)

# In the scope of a request in which an event was asked for with what no page sends: Gradio tells
# that as if the server had failed.
MALFORMED = "rag_tutor.malformed"
# What Gradio's own code ends with where a request isn't as it expects: these, and the exceptions
# of some packages.
_SENSELESS = (LookupError, TypeError, ValueError, AttributeError, RecursionError)
_SENSELESS_FOR = ("gradio", "httpx", "PIL")

# Says why a request is refused, or None.
Rule = Callable[[HTTPConnection], Response | None]

# A page makes some 10 calls while it loads, then 1 a second, and 10 a second where text is typed; a
# class may share an address, behind a proxy.
_CALLS_A_SECOND = 100.0
_CALLS_AT_ONCE = 1_000
_GUESSES_A_SECOND = 0.5
_GUESSES_AT_ONCE = 20
_MOST_CLIENTS = 256
# An event sends two notes at most, up to 5 MB of text each, which JSON may write twice as long.
_MAX_CALL_BYTES = 32_000_000
_MAX_UPLOAD_BYTES = 20 * MAX_FILE_BYTES

_CALLS = "/gradio_api/"
_UPLOAD = f"{_CALLS}upload"
_STARTUP = f"{_CALLS}startup-events"
# Gradio would fetch what is named there from another host.
_FETCHING = (f"{_CALLS}file=http", f"{_CALLS}file/http", f"{_CALLS}proxy=")

# Whatever a note may hold, the browser itself asks no other host for anything, and tells none.
_HEADERS = {
    "content-security-policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
        "object-src 'none'; base-uri 'self'; form-action 'none'; frame-ancestors 'self'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}
_OTHER_HOST = (
    "Invalid host header: this server answers only to the computer it runs on. "
    "To reach it by another name or through a proxy, start it with --auth."
)
_OTHER_SITE = "Refused: another web site asked for this. Open the pages by their own address."
_TOO_OFTEN = "Too many requests from this computer. Wait a moment and try again."
_TOO_MANY_GUESSES = "Too many wrong passwords from this computer. Wait a minute and try again."
_NOT_LOGGED_IN = "Log in with the user and the password that the server was started with."
_TOO_LARGE = "Refused: larger than {} MB. Send less at a time."
_NO_LENGTH = "Refused: the length of what is sent must be told first (Content-Length)."
_FAILED = "This can't be answered: the program has a defect. Its window tells more."
_UNREADABLE = "No page asks for anything like this. Load the page again."
_NOT_FETCHED = "Refused: this server fetches nothing from other hosts."


class Guard:
    """Asks each rule before a request reaches the pages, and adds the headers to each response."""

    def __init__(self, app: ASGIApp, rules: Sequence[Rule]) -> None:
        self.app = app
        self.rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        is_begun = is_complete = False

        async def with_headers(message: Message) -> None:
            nonlocal is_begun, is_complete
            is_complete = message["type"] == "http.response.body" and not message.get("more_body")
            if message["type"] == "http.response.start":
                is_begun = True
                MutableHeaders(scope=message).update(_HEADERS)
                if scope.get(MALFORMED) and message["status"] == 500:
                    message["status"] = 400
            await send(message)

        app = self.app
        if scope["type"] in ("http", "websocket"):
            request = HTTPConnection(scope)
            app = next(filter(None, (rule(request) for rule in self.rules)), app)
        try:
            await app(scope, receive, with_headers)
        except Exception as error:
            is_malformed = scope["type"] == "http" and _is_malformed(error)
            # Else Starlette answers, without the headers; it still writes the log.
            if scope["type"] == "http" and not is_begun:
                answer = _unreadable() if is_malformed else _refused(500, _FAILED)
                await answer(scope, receive, with_headers)
            elif is_malformed and not is_complete:
                await send({"type": "http.response.body", "body": b""})
            if not is_malformed:
                raise
            # A traceback for each of these would fill the log.
            _log.error("Refused %s %.80a: %s", scope["method"], scope["path"], _place(error))


class Login:
    """Asks for a user and a password by HTTP Basic (RFC 7617), and limits how fast they can be
    guessed.

    While the server starts, Gradio asks itself for one route, which tells nothing.
    """

    def __init__(self, user: str, password: str) -> None:
        self._expected = _digest(f"{user}:{password}".encode())
        self._guesses = Allowance(_GUESSES_A_SECOND, _GUESSES_AT_ONCE)
        self.started = threading.Event()

    def __call__(self, request: HTTPConnection) -> Response | None:
        """Refuse whoever isn't logged in."""
        if request.scope["path"] == _STARTUP and not self.started.is_set():
            return None
        scheme, _, sent = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return _ask_for_login()
        client = _client(request)
        if seconds := self._guesses.wait(client):
            return _refused(429, _TOO_MANY_GUESSES, {"Retry-After": str(seconds)})
        # Digests: their comparison takes the same time however much of a guess is right.
        if hmac.compare_digest(_digest(_decoded(sent)), self._expected):
            return None
        self._guesses.take(client)
        return _ask_for_login()


class Allowance:
    """How much each client may still do: so much at once, then so much a second (token bucket).

    Of too many clients, the one that has done nothing for the longest time is forgotten.
    """

    def __init__(
        self, a_second: float, at_once: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._a_second = a_second
        self._at_once = at_once
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str) -> int:
        """The whole seconds until a client may do something again, 0 if it may now."""
        return max(0, math.ceil((1 - self._now_left(client)) / self._a_second))

    def take(self, client: str) -> None:
        """Count one thing that a client did."""
        self._left[client] = (self._now_left(client) - 1, self._clock())
        self._left.move_to_end(client)
        if len(self._left) > _MOST_CLIENTS:
            self._left.popitem(last=False)

    def _now_left(self, client: str) -> float:
        left, then = self._left.get(client, (self._at_once, self._clock()))
        return min(self._at_once, left + (self._clock() - then) * self._a_second)


def login_for(settings: Settings) -> Login | None:
    """The log-in that the settings ask for, if any.

    Raises SettingsError if it can't be used, or if there is none and other computers could reach
    the server.
    """
    if settings.auth:
        return _read_login(settings.auth)
    if is_loopback(settings.host):
        return None
    raise SettingsError(
        f"Whoever reaches {settings.host!r} from another computer could read and change your "
        "notes. Add a log-in with --auth USER:PASSWORD_FILE, or leave --host at 127.0.0.1."
    )


def rules_for(login: Login | None) -> list[Rule]:
    """What a request has to pass, in this order.

    Where there is a log-in, the server may have any name: a browser sends the password to none but
    the one it was typed for.
    """
    return [
        *([] if login else [only_this_computer]),
        only_own_site,
        limited_pace(Allowance(_CALLS_A_SECOND, _CALLS_AT_ONCE)),
        *([login] if login else []),
        limited_size,
        nothing_fetched,
    ]


def is_loopback(host: str) -> bool:
    """Whether a host's name or address leads to this computer only."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def only_this_computer(request: HTTPConnection) -> Response | None:
    """Refuse requests that name another host than this computer itself as the one they are for.

    A page of another host could else bring a browser to read the notes: it makes its own name
    lead to this computer (DNS rebinding). Starlette's TrustedHostMiddleware can't read "[::1]".
    """
    try:
        host = urlsplit(f"//{request.headers.get('host', '')}").hostname
    except ValueError:
        host = None
    return None if host and is_loopback(host) else _refused(400, _OTHER_HOST)


def only_own_site(request: HTTPConnection) -> Response | None:
    """Refuse what a page of another site, or on another port, makes a browser send.

    A link to the pages may be followed. Browsers tell where a request comes from in
    Sec-Fetch-Site, or where that isn't sent, over plain HTTP from another computer, in Origin; as
    in CrossOriginProtection of Go's net/http. Programs other than browsers send neither.
    """
    headers = request.headers
    site = headers.get("sec-fetch-site")
    if site is not None:
        is_visit = (
            request.scope.get("method") in ("GET", "HEAD")
            and headers.get("sec-fetch-mode") == "navigate"
            and headers.get("sec-fetch-dest") == "document"
        )
        is_own = site in ("same-origin", "none") or is_visit
    else:
        origin, host = headers.get("origin"), headers.get("host", "")
        is_own = origin is None or origin.lower().partition("://")[2] == host.lower()
    return None if is_own else _refused(403, _OTHER_SITE)


def limited_pace(allowance: Allowance) -> Rule:
    """A rule that refuses more calls of a client than allowed; the pages' own files are free."""

    def rule(request: HTTPConnection) -> Response | None:
        if not request.scope["path"].startswith(_CALLS):
            return None
        client = _client(request)
        if seconds := allowance.wait(client):
            return _refused(429, _TOO_OFTEN, {"Retry-After": str(seconds)})
        allowance.take(client)
        return None

    return rule


def limited_size(request: HTTPConnection) -> Response | None:
    """Refuse what is too large for memory, or uploads too large for a disk."""
    if "transfer-encoding" in request.headers:
        return _refused(411, _NO_LENGTH)
    # The server has seen to it that this is a number.
    length = int(request.headers.get("content-length", 0))
    limit = _MAX_UPLOAD_BYTES if request.scope["path"] == _UPLOAD else _MAX_CALL_BYTES
    return _refused(413, _TOO_LARGE.format(limit // 1_000_000)) if length > limit else None


def nothing_fetched(request: HTTPConnection) -> Response | None:
    """Refuse the routes by which Gradio would fetch something from another host."""
    is_fetching = request.scope["path"].lower().startswith(_FETCHING)
    return _refused(403, _NOT_FETCHED) if is_fetching else None


def _read_login(text: str) -> Login:
    user, _, name = text.partition(":")
    if not user or not name:
        raise SettingsError(
            "--auth needs a user and the file of a password: write it as USER:PASSWORD_FILE, with "
            "the password on the first line of the file."
        )
    try:
        with Path(name).open(encoding="utf-8-sig") as lines:
            password = lines.readline().removesuffix("\n")
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"The password file {name!r} can't be read: {error}. Write a password on its first "
            "line, as UTF-8, and name it as --auth USER:PASSWORD_FILE."
        ) from error
    if not password:
        raise SettingsError(f"The password file {name!r} is empty. Write one on its first line.")
    return Login(user, password)


def _is_malformed(error: Exception) -> bool:
    """Whether Gradio couldn't make sense of a request, before anything of ours was done."""
    if isinstance(error.__cause__, HTTPException):  # raised once the response had begun
        return True
    frames = traceback.walk_tb(error.__traceback__ and error.__traceback__.tb_next)
    passed = {_package(frame.f_globals["__name__"]) for frame, _ in frames}
    is_senseless = (
        isinstance(error, _SENSELESS) or _package(type(error).__module__) in _SENSELESS_FOR
    )
    return is_senseless and _package(__name__) not in passed


def _package(module: str) -> str:
    return module.partition(".")[0]


def _place(error: Exception) -> str:
    """What an exception is and where it comes from; not what it says, which may be of the notes."""
    *_, last = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} in {Path(last.filename).name}, line {last.lineno}"


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()


def _decoded(sent: str) -> bytes:
    try:
        return base64.b64decode(sent, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _client(request: HTTPConnection) -> str:
    return request.client.host if request.client else ""


def _ask_for_login() -> Response:
    challenge = 'Basic realm="RAG Tutor", charset="UTF-8"'
    return _refused(401, _NOT_LOGGED_IN, {"WWW-Authenticate": challenge})


def _unreadable() -> Response:
    return JSONResponse({"detail": _UNREADABLE}, status_code=400)


def _refused(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    return PlainTextResponse(text, status_code=status, headers=headers)
