"""Tells how the processor runs a small model fastest; knows nothing of what models do."""

from collections.abc import Callable

import torch
from torch.nn import functional

Transform = Callable[[torch.Tensor], torch.Tensor]


def fastest_dtype() -> torch.dtype:
    """bfloat16, half as large, where the processor can multiply it; else float32."""
    return torch.bfloat16 if _can_lay_out(torch.bfloat16) else torch.float32


def laid_out(
    weight: torch.Tensor, bias: torch.Tensor | None = None, gelu: bool = False
) -> Transform:
    """Multiplies rows with a weight, of shape (out, in), adds the bias and, where asked for,
    applies the exact GELU. The weight is laid out once by oneDNN where it can: few rows at once
    take half as long then.
    """
    if _can_lay_out(weight.dtype):
        laid = torch.ops.mkldnn._reorder_linear_weight(weight, None)
        multiply = torch.ops.mkldnn._linear_pointwise
        after, kind = ("gelu", "none") if gelu else ("none", "")

        def product(rows: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = multiply(rows, laid, bias, after, [], kind)
            return result

        return product

    def plain_product(rows: torch.Tensor) -> torch.Tensor:
        result = functional.linear(rows, weight, bias)
        return functional.gelu(result) if gelu else result

    return plain_product


def _can_lay_out(dtype: torch.dtype) -> bool:
    """Whether oneDNN multiplies numbers of a type, bfloat16 or float32, on this processor."""
    onednn = torch.backends.mkldnn
    if not (onednn.is_available() and onednn.enabled):  # type: ignore[no-untyped-call]
        return False
    return dtype == torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
