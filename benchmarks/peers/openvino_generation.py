"""OpenVINO GenAI on the same GGUF file: reads {"gguf", "prompts"} as JSON from stdin, prints its
times as JSON. It writes as many tokens as each prompt asks for.
"""

import json
import sys
from time import perf_counter

import openvino_genai

job = json.load(sys.stdin)
started = perf_counter()
pipe = openvino_genai.LLMPipeline(job["gguf"], "CPU")
pipe.generate("Say hello.", max_new_tokens=8)
loaded = perf_counter() - started

answers = []
for prompt in job["prompts"]:
    started = perf_counter()
    result = pipe.generate(
        [prompt["text"]],
        max_new_tokens=prompt["tokens"],
        ignore_eos=True,
        do_sample=False,
        apply_chat_template=False,
    )
    whole = perf_counter() - started
    metrics = result.perf_metrics
    answers.append(
        {
            "first": metrics.get_ttft().mean / 1000,
            "whole": whole,
            "read": metrics.get_num_input_tokens(),
            "written": metrics.get_num_generated_tokens(),
        }
    )
print(json.dumps({"load": loaded, "answers": answers}))
