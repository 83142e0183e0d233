"""llama.cpp by its Python binding: reads {"gguf", "prompts"} as JSON from stdin, prints its times
as JSON. It writes as many tokens as each prompt asks for.
"""

import json
import os
import sys
from itertools import islice
from time import perf_counter

from llama_cpp import Llama

job = json.load(sys.stdin)
started = perf_counter()
# By default it would write with half of the cores.
llama = Llama(job["gguf"], n_ctx=2048, n_threads=os.cpu_count(), verbose=False)
list(islice(llama.generate(llama.tokenize(b"Say hello."), temp=0), 8))
loaded = perf_counter() - started

answers = []
for prompt in job["prompts"]:
    started, times = perf_counter(), []
    tokens = llama.tokenize(prompt["text"].encode(), add_bos=False, special=True)
    for token in islice(llama.generate(tokens, temp=0), prompt["tokens"]):
        llama.detokenize([token])
        times.append(perf_counter() - started)
    answers.append(
        {"first": times[0], "whole": times[-1], "read": len(tokens), "written": len(times)}
    )
print(json.dumps({"load": loaded, "answers": answers}))
