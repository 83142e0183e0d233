"""A study assistant as txtai's documentation builds one: reads a job as JSON from stdin, prints its
times, and what it finds, as JSON.

The job is {"corpus", "index", "encoder", "generator", "searched", "asked", "max_tokens"}.
"""

import json
import sys
from pathlib import Path
from time import perf_counter

started = perf_counter()
from txtai import LLM, RAG, Embeddings  # noqa: E402
from txtai.pipeline import Segmentation  # noqa: E402

PROMPT = """Answer the question from the context only. If the context doesn't hold the answer, \
say that you don't know.

Context:
{context}

Question: {question}"""

job = json.load(sys.stdin)
embeddings = Embeddings(path=job["encoder"], content=True)
split = Segmentation(chunker="recursive", chunk_size=1000)
split("Loaded at the first use.")
loaded, started = perf_counter() - started, perf_counter()

chunks = [
    {"text": text, "document": path.name}
    for path in sorted(Path(job["corpus"]).glob("*.md"))
    for text in split(path.read_text(encoding="utf-8"))
]
embeddings.index(chunks)
embeddings.save(job["index"])
indexed = perf_counter() - started

columns = "select text, document from txtai where similar(:question)"
found = {
    question: embeddings.search(columns, 5, parameters={"question": question})
    for question in job["searched"]
}

started = perf_counter()
rag = RAG(embeddings, LLM(job["generator"]), template=PROMPT, separator="\n\n", context=5)
loaded += perf_counter() - started
answers = []
for question in job["asked"]:
    started, first = perf_counter(), 0.0
    pieces = rag(question, stream=True, max_length=None, max_new_tokens=job["max_tokens"])
    for piece in pieces:
        first = first or (perf_counter() - started if piece else 0.0)
    answers.append({"first": first, "whole": perf_counter() - started})
print(
    json.dumps(
        {
            "load": loaded,
            "index": indexed,
            "chunks": len(chunks),
            "found": found,
            "answers": answers,
        }
    )
)
