"""Writes answers and conversations as Markdown that stands alone, sources included; pure."""

from collections.abc import Sequence

from rag_tutor.domain import Turn


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
        chunk = citation.passage.chunk
        place = " › ".join((chunk.document_id, *chunk.heading))
        lines[f"- [{citation.number}] {_line(place)}: “{_line(citation.quote)}”"] = None
    return ["Sources:\n\n" + "\n".join(lines)] if lines else []


def _line(text: str) -> str:
    return " ".join(text.split())
