"""RAG Tutor's generator: reads {"prompts", "max_tokens"} as JSON from stdin, prints its times as
JSON. It ends an answer where the model does.
"""

import json
import sys
from time import perf_counter

from rag_tutor.config import DEFAULT_GENERATOR
from rag_tutor.generation import load_generator

job = json.load(sys.stdin)
started = perf_counter()
generator = load_generator(DEFAULT_GENERATOR)
"".join(generator.stream([{"role": "user", "content": "Say hello."}], 8))
loaded = perf_counter() - started

answers = []
for prompt in job["prompts"]:
    started = perf_counter()
    pieces, first = [], 0.0
    for piece in generator.stream(prompt["messages"], job["max_tokens"]):
        first = first or perf_counter() - started
        pieces.append(piece)
    whole = perf_counter() - started
    read, written = map(generator.count_tokens, (prompt["text"], "".join(pieces)))
    answers.append({"first": first, "whole": whole, "read": read, "written": written})
print(json.dumps({"load": loaded, "engine": type(generator).__name__, "answers": answers}))
