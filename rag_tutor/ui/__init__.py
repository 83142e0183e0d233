"""The pages in the browser: a chat with its sources, and the notes. Knows the tutor and the
index; nothing else knows of it.
"""

from rag_tutor.ui.page import serve

__all__ = ["serve"]
