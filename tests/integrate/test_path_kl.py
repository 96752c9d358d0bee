"""The divergence between two SDEs: zero, closed forms, every structure, trees, small diffusions, refusals."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sciml.core import Key
from sciml.integrate import (
    PID,
    SDE,
    SRA1,
    SRI2,
    AdditiveNoise,
    Backsolve,
    Checkpoint,
    CommutativeNoise,
    DiagonalNoise,
    EulerMaruyama,
    Fixed,
    GeneralNoise,
    Ito,
    Reversible,
    ReversibleHeun,
    ScalarNoise,
    SemiLinear,
    SharedNoise,
    SolveError,
    StochasticHeun,
    Stratonovich,
    WithKL,
    solve,
    with_kl,
)
from sciml.integrate.path_kl import OneMore
from sciml.paths import BrownianMotion, SpaceTime
from tests.stochastic_orders import FIELDS, STRUCTURES


def path_of(shape: tuple[int, ...], rows: int = 4, n: int = 32, **options: Any) -> BrownianMotion:
    return BrownianMotion.on_grid(Key.rows(1, rows), shape, torch.linspace(0, 1, n + 1), levy=SpaceTime(), **options)


def start(rows: int = 4) -> Tensor:
    return torch.linspace(-0.5, 1.0, 2 * rows).reshape(rows, 2)


@pytest.mark.parametrize("structure", list(FIELDS))
def test_equal_drifts_have_no_divergence_and_the_state_is_what_it_was(structure):
    f, g, noise = FIELDS[structure]
    term = SDE(f, g, path_of(noise), structure=STRUCTURES[structure], sense=Stratonovich())
    alone = solve(term, StochasticHeun(), start(), 0.0, 1.0, control=Fixed(n=32)).ys
    made = solve(with_kl(term, f), StochasticHeun(), WithKL.start(start()), 0.0, 1.0, control=Fixed(n=32)).ys
    assert torch.equal(made.kl, torch.zeros(4, 1))
    torch.testing.assert_close(made.y, alone, rtol=0, atol=1e-13)


def test_two_ornstein_uhlenbeck_processes():
    rows, a, b, sigma, y0 = 4000, 1.5, 0.5, 0.8, 1.2
    term = SDE(
        lambda t, y: -a * y,
        lambda t, y: torch.full_like(y, sigma),
        path_of((1,), rows),
        structure=AdditiveNoise(diagonal=True),
        sense=Ito(),
    )
    prior = lambda t, y: -b * y  # noqa: E731
    kl = solve(with_kl(term, prior), SRA1(), WithKL.start(torch.full((rows, 1), y0)), 0.0, 1.0, control=Fixed(n=32))
    gone = (1 - math.exp(-2 * a)) / (2 * a)
    exact = (a - b) ** 2 / (2 * sigma**2) * (y0**2 * gone + sigma**2 * (1 - gone) / (2 * a))
    mean, half = float(kl.ys.kl.mean()), 1.96 * float(kl.ys.kl.std()) / rows**0.5
    print(f"\nKL {mean:.4f} +- {half:.4f}, exact {exact:.4f}")
    assert abs(mean - exact) < half and half < 0.05 * exact


@pytest.mark.parametrize("structure", ["diagonal", "commutative", "general", "additive"])
def test_constant_diffusions_of_every_shape_agree(structure):
    """With u constant the divergence is |u|² / 2, whatever the method."""
    matrix = torch.tensor([[0.8, 0.0], [0.0, 0.5]])
    d = torch.tensor([0.3, -0.7])
    g = (
        (lambda t, y: matrix.diagonal().expand_as(y))
        if structure == "diagonal"
        else lambda t, y: matrix.expand(4, 2, 2)
    )
    term = SDE(lambda t, y: torch.sin(y), g, path_of((2,)), structure=STRUCTURES[structure], sense=Stratonovich())
    made = with_kl(term, lambda t, y: torch.sin(y) - d)
    kl = solve(made, StochasticHeun(), WithKL.start(start()), 0.0, 1.0, control=Fixed(n=32)).ys.kl
    exact = 0.5 * float(torch.linalg.solve(matrix, d).square().sum())
    torch.testing.assert_close(kl, torch.full((4, 1), exact), rtol=1e-9, atol=0)


def test_fewer_and_more_brownian_motions_than_numbers():
    d = torch.tensor([0.3, -0.6])
    column, wide = torch.tensor([[0.5], [-1.0]]), torch.tensor([[0.8, 0.1, 0.3], [0.2, 0.5, -0.4]])
    found = {}
    for name, g, noise in (("scalar", column[:, 0], 1), ("tall", column, 1), ("wide", wide, 3)):
        structure = ScalarNoise() if name == "scalar" else GeneralNoise()
        term = SDE(
            lambda t, y: 0 * y,
            lambda t, y, g=g: g.expand(4, *g.shape),
            path_of((noise,)),
            structure=structure,
            sense=Stratonovich(),
        )
        made = with_kl(term, lambda t, y: (-d).expand_as(y))
        found[name] = solve(made, StochasticHeun(), WithKL.start(start()), 0.0, 1.0, control=Fixed(n=8)).ys.kl
    assert torch.allclose(found["scalar"], torch.tensor(0.5 * 0.36)) and torch.allclose(found["tall"], found["scalar"])
    u = torch.linalg.pinv(wide) @ d
    assert torch.allclose(found["wide"], 0.5 * u.square().sum())


def test_a_difference_outside_of_the_range_of_the_noise_is_refused():
    term = SDE(
        lambda t, y: 0 * y,
        lambda t, y: torch.tensor([0.5, -1.0]).expand_as(y),
        path_of((1,)),
        structure=ScalarNoise(),
        sense=Stratonovich(),
    )
    made = with_kl(term, lambda t, y: torch.tensor([1.0, 1.0]).expand_as(y))
    with pytest.raises(ValueError, match=r"only in directions in which there is noise.*outside of the range of g"):
        solve(made, StochasticHeun(), WithKL.start(start()), 0.0, 1.0, control=Fixed(n=8))


def outside(prior: Any) -> Any:
    """Noise along (0.5, -1) only."""
    along = lambda t, y: torch.tensor([0.5, -1.0]).expand_as(y)  # noqa: E731
    term = SDE(lambda t, y: 0 * y, along, path_of((1,)), structure=ScalarNoise(), sense=Stratonovich())
    return solve(with_kl(term, prior), StochasticHeun(), WithKL.start(start()), 0.0, 1.0, control=Fixed(n=8))


def test_one_sample_outside_of_the_range_is_enough():
    """Its difference is small beside those of the others."""
    size = torch.tensor([1.0, 1.0, 1e-3, 1.0])[:, None]
    noise, across = torch.tensor([0.5, -1.0]), torch.tensor([1.0, 0.5])
    way = torch.stack([noise, noise, across, noise])
    with pytest.raises(ValueError, match="100% of a sample's difference lies outside of the range of g"):
        outside(lambda t, y: size * way)


def test_drifts_that_differ_later_are_looked_at_then():
    with pytest.raises(ValueError, match="outside of the range of g"):
        outside(lambda t, y: torch.where(t > 0.4, 1.0, 0.0) * torch.ones_like(y))


def test_a_divergence_that_becomes_infinite_ends_the_sample():
    """The first difference is in the range of g."""
    inside = torch.tensor([0.5, -1.0])
    with pytest.raises(SolveError, match=r"2 of 4 samples failed \(samples \[0, 2\]\).*NaN or infinite"):
        late = torch.tensor([1.0, 0.0, 1.0, 0.0])[:, None]
        outside(lambda t, y: inside + torch.where(t > 0.4, late, 0.0) * torch.ones_like(y))


def test_a_diffusion_that_vanishes_with_the_difference_is_no_failure():
    """Noise x, drifts apart by 0.3 x: |u| = 0.3 but near x = 0, where the floor counts."""
    term = SDE(lambda t, y: 0 * y, lambda t, y: y, path_of((1,)), structure=ScalarNoise(), sense=Stratonovich())
    y0 = torch.tensor([1.0, 1e-5, 1e-7, 0.0])[:, None].expand(4, 2)
    kl = solve(with_kl(term, lambda t, y: 0.3 * y), StochasticHeun(), WithKL.start(y0), 0.0, 1.0, control=Fixed(n=8))
    assert float(kl.ys.kl[0]) == pytest.approx(0.045, rel=1e-9) and bool((kl.ys.kl <= 0.0451).all())


def test_shared_noise_is_refused_with_what_serves():
    shared = SharedNoise(torch.tensor([0, 0]))
    term = SDE(lambda t, y: 0 * y, lambda t, y: y, path_of((1,)), structure=shared, sense=Ito())
    with pytest.raises(TypeError, match=r"got SharedNoise. Give the matrix .* as GeneralNoise\(\)"):
        with_kl(term, lambda t, y: y)


@pytest.mark.parametrize("matrix", [False, True])
def test_finite_with_gradients_where_the_diffusion_is_small(matrix):
    scale = torch.tensor([1.0, 0.0, 1e-9], requires_grad=True)

    def g(t: Tensor, y: Tensor) -> Tensor:
        value = scale * torch.ones_like(y)
        return torch.diag_embed(value) if matrix else value

    structure = GeneralNoise() if matrix else DiagonalNoise()
    term = SDE(lambda t, y: 0.0 * y + 1e-3, g, path_of((3,)), structure=structure, sense=Ito())
    gap = torch.tensor([1e-3, 0.0, 1e-3], requires_grad=True)
    kl = solve(
        with_kl(term, lambda t, y: 1e-3 - gap * torch.ones_like(y), floor=1e-3),
        EulerMaruyama(),
        WithKL.start(torch.zeros(4, 3)),
        0.0,
        1.0,
        control=Fixed(n=8),
    ).ys.kl
    torch.testing.assert_close(kl, torch.full((4, 1), 0.5 * (1e-6 / (1 + 1e-6) + 1.0)), rtol=1e-6, atol=0)
    assert all(torch.isfinite(x).all() for x in torch.autograd.grad(kl.sum(), (scale, gap)))


@pytest.mark.parametrize("structure", ["diagonal", "scalar", "general"])
def test_a_tree_is_what_one_tensor_is(structure):
    f, g, noise = FIELDS[structure]
    whole = lambda y: torch.cat([y["a"], y["b"][..., 0]], dim=1)  # noqa: E731
    parts = lambda v: {"a": v[:, :1], "b": v[:, 1:].unsqueeze(2)}  # noqa: E731
    # Scalar noise: only differences along g are of finite divergence.
    prior = (lambda t, y: f(t, y) - 0.3 * g(t, y)) if structure == "scalar" else lambda t, y: f(t, y) - 0.3 * y
    path = path_of(noise)
    one = SDE(f, g, path, structure=STRUCTURES[structure], sense=Stratonovich())
    tree = replace(one, f=lambda t, y: parts(f(t, whole(y))), g=lambda t, y: parts(g(t, whole(y))))
    first = solve(with_kl(one, prior), StochasticHeun(), WithKL.start(start()), 0.0, 1.0, control=Fixed(n=32)).ys
    made = with_kl(tree, lambda t, y: parts(prior(t, whole(y))))
    second = solve(made, StochasticHeun(), WithKL.start(parts(start())), 0.0, 1.0, control=Fixed(n=32)).ys
    torch.testing.assert_close(second.kl, first.kl, rtol=1e-12, atol=0)
    assert float(first.kl.min()) > 1e-4
    if structure == "scalar":  # |u| = 0.3
        torch.testing.assert_close(first.kl, torch.full((4, 1), 0.045), rtol=1e-9, atol=0)


def test_gradients_of_every_kind_and_adaptive_steps():
    f, g, noise = FIELDS["diagonal"]
    weight = torch.tensor(0.8, requires_grad=True)
    path = path_of(noise, n=64)
    term = SDE(lambda t, y: weight * f(t, y), g, path, structure=DiagonalNoise(), sense=Stratonovich())
    made = with_kl(term, f)

    def of(method: Any, gradient: Any, n: int = 64) -> Tensor:
        ys = solve(
            made,
            method,
            WithKL.start(start()),
            0.0,
            1.0,
            control=Fixed(n=n),
            gradient=gradient,
            params=() if gradient is None else (weight,),
        ).ys
        return torch.autograd.grad(ys.kl.mean() + ys.y.square().sum(), weight)[0]

    direct = of(ReversibleHeun(), None)
    torch.testing.assert_close(of(ReversibleHeun(), Checkpoint(4)), direct, rtol=1e-12, atol=0)
    torch.testing.assert_close(of(ReversibleHeun(), Reversible()), direct, rtol=1e-10, atol=0)
    torch.testing.assert_close(of(StochasticHeun(), Backsolve()), of(StochasticHeun(), None), rtol=2e-2, atol=0)
    with torch.no_grad():
        y0, control = WithKL.start(start()), PID(rtol=1e-2, atol=1e-2)
        fixed = solve(made, StochasticHeun(), y0, 0.0, 1.0, control=Fixed(n=64)).ys.kl
        adaptive = solve(made, StochasticHeun(), y0, 0.0, 1.0, control=control).ys.kl
    torch.testing.assert_close(adaptive.sum(), fixed.sum(), rtol=0.1, atol=0)


def test_methods_with_areas_see_the_same_path():
    f, g, noise = FIELDS["diagonal"]
    term = SDE(f, g, path_of(noise), structure=DiagonalNoise(), sense=Ito())
    alone = solve(term, SRI2(), start(), 0.0, 1.0, control=Fixed(n=32)).ys
    made = solve(with_kl(term, lambda t, y: 0 * y), SRI2(), WithKL.start(start()), 0.0, 1.0, control=Fixed(n=32)).ys
    torch.testing.assert_close(made.y, alone, rtol=0, atol=1e-13)


def test_the_path_with_one_more_channel():
    inner = path_of((3,))
    path = OneMore(inner)
    assert path.shape == (4,) and path.batch == 4
    one = path.increment(0.0, 0.5)
    assert one.h is not None and one.w.shape == one.h.shape == (4, 4)
    assert torch.equal(one.w[:, :3], inner.increment(0.0, 0.5).w) and not one.w[:, 3].any()
    assert torch.equal(path.value(0.5)[:, :3], inner.value(0.5))
    with pytest.raises(TypeError, match="no derivative"):
        path.derivative(0.5)


def test_refusals():
    f, g, noise = FIELDS["general"]
    term = SDE(f, g, path_of(noise), structure=CommutativeNoise(), sense=Ito())
    with pytest.raises(TypeError, match=r"`prior` must be a function or a module, got a float"):
        with_kl(term, 1.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"`floor` must be positive"):
        with_kl(term, f, floor=0.0)
    with pytest.raises(TypeError, match="whole drift as one function, got SemiLinear"):
        with_kl(replace(term, f=SemiLinear(-1.0, f)), f)
    with pytest.raises(ValueError, match="independent Brownian motions"):
        with_kl(replace(term, path=path_of(noise, covariance=torch.eye(2) * 2)), f)
