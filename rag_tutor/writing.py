"""Runs any causal language model of transformers, and its tokenizer; knows nothing of notes."""

import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from jinja2 import TemplateError
from transformers import AutoTokenizer, PreTrainedModel, StoppingCriteria, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

from rag_tutor.domain import Message, TokenStream

# An answer from notes repeats them: the tokens that follow the same three in the prompt are tried
# at once, which leaves a greedy reply as it is and needs a fifth of the steps (Saxena 2023, "Prompt
# Lookup Decoding").
_GUESSING = {"prompt_lookup_num_tokens": 12, "max_matching_ngram_size": 3}


class TransformersTokenizer:
    """A tokenizer of a folder or the hub, with the template of its chats, if it has one."""

    def __init__(self, source: str, is_local: bool) -> None:
        self._tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=is_local)
        self.control_tokens = list(self._tokenizer.get_added_vocab())

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, without special ones."""
        return list(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def encode_chat(self, messages: Sequence[Message]) -> list[int]:
        """The tokens of a chat, up to where the reply begins."""
        if not self._tokenizer.chat_template:
            text = "\n\n".join(message["content"] for message in messages)
            return list(self._tokenizer(text)["input_ids"])
        try:
            return self._apply_template(messages)
        except TemplateError:  # some templates know no system role
            return self._apply_template(_without_system(messages))

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens, without special ones."""
        text: str = self._tokenizer.decode(
            tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text

    def _apply_template(self, messages: Sequence[Message]) -> list[int]:
        encoded = self._tokenizer.apply_chat_template(
            list(messages), add_generation_prompt=True, return_dict=True
        )
        return list(encoded["input_ids"])


def _without_system(messages: Sequence[Message]) -> list[Message]:
    """The same messages with the system's words put before the first of the user's."""
    system = "\n\n".join(each["content"] for each in messages if each["role"] == "system")
    rest = [each for each in messages if each["role"] != "system"]
    first: Message = {"role": "user", "content": f"{system}\n\n{rest[0]['content']}"}
    return [first, *rest[1:]]


class TransformersWriter:
    """A model of transformers, on the device that it is on. One reply is written at a time."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.context_tokens: int = getattr(model.config, "max_position_embeddings", 2048)
        # A model that keeps its memory in a state can't take back tokens that it guessed wrong.
        self._guessing: Mapping[str, int] = (
            {} if getattr(model, "_is_stateful", False) else _GUESSING
        )

    def write(self, prompt: Sequence[int], max_tokens: int) -> TokenStream:
        """Yield the tokens that follow a prompt, each the likeliest, with that which ends a text.

        Closing the iterator stops the model before its next token.
        """
        tokens = torch.tensor([prompt], device=self.model.device)
        written, stop = _Written(), _Stop()
        failures: list[Exception] = []

        def write() -> None:
            try:
                with torch.inference_mode():
                    self.model.generate(
                        input_ids=tokens,
                        attention_mask=torch.ones_like(tokens),
                        max_new_tokens=max_tokens,
                        do_sample=False,
                        streamer=written,
                        stopping_criteria=StoppingCriteriaList([stop]),
                        **self._guessing,
                    )
            except Exception as error:  # noqa: BLE001  (raised again where the reply is read)
                failures.append(error)
                written.end()

        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        try:
            yield from written.tokens()
        finally:
            stop.asked.set()
            writer.join()
        if failures:
            raise failures[0]


class _Written(BaseStreamer):  # type: ignore[misc]
    """Carries tokens from the thread that writes them; the prompt comes first and is left out."""

    def __init__(self) -> None:
        self._steps: queue.SimpleQueue[list[int] | None] = queue.SimpleQueue()

    def put(self, value: torch.Tensor) -> None:
        self._steps.put(value.flatten().tolist())

    def end(self) -> None:
        self._steps.put(None)

    def tokens(self) -> Iterator[int]:
        step = self._steps.get()
        while step is not None and (step := self._steps.get()) is not None:
            yield from step


class _Stop(StoppingCriteria):  # type: ignore[misc]
    """Ends a reply when asked to."""

    def __init__(self) -> None:
        self.asked = threading.Event()

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        return torch.tensor([self.asked.is_set()], device=input_ids.device)
