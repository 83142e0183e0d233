"""Writes answers and conversations as Markdown that stands alone, sources included; pure."""

from collections.abc import Sequence

from rag_tutor.domain import Citation, Turn


def answer_text(turn: Turn) -> str:
    """One answer with its sources, to be copied."""
    return "\n\n".join([turn.answer.text.strip(), *_sources(turn)]) + "\n"


def conversation_text(title: str, turns: Sequence[Turn]) -> str:
    """A conversation: each question as a heading, its answer, its sources with the sentences."""
    parts = [f"# {_line(title)}"]
    for turn in turns:
        parts += [f"## {_line(turn.question)}", turn.answer.text.strip() or "*No answer.*"]
        if turn.standalone.strip() != turn.question.strip():
            parts.insert(-1, f"*Searched for: {_line(turn.standalone)}*")
        parts += _sources(turn)
    return "\n\n".join(parts) + "\n"


def _sources(turn: Turn) -> list[str]:
    lines: dict[str, None] = {}
    for citation in turn.answer.citations:
        line = f"- [{citation.number}] {_line(_place(citation))}: “{_line(citation.quote)}”"
        also = "; ".join(_line(_place(each)) for each in citation.also)
        lines[f"{line} (also in {also})" if also else line] = None
    return ["Sources:\n\n" + "\n".join(lines)] if lines else []


def _place(citation: Citation) -> str:
    chunk = citation.passage.chunk
    return " › ".join((chunk.document_id, *chunk.heading))


def _line(text: str) -> str:
    return " ".join(text.split())
