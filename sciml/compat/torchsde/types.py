"""Names of types, as torchsde's module `types` has them."""

from collections.abc import Callable, Sequence
from typing import Any, Dict, Optional, Tuple, Union  # noqa: UP035

import torch
from torch import nn

Tensor = torch.Tensor
Tensors = Sequence[Tensor]
TensorOrTensors = Tensor | Tensors

Scalar = float | Tensor
Vector = Sequence[float] | Tensor

Module = nn.Module
Modules = Sequence[Module]
ModuleOrModules = Module | Modules

Size = torch.Size
Sizes = Sequence[Size]

__all__ = [
    "Any",
    "Callable",
    "Dict",
    "Module",
    "ModuleOrModules",
    "Modules",
    "Optional",
    "Scalar",
    "Sequence",
    "Size",
    "Sizes",
    "Tensor",
    "TensorOrTensors",
    "Tensors",
    "Tuple",
    "Union",
    "Vector",
]
