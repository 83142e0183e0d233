"""Tells how the processor runs a small model fastest; knows nothing of what models do."""

from typing import Any

import torch


def fastest_dtype() -> torch.dtype:
    """bfloat16, half as large, where the processor can multiply it; else float32."""
    return torch.bfloat16 if can_lay_out(torch.bfloat16) else torch.float32


def can_lay_out(dtype: torch.dtype) -> bool:
    """Whether oneDNN multiplies numbers of a type, bfloat16 or float32, on this processor."""
    onednn = torch.backends.mkldnn
    if not (onednn.is_available() and onednn.enabled):  # type: ignore[no-untyped-call]
        return False
    return dtype == torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def fastest_options() -> dict[str, Any]:
    """What makes `from_pretrained` of transformers load a small BERT so that it runs fast.

    PyTorch's fused attention takes several times as long in bfloat16 as the products themselves.
    """
    dtype = fastest_dtype()
    attention = "eager" if dtype == torch.bfloat16 else "sdpa"
    return {"dtype": dtype, "attn_implementation": attention}
