"""Runs a transformers language model as a Generator, on the CPU or a GPU; knows nothing of
notes or citations.

The default model comes as a GGUF file. Converting it takes long, so the converted weights
are kept in the cache folder. An adapter of our own, in models/generator/, makes it answer from
numbered passages.
"""

import logging
import shutil
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import filelock
import torch
from jinja2 import TemplateError
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GgufConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    StoppingCriteria,
    StoppingCriteriaList,
    TextIteratorStreamer,
)
from transformers.utils import logging as transformers_logging

from rag_tutor.atomic import sync_file, sync_folder
from rag_tutor.chat_server import is_server, served_model
from rag_tutor.config import DEFAULT_GENERATOR
from rag_tutor.domain import Generator, Message, TextStream
from rag_tutor.errors import ModelUnavailableError
from rag_tutor.weights import (
    converted_generator_folder,
    default_generator_file,
    first_line,
    is_folder,
)

_ADAPTER = Path(__file__).parent / "models" / "generator" / "adapter.safetensors"
_LOOP_TOKENS = 8
# An answer from notes repeats them: the tokens that follow the same three in the prompt are tried
# at once, which leaves a greedy reply as it is and needs a fifth of the steps (Saxena 2023, "Prompt
# Lookup Decoding").
_GUESSING = {"prompt_lookup_num_tokens": 12, "max_matching_ngram_size": 3}
transformers_logging.disable_progress_bar()
_log = logging.getLogger(__name__)


class LanguageModel:
    """A causal language model of transformers. One reply is written at a time."""

    def __init__(
        self,
        name: str,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        knows_the_task: bool = False,
    ) -> None:
        self.name = name
        self.knows_the_task = knows_the_task
        self._model = model
        self._tokenizer = tokenizer
        self._lock = threading.Lock()
        self._control_tokens = [token for token in tokenizer.get_added_vocab() if len(token) > 2]
        # A model that keeps its memory in a state can't take back tokens that it guessed wrong.
        self._guessing = {} if getattr(model, "_is_stateful", False) else _GUESSING
        self.context_tokens: int = getattr(model.config, "max_position_embeddings", 2048)

    def count_tokens(self, text: str) -> int:
        """Number of tokens of a text, without special ones."""
        return len(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def stream(self, messages: Sequence[Message], max_tokens: int) -> TextStream:
        """Yield the reply in pieces, decoded greedily; it ends early where it starts to loop.

        Closing the iterator stops the model before its next token.
        """
        with self._lock:
            yield from self._stream(self._prompt(messages), max_tokens)

    def _stream(self, prompt: dict[str, Any], max_tokens: int) -> Iterator[str]:
        streamer = TextIteratorStreamer(self._tokenizer, skip_prompt=True, skip_special_tokens=True)
        stop = _Stop(prompt["input_ids"].shape[1])
        failures: list[Exception] = []

        def write() -> None:
            try:
                with torch.inference_mode():
                    self._model.generate(
                        **prompt,
                        max_new_tokens=max_tokens,
                        do_sample=False,
                        streamer=streamer,
                        stopping_criteria=StoppingCriteriaList([stop]),
                        **self._guessing,
                    )
            except Exception as error:  # noqa: BLE001  (raised again where the reply is read)
                failures.append(error)
                streamer.end()

        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        try:
            yield from streamer
        finally:
            stop.asked.set()
            writer.join()
        if failures:
            raise failures[0]

    def _prompt(self, messages: Sequence[Message]) -> dict[str, Any]:
        messages = [self._as_data(message) for message in messages]
        if self._tokenizer.chat_template:
            encoded = self._apply_template(messages)
        else:
            text = "\n\n".join(message["content"] for message in messages)
            encoded = self._tokenizer(text, return_tensors="pt")
        encoded = encoded.to(self._model.device)
        return {key: encoded[key] for key in ("input_ids", "attention_mask")}

    def _as_data(self, message: Message) -> Message:
        """Break up control tokens in a message: a note that holds one can't end the user's turn."""
        content = message["content"]
        for token in self._control_tokens:
            content = content.replace(token, f"{token[0]} {token[1:]}")
        return {"role": message["role"], "content": content}

    def _apply_template(self, messages: Sequence[Message]) -> Any:
        form = {"add_generation_prompt": True, "return_tensors": "pt", "return_dict": True}
        try:
            return self._tokenizer.apply_chat_template(list(messages), **form)
        except TemplateError:  # some templates know no system role
            return self._tokenizer.apply_chat_template(_without_system(messages), **form)


def _without_system(messages: Sequence[Message]) -> list[Message]:
    """The same messages with the system's words put before the first of the user's."""
    system = "\n\n".join(each["content"] for each in messages if each["role"] == "system")
    rest = [each for each in messages if each["role"] != "system"]
    first: Message = {"role": "user", "content": f"{system}\n\n{rest[0]['content']}"}
    return [first, *rest[1:]]


class _Stop(StoppingCriteria):  # type: ignore[misc]
    """Ends a reply when asked to, or when its last tokens already stand in it: at the latest a few
    tokens after that, as several are added at a time.
    """

    def __init__(self, prompt_length: int) -> None:
        self.asked = threading.Event()
        self._prompt_length = prompt_length

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        reply = input_ids[0, self._prompt_length :].tolist()
        tail = reply[-_LOOP_TOKENS:]
        earlier = range(len(reply) - 2 * _LOOP_TOKENS + 1)
        loops = any(reply[start : start + _LOOP_TOKENS] == tail for start in earlier)
        return torch.tensor([loops or self.asked.is_set()], device=input_ids.device)


def load_generator(name: str) -> Generator:
    """Load the default generator, or one from a folder or the hub, or take that of a server.

    Only a hub id reaches for the network now, and only if it isn't cached yet; a server is asked
    when it is to write. Raises ModelUnavailableError.
    """
    try:
        if is_server(name):
            return served_model(name)
        if name == DEFAULT_GENERATOR:
            return _load_default()
        return _load(name, name, is_local=is_folder(name))
    except ModelUnavailableError:
        raise
    except Exception as error:  # what a broken model raises is anybody's guess
        raise ModelUnavailableError(
            f"No generator could be loaded from {name!r}: {first_line(error)} "
            "Name a folder or hub id of a causal language model, or a server, with --generator."
        ) from error


def _load(name: str, source: str, is_local: bool) -> LanguageModel:
    tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=is_local)
    model = AutoModelForCausalLM.from_pretrained(
        source, dtype=torch.bfloat16, local_files_only=is_local
    )
    return LanguageModel(name, model.eval(), tokenizer)


