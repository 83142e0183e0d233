"""Reads texts with a small model of the BERT kind, twice as fast on a processor as transformers
does and without importing it; knows nothing of what its vectors are for.

The layers are those of BERT (Devlin et al. 2019, arXiv:1810.04805), with what multiplies queries,
keys and values joined. Texts of like length are read together, so that little of a batch is
padding, and every text is tokenized by itself, so that any number of threads may read at once.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from tokenizers import Encoding, Tokenizer
from torch.nn import functional

from rag_tutor.domain import Vectors
from rag_tutor.processor import Transform, fastest_dtype, laid_out

# A batch has so many tokens at most, for what lies between two layers to stay in the processor's
# cache; and its width is a multiple of _LENGTHS, as each size needs programs of its own, which
# oneDNN makes and keeps.
_BATCH_TOKENS = 1024
_LENGTHS = 32


class Bert:
    """The weights of a model without what lies above its last layer, and its tokenizer.

    `folder` holds config.json and model.safetensors, `tokenizer` the tokenizer.json of a fast
    tokenizer; `prefix` is that of the names of the weights. Raises OSError, KeyError or
    SafetensorError if they hold something else.
    """

    def __init__(
        self,
        folder: Path,
        tokenizer: Path,
        max_tokens: int,
        prefix: str = "",
        dtype: torch.dtype | None = None,
    ) -> None:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.max_tokens = max_tokens
        self.width: int = config["hidden_size"]
        self._heads: int = config["num_attention_heads"]
        self._epsilon: float = config["layer_norm_eps"]
        self._dtype = dtype or fastest_dtype()
        self._tokenizer = _tokenizer(tokenizer)
        with safe_open(folder / "model.safetensors", "pt") as weights:

            def weight(name: str) -> torch.Tensor:
                tensor: torch.Tensor = weights.get_tensor(prefix + name)
                return tensor.to(torch.float32, copy=True)

            self._places = weight("embeddings.position_embeddings.weight")
            self._kinds = weight("embeddings.token_type_embeddings.weight")
            self._first_norm = self._norm(weight, "embeddings")
            layers = range(config["num_hidden_layers"])
            self._layers = [self._layer(weight, f"encoder.layer.{number}") for number in layers]
        # Opened anew, so that of the file only the rows of the words that occur are in memory.
        with safe_open(folder / "model.safetensors", "pt") as weights:
            self._words = weights.get_tensor(f"{prefix}embeddings.word_embeddings.weight")

    def count_tokens(self, text: str) -> int:
        """Number of tokens of a text, special ones included, however long it is."""
        return len(self._tokenizer.encode(text))

    def read(
        self, texts: Sequence[str], question: str | None = None
    ) -> Iterator[tuple[int, Vectors, NDArray[np.int64]]]:
        """Read each text, behind the question if there is one: in the order of their lengths, a
        text's number, the vectors of all tokens that are read, of shape (tokens, width), and their
        offsets in the text, of shape (tokens, 2); (0, 0) for tokens that are not of it.

        Of a question is read what takes half of `max_tokens`, of a text what there is room for.
        """
        read = self._encodings(texts, question)
        order = sorted(range(len(texts)), key=lambda at: -len(read[at]))
        while order:
            length = -(-len(read[order[0]]) // _LENGTHS) * _LENGTHS
            size = max(1, _BATCH_TOKENS // length)
            batch, order = order[:size], order[size:]
            hidden = self._hidden([read[at] for at in batch], length).numpy()
            for row, at in enumerate(batch):
                tokens = read[at]
                offsets = np.array(tokens.offsets, dtype=np.int64)
                if question is not None:
                    offsets[np.array(tokens.type_ids) == 0] = 0
                yield at, hidden[row, : len(tokens)], offsets

    def _encodings(self, texts: Sequence[str], question: str | None) -> list[Encoding]:
        """The tokens of each text with special ones, and behind the question's."""

        def encode(batch: Sequence[str]) -> list[Encoding]:
            encodings: list[Encoding] = self._tokenizer.encode_batch(
                list(batch), add_special_tokens=False
            )
            return encodings

        asked = encode([question])[0] if question is not None else None
        room = self.max_tokens - self._tokenizer.num_special_tokens_to_add(asked is not None)
        if asked is not None:
            asked.truncate(room // 2)
            room -= len(asked)
        finished = []
        for tokens in encode(texts):
            tokens.truncate(room)
            both = (tokens, None) if asked is None else (asked, tokens)
            finished.append(self._tokenizer.post_process(*both))
        return finished

    @torch.inference_mode()
    def _hidden(self, texts: Sequence[Encoding], length: int) -> torch.Tensor:
        """What the layers make of some texts: float32 of shape (len(texts), length, width)."""
        count, width, heads = len(texts), self.width, self._heads
        words, kinds = torch.zeros((2, count, length), dtype=torch.long)
        attended = torch.zeros((count, 1, 1, length), dtype=torch.bool)
        for row, tokens in enumerate(texts):
            words[row, : len(tokens)] = torch.tensor(tokens.ids)
            kinds[row, : len(tokens)] = torch.tensor(tokens.type_ids)
            attended[row, ..., : len(tokens)] = True
        hidden = self._words[words].float() + self._places[:length] + self._kinds[kinds]
        hidden = self._first_norm(hidden.view(-1, width))
        # What layers add is summed in single precision, as it would be lost in less.
        for attention, joined, between, up, down, after in self._layers:
            three = attention(hidden.to(self._dtype)).view(count, length, 3, heads, -1)
            queries, keys, values = three.permute(2, 0, 3, 1, 4)
            taken = functional.scaled_dot_product_attention(queries, keys, values, attended)
            hidden = between(hidden + joined(taken.transpose(1, 2).reshape(-1, width)))
            hidden = after(hidden + down(up(hidden.to(self._dtype))))
        return hidden.view(count, length, width)

    def _layer(self, weight: Callable[[str], torch.Tensor], name: str) -> tuple[Transform, ...]:
        """What a layer does, in its order: queries, keys and values, what joins the heads, norm;
        up and back, norm.
        """

        def product(*parts: str, gelu: bool = False) -> Transform:
            joined, bias = (
                torch.cat([weight(f"{name}.{part}.{kind}") for part in parts]).to(self._dtype)
                for kind in ("weight", "bias")
            )
            return laid_out(joined, bias, gelu)

        return (
            product(*(f"attention.self.{part}" for part in ("query", "key", "value"))),
            product("attention.output.dense"),
            self._norm(weight, f"{name}.attention.output"),
            product("intermediate.dense", gelu=True),
            product("output.dense"),
            self._norm(weight, f"{name}.output"),
        )

    def _norm(self, weight: Callable[[str], torch.Tensor], name: str) -> Transform:
        scale, bias = weight(f"{name}.LayerNorm.weight"), weight(f"{name}.LayerNorm.bias")

        def norm(hidden: torch.Tensor) -> torch.Tensor:
            return functional.layer_norm(hidden, (self.width,), scale, bias, self._epsilon)

        return norm


@cache  # 9 MB, and the encoder's and the reader's are the same
def _tokenizer(file: Path) -> Tokenizer:
    tokenizer = Tokenizer.from_buffer(file.read_bytes())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
