"""The pages in the browser: a chat with its sources, and the notes. Knows the tutor and the
index; nothing else knows of it.
"""

import gc
import socket

from rag_tutor.config import Settings
from rag_tutor.errors import TutorError


def serve(settings: Settings) -> None:
    """Serve the pages until interrupted.

    Raises TutorError if the port or the log-in can't be used.
    """
    require_free_port(settings)
    # Gradio takes seconds to import, a fifth of them to look for garbage where there is none.
    gc.disable()
    from rag_tutor.ui.page import serve as serve_pages

    gc.enable()
    serve_pages(settings)


def require_login(settings: Settings) -> None:
    """Raise TutorError if the log-in can't be used, or other computers could do without one."""
    from rag_tutor.ui.access import login_for  # needs the server's libraries

    login_for(settings)


def require_free_port(settings: Settings) -> None:
    """Raise TutorError if another program listens on the port already."""
    try:
        socket.create_connection((settings.host, settings.port), timeout=0.5).close()
    except OSError:
        return
    raise TutorError(
        f"Port {settings.port} is in use on {settings.host}. "
        "Stop the other program, or choose another port with --port."
    )