def _load_default() -> LanguageModel:
    """The default generator in bf16 with its adapter, converted again if the copy is damaged."""
    folder, learnt = default_generator_folder(), load_file(_ADAPTER)
    try:
        return _load_adapted(folder, learnt)
    except Exception as error:  # noqa: BLE001  (whatever is wrong with a cached copy)
        _log.warning("the converted weights are damaged (%s); converting again", error)
        shutil.rmtree(folder)
        return _load_adapted(default_generator_folder(), learnt)


def _load_adapted(folder: Path, learnt: Mapping[str, torch.Tensor]) -> LanguageModel:
    """The model in a folder with what training/train_generator.py learnt added to its layers."""
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.bfloat16, local_files_only=True
    )
    with torch.no_grad():
        for name in {key.rpartition(".")[0] for key in learnt}:
            weight = model.get_submodule(name).weight
            up, down = learnt[f"{name}.up"].float(), learnt[f"{name}.down"].float()
            weight.copy_(weight.float() + up @ down)
    return LanguageModel(DEFAULT_GENERATOR, model.eval(), tokenizer, knows_the_task=True)


def default_generator_folder() -> Path:
    """The folder of the published weights, converted at the first call, without the adapter.

    Raises ModelUnavailableError.
    """
    file = default_generator_file()
    folder = converted_generator_folder()
    cache = folder.parent
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(cache / "convert.lock"):
            if not folder.is_dir():
                _convert(file, folder)
    except OSError as error:
        raise ModelUnavailableError(
            f"The converted weights of the default generator can't be kept in {cache}: "
            f"{error}. Make room, or name another folder with RAG_TUTOR_CACHE."
        ) from error
    return folder


def _convert(file: Path, target: Path) -> None:
    """Convert a GGUF file beside its target, and put it there whole."""
    _log.info("converting %s once", file.name)
    for left_over in target.parent.glob("unfinished-*"):
        shutil.rmtree(left_over, ignore_errors=True)
    unfinished = target.parent / f"unfinished-{uuid.uuid4().hex}"
    source = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    AutoTokenizer.from_pretrained(**source).save_pretrained(unfinished)
    model = AutoModelForCausalLM.from_pretrained(
        **source, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
    )
    model.save_pretrained(unfinished)
    for path in unfinished.iterdir():
        sync_file(path)
    unfinished.rename(target)
    sync_folder(target.parent)
