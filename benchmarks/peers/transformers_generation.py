"""The plain text-generation pipeline of transformers: reads {"generator", "prompts"} as JSON from
stdin, prints its times as JSON. It writes as many tokens as each prompt asks for.
"""

import json
import sys
from time import perf_counter

from transformers import pipeline
from transformers.generation.streamers import BaseStreamer


class Times(BaseStreamer):
    """Notes when the prompt was read, and when each token was written."""

    def __init__(self):
        self.times = []

    def put(self, value):
        """One of them."""
        self.times.append(perf_counter())

    def end(self):
        """Nothing more comes."""


job = json.load(sys.stdin)
started = perf_counter()
generate = pipeline("text-generation", model=job["generator"])
generate("Say hello.", max_new_tokens=8, do_sample=False)
loaded = perf_counter() - started

answers = []
for prompt in job["prompts"]:
    number, streamer, started = prompt["tokens"], Times(), perf_counter()
    generate(
        prompt["text"],
        max_new_tokens=number,
        min_new_tokens=number,
        do_sample=False,
        streamer=streamer,
    )
    whole, first = perf_counter() - started, streamer.times[1] - started
    read, written = len(generate.tokenizer(prompt["text"])["input_ids"]), len(streamer.times) - 1
    answers.append({"first": first, "whole": whole, "read": read, "written": written})
print(json.dumps({"load": loaded, "answers": answers}))
