"""What is said of samples that failed: the words fit the method and its steps."""

from typing import Any

import pytest
import torch
from torch import Tensor

from sciml.integrate import (
    ODE,
    PID,
    RK4,
    Adams,
    BackwardEuler,
    Euler,
    Fixed,
    Kvaerno5,
    Result,
    Reversibly,
    Rodas5P,
    SolveError,
    StepDoubling,
    Tsit5,
    solve,
)
from sciml.integrate.solve import _is_implicit


def stiff(t: Tensor, y: Tensor) -> Tensor:
    return -1e4 * (y - torch.cos(t))


def failure(method: Any, field: Any = stiff, **more: Any) -> str:
    with pytest.raises(SolveError) as error:
        solve(ODE(field), method, torch.ones(1, 1), 0.0, 1.0, **more)
    return str(error.value)


@pytest.mark.parametrize("method", [RK4(), Tsit5(), Adams(4), Reversibly(RK4())], ids=lambda m: type(m).__name__)
def test_stiffness_is_named_where_an_explicit_method_blows_up_on_a_grid(method: Any) -> None:
    text = failure(method, control=Fixed(n=200))
    assert "became NaN or infinite" in text
    assert "if the problem is stiff, an explicit method" in text and "take a smaller dt, or an implicit" in text
    assert "Rodas5P() or Kvaerno5()" in text


def test_the_remedies_work() -> None:
    exact = torch.cos(torch.tensor(1.0))
    for method, n in ((Rodas5P(), 200), (Kvaerno5(), 20), (RK4(), 4000)):
        found = solve(ODE(stiff), method, torch.ones(1, 1), 0.0, 1.0, control=Fixed(n=n)).ys
        assert float(found) == pytest.approx(float(exact), abs=1e-3)


def test_a_finite_blow_up_is_a_success_as_the_docstring_says() -> None:
    solution = solve(ODE(stiff), Euler(), torch.ones(1, 1), 0.0, 1.0, control=Fixed(n=100))
    assert solution.result.tolist() == [Result.SUCCESS] and float(solution.ys.abs()) > 1e190
    assert Fixed.__doc__ is not None and "stays finite cannot be told from growth" in Fixed.__doc__


def test_other_steps_that_become_infinite_are_not_called_stiff() -> None:
    nowhere = lambda t, y: torch.full_like(y, torch.nan)  # noqa: E731
    for method, control in ((Tsit5(), PID()), (Rodas5P(), Fixed(n=2))):
        text = failure(method, nowhere, control=control)
        assert "became NaN or infinite" in text and "stiff" not in text


def test_out_of_steps() -> None:
    text = failure(Tsit5(), max_steps=20)
    assert "raise max_steps" in text and "the problem is stiff: take an implicit one" in text
    assert "detach" not in text
    detached = lambda t, y: stiff(t, y.detach())  # noqa: E731
    text = failure(Kvaerno5(), detached, max_steps=20)
    assert "raise max_steps" in text and "explicit" not in text
    assert "cut off from the gradient (detach(), no_grad(), item()) or not smooth, or the tolerances are too" in text


def test_a_reason_without_a_method_speaks_of_both() -> None:
    assert "explicit" in Result.MAX_STEPS.text and "detach()" in Result.MAX_STEPS.text
    assert "Kvaerno5()" in Result.NON_FINITE.text
    for result in Result:
        for implicit in (False, True):
            assert result.text_for(implicit=implicit, fixed=True).split(";")[0] == result.text.split(";")[0]


def test_which_methods_use_the_jacobian() -> None:
    for method in (Rodas5P(), BackwardEuler(), StepDoubling(BackwardEuler()), Kvaerno5()):
        assert _is_implicit(method)
    for method in (RK4(), Adams(4), StepDoubling(RK4()), Reversibly(RK4())):
        assert not _is_implicit(method)
