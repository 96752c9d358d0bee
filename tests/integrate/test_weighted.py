"""`Weighted`: nonlinear parts that end with a product, which exponential methods put into their weights."""

import inspect
from typing import Any

import pytest
import torch
from torch import Tensor

from sciml.core import Key
from sciml.integrate import (
    ETD1,
    ETD2RK,
    ETD3RK,
    ETD32,
    ETD43,
    ETDRK4,
    Checkpoint,
    Fixed,
    SaveAt,
    SemiLinear,
    Weighted,
    solve,
)

LINEAR = torch.tensor([-1.0 + 2.0j, -3.0, 0.5j], dtype=torch.complex128)
SYMBOL = torch.tensor([0.5j, -0.7, 0.2 - 0.1j], dtype=torch.complex128)
METHODS = [ETD1(), ETD2RK(), ETD3RK(), ETDRK4(), ETD32(), ETD43()]


def square(y: Tensor) -> Tensor:
    return y * y


def start(batch: int = 4, dtype: torch.dtype = torch.complex128) -> Tensor:
    return Key.rows(3, batch).normal(3, dtype=torch.float64).to(dtype)


def plain(symbol: Tensor, linear: Tensor = LINEAR) -> SemiLinear:
    """The same term by a function, which no method looks into."""
    return SemiLinear(linear, lambda t, y: square(y) * symbol.to(y.dtype))


def run(term: SemiLinear, method: Any = None, y0: Tensor | None = None, **more: Any) -> Tensor:
    control, save = Fixed(n=12), SaveAt(every=1)
    return solve(
        term, method or ETDRK4(), start() if y0 is None else y0, 0.0, 0.6, control=control, save=save, **more
    ).ys


class Counted:
    """A map that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, y: Tensor) -> Tensor:
        self.calls += 1
        return y * y


@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
@pytest.mark.parametrize("batched", [False, True])
def test_equals_the_same_field_as_a_function(method, batched):
    symbol = SYMBOL * torch.linspace(0.5, 2.0, 4, dtype=torch.float64)[:, None] if batched else SYMBOL
    counted = Counted()
    found = run(SemiLinear(LINEAR, Weighted(counted, symbol)), method)
    assert torch.allclose(found, run(plain(symbol), method), rtol=0, atol=1e-14)
    assert counted.calls == 12 * method.stages - (11 if method.reuses_last else 0)


def test_the_product_is_left_out_of_the_steps():
    weighted, calls = Weighted(square, SYMBOL), []
    casts = weighted._casts
    object.__setattr__(weighted, "_casts", lambda y: calls.append(1) or casts(y))
    run(SemiLinear(LINEAR, weighted))
    assert not calls
    run(SemiLinear(LINEAR, weighted), ETD43())
    assert len(calls) == 12 * 4 + 1
    y = start()
    assert torch.equal(weighted(torch.tensor(0.0), y), square(y) * SYMBOL)


def test_real_states_and_single_precision():
    linear, symbol = LINEAR.real.clone(), SYMBOL.real.clone()
    y0 = start(dtype=torch.float64)
    wide = run(plain(symbol, linear), y0=y0)
    assert torch.allclose(run(SemiLinear(linear, Weighted(square, symbol)), y0=y0), wide, rtol=0, atol=1e-14)
    narrow = run(SemiLinear(linear, Weighted(square, symbol)), y0=y0.float())
    assert narrow.dtype == torch.float32 and torch.allclose(narrow.double(), wide, rtol=0, atol=1e-6)


def test_times_of_each_sample():
    t1 = torch.tensor([0.2, 0.4, 0.6, 0.8], dtype=torch.float64)
    ends = [
        solve(term, ETDRK4(), start(), 0.0, t1, control=Fixed(n=5)).ys
        for term in (SemiLinear(LINEAR, Weighted(square, SYMBOL)), plain(SYMBOL))
    ]
    assert torch.allclose(*ends, rtol=0, atol=1e-14)


@pytest.mark.parametrize("gradient", ["Direct", "Checkpoint"])
def test_gradients_by_the_symbol_and_the_state(gradient):
    found = []
    for make in (lambda s: SemiLinear(LINEAR, Weighted(square, s)), plain):
        symbol, y0 = SYMBOL.clone().requires_grad_(), start().requires_grad_()
        more = {} if gradient == "Direct" else {"gradient": Checkpoint(), "params": (symbol,)}
        loss = torch.view_as_real(run(make(symbol), y0=y0, **more)).square().sum()
        found.append(torch.autograd.grad(loss, (symbol, y0)))
    for a, b in zip(*found, strict=True):
        assert torch.allclose(a, b, rtol=1e-12, atol=1e-12)


def test_gradients_by_the_state_alone_go_through_the_weights():
    found = []
    for term in (SemiLinear(LINEAR, Weighted(square, SYMBOL)), plain(SYMBOL)):
        y0 = start().requires_grad_()
        found.append(torch.autograd.grad(torch.view_as_real(run(term, y0=y0)).square().sum(), y0)[0])
    assert torch.allclose(*found, rtol=1e-12, atol=1e-12)


def test_vmap_over_the_symbol():
    symbols = torch.stack([SYMBOL, 2 * SYMBOL, -SYMBOL])
    mapped = torch.vmap(lambda s: run(SemiLinear(LINEAR, Weighted(square, s))))(symbols)
    each = torch.stack([run(plain(s)) for s in symbols])
    assert torch.allclose(mapped, each, rtol=0, atol=1e-14)


def test_a_symbol_that_is_changed_in_place_is_noticed():
    symbol = SYMBOL.clone()
    term = SemiLinear(LINEAR, Weighted(square, symbol))
    run(term)
    symbol *= 2
    assert torch.allclose(run(term), run(plain(2 * SYMBOL)), rtol=0, atol=1e-14)


def test_trains_after_an_evaluation_in_inference_mode():
    with torch.inference_mode():
        term = SemiLinear(LINEAR, Weighted(square, SYMBOL.clone()))
        first = run(term).clone()
    y0 = start().requires_grad_()
    ys = run(term, y0=y0)
    assert torch.equal(ys.detach(), first)
    torch.view_as_real(ys).sum().backward()
    assert y0.grad is not None and bool(torch.isfinite(torch.view_as_real(y0.grad)).all())


@pytest.mark.parametrize(
    ("symbol", "y0", "error", "message"),
    [
        (
            SYMBOL,
            start(dtype=torch.float64),
            TypeError,
            r"`symbol` is complex but the state is torch.float64.*complex state",
        ),
        (torch.ones(5), start(), ValueError, r"`symbol` must broadcast to the state \(4, 3\), got \(5,\)"),
        (torch.ones(2, 4, 3), start(), ValueError, r"`symbol` must broadcast to the state \(4, 3\), got \(2, 4, 3\)"),
    ],
)
def test_symbols_that_do_not_suit_the_state_are_refused(symbol, y0, error, message):
    with pytest.raises(error, match=message):
        run(SemiLinear(-1.0, Weighted(square, symbol)), y0=y0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((square, 2.0), r"`symbol` must be a tensor, got a float. Write torch.tensor\(2.0\)"),
        ((SYMBOL, SYMBOL), "`map` must be a function or a module, got a Tensor"),
    ],
)
def test_its_parts_are_checked(arguments, message):
    init = inspect.unwrap(Weighted.__init__)  # without the types that only tests check
    with pytest.raises(TypeError, match=message):
        init(object.__new__(Weighted), *arguments)
