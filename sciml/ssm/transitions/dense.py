"""Steps of dense systems: one matrix for each distinct interval."""

from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from sciml.ssm.discretise import AbstractDiscretisation, Discrete
from sciml.ssm.kernels import companion
from sciml.ssm.pairs import wide
from sciml.ssm.ports import Ports
from sciml.ssm.steps import Steps
from sciml.ssm.transforms import is_batched
from sciml.ssm.transitions.base import CHUNK, AbstractTransition
from sciml.ssm.transitions.powers import apply, krylov, matrix_scan, moments

_SMALL = 16
"""States up to which powers are formed in double precision: companion matrices of flows need it, whose larger ones are
refused; of 64 states, HiPPO's, it takes twice the time of a convolution and gains little."""


@final
@dataclass(frozen=True, eq=False)
class DenseTransition(AbstractTransition):
    """x_k = factor[index_k] x_{k-1} + gain[index_k] B u_k.

    Args:
        factor: R(d A) of each distinct interval, (distinct, systems or 1, n, n).
        gain: d G(d A), likewise.
        index: which one each step takes, (batch or 1, time or 1).
        one: factor and gain, (systems or 1, n, n), where one step serves all, for its powers: of small matrices in
            double precision.
        last_column: a, (systems or 1, n), where the one step is a companion matrix itself.
    """

    factor: Tensor
    gain: Tensor
    index: Tensor
    one: tuple[Tensor, Tensor] | None = None
    last_column: Tensor | None = None

    @classmethod
    def of(cls, a: Tensor, rule: AbstractDiscretisation, steps: Steps) -> "DenseTransition":
        """Steps of dense matrices (systems or 1, n, n); one step for all is made in double precision."""
        if steps.fixed:
            scale, interval = wide(steps.scale[0]).unsqueeze(-1), wide(steps.interval)
            if isinstance(rule, Discrete) and steps.number == 1:
                one = wide(a), torch.eye(a.shape[-1], dtype=torch.float64, device=a.device).expand_as(a)
            else:
                factor, gain = _made(wide(a), rule, interval[..., None, None] * scale)
                one = factor[0], gain[0]
            factor, gain = (value.to(a.dtype).unsqueeze(0) for value in one)
            if a.shape[-1] > _SMALL:
                one = factor[0], gain[0]
            return cls(factor, gain, torch.zeros(1, 1, dtype=torch.long, device=a.device), one)
        distinct, index = _distinct(steps)
        return cls(*_made(a, rule, distinct.unsqueeze(-1)), index)

    @property
    def fixed(self) -> bool:
        """Whether one step serves all samples and times."""
        return self.index.shape == (1, 1)

    def force(self, b: Tensor, u: Tensor) -> Tensor:
        """gain B u; the product of both is formed once per distinct interval where B is constant."""
        if b.ndim == 3:
            driven = self.gain @ b
            return Ports(driven[0] if self.fixed else driven[self.index], b).drive(u)
        return apply(self.gain[self.index], Ports(b, b).drive(u))

    def advance(self, k: int, x: Tensor, forcing: Tensor) -> Tensor:
        """One matrix times the state."""
        return apply(self.factor[self.index[:, min(k, self.index.shape[1] - 1)]], x) + forcing

    def scan(self, forcing: Tensor, x0: Tensor) -> Tensor:
        """By halving; the initial state enters with the first input."""
        first = self.advance(0, x0, forcing[:, 0])
        return matrix_scan(self.factor[self.index], torch.cat([first.unsqueeze(1), forcing[:, 1:]], dim=1))

    def kernel(self, b: Tensor, c: Tensor, length: int) -> Tensor:
        """C Abar^l Bbar; of a companion matrix by Fourier transforms."""
        if self.last_column is not None:
            pairs = (len(c), c.shape[1], b.shape[2], b.shape[1])  # (systems, out, in, n)
            a, b, c = (v.expand(pairs) for v in (self.last_column[:, None, None], b.mT.unsqueeze(1), c.unsqueeze(2)))
            return companion.kernel(a, b, c, length)
        factor, gain = self._one
        return moments(c.to(factor), factor, gain @ b.to(gain), length).to(c)

    def respond(self, c: Tensor, x0: Tensor, length: int) -> Tensor:
        """C Abar^(l + 1) x0."""
        factor, _ = self._one
        return moments(c.to(factor), factor, factor @ x0.to(factor).unsqueeze(-1), length).squeeze(-2).to(c)

    def absorb(self, b: Tensor, u: Tensor, x0: Tensor) -> Tensor:
        """Chunks of inputs by one matrix product each, then the recurrence over chunks."""
        factor, gain = self._one
        return absorbed(factor, gain @ b.to(gain), u, x0)

    def narrow(self, start: int, stop: int) -> "DenseTransition":
        """The steps of a piece of the series; matrices stay."""
        return self if self.fixed else replace(self, index=self.index[:, start:stop])

    @property
    def _one(self) -> tuple[Tensor, Tensor]:
        assert self.one is not None, "steps that change have no powers"
        return self.one


