"""What this machine could do at best: prints its memory bandwidth and its arithmetic as JSON.

Bandwidth in bytes a second: the triad of McCalpin's STREAM, a = b + s * c, each array four times as
large as any cache here. Arithmetic in operations a second: products of square matrices. The best of
several tries counts, as is the custom for limits.
"""

import json
from collections.abc import Callable
from time import perf_counter

import torch

FLOATS = 32 * 2**20
SIDE = 2048
TRIES = 7


def best_seconds(compute: Callable[[], object]) -> float:
    times = []
    for _ in range(TRIES):
        started = perf_counter()
        compute()
        times.append(perf_counter() - started)
    return min(times)


def products_per_second(dtype: torch.dtype) -> float:
    a, b = (torch.ones(SIDE, SIDE, dtype=dtype) for _ in range(2))
    multiply = torch._int_mm if dtype == torch.int8 else torch.mm
    return 2 * SIDE**3 / best_seconds(lambda: multiply(a, b))


a, b, c = (torch.ones(FLOATS) for _ in range(3))
triad = best_seconds(lambda: torch.add(b, c, alpha=3, out=a))
print(
    json.dumps(
        {
            "bandwidth": 3 * FLOATS * a.element_size() / triad,
            "fp32": products_per_second(torch.float32),
            "bf16": products_per_second(torch.bfloat16),
            "int8": products_per_second(torch.int8),
        }
    )
)
