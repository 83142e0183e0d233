"""Continues chats with a language model, as a Generator; knows nothing of notes or citations.

The default model comes as a GGUF file. Converting it takes long, so the converted weights
are kept in the cache folder. An adapter of our own, in models/generator/, makes it answer from
numbered passages. It runs on our own engine (llama.py), without importing transformers; all others
run on that (writing.py).
"""

import logging
import shutil
import threading
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import filelock
import torch
from jinja2.sandbox import ImmutableSandboxedEnvironment
from safetensors.torch import load_file
from tokenizers import Tokenizer

from rag_tutor.atomic import sync_file, sync_folder
from rag_tutor.chat_server import is_server, served_model
from rag_tutor.config import DEFAULT_GENERATOR
from rag_tutor.domain import Generator, Message, TextStream, TokenStream
from rag_tutor.errors import ModelUnavailableError
from rag_tutor.llama import Llama
from rag_tutor.weights import (
    ADAPTER,
    adapted_generator_folder,
    converted_generator_folder,
    default_generator_file,
    first_line,
    is_folder,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    Change = Callable[[PreTrainedModel], object]

_LOOP_TOKENS = 8
_UNFINISHED = "\ufffd"
_log = logging.getLogger(__name__)


class Writer(Protocol):
    """Runs the weights of a model."""

    @property
    def context_tokens(self) -> int:
        """How many tokens prompt and reply may take together."""

    def write(self, prompt: Sequence[int], max_tokens: int) -> TokenStream:
        """Yield the tokens that follow a prompt, greedily, with that which ends a text."""


class ChatTokenizer(Protocol):
    """Turns texts and chats into tokens, and tokens into text."""

    @property
    def control_tokens(self) -> Sequence[str]:
        """What means more than its letters in the text of a chat, like the end of a turn."""

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, without special ones."""

    def encode_chat(self, messages: Sequence[Message]) -> list[int]:
        """The tokens of a chat, up to where the reply begins."""

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens, without special ones."""


class LanguageModel:
    """A tokenizer and what writes its tokens. One reply is written at a time."""

    def __init__(
        self,
        name: str,
        tokenizer: ChatTokenizer,
        writer: Writer,
        knows_the_task: bool = False,
    ) -> None:
        self.name = name
        self.knows_the_task = knows_the_task
        self.context_tokens = writer.context_tokens
        self._writer = writer
        self._tokenizer = tokenizer
        self._lock = threading.Lock()
        self._control_tokens = [token for token in tokenizer.control_tokens if len(token) > 2]

    def count_tokens(self, text: str) -> int:
        """Number of tokens of a text, without special ones."""
        return len(self._tokenizer.encode(text))

    def stream(self, messages: Sequence[Message], max_tokens: int) -> TextStream:
        """Yield the reply in pieces, decoded greedily; it ends early where it starts to loop.

        Closing the iterator stops the model before its next token.
        """
        reply: list[int] = []
        shown = ""
        prompt = self.prompt_tokens(messages)
        with self._lock, closing(self._writer.write(prompt, max_tokens)) as tokens:
            for token in tokens:
                reply.append(token)
                text = self._tokenizer.decode(reply)
                if len(text) > len(shown) and not text.endswith(_UNFINISHED):
                    yield text[len(shown) :]
                    shown = text
                if _loops(reply):
                    break

    def prompt_tokens(self, messages: Sequence[Message]) -> list[int]:
        """The tokens of a chat, up to where the reply begins."""
        return self._tokenizer.encode_chat([self._as_data(message) for message in messages])

    def _as_data(self, message: Message) -> Message:
        """Break up control tokens in a message: a note that holds one can't end the user's turn."""
        content = message["content"]
        for token in self._control_tokens:
            content = content.replace(token, f"{token[0]} {token[1:]}")
        return {"role": message["role"], "content": content}


class DefaultTokenizer:
    """The default generator's tokenizer, with the template of its chats."""

    def __init__(self, folder: Path) -> None:
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        added = self._tokenizer.get_added_tokens_decoder()
        self.control_tokens = [token.content for token in added.values()]
        template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
        self._template = ImmutableSandboxedEnvironment().from_string(template)

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, without special ones."""
        tokens: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return tokens

    def encode_chat(self, messages: Sequence[Message]) -> list[int]:
        """The tokens of a chat, up to where the reply begins."""
        return self.encode(self._template.render(messages=messages, add_generation_prompt=True))

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens, without special ones."""
        text: str = self._tokenizer.decode(tokens)
        return text


def _loops(reply: Sequence[int]) -> bool:
    """Whether a reply's last tokens stand in it before."""
    tail = reply[-_LOOP_TOKENS:]
    earlier = range(len(reply) - 2 * _LOOP_TOKENS + 1)
    return any(reply[start : start + _LOOP_TOKENS] == tail for start in earlier)


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
        from rag_tutor.writing import TransformersTokenizer, TransformersWriter

        is_local = is_folder(name)
        tokenizer = TransformersTokenizer(name, is_local)
        model = _pretrained(name, local_files_only=is_local)
        return LanguageModel(name, tokenizer, TransformersWriter(model.eval()))
    except ModelUnavailableError:
        raise
    except Exception as error:  # what a broken model raises is anybody's guess
        raise ModelUnavailableError(
            f"No generator could be loaded from {name!r}: {first_line(error)} "
            "Name a folder or hub id of a causal language model, or a server, with --generator."
        ) from error


def _load_default() -> LanguageModel:
    """The default generator with its adapter, converted again if the copy is damaged."""
    folder = learnt_generator_folder()
    try:
        return _load_adapted(folder)
    except Exception as error:  # noqa: BLE001  (whatever is wrong with a cached copy)
        _log.warning("the converted weights are damaged (%s); converting again", error)
        shutil.rmtree(folder)
        return _load_adapted(learnt_generator_folder())


def _load_adapted(folder: Path) -> LanguageModel:
    tokenizer = DefaultTokenizer(folder)
    return LanguageModel(DEFAULT_GENERATOR, tokenizer, Llama(folder), knows_the_task=True)


def default_generator_folder() -> Path:
    """The folder of the published weights, converted at the first call, without the adapter.

    Raises ModelUnavailableError.
    """
    return _converted(converted_generator_folder())


def learnt_generator_folder() -> Path:
    """The folder of the same weights with the adapter added. Raises ModelUnavailableError."""
    return _converted(adapted_generator_folder(), _learn)


def _learn(model: "PreTrainedModel") -> None:
    """Add to a model's layers what training/train_generator.py learnt."""
    learnt = load_file(ADAPTER)
    with torch.no_grad():
        for name in {key.rpartition(".")[0] for key in learnt}:
            weight = model.get_submodule(name).weight
            up, down = learnt[f"{name}.up"].float(), learnt[f"{name}.down"].float()
            weight.copy_(weight.float() + up @ down)


def _converted(folder: Path, change: "Change | None" = None) -> Path:
    """A folder of the default generator's weights in bf16, made if it isn't there."""
    file, cache = default_generator_file(), folder.parent
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(cache / "convert.lock"):
            if not folder.is_dir():
                _convert(file, folder, change)
    except OSError as error:
        raise ModelUnavailableError(
            f"The converted weights of the default generator can't be kept in {cache}: "
            f"{error}. Make room, or name another folder with RAG_TUTOR_CACHE."
        ) from error
    return folder


def _convert(file: Path, target: Path, change: "Change | None") -> None:
    """Convert a GGUF file beside its target, and put it there whole."""
    from transformers import AutoTokenizer, GgufConfig

    _log.info("converting %s once", file.name)
    family = target.name.removesuffix(target.name.rpartition("-")[2])
    for left_over in (*target.parent.glob("unfinished-*"), *target.parent.glob(f"{family}*")):
        shutil.rmtree(left_over, ignore_errors=True)
    unfinished = target.parent / f"unfinished-{uuid.uuid4().hex}"
    folder, name = str(file.parent), file.name
    AutoTokenizer.from_pretrained(folder, gguf_file=name).save_pretrained(unfinished)
    dequantized = GgufConfig(dequantize=True)
    model = _pretrained(folder, gguf_file=name, quantization_config=dequantized)
    if change:
        change(model)
    model.save_pretrained(unfinished)
    for path in unfinished.iterdir():
        sync_file(path)
    unfinished.rename(target)
    sync_folder(target.parent)


def _pretrained(source: str, **options: object) -> "PreTrainedModel":
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    return AutoModelForCausalLM.from_pretrained(source, dtype=torch.bfloat16, **options)
