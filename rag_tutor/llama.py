"""Reads and writes tokens with a small model of the Llama kind, much faster on a processor than
transformers does; knows nothing of text, prompts or notes.

What a general library can't take for granted makes the difference: one reply at a time, chosen
greedily, of which much stands in the prompt.

- The tokens that follow the last ones elsewhere in the text are tried at once, which leaves a
  greedy reply as it is and needs a fifth of the steps (Saxena 2023, "Prompt Lookup Decoding").
- The layers' weights are laid out once as the processor multiplies best, and those that read the
  same are one.
- What was read stays: of the next prompt only what comes after its first different token
  is read. The second question on the same passages costs no more than its own words.
- Queries that share keys are multiplied with them at once.

The layers are those of Llama (Touvron et al. 2023) with grouped-query attention (Ainslie et al.
2023). The same tokens as of transformers come out, but where two are equally likely to the last
bits.
"""

import json
from collections.abc import Callable, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch.nn import functional

from rag_tutor.domain import TokenStream
from rag_tutor.processor import Transform, fastest_dtype, laid_out

# Each number of tokens needs programs of its own, which are made and kept: there are only these,
# and what is attended to is rounded up to whole pages.
_STEPS = (256, 192, 128, 64, 16, 1)
_PAGE = 256
_GUESSED = 15
_ALIKE = 4


