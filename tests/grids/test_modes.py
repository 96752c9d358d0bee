"""The modes that are kept, and rules against aliasing."""

import math

import pytest
import torch

from sciml.grids import Grid, Modes, NoDealiasing, Padding, Truncation, transform

TAU = 2 * math.pi
GRIDS = [
    Grid((12,), (3.0,)),
    Grid((13,), (3.0,)),
    Grid((12, 16), (3.0, 2.0)),
    Grid((9, 10), (3.0, 2.0)),
    Grid((8, 12, 10), (1.0, 2.0, 3.0)),
]


def field(grid, real=True):
    generator = torch.Generator().manual_seed(0)
    u = torch.randn(2, 3, *grid.points, generator=generator, dtype=torch.float64)
    return u if real else torch.complex(u, u.flip(0))


@pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: str(grid.points))
@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("degree", [1, 2, 3])
def test_coefficients_are_those_of_the_fourier_series(grid, real, degree):
    modes = Truncation().modes(grid, degree, real=real)
    y = modes.encode(field(grid, real))
    assert y.shape == (2, 3, *modes.shape)
    kept = torch.ones(modes.shape, dtype=torch.bool)
    for m, highest in zip(modes.numbers(), modes.highest, strict=True):
        kept = kept & (m.abs() <= highest)
    assert not bool(y[..., ~kept].any())
    # One kept coefficient against the sum that defines it.
    index = tuple(min(1, n - 1) for n in modes.shape)
    phase = sum(TAU * float(m.expand(modes.shape)[index]) * x / length
                for m, x, length in zip(modes.numbers(), grid.mesh(), grid.extent, strict=True))  # fmt: skip
    expected = (field(grid, real) * torch.exp(-1j * torch.as_tensor(phase))).mean(dim=grid.space)
    if bool(kept[index]):
        assert torch.allclose(y[(..., *index)], expected, rtol=0, atol=1e-14)
    assert torch.allclose(modes.encode(modes.decode(y)), y, rtol=0, atol=1e-14)


@pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: str(grid.points))
@pytest.mark.parametrize("real", [True, False])
def test_a_masked_symbol_does_what_zeroing_does(grid, real):
    modes = Truncation().modes(grid, 2, real=real)
    symbol = torch.rand(modes.shape, dtype=torch.float64) + 1
    exact = symbol * modes.coefficients(field(grid, real))
    assert torch.equal(modes.masked(symbol) * modes.coefficients(field(grid, real), zeroed=False), exact)


def test_all_modes_give_the_field_back():
    for grid in GRIDS:
        modes = Truncation().modes(grid, 1)
        assert torch.allclose(modes.decode(modes.encode(field(grid))), field(grid), rtol=0, atol=1e-13)
        half = transform(field(grid), grid) / grid.size
        assert torch.allclose(modes.encode(field(grid)), half, rtol=0, atol=1e-14)


@pytest.mark.parametrize("degree", [2, 3])
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_products_have_no_aliases_and_both_rules_agree(degree, ndim):
    """Truncation keeps what padding of fewer points does; the product is that of a grid that holds all of it."""
    large, small = {2: (24, 16), 3: (32, 16)}[degree]
    fine = Grid((96 if ndim < 3 else 64,) * ndim, (TAU,) * ndim)
    cut, padded = Truncation().modes(fine.with_points(large), degree), Padding().modes(fine.with_points(small), degree)
    assert cut.highest == padded.highest == (7,) * ndim
    assert padded.points == cut.points
    exact = Modes(fine, cut.highest)
    generator = torch.Generator().manual_seed(1)
    u = torch.randn(1, 1, *fine.points, generator=generator, dtype=torch.float64)
    wanted = exact.decode(exact.coefficients(exact.values(exact.encode(u)) ** degree))
    scale = float(wanted.abs().max())
    for modes in (cut, padded):
        start = modes.encode(_sampled(exact.decode(exact.encode(u)), modes.grid.points, fine))
        product = modes.decode(modes.coefficients(modes.values(start) ** degree))
        assert torch.allclose(product, _sampled(wanted, modes.grid.points, fine), rtol=0, atol=1e-13 * scale)
    aliased = NoDealiasing().modes(cut.grid, degree)
    start = aliased.encode(_sampled(u, aliased.grid.points, fine))
    with_aliases = cut.encode(aliased.decode(aliased.coefficients(aliased.values(start) ** degree)))
    assert not torch.allclose(cut.decode(with_aliases), _sampled(wanted, cut.grid.points, fine), atol=1e-3 * scale)


def _sampled(u, points, grid):
    """A band-limited field at other points of the box, by its series."""
    for axis, count in enumerate(points):
        n = grid.points[axis]
        m = torch.fft.fftfreq(n, 1 / n, dtype=torch.float64)
        forth = torch.exp(-1j * TAU * torch.outer(m, torch.arange(n, dtype=torch.float64)) / n) / n
        back = torch.exp(1j * TAU * torch.outer(torch.arange(count, dtype=torch.float64), m) / count)
        moved = torch.movedim(u.to(torch.complex128), 2 + axis, -1) @ (back @ forth).T
        u = torch.movedim(moved, -1, 2 + axis)
    return u.real


def test_values_are_differentiable_and_mapped():
    grid = Grid((8, 10), (1.0, 1.0))
    for rule in (Truncation(), Padding()):
        modes = rule.modes(grid, 2)
        u = field(grid)[:1, :1].clone().requires_grad_()
        assert torch.autograd.gradcheck(lambda u, modes=modes: modes.values(modes.encode(u)) ** 2, u)
        assert torch.autograd.gradcheck(lambda u, modes=modes: modes.decode(modes.coefficients(u)).cos(), u)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: Padding().modes(Grid((9,), (1.0,)), 2),
            "Padding needs an even number of points along every axis, got",
        ),
        (lambda: Modes(Grid((8,), (1.0,)), (5,)), r"`highest` must lie in 0..N/2"),
        (lambda: Modes(Grid((8,), (1.0,)), (4,), (12,)), "only where products are formed on the grid"),
        (
            lambda: Truncation().modes(Grid((32, 32), (1.0, 1.0)), 2).holds("the forcing", 11, 1),
            "the forcing must lie on modes that are kept, got wavenumber 11 along y, where 32 points .* at least 34",
        ),
        (
            lambda: Padding().modes(Grid((16,), (1.0,)), 2).holds("the forcing", 8, 0),
            "Use at least 18 points along x",
        ),
        (
            lambda: Truncation().modes(Grid((8,), (1.0,)), 2).encode(torch.zeros(1, 1, 9)),
            r"must match the grid \(8,\), got shape",
        ),
    ],
)
def test_bad_input_is_answered(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_points_that_are_named_suffice():
    Truncation().modes(Grid((34,), (1.0,)), 2).holds("the forcing", 11, 0)
    Padding().modes(Grid((18,), (1.0,)), 2).holds("the forcing", 8, 0)
