"""Chooses the prompts that every generator reads, and says where the published weights are: prints
{"encoder", "gguf", "generator", "prompts"} as JSON.

Reads {"corpus", "index", "questions", "max_tokens"} as JSON from stdin. RAG Tutor makes prompts of
the five passages that it finds; of the first TRIED with LEAST to MOST tokens, those TAKEN have the
longest answers. A prompt is {"question", "messages", "text"}; its text is what the model's own
template makes of its messages.
"""

import json
import sys
from pathlib import Path

from transformers import AutoTokenizer

from rag_tutor.config import Settings
from rag_tutor.generation import default_generator_folder
from rag_tutor.grounding import prompt
from rag_tutor.indexing import update_index
from rag_tutor.tutor import open_tutor
from rag_tutor.weights import default_encoder_folder, default_generator_file

LEAST, MOST = 900, 1100
TRIED, TAKEN = 24, 5

job = json.load(sys.stdin)
settings = Settings(corpus=Path(job["corpus"]), index=Path(job["index"]))
tutor = open_tutor(settings)
update_index(settings.corpus, settings.index, tutor.encoder)
generator, folder = tutor.generator, default_generator_folder()
tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
tried = []
for question in job["questions"]:
    messages = prompt(question, tutor.search(question).answer.passages)
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    if LEAST <= generator.count_tokens(text) <= MOST:
        answer = "".join(generator.stream(messages, job["max_tokens"]))
        made = {"question": question, "messages": messages, "text": text}
        tried.append((generator.count_tokens(answer), made))
    if len(tried) == TRIED:
        break
tried.sort(key=lambda each: -each[0])
paths = {"encoder": default_encoder_folder(), "gguf": default_generator_file(), "generator": folder}
prompts = [made for _, made in tried[:TAKEN]]
print(json.dumps({name: str(path) for name, path in paths.items()} | {"prompts": prompts}))
