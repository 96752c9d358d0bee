"""Linear operators that are diagonal in Fourier space, given by their symbols."""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sciml.integrate.implicit.packing import PackedField, Packing
from sciml.integrate.implicit.structure import (
    AbstractStructure,
    AbstractSystem,
    Jacobian,
    Shift,
    is_complex,
)


@final
@dataclass(frozen=True, eq=False)
class Fourier(AbstractStructure):
    """J is taken to be the operator with this symbol: exact for the stiff linear part of a `Split`, else near it.

    With the field's own Jacobian near the operator, iterations converge as fast as the rest is small.

    Args:
        symbol: eigenvalue of each wave, [1/time], broadcastable to the coefficients of the state over the last `axes`
            axes: torch's real half-spectrum for a real state, the full one for a complex state.
        axes: number of axes of space, the last ones of the state.
    """

    symbol: Tensor
    axes: int = 1

    def jacobian(self, field: PackedField, t: Tensor, v: Tensor) -> Jacobian:
        """Nothing: the operator is known; see `AbstractStructure.jacobian`."""
        packing = field.packing
        if not packing.single or len(packing.shapes[0]) < self.axes:
            raise TypeError(
                f"Fourier needs a state of one tensor with at least {self.axes} axes behind the batch, got shapes "
                f"{packing.shapes}. Take Dense(), Banded(...) or Krylov()."
            )
        return ()

    def system(self, field: PackedField, jacobian: Jacobian, shift: Shift) -> AbstractSystem:
        """See `AbstractStructure.system`."""
        return _Waves(self, field.packing, shift)

    def product(self, field: PackedField, jacobian: Jacobian, x: Tensor) -> Tensor:
        """See `AbstractStructure.product`."""
        return _Waves(self, field.packing, 0.0).applied(x, self.symbol)


@final
class _Waves(AbstractSystem):
    """One equation per wave."""

    def __init__(self, structure: Fourier, packing: Packing, shift: Shift) -> None:
        self.symbol, self.packing, self.shift = structure.symbol, packing, shift
        self.dims = tuple(range(-structure.axes, 0))
        self.sizes = packing.shapes[0][-structure.axes :]
        if isinstance(shift, Tensor) and shift.ndim:
            self.shift = shift.reshape(-1, *[1] * len(packing.shapes[0]))
        if is_complex(shift):
            self._check_complex()

    def solve(self, r: Tensor) -> Tensor:
        """See `AbstractSystem.solve`."""
        return self._divided(r, self.symbol)

    def solve_transposed(self, r: Tensor) -> Tensor:
        """See `AbstractSystem.solve_transposed`."""
        return self._divided(r, self.symbol.conj())

    def _divided(self, r: Tensor, symbol: Tensor) -> Tensor:
        symbol = symbol if not r.is_complex() and not is_complex(self.shift) else self._full(symbol)
        return self.applied(r, 1 / (1 - self.shift * symbol))

    def applied(self, r: Tensor, factor: Tensor) -> Tensor:
        """The operator with this factor on each wave."""
        packing = self.packing
        if r.is_complex() or is_complex(self.shift):
            y = r.reshape(len(r), *packing.shapes[0])
            return torch.fft.ifftn(factor * torch.fft.fftn(y, dim=self.dims), dim=self.dims).reshape(len(r), -1)
        y = packing.unpack(r)
        assert isinstance(y, Tensor)
        if packing.complexes[0]:
            y = torch.fft.ifftn(factor * torch.fft.fftn(y, dim=self.dims), dim=self.dims)
        else:
            y = torch.fft.irfftn(factor * torch.fft.rfftn(y, dim=self.dims), s=self.sizes, dim=self.dims)
        return packing.pack(y).to(r.dtype)

    def _full(self, symbol: Tensor) -> Tensor:
        """The symbol on the full spectrum, for complex right-hand sides of a real operator."""
        self._check_complex()
        half = torch.broadcast_to(symbol, (*symbol.shape[: -len(self.dims)], *self.sizes[:-1], self.sizes[-1] // 2 + 1))
        kernel = torch.fft.irfftn(half.to(torch.complex128), s=self.sizes, dim=self.dims)
        return torch.fft.fftn(kernel, dim=self.dims)

    def _check_complex(self) -> None:
        if self.packing.complexes[0]:
            raise TypeError(
                "Fourier solves complex systems of real states only, got a complex state. Take a method with a real "
                "matrix, e.g. Kvaerno5() or KenCarp4(), or keep real and imaginary part as two channels."
            )
