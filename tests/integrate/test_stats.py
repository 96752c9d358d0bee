"""`Solution.stats.evaluations` is what was called: start-up steps, correctors, first steps and jumps included."""

from typing import Any

import pytest
import torch

from sciml.integrate import (
    ODE,
    PID,
    RK4,
    Adams,
    AdamsBashforth,
    Chunks,
    Clip,
    Dopri5,
    Fixed,
    Reversibly,
    StepDoubling,
    solve,
)
from tests.contracts.test_explicit_methods import METHODS, MULTISTEP, name_of

JUMPS = torch.tensor([0.31, 0.7])
CONTROLS: dict[str, Any] = {
    "grid": Fixed(n=10),
    "own": PID(rtol=1e-4, atol=1e-4),
    "joint jumps": Clip(PID(rtol=1e-4, atol=1e-4, per_sample=False, dt0=0.01), jumps=JUMPS),
}
MADE = [
    Adams(8),
    Adams(12),
    AdamsBashforth(8),
    Reversibly(RK4()),
    Reversibly(Dopri5()),
    Reversibly(Adams(4)),
    StepDoubling(Adams(4)),
]


class Counted:
    """A field that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, t, y):
        self.calls += 1
        return torch.cos(t) - y


@pytest.mark.parametrize("method", [*METHODS, *MULTISTEP, *MADE], ids=name_of)
def test_evaluations_are_calls(method):
    for name, control in CONTROLS.items():
        if method.has_error or isinstance(control, Fixed):
            field = Counted()
            stats = solve(ODE(field), method, torch.tensor([[1.0, 0.5]]), 0.0, 1.0, control=control).stats
            assert stats.evaluations.tolist() == [field.calls], name


@pytest.mark.parametrize("executor", [None, Chunks(4)], ids=["eager", "chunks"])
@pytest.mark.parametrize("method", [Dopri5(), Adams(5)], ids=name_of)
def test_every_sample_counts_its_own(method, executor):
    """As if it were alone, also while others start, finish or meet jumps."""
    y0, t1 = torch.tensor([[1.0], [30.0], [-2.0]]), torch.tensor([1.0, 3.0, 0.5])
    jumps = torch.tensor([[0.5], [2.0], [torch.nan]])

    def evaluations(rows: slice) -> list[int]:
        control = Clip(PID(rtol=1e-4, atol=1e-4), jumps=jumps[rows])
        stats = solve(ODE(Counted()), method, y0[rows], 0.0, t1[rows], control=control, executor=executor).stats
        return stats.evaluations.tolist()

    assert evaluations(slice(0, 3)) == [*evaluations(slice(0, 1)), *evaluations(slice(1, 2)), *evaluations(slice(2, 3))]
