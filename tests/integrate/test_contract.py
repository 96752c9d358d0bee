"""What `solve` says to arguments of the wrong kind, to fields that write where they must not, and to missing values."""

import inspect
import math
from typing import Any

import numpy as np
import pytest
import torch

from sciml.integrate import (
    ODE,
    PID,
    RK4,
    Bosh3,
    Checkpoint,
    Chunks,
    Clip,
    Dopri5,
    Eager,
    Fixed,
    Result,
    Reversibly,
    SaveAt,
    SolveError,
    Tsit5,
)
from sciml.integrate import solve as checked_solve

solve = inspect.unwrap(checked_solve)  # as without the annotations that tests enforce
DECAY = ODE(lambda t, y: -y)


WRONG: Any = {"number": 3, "list": [0.0, 1.0], "control": Fixed(n=3), "class": RK4, "half": 1.5}


def start(*, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=dtype)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"term": lambda t, y: -y}, r"`term` must be a term, got a function.*Wrap it: ODE\(f\)"),
        ({"term": 3.0}, r"`term` must be a term, got a float 3.0. Give e.g. ODE\(f\)"),
        ({"method": "tsit5"}, r"`method` must be an object, got str 'tsit5'. Give e.g. Tsit5\(\)"),
        ({"method": Tsit5}, r"`method` must be an object, got the class Tsit5 itself. Give e.g. Tsit5\(\)"),
        ({"control": PID}, r"`control` must be an object, got the class PID itself"),
        ({"save": torch.ones(3)}, r"`save` must be an object, got Tensor.*SaveAt\(ts=times\)"),
        ({"gradient": "adjoint"}, r"`gradient` must be an object, got str 'adjoint'. Give e.g. Checkpoint\(\)"),
        ({"gradient": Checkpoint}, r"`gradient` must be an object, got the class Checkpoint itself"),
        ({"executor": "eager"}, r"`executor` must be an object, got str 'eager'. Give e.g. Eager\(\)"),
        ({"executor": Eager}, r"`executor` must be an object, got the class Eager itself"),
        ({"t1": None}, "`t1` must be a number or a tensor, got NoneType None. Give e.g. 1.0"),
        ({"t1": [1.0, 2.0]}, r"`t1` must be a number or a tensor, got list.*torch.tensor\(\[1.0, 2.0\]\)"),
        ({"t0": True}, "`t0` must be a number or a tensor, got bool True"),
        ({"params": torch.ones(2)}, r"`params` must be a sequence of tensors, got Tensor.*Give params=\(w,\)"),
        ({"params": None}, "`params` must be a sequence of tensors, got NoneType"),
        ({"params": [1.0]}, r"`params` must be tensors, got a float. Give params=\(w, ...\)"),
        ({"y0": [1.0, 2.0]}, r"`y0` must be a tensor or a tree of tensors, got a float. Convert.*torch.as_tensor"),
        ({"y0": np.ones((2, 2))}, r"`y0` must be a tensor or a tree of tensors, got a ndarray. Convert"),
    ],
)
def test_arguments_of_the_wrong_kind(change, message):
    arguments = {"term": DECAY, "method": Tsit5(), "y0": start(), "t0": 0.0, "t1": 1.0, **change}
    with pytest.raises(TypeError, match=message):
        solve(**arguments)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ODE(WRONG["number"]), "`f` must be a function or a module, got a int"),
        (lambda: SaveAt(ts=WRONG["list"]), "`ts` must be a tensor of times, got a list"),
        (lambda: Clip(stops=WRONG["list"]), "`stops` must be a tensor, got a list"),
        (lambda: Clip(WRONG["control"], stops=torch.ones(1)), r"`inner` must be PID.*got a Fixed.*Fixed\(ts=...\)"),
        (lambda: PID(groups=torch.tensor([0.0, 1.0])), r"`groups` must hold whole numbers.*groups.long\(\)"),
        (lambda: PID(groups=WRONG["list"]), r"`groups` must be a tensor, got a list. Write torch.tensor\(groups\)"),
        (lambda: Fixed(ts=WRONG["list"]), r"`ts` must be a tensor, got a list. Write torch.tensor\(ts\)"),
        (
            lambda: PID(rtol="1e-3"),
            "`rtol` must be a number or a tensor, or a tree of these, got '1e-3'. Give e.g. rtol",
        ),
        (lambda: PID(rtol=None), "`rtol` must be a number or a tensor, or a tree of these, got None"),
        (lambda: PID(atol={"a": True}), "`atol` must be a number or a tensor, or a tree of these, got True"),
        (lambda: SaveAt(ts=torch.tensor([1j])), "`ts` must be real, got torch.complex128. Give the times as"),
        (
            lambda: Reversibly(WRONG["class"]),
            r"Reversibly needs a method, got the class RK4 itself.*Reversibly\(RK4\(\)\)",
        ),
    ],
)
def test_parts_of_the_wrong_kind(build, message, monkeypatch):
    for kind in (ODE, SaveAt, Clip, PID, Fixed, Reversibly):
        monkeypatch.setattr(kind, "__init__", inspect.unwrap(kind.__init__))
    with pytest.raises(TypeError, match=message):
        build()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: SaveAt(every=WRONG["half"]), "`every` must be a whole number of at least 1, got 1.5"),
        (lambda: SaveAt(every=True), "`every` must be a whole number of at least 1, got True"),
        (lambda: PID(p=math.nan), r"gains of a controller must be finite, with i > 0 .*p=nan.*Take \(0, 1, 0\)"),
        (lambda: PID(i=-1.0), "gains of a controller must be finite, with i > 0 .*i=-1.0"),
        (lambda: PID(p=-1.5), r"p \+ i \+ d > 0, got p=-1.5"),
    ],
)
def test_numbers_out_of_range(build, message, monkeypatch):
    monkeypatch.setattr(SaveAt, "__init__", inspect.unwrap(SaveAt.__init__))
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("method, control", [(Tsit5(), PID()), (RK4(), Fixed(n=10))])
def test_a_field_of_another_precision_is_named(method, control):
    layer = torch.nn.Linear(2, 2, dtype=torch.float32)
    message = r"must have one precision, got torch.float32 in the field and torch.float64 in `y0`.*y0.float\(\)"
    with pytest.raises(TypeError, match=message) as caught:
        solve(ODE(lambda t, y: layer(y)), method, start(), 0.0, 1.0, control=control)
    assert isinstance(caught.value.__cause__, RuntimeError)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):  # an error of another kind is left as it is
        solve(
            ODE(lambda t, y: layer(y.float()).double() @ torch.ones(3, 3)), method, start(), 0.0, 1.0, control=control
        )
    same = torch.ones(2, 2).long()
    with pytest.raises(RuntimeError, match="dtype"):  # as is one where the field's tensors are not to blame
        solve(ODE(lambda t, y: y.float() @ y + 0 * same), method, start(), 0.0, 1.0, control=control)


