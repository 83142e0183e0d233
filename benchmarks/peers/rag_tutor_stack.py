"""RAG Tutor itself: reads a job as JSON from stdin, prints its times, and what it finds, as JSON.

The job is {"corpus", "index", "searched", "asked"}. One note is edited afterwards.
"""

import json
import sys
from pathlib import Path
from time import perf_counter

started = perf_counter()
from rag_tutor.chunking import searchable_text  # noqa: E402
from rag_tutor.config import Settings  # noqa: E402
from rag_tutor.indexing import update_index  # noqa: E402
from rag_tutor.tutor import open_tutor  # noqa: E402

job = json.load(sys.stdin)
settings = Settings(corpus=Path(job["corpus"]), index=Path(job["index"]))
tutor = open_tutor(settings)
encoder = tutor.encoder
loaded, started = perf_counter() - started, perf_counter()

update_index(settings.corpus, settings.index, encoder)
indexed = perf_counter() - started

found = {
    question: [
        {"document": each.chunk.document_id, "text": each.chunk.text}
        for each in tutor.search(question, limit=5).answer.passages
    ]
    for question in job["searched"]
}

started = perf_counter()
tutor.warm_up()
loaded += perf_counter() - started
answers = []
for question in job["asked"]:
    started, first = perf_counter(), 0.0
    for reply in tutor.reply(question):
        first = first or (perf_counter() - started if reply.turn.answer.text else 0.0)
    answers.append({"first": first, "whole": perf_counter() - started})

note = min(settings.corpus.glob("*.md"), key=lambda path: path.stat().st_size)
before = note.read_text(encoding="utf-8")
note.write_text(f"{before}\nOne more line.\n", encoding="utf-8")
started = perf_counter()
update_index(settings.corpus, settings.index, encoder)
edited = perf_counter() - started

chunks = tutor.store.chunks
print(
    json.dumps(
        {
            "load": loaded,
            "index": indexed,
            "edit": edited,
            "chunks": len(chunks),
            "tokens": sum(encoder.count_tokens(searchable_text(each).text) for each in chunks),
            "found": found,
            "answers": answers,
        }
    )
)