class Llama:
    """The weights of a model, and the keys and values of the tokens that it has read last.

    `folder` is as transformers saves a model whose embedding is its last layer, too; `dtype` is
    that of the weights. Raises OSError, KeyError or SafetensorError if it holds something else.
    One thread may use it at a time.
    """

    def __init__(self, folder: Path, dtype: torch.dtype | None = None) -> None:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.context_tokens: int = config["max_position_embeddings"]
        self._dtype = dtype or fastest_dtype()
        self._heads: int = config["num_attention_heads"]
        self._groups: int = config["num_key_value_heads"]
        self._width: int = config["hidden_size"] // self._heads
        self._epsilon: float = config["rms_norm_eps"]
        end = config["eos_token_id"]
        self._ends = set(end if isinstance(end, list) else [end])
        with safe_open(folder / "model.safetensors", "pt") as weights:
            layers = range(config["num_hidden_layers"])
            self._layers = [self._layer(weights.get_tensor, number) for number in layers]
            self._last_norm = self._norm(weights.get_tensor("model.norm.weight"))
            # Not laid out, which would save a millisecond a step: tokens are looked up in it, too.
            embedding = weights.get_tensor("model.embed_tokens.weight")
            self._embedding = embedding.to(self._dtype, copy=True)
        self._cosine, self._sine = self._rotations(config["rope_parameters"]["rope_theta"])
        self._read: list[int] = []
        self._keys = self._values = torch.empty(
            (len(self._layers), self._groups, 0, self._width), dtype=self._dtype
        )

    def write(self, prompt: Sequence[int], max_tokens: int) -> TokenStream:
        """Yield the tokens that follow a prompt, greedily, with that which ends a text.

        Raises ValueError if both take more than `context_tokens`.
        """
        if len(prompt) + max_tokens > self.context_tokens:
            raise ValueError(
                f"A prompt of {len(prompt)} tokens and {max_tokens} more are more than the model's "
                f"{self.context_tokens}."
            )
        text = list(prompt)
        start = _equal(self._read, text[:-1])
        while len(text) - start > _STEPS[0]:
            self._hidden(text[start : start + _STEPS[0]], start)
            start += _STEPS[0]
        written = self._likeliest(self._hidden(text[start:], start)[-1:])
        while True:
            for token in written:
                text.append(token)
                yield token
                if token in self._ends or len(text) == len(prompt) + max_tokens:
                    return
            guesses = _guesses(text)
            likeliest = self._likeliest(self._hidden([text[-1], *guesses], len(text) - 1))
            written = likeliest[: _equal(guesses, likeliest) + 1]

    @torch.inference_mode()
    def _likeliest(self, hidden: torch.Tensor) -> list[int]:
        scores = functional.linear(self._last_norm(hidden), self._embedding)
        likeliest: list[int] = scores.max(-1).indices.tolist()
        return likeliest

    @torch.inference_mode()
    def _hidden(self, tokens: Sequence[int], start: int) -> torch.Tensor:
        """Read some tokens, the first of which is the text's token `start`: what the layers make
        of them, of shape (len(tokens), hidden size).
        """
        count, heads, groups, width = len(tokens), self._heads, self._groups, self._width
        rows = min(size for size in _STEPS if size >= count)
        places, padding = slice(start, start + rows), [0] * (rows - count)
        cosine, sine = self._cosine[places], self._sine[places]
        room = self._make_room(start + rows)
        ahead = torch.full((rows, room - start), -torch.inf, dtype=self._dtype).triu(1)
        # What layers add is summed in single precision, as it would be lost in less.
        hidden: torch.Tensor = self._embedding[torch.tensor([*tokens, *padding])].float()
        for layer, keys, values in zip(self._layers, self._keys, self._values, strict=True):
            before, attention, joined, between, gates, down = layer
            both = attention(before(hidden)).view(rows, heads + 2 * groups, width)
            turned = both[:, : heads + groups]
            turned = torch.addcmul(turned * cosine, turned.roll(width // 2, -1), sine)
            turned = turned.to(self._dtype)
            keys[:, places] = turned[:, heads:].transpose(0, 1)
            values[:, places] = both[:, heads + groups :].transpose(0, 1)
            queries = turned[:, :heads].view(rows, groups, -1, width).permute(1, 2, 0, 3)
            scores = torch.bmm(queries.reshape(groups, -1, width), keys.transpose(1, 2))
            scores.view(groups, -1, rows, room)[..., start:] += ahead
            taken = torch.bmm(scores.softmax(-1), values)
            taken = taken.view(groups, -1, rows, width).permute(2, 0, 1, 3)
            hidden = hidden + joined(taken.reshape(rows, -1))
            gate, up = gates(between(hidden)).chunk(2, dim=-1)
            hidden = hidden + down(functional.silu(gate).mul_(up))
        self._read = [*self._read[:start], *tokens]
        return hidden[:count]

    def _make_room(self, tokens: int) -> int:
        """Fit the room for keys and values to a text of so many tokens; returns how many it is for.

        There is no more of it, as a part of it would be copied each time that it is read.
        """
        room = -(-tokens // _PAGE) * _PAGE
        if room != self._keys.shape[2]:
            more = (0, 0, 0, room - self._keys.shape[2])
            self._keys = functional.pad(self._keys, more).contiguous()
            self._values = functional.pad(self._values, more).contiguous()
        return room

    def _layer(self, weight: Callable[[str], torch.Tensor], number: int) -> tuple[Transform, ...]:
        """What a layer does, in its order: norm, queries with keys and values, what joins the
        heads; norm, both gates, and back.
        """

        def linear(*names: str, scale: float = 1) -> Transform:
            own = [weight(f"model.layers.{number}.{name}.weight") for name in names]
            # The scale of attention is a power of two here, so nothing is rounded.
            own[0] = own[0] * scale
            return laid_out(torch.cat(own).to(self._dtype))

        def norm(name: str) -> Transform:
            return self._norm(weight(f"model.layers.{number}.{name}.weight"))

        projections = [f"self_attn.{name}_proj" for name in "qkv"]
        return (
            norm("input_layernorm"),
            linear(*projections, scale=self._width**-0.5),
            linear("self_attn.o_proj"),
            norm("post_attention_layernorm"),
            linear("mlp.gate_proj", "mlp.up_proj"),
            linear("mlp.down_proj"),
        )

    def _norm(self, weight: torch.Tensor) -> Transform:
        weight = weight.float()

        def norm(hidden: torch.Tensor) -> torch.Tensor:
            size = torch.rsqrt(hidden.square().mean(-1, keepdim=True) + self._epsilon)
            return (hidden * size * weight).to(self._dtype)

        return norm

    def _rotations(self, theta: float) -> tuple[torch.Tensor, torch.Tensor]:
        """What turns keys and queries by their place: shapes (places, 1, width). Half of the
        sine is negative, for the halves change places (Su et al. 2021, "RoFormer").
        """
        speeds = theta ** -(torch.arange(0, self._width, 2) / self._width)
        angles = torch.arange(self.context_tokens + _STEPS[0])[:, None] * speeds
        cosine, sine = angles.cos(), angles.sin()
        return torch.cat([cosine, cosine], 1)[:, None], torch.cat([-sine, sine], 1)[:, None]


def _equal(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two texts begin with that are the same."""
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _guesses(text: Sequence[int]) -> list[int]:
    """What followed the text's last tokens where as many of them as possible stand before, up to
    _ALIKE; of several places the last one.
    """
    for size in range(_ALIKE, 0, -1):
        tail = text[-size:]
        for at in range(len(text) - size - 1, -1, -1):
            if text[at] == tail[0] and text[at : at + size] == tail:
                return list(text[at + size : at + size + _GUESSED])
    return []
