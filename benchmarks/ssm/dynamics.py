"""Series of known dynamics: Lorenz 1963, Mackey-Glass, and an oscillator that is driven."""

import torch
from torch import Tensor

from sciml.core import Key
from sciml.integrate import ODE, PID, Dopri8, SaveAt, solve

LORENZ_WARM_UP, MACKEY_GLASS_WARM_UP = 20.0, 1000.0
"""Time before the first point, in which series come to their attractor, [time]."""


def lorenz(key: Key, points: int, dt: float) -> Tensor:
    """x of the Lorenz system on its attractor, (batch, points), float64; a Lyapunov time is 1.1 time units.

        x' = 10 (y - x),    y' = x (28 - z) - y,    z' = x y - 8/3 z

    Args:
        key: draws the states at first.
        points: how many. dt: between them, [time].

    Source: Lorenz (1963), J. Atmos. Sci. 20, equations 25-27.
    """

    def field(t: Tensor, state: Tensor) -> Tensor:
        x, y, z = state.unbind(-1)
        return torch.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z], dim=-1)

    start = torch.tensor([0.0, 0.0, 25.0], dtype=torch.float64) + 5 * key.normal(3, dtype=torch.float64)
    ts = LORENZ_WARM_UP + dt * torch.arange(points, dtype=torch.float64)
    control = PID(rtol=1e-8, atol=1e-8)
    solution = solve(ODE(field), Dopri8(), start, 0.0, float(ts[-1]), control=control, save=SaveAt(ts=ts))
    return solution.ys[..., 0]


def mackey_glass(key: Key, points: int, *, delay: float = 17.0, dt: float = 1.0, substeps: int = 10) -> Tensor:
    """x of the Mackey-Glass equation on its attractor, (batch, points), float64.

        x' = 0.2 x(t - delay) / (1 + x(t - delay)^10) - 0.1 x

    By the classical Runge-Kutta method with steps of dt / substeps, which must divide the delay; delayed values at half
    steps are those of the cubic Hermite polynomial of the steps before, so that the order is four.

    Args:
        key: draws the constant history, uniform in [0.5, 1.5).
        points: how many. delay, dt: between points, [time]. substeps: steps per point.

    Source: Mackey & Glass (1977), Science 197, equation 4, in units in which both rates are a tenth.
    """
    h = dt / substeps
    lag = round(delay / h)
    steps = round(MACKEY_GLASS_WARM_UP / h)
    x = 0.5 + key.uniform(1, dtype=torch.float64)[:, 0]
    past, middles = [x] * (lag + 1), [x] * lag  # past[-1] is now, middles[-1] half a step before

    def slope(value: Tensor, delayed: Tensor) -> Tensor:
        return 0.2 * delayed / (1 + delayed**10) - 0.1 * value

    kept = []
    for step in range(steps + (points - 1) * substeps + 1):
        if step >= steps and (step - steps) % substeps == 0:
            kept.append(x)
        old, middle, new = past[-lag - 1], middles[-lag], past[-lag]
        k1 = slope(x, old)
        k2 = slope(x + h / 2 * k1, middle)
        k3 = slope(x + h / 2 * k2, middle)
        k4 = slope(x + h * k3, new)
        after = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        past.append(after)
        middles.append((x + after) / 2 + h / 8 * (k1 - slope(after, new)))
        x = after
    return torch.stack(kept, dim=1)


def driven_oscillator(key: Key, points: int, dt: float) -> tuple[Tensor, Tensor]:
    """A force that varies at random and the answer of a stiffening spring to it, each (batch, points), float64.

        x'' = -x' / 2 - x - x^3 + u(t),    u = sum of 8 sines of frequencies in [0.2, 2] rad/time, amplitudes in [0, 1]

    From rest at t = 0; samples at dt, 2 dt, .... Equal keys give the same force at every rate.

    Args:
        key: draws amplitudes, frequencies and phases. points: how many. dt: between them, [time].

    Returns:
        u and x.
    """
    draws = key.uniform(3, 8, dtype=torch.float64)
    amplitude, frequency, phase = draws[:, 0], 0.2 + 1.8 * draws[:, 1], 2 * torch.pi * draws[:, 2]

    def force(t: Tensor) -> Tensor:
        return (amplitude * torch.sin(frequency * t + phase)).sum(-1)

    def field(t: Tensor, state: Tensor) -> Tensor:
        x, v = state.unbind(-1)
        return torch.stack([v, force(t) - v / 2 - x - x**3], dim=-1)

    ts = dt * torch.arange(1, points + 1, dtype=torch.float64)
    rest = torch.zeros(len(key.ids), 2, dtype=torch.float64)
    control = PID(rtol=1e-8, atol=1e-8)
    solution = solve(ODE(field), Dopri8(), rest, 0.0, float(ts[-1]), control=control, save=SaveAt(ts=ts))
    return torch.stack([force(t) for t in ts], dim=1), solution.ys[..., 0]
