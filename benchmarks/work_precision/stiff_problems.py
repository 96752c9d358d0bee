"""Stiff problems in two forms: for NumPy, one system at a time, and for PyTorch, a batch of them.

All but the last are those of Hairer & Wanner (1996), Solving Ordinary Differential Equations II, IV.10.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

Vector = np.ndarray


@dataclass(frozen=True)
class StiffProblem:
    """An initial-value problem from t = 0.

    Args:
        single: f(t, y) for y of shape (state,).
        batched: the same for (batch, state).
        y0: initial state.
        t1: end.
        floor: size below which an entry of the state need not be right to the last digit: absolute tolerances are it
            times the relative one, and errors are measured in units of it plus the size of the entry.
        published: some entries of the end as printed elsewhere, by position.
    """

    single: Callable[[float, Vector], Vector]
    batched: Callable[[Tensor, Tensor], Tensor]
    y0: tuple[float, ...]
    t1: float
    floor: float
    published: tuple[tuple[int, float], ...] = ()


MU = 1e3
ROBERTSON = (0.04, 3e7, 1e4)
CELLS = 32
_DIFFUSION = (CELLS + 1) ** 2 / 50


def van_der_pol(t: float, y: Vector) -> Vector:
    """x'' = mu (1 - x²) x' - x."""
    return np.array([y[1], MU * (1 - y[0] * y[0]) * y[1] - y[0]])


def van_der_pol_batched(t: Tensor, y: Tensor) -> Tensor:
    x, v = y.unbind(-1)
    return torch.stack([v, MU * (1 - x * x) * v - x], dim=-1)


def robertson(t: float, y: Vector, rates: tuple[float, ...] = ROBERTSON) -> Vector:
    """A -> B, 2 B -> B + C, B + C -> A + C."""
    decay, meeting, back = rates[0] * y[0], rates[1] * y[1] * y[1], rates[2] * y[1] * y[2]
    return np.array([back - decay, decay - back - meeting, meeting])


def robertson_batched(t: Tensor, y: Tensor, rates: tuple[float, ...] | tuple[Tensor, ...] = ROBERTSON) -> Tensor:
    a, b, c = y.unbind(-1)
    decay, meeting, back = rates[0] * a, rates[1] * b * b, rates[2] * b * c
    return torch.stack([back - decay, decay - back - meeting, meeting], dim=-1)


def oregonator(t: float, y: Vector) -> Vector:
    """The Belousov-Zhabotinskii reaction."""
    first = 77.27 * (y[1] + y[0] * (1 - 8.375e-6 * y[0] - y[1]))
    return np.array([first, (y[2] - (1 + y[0]) * y[1]) / 77.27, 0.161 * (y[0] - y[2])])


def oregonator_batched(t: Tensor, y: Tensor) -> Tensor:
    a, b, c = y.unbind(-1)
    first = 77.27 * (b + a * (1 - 8.375e-6 * a - b))
    return torch.stack([first, (c - (1 + a) * b) / 77.27, 0.161 * (a - c)], dim=-1)


_HIRES = np.zeros((8, 8))
for _row, _column, _rate in (
    *((0, 0, -1.71), (0, 1, 0.43), (0, 2, 8.32), (1, 0, 1.71), (1, 1, -8.75), (2, 2, -10.03), (2, 3, 0.43)),
    *((2, 4, 0.035), (3, 1, 8.32), (3, 2, 1.71), (3, 3, -1.12), (4, 4, -1.745), (4, 5, 0.43), (4, 6, 0.43)),
    *((5, 3, 0.69), (5, 4, 1.71), (5, 5, -0.43), (5, 6, 0.69), (6, 6, -1.81), (7, 6, 1.81)),
):
    _HIRES[_row, _column] = _rate
_HIRES_SOURCE = np.array([0.0007, 0, 0, 0, 0, 0, 0, 0])
_HIRES_BINDING = 280.0 * np.array([0, 0, 0, 0, 0, -1.0, 1.0, -1.0])
_HIRES_TORCH = tuple(torch.from_numpy(part) for part in (_HIRES.T.copy(), _HIRES_SOURCE, _HIRES_BINDING))


def hires(t: float, y: Vector) -> Vector:
    """Growth of plant tissue by light: a linear network of eight, and one binding."""
    return _HIRES @ y + _HIRES_SOURCE + _HIRES_BINDING * (y[5] * y[7])


def hires_batched(t: Tensor, y: Tensor) -> Tensor:
    linear, source, binding = _HIRES_TORCH
    return torch.addmm(source, y, linear) + binding * (y[:, 5:6] * y[:, 7:8])


def brusselator(t: float, y: Vector) -> Vector:
    """u_t = 1 + u² v - 4 u + u_xx / 50, v_t = 3 u - u² v + v_xx / 50 between walls u = 1, v = 3; u, v of cell 1, ..."""
    u, v = y[0::2], y[1::2]
    gain = u * u * v
    slope = np.empty_like(y)
    slope[0::2] = 1 + gain - 4 * u + _DIFFUSION * np.diff(np.concatenate(([1.0], u, [1.0])), 2)
    slope[1::2] = 3 * u - gain + _DIFFUSION * np.diff(np.concatenate(([3.0], v, [3.0])), 2)
    return slope


_LAPLACE = torch.diag(torch.full((CELLS,), -2.0, dtype=torch.float64)) + sum(
    torch.diag(torch.ones(CELLS - 1, dtype=torch.float64), k) for k in (-1, 1)
)
_WALLS = torch.zeros(CELLS, dtype=torch.float64)
_WALLS[0] = _WALLS[-1] = _DIFFUSION


def brusselator_batched(t: Tensor, y: Tensor) -> Tensor:
    u, v = y.unflatten(-1, (CELLS, 2)).unbind(-1)
    gain = u * u * v
    du = 1 + gain - 4 * u + _DIFFUSION * (u @ _LAPLACE) + _WALLS
    dv = 3 * u - gain + _DIFFUSION * (v @ _LAPLACE) + 3 * _WALLS
    return torch.stack([du, dv], dim=-1).flatten(1)


def _brusselator_start() -> tuple[float, ...]:
    x = np.arange(1, CELLS + 1) / (CELLS + 1)
    return tuple(np.stack([1 + np.sin(2 * np.pi * x), np.full(CELLS, 3.0)], axis=1).ravel().tolist())


def stiff_problems() -> dict[str, StiffProblem]:
    """The five."""
    light = (0.7371312573325668e-3, 0.1442485726316185e-3)
    return {
        "hires": StiffProblem(hires, hires_batched, (1.0, *[0.0] * 6, 0.0057), 321.8122, 1e-4, tuple(enumerate(light))),
        "robertson": StiffProblem(
            robertson, robertson_batched, (1.0, 0.0, 0.0), 1e11, 1e-6, ((0, 2.083340149701255e-8),)
        ),
        "brusselator": StiffProblem(brusselator, brusselator_batched, _brusselator_start(), 10.0, 1.0),
        "van_der_pol": StiffProblem(
            van_der_pol, van_der_pol_batched, (2.0, 0.0), 2000.0, 1.0, ((0, 1.706167732170469),)
        ),
        "oregonator": StiffProblem(
            oregonator, oregonator_batched, (1.0, 2.0, 3.0), 360.0, 1.0, ((0, 1.000814870318523),)
        ),
    }
