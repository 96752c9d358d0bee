"""Two real fields as one complex one."""

import math

import pytest
import torch

from sciml.grids import Grid, Modes, NoDealiasing, Padding, Pairs, Truncation

TAU = 2 * math.pi
GRIDS = [Grid((13,), (3.0,)), Grid((12, 16), (3.0, 2.0)), Grid((9, 11), (3.0, 2.0)), Grid((8, 10, 12), (1.0, 2.0, 3.0))]
EIGHT = Pairs(Modes(Grid((8, 8), (1.0, 1.0)), (3, 3), centred=True))
RULES = [Truncation(), Padding(), NoDealiasing()]
each_grid = pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: str(grid.points))
each_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)


def kept(grid, rule):
    """The modes of a rule below N/2, in the usual order and centred."""
    if isinstance(rule, Padding) and any(n % 2 for n in grid.points):
        pytest.skip("needs even numbers of points")
    modes = rule.modes(grid, 2)
    below = tuple(min(m, (n - 1) // 2) for m, n in zip(modes.highest, grid.points, strict=True))
    return Modes(grid, below, modes.points), Modes(grid, below, modes.points, centred=True)


def coefficients(modes, channels=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return modes.encode(torch.randn(2, channels, *modes.grid.points, generator=generator, dtype=torch.float64))


def symbol(pairs):
    """Not that of a real operator: w is complex."""
    ks = pairs.whole.wavenumbers()
    first, last = ks[0], ks[-1]
    return (first + 1j * last + 0.3 * torch.cos(first * last)) / (1 - pairs.whole.laplacian())


@each_grid
@each_rule
def test_centred_modes_are_the_others_in_another_order(grid, rule):
    usual, centred = kept(grid, rule)
    u = torch.randn(2, 3, *grid.points, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.allclose(centred.decode(centred.encode(u)), usual.decode(usual.encode(u)), rtol=0, atol=1e-14)
    slope = (1j * centred.wavenumbers()[0] - centred.inverse_laplacian()) * centred.encode(u)
    expected = (1j * usual.wavenumbers()[0] - usual.inverse_laplacian()) * usual.encode(u)
    assert torch.allclose(centred.values(slope), usual.values(expected), rtol=0, atol=1e-13)
    whole = Pairs(centred).whole
    z = torch.complex(u, u.flip(0))
    assert whole.shape == tuple(2 * m + 1 for m in whole.highest)
    assert torch.allclose(whole.encode(whole.decode(whole.encode(z))), whole.encode(z), rtol=0, atol=1e-14)


@each_grid
@each_rule
def test_values_are_those_of_both_fields_but_for_the_factor_of_the_mean(grid, rule):
    modes = kept(grid, rule)[1]
    pairs = Pairs(modes)
    y, t = coefficients(modes, channels=2), symbol(pairs)
    both = pairs.whole.values(t * pairs.whole.encode(modes.decode(y).to(torch.complex128)))
    turns = (torch.arange(n, dtype=torch.float64) * m / n for m, n in zip(modes.highest, modes.points, strict=True))
    phase = TAU * torch.stack(torch.meshgrid(*turns, indexing="ij")).sum(0)
    found = pairs.values(y, pairs.of_values(t))
    assert torch.allclose(found, both * torch.exp(1j * phase), rtol=0, atol=1e-13)


@each_grid
@each_rule
def test_coefficients_are_those_of_the_real_part(grid, rule):
    modes = kept(grid, rule)[1]
    pairs = Pairs(modes)
    y, t = coefficients(modes), pairs.of_values(symbol(pairs))
    w = pairs.whole.values(symbol(pairs) * pairs.whole.encode(modes.decode(y).to(torch.complex128)))
    made = symbol(pairs) ** 2 * pairs.whole.coefficients(w * w)
    expected = modes.encode(2 * pairs.whole.decode(made).real)
    found = pairs.coefficients(pairs.values(y, t) ** 2, pairs.of_products(symbol(pairs) ** 2))
    assert torch.allclose(found, expected, rtol=0, atol=1e-13)


# PyTorch scripts rules of its own at the first dual level.
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
@pytest.mark.parametrize("rule", [Truncation(), NoDealiasing()], ids=lambda rule: type(rule).__name__)
def test_pairs_are_differentiable_and_mapped(rule):
    modes = kept(Grid((6, 7), (1.0, 2.0)), rule)[1]
    pairs = Pairs(modes)
    t, s = pairs.of_values(symbol(pairs)), pairs.of_products(symbol(pairs) ** 2)

    def nonlinear(y):
        return pairs.coefficients(pairs.values(y, t).square(), s)

    y = coefficients(modes)
    assert torch.autograd.gradcheck(nonlinear, y.clone().requires_grad_())
    assert torch.allclose(torch.vmap(nonlinear)(y[None].expand(3, *y.shape))[2], nonlinear(y), rtol=0, atol=1e-14)
    dy = coefficients(modes, seed=1)
    slope = torch.func.jvp(nonlinear, (y,), (dy,))[1]
    assert torch.allclose(slope, (nonlinear(y + 1e-6 * dy) - nonlinear(y - 1e-6 * dy)) / 2e-6, rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Modes(Grid((8, 8), (1.0, 1.0)), (4, 3), centred=True), "centred modes must lie below N/2 .* got"),
        (lambda: Pairs(Modes(Grid((8, 8), (1.0, 1.0)), (3, 3))), "must be centred ones of real fields, got centred=F"),
        (lambda: Pairs(Modes(Grid((8,), (1.0,)), (3,), real=False, centred=True)), "got centred=True, real=False"),
        (
            lambda: EIGHT.of_values(EIGHT.modes.laplacian()),
            r"must be given for all modes, \(7, 7\), got shape \(7, 4\)",
        ),
        (lambda: EIGHT.of_products(EIGHT.modes.laplacian()), "must be given for all modes"),
    ],
)
def test_bad_input_is_answered(call, message):
    with pytest.raises(ValueError, match=message):
        call()
