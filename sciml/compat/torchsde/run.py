"""Solving a checked call: along a grid through `solve`, or step by step where that does not serve."""

import math
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from sciml.compat.torchsde.adaptive import accepted_steps
from sciml.compat.torchsde.equation import Equation, ProductEquation, serves_products
from sciml.compat.torchsde.inputs import Call
from sciml.compat.torchsde.methods import method_of
from sciml.compat.torchsde.noise import Noise
from sciml.compat.torchsde.settings import METHODS, NOISE_TYPES
from sciml.compat.torchsde.steps import Between, collected, equal_steps, places, rounding
from sciml.integrate import AbstractGradient, Direct, Fixed, SaveAt, solve

Extra = tuple[Tensor, ...]


@final
@dataclass(eq=False)
class Run:
    """A call with its steps, found when it is first carried out.

    Args:
        call: what is solved.
        extra: whether the solver's own state is wanted.
    """

    call: Call
    extra: bool = False

    def __post_init__(self) -> None:
        call = self.call
        self.products = serves_products(call.method, call.sde)
        self.method = method_of(call.method, call.sde.noise_type, call.options, self.products)
        self.noise = Noise(call.bm, call.y0, call.ts.dtype)
        self.equation = Equation(call.sde)
        self.term = ProductEquation(call.sde, self.noise).term() if self.products else self.equation.term(self.noise)
        self.ts = call.ts.detach().double().tolist()
        self.slack = rounding(call.ts.detach()) if len(self.ts) > 1 else 0.0
        self.grid: list[float] | None = None
        self.wanted: list[Between] = []

    def __call__(
        self, y0: Tensor, extra0: Extra | None, gradient: AbstractGradient, params: tuple[Tensor, ...] = ()
    ) -> tuple[Tensor, ...]:
        """States at all times, (time, batch, channel), and the solver's own state at the end if that is wanted."""
        if len(self.ts) == 1:
            return y0[None], *self._extra(self._carry(y0, extra0))
        if self.grid is None:
            found = self._find_steps(y0, extra0)
            if found is not None and not self.call.differentiable:
                return found
        try:
            stepwise = self.extra or extra0 is not None or self.products
            return self._walked(y0, extra0) if stepwise else (self._solved(y0, gradient, params),)
        finally:
            self.equation.last = None

    def _find_steps(self, y0: Tensor, extra0: Extra | None) -> tuple[Tensor, ...] | None:
        """Fix the grid; with adaptive steps what they gave, without gradients."""
        call = self.call
        if not call.adaptive:
            self.grid = equal_steps(self.ts, call.dt, self.slack)
            self.wanted = places(self.grid, self.ts, self.slack)
            self.noise.prepare(self.grid)
            return None
        with torch.no_grad():
            carry = self._carry(y0, extra0)
            ends, halves, states, carry = accepted_steps(call, self.method, self.term, y0.detach(), carry, self.slack)
        at = places(ends, self.ts, self.slack)
        # The solution was advanced by half steps, and is linear between the ends of whole ones.
        self.grid, self.wanted = halves, [Between(2 * left, 2 * right, theta) for left, right, theta in at]
        return collected(dict(enumerate(states)), at), *self._extra(carry)

    def _solved(self, y0: Tensor, gradient: AbstractGradient, params: tuple[Tensor, ...]) -> Tensor:
        """By `solve`. States that are lost become NaN, as they are with torchsde."""
        assert self.grid is not None
        numbers = sorted({number for at in self.wanted for number in (at.left, at.right) if number})
        grid = torch.tensor(self.grid, dtype=torch.float64)
        solution = solve(
            self.term,
            self.method,
            y0,
            self.grid[0],
            self.grid[-1],
            control=Fixed(ts=grid),
            save=SaveAt(ts=grid[numbers]),
            gradient=gradient,
            params=params,
            throw=False,
        )
        lost = torch.where(solution.result == 0, len(self.grid), solution.stats.steps)
        when = torch.tensor(numbers, device=y0.device)
        ys: Any = solution.ys
        ys = torch.where((when >= lost[:, None])[..., None], math.nan, ys)
        return collected({0: y0, **dict(zip(numbers, ys.unbind(1), strict=True))}, self.wanted)

    def _walked(self, y0: Tensor, extra0: Extra | None) -> tuple[Tensor, ...]:
        """Step by step, with the solver's own state at both ends."""
        assert self.grid is not None
        needed = {number for at in self.wanted for number in (at.left, at.right)}
        y, carry, states = y0, self._carry(y0, extra0), {0: y0}
        for n, (t0, t1) in enumerate(zip(self.grid, self.grid[1:], strict=False), start=1):
            step: Any = self.method.step(self.term, t0, t1, y, carry)
            y, carry = step.y, step.carry
            if n in needed:
                states[n] = y
        return collected(states, self.wanted), *self._extra(carry)

    def _carry(self, y0: Tensor, extra0: Extra | None) -> Any:
        """What the method begins with; torchsde has (f, g, z) for ours (z, f, g)."""
        if self.call.method != METHODS.reversible_heun:
            return ()
        if extra0 is None:
            return self.method.init(self.term, self.ts[0], y0)
        f, g, z = extra0
        return z, f, g.squeeze(-1) if self.call.sde.noise_type == NOISE_TYPES.scalar else g

    def _extra(self, carry: Any) -> Extra:
        if not self.extra or not carry:
            return ()
        z, f, g = carry
        return f, g.unsqueeze(-1) if self.call.sde.noise_type == NOISE_TYPES.scalar else g, z


def direct(run: Run, extra0: Extra | None) -> tuple[Tensor, ...]:
    """The run as autograd records it."""
    return run(run.call.y0, extra0, Direct())
