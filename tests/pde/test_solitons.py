"""Solitons of the Korteweg-de Vries and the Schroedinger equation against their closed forms."""

import math

import pytest
import torch

from sciml.core import Key
from sciml.grids import Grid, Padding, derivative
from sciml.pde import BrightSolitons, Channels, Schroedinger, Solitons, TruncatedFourier, evolve
from sciml.pde.korteweg_de_vries import KortewegDeVries


def at(t: float) -> torch.Tensor:
    return torch.tensor([t])


def two_solitons(x: torch.Tensor, t: float, fast: float, slow: float) -> torch.Tensor:
    """u = 2 (ln F)_xx, F = 1 + e^a + e^b + ((k1 - k2)/(k1 + k2))² e^(a + b), a = k1 (x - k1² t), b likewise.

    (ln F)_xx is the variance of the exponents' slopes, weighted by the terms of F.

    Source: Hirota (1971), Phys. Rev. Lett. 27, 1192.
    """
    a, b = fast * (x - fast**2 * t), slow * (x - slow**2 * t)
    overlap = 2 * math.log((fast - slow) / (fast + slow))
    weight = torch.softmax(torch.stack([0 * x, a, b, a + b + overlap]), 0)
    slope = torch.tensor([0.0, fast, slow, fast + slow])[:, None]
    return 2 * ((weight * slope**2).sum(0) - (weight * slope).sum(0) ** 2)[None, None]


def crest(u: torch.Tensor, x: torch.Tensor, near: float) -> float:
    """Place of the maximum within 2 of a place, by a parabola through three points."""
    close = torch.where((x - near).abs() < 2, u, -math.inf)
    i = int(close.argmax())
    left, top, right = (float(u[j]) for j in (i - 1, i, i + 1))
    return float(x[i]) + float(x[1] - x[0]) * (left - right) / (2 * (left - 2 * top + right))


def test_two_kdv_solitons_collide_and_are_shifted():
    grid, (fast, slow), time = Grid((384,), (60.0,)), (2.0, 1.0), 3.0
    x = grid.axes()[0] - 30
    u0, exact = two_solitons(x, -time, fast, slow), two_solitons(x, time, fast, slow)
    u = evolve(KortewegDeVries(), grid, u0, at(2 * time), dt=0.0025)[:, 0]
    error = float((u - exact).norm() / exact.norm())
    shifts = [
        crest(u[0, 0], x, k**2 * time + guess) - crest(u0[0, 0], x, -(k**2) * time - guess) - 2 * k**2 * time
        for k, guess in ((fast, 0.5), (slow, -1.1))
    ]
    log = 2 * math.log((fast + slow) / (fast - slow))
    print(f"\ntwo solitons: relative error {error:.1e}; shifts {shifts}, theory {log / fast:.4f}, {-log / slow:.4f}")
    assert error < 5e-6
    assert shifts == pytest.approx([log / fast, -log / slow], abs=5e-3)


def test_drawn_kdv_solitons_travel_unchanged():
    grid = Grid((128,), (30.0,))
    u0 = Solitons((4.0,), 3.0, 2.0).sample(Key.rows(0, 2), grid)
    later = Solitons((4.0,), 3.0, 2.0).sample(Key.rows(0, 2), grid)  # of the same place, after one turn of the box
    u = evolve(KortewegDeVries(3.0, 2.0), grid, u0, at(7.5), dt=0.005)[:, 0]
    assert float(u0.amax()) == pytest.approx(3 * 4 / 3.0, rel=0.02)
    assert float((u - later).abs().max()) < 1e-4


def soliton(x: torch.Tensor, t: float, a: float = 1.0, v: float = 0.8) -> torch.Tensor:
    """a sech(a (x - v t)) exp(i (v x + (a² - v²) t / 2))."""
    psi = torch.polar(a / torch.cosh(a * (x - v * t)), v * x + (a**2 - v**2) * t / 2)
    return torch.stack([psi.real, psi.imag])[None]


def test_a_schroedinger_soliton_keeps_its_form_with_order_four():
    grid = Grid((256,), (15 * math.pi,))  # v fits: 0.8 = 6 waves per box
    x = grid.axes()[0] - 15 * math.pi / 2
    exact, errors = soliton(x, 4.0), []
    for steps in (50, 100, 200):
        u = evolve(Schroedinger(dealiasing=Padding()), grid, soliton(x, 0.0), at(4.0), dt=4 / steps)[:, 0]
        errors.append(float((u - exact).norm() / exact.norm()))
    print(f"\nSchroedinger soliton: relative errors {errors} at dt 0.08, 0.04, 0.02")
    assert math.log2(errors[1] / errors[2]) == pytest.approx(4, abs=0.2)
    assert errors[-1] < 1e-7


def norm_and_energy(u: torch.Tensor, grid: Grid, g: float, d: float) -> tuple[float, float]:
    density = u.square().sum(1)
    slopes = sum(derivative(u, grid, axis).square().sum(1) for axis in range(grid.ndim))
    return float(density.mean()), float((d * slopes - g * density**2 / 2).mean())


@pytest.mark.parametrize("g", [1.0, -1.0])
def test_norm_and_energy_of_schroedinger_are_conserved_to_the_order_of_the_method(g):
    grid = Grid((48,), (10.0,))
    u0 = Channels((TruncatedFourier(3, 0.7), TruncatedFourier(3, 0.7))).sample(Key.rows(0, 1), grid)
    before, drifts = norm_and_energy(u0, grid, g, 0.5), []
    for steps in (100, 200, 400):
        u = evolve(Schroedinger(g), grid, u0, at(2.0), dt=2 / steps)[:, 0]
        after = norm_and_energy(u, grid, g, 0.5)
        drifts.append([abs(a / b - 1) for a, b in zip(after, before, strict=True)])
    print(f"\ndrift of norm and energy, g {g}: {drifts}")
    for coarse, fine in zip(*drifts[1:], strict=True):
        assert fine < 1e-7 and (math.log2(coarse / fine) > 3.5 or fine < 1e-12)


def test_bright_solitons_have_their_amplitudes():
    grid = Grid((256,), (60.0,))
    u = BrightSolitons((1.0, 2.0), (0.5, -0.5)).sample(Key.rows(0, 3), grid)
    modulus = torch.linalg.vector_norm(u, dim=1)
    assert modulus.amax(-1).tolist() == pytest.approx([2.0] * 3, rel=0.03)
    assert modulus.square().mean(-1).mul(60).tolist() == pytest.approx([2 * (1 + 2)] * 3, rel=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Solitons((0.0,)), "`speeds` must be positive"),
        (lambda: Solitons((1.0,), 0.0), "steepening other than 0"),
        (lambda: Solitons((), 6.0), "need at least one speed"),
        (lambda: Solitons(dispersion=-1.0), "`dispersion` must be positive"),
        (lambda: Solitons().sample(Key.rows(0, 1), Grid((8, 8), (1.0, 1.0))), "move on one spatial axis"),
        (lambda: BrightSolitons((1.0,), (1.0, 2.0)), "one entry per amplitude"),
        (lambda: BrightSolitons((-1.0,), (1.0,)), "`amplitudes` must be positive"),
        (lambda: Schroedinger(math.inf), "`nonlinearity` must be finite"),
    ],
)
def test_bad_input_is_answered(call, message):
    with pytest.raises(ValueError, match=message):
        call()
