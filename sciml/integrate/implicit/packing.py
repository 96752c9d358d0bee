"""States as rows of real numbers, for methods that solve equations in them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from sciml.integrate.flat import Flat, beside, leaves_of


@final
@dataclass(frozen=True)
class Packing:
    """How a flat state lies in one row per sample; a complex number takes two places, its real part first.

    Args:
        shapes: of the tensors, without the batch.
        complexes: which of them are complex.
        single: whether the state is one tensor and not a tuple.
    """

    shapes: tuple[tuple[int, ...], ...]
    complexes: tuple[bool, ...]
    single: bool

    @staticmethod
    def of(y: Flat) -> "Packing":
        """The packing of states like `y`."""
        leaves = leaves_of(y)
        shapes = tuple(tuple(leaf.shape[1:]) for leaf in leaves)
        return Packing(shapes, tuple(leaf.is_complex() for leaf in leaves), isinstance(y, Tensor))

    @property
    def plain(self) -> bool:
        """Whether states are rows already, so that nothing has to be done."""
        return self.single and len(self.shapes[0]) == 1 and not self.complexes[0]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Real numbers per sample in each tensor."""
        sizes = [torch.Size(shape).numel() for shape in self.shapes]
        return tuple(2 * size if twice else size for size, twice in zip(sizes, self.complexes, strict=True))

    @property
    def size(self) -> int:
        """Real numbers per sample."""
        return sum(self.sizes)

    def pack(self, y: Flat) -> Tensor:
        """(batch, size) of a state."""
        if self.plain:
            return y  # type: ignore[return-value]
        rows = [_real(leaf).reshape(len(leaf), -1) for leaf in leaves_of(y)]
        return rows[0] if self.single else torch.cat(rows, dim=1)

    def unpack(self, v: Tensor) -> Flat:
        """The state of (batch, size)."""
        if self.plain:
            return v
        parts = (v,) if self.single else v.split(self.sizes, dim=1)
        leaves = []
        for part, shape, twice in zip(parts, self.shapes, self.complexes, strict=True):
            leaf = part.reshape(len(part), *shape, *([2] if twice else []))
            leaves.append(torch.complex(leaf[..., 0], leaf[..., 1]) if twice else leaf)
        return leaves[0] if self.single else tuple(leaves)

    def pack_sizes(self, scales: Any) -> Tensor:
        """(batch, size) of real values per entry of the state: both parts of a complex number get the same."""
        values = scales if isinstance(scales, tuple) else (scales,)
        rows = [
            (value.unsqueeze(-1).expand(*value.shape, 2) if twice else value).reshape(len(value), -1)
            for value, twice in zip(values, self.complexes, strict=True)
        ]
        return rows[0] if self.single else torch.cat(rows, dim=1)


def _real(leaf: Tensor) -> Tensor:
    return torch.view_as_real(leaf.resolve_conj()) if leaf.is_complex() else leaf


@final
@dataclass(frozen=True, eq=False)
class PackedField:
    """A field on rows: (t, (batch, size)) -> (batch, size).

    Args:
        field: the field on flat states.
        packing: of its states.
    """

    field: Callable[[Tensor, Any], Any]
    packing: Packing

    def __call__(self, t: Tensor, v: Tensor) -> Tensor:
        packing = self.packing
        return packing.pack(self.field(t, packing.unpack(v)))


def size_of(dt: float | Tensor, v: Tensor) -> Any:
    """The step size as it multiplies rows: a number, 0-D or (batch, 1)."""
    if not isinstance(dt, Tensor):
        return dt
    return beside(dt.reshape(-1), v).to(v.dtype) if dt.ndim else dt.to(v.dtype)


def shift_of(h: Any) -> Any:
    """A step size as a structure takes it: a number, 0-D or (batch,), without its gradient."""
    return h.detach().reshape(-1 if h.ndim else ()) if isinstance(h, Tensor) else h