@pytest.mark.parametrize("method", [Tsit5(), Dopri5(), Bosh3()], ids=lambda method: type(method).__name__)
@pytest.mark.parametrize("per_sample", [True, False])
@pytest.mark.parametrize("begin", [0.0, 5.0])
def test_the_first_failure_is_the_earliest_and_its_cause_the_field(method, per_sample, begin):
    """Steps become too small because the field is not finite behind them: the last of them may still be."""
    term = ODE(lambda t, y: torch.where(y > 1, math.nan, torch.ones_like(y)))
    y0, control = torch.tensor([[0.1], [0.6], [0.9]]), PID(per_sample=per_sample)
    for executor in (Eager(), Chunks(8)):
        arguments: dict[str, Any] = {"control": control, "executor": executor}
        result = solve(term, method, y0, begin, begin + 1, throw=False, **arguments).result
        assert result.tolist() == [Result.NON_FINITE] * 3
        first = 2 if per_sample else 0
        with pytest.raises(SolveError, match=rf"first is sample {first}, at or shortly before t={begin + 0.1:g} "):
            solve(term, method, y0, begin, begin + 1, **arguments)


@pytest.mark.parametrize("tolerance", [{"rtol": torch.ones(5)}, {"atol": torch.ones(3, 1)}])
def test_tolerances_that_do_not_fit_the_state(tolerance):
    name = next(iter(tolerance))
    with pytest.raises(ValueError, match=rf"`{name}` must broadcast to the state \(2, 2\)"):
        solve(DECAY, Tsit5(), start(), 0.0, 1.0, control=PID(**tolerance))


