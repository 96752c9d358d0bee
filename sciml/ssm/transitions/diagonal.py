"""Steps of diagonal systems: every entry of the state goes its own way."""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sciml.ssm.discretise import AbstractDiscretisation
from sciml.ssm.kernels import exponential_sum, linear_recurrence
from sciml.ssm.pairs import wide
from sciml.ssm.ports import Ports
from sciml.ssm.steps import Steps
from sciml.ssm.transitions.base import CHUNK, AbstractTransition


@final
@dataclass(frozen=True, eq=False)
class DiagonalTransition(AbstractTransition):
    """x_k = factor_k x_{k-1} + gain_k B u_k, entry by entry.

    Args:
        factor: R(d a), (batch or 1, time or 1, systems or 1, state).
        gain: d G(d a), likewise.
        exponent: log R(d a) in double precision, (systems or 1, state); None where steps change.
    """

    factor: Tensor
    gain: Tensor
    exponent: Tensor | None

    @classmethod
    def of(cls, a: Tensor, rule: AbstractDiscretisation, steps: Steps) -> "DiagonalTransition":
        """Steps of diag(a), a (systems or 1, state); one step for all is made in double precision."""
        if not steps.fixed:
            step = steps.product
            z = a * step
            return cls(rule.factor(z), rule.gain(z) * step, None)
        step = wide(steps.interval)[..., None, None] * wide(steps.scale)
        z = wide(a) * step
        factor, gain = (value.to(a.dtype) for value in (rule.factor(z), rule.gain(z) * step))
        return cls(factor, gain, _turned(rule.exponent(z)[0, 0]))

    @property
    def fixed(self) -> bool:
        """Whether one step serves all samples and times."""
        return self.exponent is not None

    def force(self, b: Tensor, u: Tensor) -> Tensor:
        """gain B u."""
        if self.fixed and b.ndim == 3:
            return Ports(self.gain[0, 0].unsqueeze(-1) * b, b).drive(u)
        return self.gain * Ports(b, b).drive(u)

    def advance(self, k: int, x: Tensor, forcing: Tensor) -> Tensor:
        """One multiplication and addition."""
        return self.factor[:, min(k, self.factor.shape[1] - 1)] * x + forcing

    def scan(self, forcing: Tensor, x0: Tensor) -> Tensor:
        """The first-order recurrence of all entries."""
        factor = self.factor.expand(*self.factor.shape[:2], *forcing.shape[2:])
        return linear_recurrence(factor.flatten(2), forcing.flatten(2), x0.flatten(1)).unflatten(2, forcing.shape[2:])

    def kernel(self, b: Tensor, c: Tensor, length: int) -> Tensor:
        """A sum of exponentials."""
        driven = (self.gain[0, 0].unsqueeze(-1) * b).mT  # (systems, in, state)
        return self._exponentials(c.unsqueeze(-2) * driven.unsqueeze(-3), self._exponent[:, None, None], length)

    def respond(self, c: Tensor, x0: Tensor, length: int) -> Tensor:
        """A sum of exponentials per sample."""
        return self._exponentials(c * (self.factor[0, 0] * x0).unsqueeze(-2), self._exponent.unsqueeze(-2), length)

    def absorb(self, b: Tensor, u: Tensor, x0: Tensor) -> Tensor:
        """Chunks of inputs by one matrix product each, then the recurrence over chunks."""
        time = u.shape[1]
        if u.shape[-1] > 1:
            return self.convolve(self.force(b, u), x0)[:, -1]
        back = torch.arange(CHUNK - 1, -1, -1, device=u.device).unsqueeze(-1)
        columns = (self.gain[0, 0] * b.squeeze(-1)).unsqueeze(-2) * self._power(back)  # (systems, chunk, state)
        chunks = torch.nn.functional.pad(u.squeeze(-1).mT, (-time % CHUNK, 0)).unflatten(-1, (-1, CHUNK))
        entered = _real_times(chunks, columns)  # (batch, systems, chunks, state)
        ahead = self._power(CHUNK).expand(entered.shape[1], 1, -1)
        last = linear_recurrence(ahead, entered)[:, :, -1]
        return last + self._power(time).squeeze(-2) * x0

    def convolve(self, forcing: Tensor, x0: Tensor) -> Tensor:
        """All states by Fourier transforms: for many inputs, whose kernels would be larger than states."""
        time = forcing.shape[1]
        ahead = torch.arange(time, device=forcing.device).unsqueeze(-1)
        powers = self._power(ahead)
        n = 2 * time
        product = torch.fft.fft(forcing.movedim(1, -2), n, dim=-2) * torch.fft.fft(powers, n, dim=-2)
        states = torch.fft.ifft(product, dim=-2)[..., :time, :]
        states = states if self.factor.is_complex() else states.real
        carried = self._power(ahead + 1) * x0.unsqueeze(-2)
        return (states + carried).movedim(-2, 1)

    @property
    def _exponent(self) -> Tensor:
        assert self.exponent is not None, "steps that change have no powers"
        return self.exponent

    def _power(self, times: Tensor | int) -> Tensor:
        """factor^l, (systems or 1, l, state), rounded once."""
        value = torch.exp(self._exponent.unsqueeze(-2) * times)
        return value.to(self.factor.dtype) if self.factor.is_complex() else value.real.to(self.factor.dtype)

    def _exponentials(self, weights: Tensor, exponent: Tensor, length: int) -> Tensor:
        """sum_n weights_n exp(l exponent_n) over the last axis."""
        paired = weights.is_complex()
        single = torch.promote_types(self.factor.dtype, torch.complex64)
        weights = weights if paired else (weights / 2).to(single)
        return exponential_sum(weights, exponent.to(single).expand(weights.shape), length)


def _turned(exponent: Tensor) -> Tensor:
    """Angles from -pi to pi, which whole powers do not tell apart: little is lost where they are rounded."""
    if not exponent.is_complex():
        return exponent
    return torch.complex(exponent.real, torch.remainder(exponent.imag + math.pi, math.tau) - math.pi)


def _real_times(rows: Tensor, columns: Tensor) -> Tensor:
    """A real matrix times a complex or real one, as one real product."""
    if not columns.is_complex():
        return rows @ columns
    flat = torch.view_as_real(columns.resolve_conj()).flatten(-2)
    return torch.view_as_complex((rows @ flat).unflatten(-1, (-1, 2)))
