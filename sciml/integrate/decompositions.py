"""What is written in place of operators where steps are compiled."""

from typing import Any

import torch
from torch import Tensor

from sciml.integrate.fast_tanh import fast_tanh


def decompositions() -> dict[Any, Any]:
    """Inductor's own table, with a faster tanh on the CPU and with sums that keep their factor.

    A field may hold `torch.add(x, a @ b, alpha=c)`, which torch 2.13 compiles to x + a @ b; see `add_scaled`.
    """
    from torch._inductor.decomposition import select_decomp_table  # takes seconds to import

    return {**select_decomp_table(), torch.ops.aten.tanh.default: _tanh, torch.ops.aten.add.Tensor: _add}


def _tanh(x: Tensor) -> Any:
    return fast_tanh(x) if x.dtype == torch.float32 and x.device.type == "cpu" else NotImplemented


def _add(x: Tensor, y: Tensor, *, alpha: float = 1) -> Any:
    return NotImplemented if alpha == 1 else x + alpha * y
