"""The pages in the browser: a chat with its sources, and the notes. Knows the tutor and the
index; nothing else knows of it.
"""

from rag_tutor.config import Settings


def serve(settings: Settings) -> None:
    """Serve the pages until interrupted. Raises TutorError if the port can't be used."""
    from rag_tutor.ui.page import serve as serve_pages  # Gradio takes seconds to import

    serve_pages(settings)
