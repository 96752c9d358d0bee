"""A method of your own in one file, with everything the library's have: error control, gradients, dense output.

An explicit Runge-Kutta method is a tableau, which checks its own order conditions. Anything else is a class with
`init` and `step`; the second one here steps the two halves of a pendulum in turn (symplectic Euler).
"""

import argparse
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from sciml.integrate import ODE, PID, AbstractExplicitRK, AbstractMethod, ButcherTableau, Fixed, SaveAt, Step, solve


@final
@dataclass(frozen=True)
class Heun3(AbstractExplicitRK):
    """Heun's method of order 3, with an embedded method of order 2 for step control."""

    tableau: ClassVar[ButcherTableau] = ButcherTableau(
        c=(0.0, 1 / 3, 2 / 3),
        a=((1 / 3,), (0.0, 2 / 3)),
        b=(1 / 4, 0.0, 3 / 4),
        error=(1 / 4 + 1 / 2, 0.0 - 3 / 2, 3 / 4),  # b minus the weights (-1/2, 3/2, 0)
        error_order=3,
        order=3,
    )
    order: ClassVar[int] = 3
    stages: ClassVar[int] = 3


@final
@dataclass(frozen=True)
class SymplecticEuler(AbstractMethod):
    """For dq/dt = v(p), dp/dt = a(q), with the state (q, p) along the last axis: first p, then q with the new p."""

    order: ClassVar[int] = 1
    stages: ClassVar[int] = 2

    def init(self, term: Any, t0: Any, y0: Any) -> tuple[()]:
        return ()

    def step(self, term: ODE, t0: Any, t1: Any, y: Any, carry: Any) -> Step:
        h, t = t1 - t0, torch.as_tensor(t0, dtype=y.dtype)
        q, p = y.chunk(2, dim=-1)
        p = p + h * term.f(t, torch.cat([q, p], dim=-1)).chunk(2, dim=-1)[1]
        q = q + h * term.f(t, torch.cat([q, p], dim=-1)).chunk(2, dim=-1)[0]
        return Step(torch.cat([q, p], dim=-1), None, None, (), None)


def pendulum(t: Tensor, y: Tensor) -> Tensor:
    """q'' = -sin q."""
    q, p = y.chunk(2, dim=-1)
    return torch.cat([p, -q.sin()], dim=-1)


def energy(y: Tensor) -> Tensor:
    """p²/2 - cos q."""
    q, p = y.unbind(-1)
    return p**2 / 2 - q.cos()


def main(smoke: bool) -> None:
    y0 = torch.tensor([[1.0, 0.0], [2.0, 0.0]], dtype=torch.float64)
    end = 10.0 if smoke else 1000.0
    adaptive = solve(ODE(pendulum), Heun3(), y0, 0.0, 10.0, control=PID(rtol=1e-6, atol=1e-6))
    print(f"Heun3, adaptive: steps {adaptive.stats.steps.tolist()}, rejected {adaptive.stats.rejected.tolist()}")
    errors = []
    for n in (200, 400):
        fine = solve(ODE(pendulum), Heun3(), y0, 0.0, 10.0, control=Fixed(n=8 * n)).ys
        errors.append(float((solve(ODE(pendulum), Heun3(), y0, 0.0, 10.0, control=Fixed(n=n)).ys - fine).norm()))
    print(f"Heun3, order measured by halving the step: {torch.tensor(errors[0] / errors[1]).log2():.2f}")
    grid = Fixed(dt=0.05)
    long = solve(ODE(pendulum), SymplecticEuler(), y0, 0.0, end, control=grid, save=SaveAt(every=20)).ys
    drift = (energy(long) - energy(y0)[:, None]).abs().amax(1)
    print(f"symplectic Euler to t = {end:g}: largest energy error {drift.tolist()}, and it does not grow")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a few seconds, to see that it runs")
    main(parser.parse_args().smoke)