def _made(a: Tensor, rule: AbstractDiscretisation, step: Tensor) -> tuple[Tensor, Tensor]:
    """R(d A) and d G(d A) of steps (distinct, systems or 1, 1, 1)."""
    if isinstance(rule, Discrete):
        return _whole_steps(a, step[:, 0, 0, 0])
    factor, gain = rule.matrices(step * a)
    return factor, step * gain


def absorbed(a: Tensor, b: Tensor, u: Tensor, x0: Tensor) -> Tensor:
    """The last state of x_t = a x_{t-1} + b u_t.

    Args:
        a: (systems or 1, n, n); powers are in its dtype, sums in that of u.
        b: (systems or 1, n, in).
        u: (batch, time, systems, in).
        x0: (batch, systems, n).
    """
    time = u.shape[1]
    size = min(CHUNK, time)
    columns = krylov(a, b, size).to(u.dtype).flip(-2)  # (systems, n, chunk, in), last input with power 0
    chunks = torch.nn.functional.pad(u, (0, 0, 0, 0, -time % size, 0)).unflatten(1, (-1, size))
    entered = torch.einsum("snqi,bpqsi->bpsn", columns.expand(u.shape[2], -1, -1, -1), chunks)
    ahead = torch.linalg.matrix_power(a, size).to(u.dtype)
    x = entered[:, 0]
    for piece in entered.unbind(1)[1:]:
        x = apply(ahead, x) + piece
    return x + apply(torch.linalg.matrix_power(a, time).to(u.dtype), x0)


def _distinct(steps: Steps) -> tuple[Tensor, Tensor]:
    """Distinct steps (distinct, systems or 1, 1), and which one each sample takes at each time.

    Intervals that need gradients or are mapped over are kept apart, and so are steps that the input chose.
    """
    apart = steps.interval.requires_grad or is_batched(steps.interval)
    if steps.scale.shape[:2] != (1, 1) or apart:
        step = steps.product
        return step.flatten(0, 1), torch.arange(step.shape[0] * step.shape[1], device=step.device).view(step.shape[:2])
    values, index = torch.unique(steps.interval, return_inverse=True)
    return values[:, None, None] * steps.scale[0, 0], index.view(steps.interval.shape)


def _whole_steps(a: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """a^m and 1 + a + ... + a^(m-1), blocks of [[a, 1], [0, 1]]^m, for each count."""
    n = a.shape[-1]
    eye = torch.eye(n, dtype=a.dtype, device=a.device).expand_as(a)
    whole = torch.cat([torch.cat([a, eye], dim=-1), torch.cat([torch.zeros_like(a), eye], dim=-1)], dim=-2)
    powers = []
    for count in counts.tolist():
        if count != round(count):
            raise ValueError(
                f"intervals of a discrete map must be whole numbers of its steps, got {count:g}. Divide the intervals "
                "by the step, or take ZOH() with the matrix of a flow."
            )
        powers.append(torch.linalg.matrix_power(whole, round(count)))
    power = torch.stack(powers) if powers else whole.expand(0, *whole.shape)
    return power[..., :n, :n], power[..., :n, n:]