@pytest.mark.parametrize("per_sample", [True, False])
def test_tolerances_below_rounding_are_refused_at_once(per_sample):
    control = PID(rtol=1e-14, atol=1e-14, per_sample=per_sample)
    with pytest.raises(ValueError, match="tolerances must not lie below a hundredth.*torch.float32.*float64"):
        solve(DECAY, Tsit5(), start(dtype=torch.float32), 0.0, 1.0, control=control)
    assert bool((solve(DECAY, Dopri5(), start(), 0.0, 0.1, control=control).result == 0).all())


@pytest.mark.parametrize("method, control", [(Tsit5(), PID()), (Tsit5(), PID(per_sample=False)), (RK4(), Fixed(n=10))])
def test_a_buffer_that_is_used_again_is_found(method, control):
    buffer = torch.empty(2, 2, dtype=torch.float64)
    with pytest.raises(ValueError, match="must return new tensors.*buffer.clone"):
        solve(ODE(lambda t, y: torch.mul(y, -1, out=buffer)), method, start(), 0.0, 1.0, control=control)
    still = torch.zeros(2, 2, dtype=torch.float64)  # the same tensor again and again, but nobody writes into it
    assert torch.equal(solve(ODE(lambda t, y: still), method, start(), 0.0, 1.0, control=control).ys, start())


@pytest.mark.parametrize("method, control", [(Tsit5(), PID()), (RK4(), Fixed(n=10))])
def test_a_field_that_changes_the_state_is_found(method, control):
    with pytest.raises(ValueError, match=r"changed `y` in place.*y \* 2 instead of y.mul_\(2\)"):
        solve(ODE(lambda t, y: y.mul_(-1)), method, start(), 0.0, 1.0, control=control)


def test_entries_of_a_dict_may_come_in_any_order():
    y0 = {"x": start(), "v": (start() + 1, {"a": start(), "b": start() - 1})}

    def field(t, y):
        (v, rest) = y["v"]
        return {"v": (-2 * v, {"b": -3 * rest["b"], "a": -rest["a"]}), "x": -y["x"]}

    y1 = solve(ODE(field), Dopri5(), y0, 0.0, 1.0, control=PID(rtol=1e-9, atol=1e-9)).ys
    for value, begun, rate in (
        (y1["x"], start(), 1),
        (y1["v"][0], start() + 1, 2),
        (y1["v"][1]["a"], start(), 1),
        (y1["v"][1]["b"], start() - 1, 3),
    ):
        assert torch.allclose(value, begun * math.exp(-rate), rtol=1e-7, atol=0)
    with pytest.raises(TypeError, match="must return the structure of the state"):
        solve(ODE(lambda t, y: {"x": -y["x"], "w": y["v"]}), Dopri5(), y0, 0.0, 1.0)


@pytest.mark.parametrize("method, control", [(Tsit5(), PID()), (RK4(), Fixed(n=10))])
def test_a_missing_value_in_the_initial_state_is_named(method, control):
    y0 = start()
    y0[1, 0] = torch.nan
    with pytest.raises(SolveError, match=r"`y0` must be finite, but that of sample 1 is not \(1 of 2"):
        solve(DECAY, method, y0, 0.0, 1.0, control=control)
    others = solve(DECAY, method, y0, 0.0, 1.0, control=control, throw=False)
    assert others.result.tolist() == [0, 1] and bool(torch.isfinite(others.ys[0]).all())
