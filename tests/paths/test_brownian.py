"""Brownian motion: its law, its algebra, and that it is one function of time however it is asked."""

import itertools
import math

import pytest
import torch
from jaxtyping import config
from scipy import stats
from torch import Tensor

from sciml.core import Key
from sciml.paths import BrownianMotion, Davie, Foster, Increment, NoArea, SpaceTime, SpaceTimeTime
from sciml.paths.levy import AbstractLevy
from sciml.paths.moments import STANDARD_DEVIATIONS, joined, split_matrix

ROWS = 20_000
LEAST_P = 1e-4  # of some dozens of tests with fixed seeds
WITHIN = 4.5 / math.sqrt(ROWS)  # of correlations that are 0
QUERIES = [(0.4, 0.8), (0.1, 0.33), (0.41, 0.43), (0.13, 1.77), (0.77, 0.81)]
LEVYS: list[AbstractLevy] = [NoArea(), SpaceTime(), SpaceTimeTime()]


def path(
    rows: int = 5, shape: tuple[int, ...] = (3,), levy: AbstractLevy | None = None, depth: int = 6, **options
) -> BrownianMotion:
    """On [0, 2] with knots at 0, 0.4, ..., 2."""
    levy = SpaceTimeTime() if levy is None else levy
    return BrownianMotion.over(Key.rows(7, rows), shape, 0.0, 2.0, intervals=5, levy=levy, depth=depth, **options)


def moments(increment: Increment) -> Tensor:
    """(W, H, K), as many as there are, stacked."""
    return torch.stack([part for part in increment[:3] if part is not None])


def standardised(increment: Increment, dt: float | Tensor) -> Tensor:
    """(W, H, K) in units of their standard deviations, (moment, everything else)."""
    m = moments(increment)
    sigma = torch.tensor(STANDARD_DEVIATIONS[: len(m)]).reshape(-1, *[1] * (m.ndim - 1))
    return (m / sigma / torch.as_tensor(abs(dt)).sqrt().reshape(-1, *[1] * (m.ndim - 2))).flatten(1)


def together(first: Increment, second: Increment, dt1: float, dt2: float) -> Tensor:
    """(W, H, K) over an interval and the next one, by the formulas in the paper, not by the library's."""
    p, q = dt1 / (dt1 + dt2), dt2 / (dt1 + dt2)
    d = q * first.w - p * second.w
    parts = [first.w + second.w]
    if first.h is not None and second.h is not None:
        parts.append(p * first.h + q * second.h + d / 2)
        if first.k is not None and second.k is not None:
            k = p**2 * first.k + q**2 * second.k + p * q / 2 * (first.h - second.h)
            parts.append(k + (q - p) / 12 * d)
    return torch.stack(parts)


def normal(sample: Tensor) -> bool:
    return stats.kstest(sample.flatten().numpy(), "norm").pvalue > LEAST_P


# Law


@pytest.mark.parametrize("levy", LEVYS, ids=lambda levy: type(levy).__name__)
@pytest.mark.parametrize(("t0", "t1"), QUERIES)
def test_increments_and_areas_are_independent_normal_numbers(levy, t0, t1):
    """Variances dt, dt / 12, dt / 720."""
    z = standardised(path(ROWS, (), levy).increment(t0, t1), t1 - t0)
    assert all(normal(part) for part in z)
    covariance = z @ z.mT / ROWS
    assert float((covariance - torch.eye(len(z))).abs().max()) < math.sqrt(2) * WITHIN
    assert float(z.mean(dim=1).abs().max()) < WITHIN


def test_the_law_holds_for_times_of_their_own():
    t0 = torch.rand(ROWS) * 1.5
    t1 = t0 + 0.05 + 0.4 * torch.rand(ROWS)
    z = standardised(path(ROWS, ()).increment(t0, t1), t1 - t0)
    assert all(normal(part) for part in z)
    assert float((z @ z.mT / ROWS - torch.eye(3)).abs().max()) < math.sqrt(2) * WITHIN


@pytest.mark.parametrize("times", [(0.4, 0.6, 0.8), (0.4, 0.47, 0.8), (0.05, 0.3, 1.9), (0.41, 0.77, 0.79)])
def test_parts_given_the_whole(times):
    """The whole and what its halves add to it are uncorrelated, standard and normal, jointly for W, H and K."""
    r, s, t = times
    brownian = path(ROWS, ())
    parts = torch.cat([standardised(brownian.increment(r, s), s - r), standardised(brownian.increment(s, t), t - s)])
    whole = standardised(brownian.increment(r, t), t - r)
    matrix = torch.tensor(split_matrix((s - r) / (t - r), 3))
    fresh = (matrix.mT @ parts)[3:]
    assert all(normal(part) for part in fresh)
    joint = torch.cat([whole, fresh])
    assert float((joint @ joint.mT / ROWS - torch.eye(6)).abs().max()) < math.sqrt(2) * WITHIN
    middle = parts[0] * math.sqrt(s - r) - (s - r) / (t - r) * whole[0] * math.sqrt(t - r)
    assert normal(middle / math.sqrt((s - r) * (t - s) / (t - r)))


def test_disjoint_intervals_are_independent():
    brownian = path(ROWS, ())
    times = [0.0, 0.1, 0.13, 0.4, 0.401, 0.8, 1.23, 1.25, 1.999]
    z = torch.cat([standardised(brownian.increment(s, t), t - s) for s, t in itertools.pairwise(times)])
    assert float((z @ z.mT / ROWS - torch.eye(len(z))).abs().max()) < math.sqrt(2) * WITHIN
    squares = torch.corrcoef(z**2) - torch.eye(len(z))
    assert float(squares.abs().max()) < WITHIN


def test_channels_and_rows_are_independent():
    brownian = BrownianMotion.over(Key.rows(3, 12), (4,), 0.0, 1.0, intervals=3000, levy=SpaceTimeTime(), depth=2)
    z = moments(brownian.between_knots()).permute(0, 2, 3, 1).flatten(0, 2)  # (moment row channel, interval)
    assert float((torch.corrcoef(z) - torch.eye(len(z))).abs().max()) < 5 / math.sqrt(3000)
    inside = torch.stack([brownian.increment(i / 3000, (i + 0.3) / 3000).w.flatten() for i in range(0, 3000, 15)])
    assert float((torch.corrcoef(inside.mT) - torch.eye(48)).abs().max()) < 5 / math.sqrt(200)


def test_keys_name_independent_paths():
    ends = [path(1, (2000,), NoArea()).value(1.3)[0]]
    for key in (Key.rows(8, 1), Key.rows(7, 1).fold(1), Key.rows(7, 1).member(1), Key.rows(7, 1, start=1)):
        ends.append(BrownianMotion.over(key, (2000,), 0.0, 2.0, intervals=5).value(1.3)[0])
    assert float((torch.corrcoef(torch.stack(ends)) - torch.eye(5)).abs().max()) < 5 / math.sqrt(2000)


# Algebra


@pytest.mark.parametrize("levy", LEVYS, ids=lambda levy: type(levy).__name__)
@pytest.mark.parametrize(
    "times", [(0.4, 0.8, 1.6), (0.1, 0.2, 0.33), (0.1, 0.5, 1.9), (0.4, 0.77, 0.8), (1.0, 0.6, 0.1), (2.0, 0.8, 0.39)]
)
@pytest.mark.parametrize(("dtype", "within"), [(torch.float64, 1e-13), (torch.float32, 1e-6)])
def test_increments_join(levy, times, dtype, within):
    """Additivity of W and Chen's relations for H and K, forwards and backwards."""
    r, s, t = times
    brownian = path(9, levy=levy, dtype=dtype)
    parts = together(brownian.increment(r, s), brownian.increment(s, t), abs(s - r), abs(t - s))
    torch.testing.assert_close(parts, moments(brownian.increment(r, t)), rtol=0, atol=within)


def test_backwards_the_chord_and_k_change_sign():
    brownian = path()
    forward, backward = brownian.increment(0.3, 1.1), brownian.increment(1.1, 0.3)
    assert torch.equal(moments(backward), moments(forward) * torch.tensor([-1.0, 1.0, -1.0]).reshape(3, 1, 1))
    assert torch.equal(brownian.increment(0.8, 0.4).w, -brownian.increment(0.4, 0.8).w)
    assert float(moments(brownian.increment(0.3, 0.3)).abs().max()) < 1e-15


def test_moments_are_the_integrals_they_are_named_for():
    """W, H, K of a long interval from sums over a fine grid inside it."""
    brownian = path()
    grid = torch.linspace(0.2, 1.8, 801)
    # One row per time: the ids of all rows are equal.
    rows = BrownianMotion(Key(7, torch.zeros(801, dtype=torch.long)), (4,), brownian.knots, 12, SpaceTimeTime())
    w = rows.value(grid)
    brownian = rows.take(torch.tensor([0]))
    v = torch.linspace(0.0, 1.0, 801)[:, None]
    bridge = w - w[0] - v * (w[-1] - w[0])
    whole = brownian.increment(0.2, 1.8)
    assert whole.h is not None and whole.k is not None
    torch.testing.assert_close(bridge.mean(0), whole.h[0], rtol=0, atol=4e-3)
    torch.testing.assert_close((bridge * (0.5 - v)).mean(0), whole.k[0], rtol=0, atol=2e-3)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("share", [0.0, 0.03, 0.5, 0.8, 1.0])
def test_splitting_is_orthogonal_and_undone_by_joining(count, share):
    matrix = torch.tensor(split_matrix(share, count))
    torch.testing.assert_close(matrix @ matrix.mT, torch.eye(2 * count), rtol=0, atol=1e-14)
    z = torch.randn(2 * count, 8)
    sigma = torch.tensor(STANDARD_DEVIATIONS[:count])[:, None]
    parts = (matrix @ z).unflatten(0, (2, count)) * sigma
    lengths = torch.tensor([share, 1 - share])
    left, right = parts * lengths.sqrt()[:, None, None]
    torch.testing.assert_close(joined(left, right, lengths[0], lengths[1]), z[:count] * sigma)
    torch.testing.assert_close(joined(right, left, lengths[1], lengths[0], -1.0), z[:count] * sigma)


# One function of time


def test_every_way_to_ask_gives_the_same():
    rows = 6
    brownian = path(rows, dtype=torch.float32)
    queries = [(0.4, 0.8), (0.4, 1.2), (0.3, 0.31), (0.77, 1.99), (1.3, 0.2), (0.0, 0.1), (2.0, 1.7)]
    single = [brownian.increment(*query) for query in queries]
    for (t0, t1), want in zip(reversed(queries), reversed(single), strict=True):
        again = path(rows, dtype=torch.float32)
        zero_d = again.increment(torch.tensor(t0), torch.tensor(t1))
        per_row = again.increment(torch.full((rows, 1, 1), t0), t1)
        few = path(2, dtype=torch.float32).increment(t0, t1)
        some = again.take(torch.tensor([4, 1])).increment(t0, t1)
        for part, expected in enumerate(want[:3]):
            assert isinstance(expected, Tensor)
            for other in (zero_d[part], per_row[part]):
                torch.testing.assert_close(other, expected, rtol=0, atol=1e-6)
            torch.testing.assert_close(few[part], expected[:2], rtol=0, atol=1e-6)
            torch.testing.assert_close(some[part], expected[[4, 1]], rtol=0, atol=1e-6)
    mixed = torch.tensor(queries[:rows]).mT.contiguous()
    for part, values in enumerate(brownian.increment(mixed[0], mixed[1])[:3]):
        expected = torch.stack([single[row][part][row] for row in range(rows)])  # type: ignore[index]
        torch.testing.assert_close(values, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("levy", [*LEVYS, Foster()], ids=lambda levy: type(levy).__name__)
def test_what_is_known_at_times_makes_the_increments_between_them(levy):
    """Points are drawn once each, and may be of one time for all, or of each row's own."""
    brownian = path(4, levy=levy)
    times = brownian.on_tensors
    first, second = torch.tensor([0.1, 0.4, 0.95, 1.3]), torch.tensor(0.77)
    a, b = times.at("t0", first), times.at("t1", second)
    for (p, q), (t0, t1) in (((a, b), (first, second)), ((b, a), (second, first))):
        for part, expected in zip(times.between(p, q), brownian.increment(t0, t1), strict=True):
            torch.testing.assert_close(part, expected, rtol=0, atol=0)
    outside = times.between(times.at("t0", torch.tensor([0.1, -0.1, 2.1, 0.3])), b)
    assert outside.w.isnan().all(dim=1).tolist() == [False, True, True, False]


def test_times_in_turn_draw_only_what_changes():
    """The numbers of cells in common are kept, and it makes no difference."""
    brownian, grid = path(levy=NoArea(), depth=10), torch.linspace(0.41, 0.79, 40).tolist()
    asked = [0.77, *grid, *reversed(grid), 0.5, 0.41, 0.0, 1.99]
    for t in asked:
        torch.testing.assert_close(brownian.value(t), path(levy=NoArea(), depth=10).value(t), rtol=0, atol=1e-14)


def test_the_usual_path_for_adaptive_steps():
    brownian = BrownianMotion.over(Key.rows(0, 2), (1,), 1.0, 3.0)
    assert len(brownian.knots) == 17 and brownian.resolution == pytest.approx(2 * 2.0**-16)


def test_both_dtypes_are_one_path():
    for query in QUERIES:
        narrow, wide = (moments(path(dtype=dtype).increment(*query)) for dtype in (torch.float32, torch.float64))
        assert narrow.dtype == torch.float32 and wide.dtype == torch.float64
        torch.testing.assert_close(narrow.double(), wide, rtol=0, atol=2e-6)


def test_a_grid_is_what_its_steps_are():
    ts = [0.0, 0.3, 0.35, 1.0]
    brownian = BrownianMotion.on_grid(Key.rows(1, 4), (2,), ts, levy=SpaceTimeTime())
    steps = moments(brownian.between_knots())
    for i, (t0, t1) in enumerate(itertools.pairwise(ts)):
        assert torch.equal(steps[:, i], moments(brownian.increment(t0, t1)))
        tensors = brownian.increment(torch.tensor(t0), torch.tensor(t1))
        torch.testing.assert_close(steps[:, i], moments(tensors), rtol=0, atol=1e-14)
    backwards = BrownianMotion.on_grid(Key.rows(1, 4), (2,), ts[::-1], levy=SpaceTimeTime())
    assert torch.equal(moments(backwards.between_knots()), steps)
    inside = brownian.increment(0.0, 0.1).w + brownian.increment(0.1, 0.3).w
    torch.testing.assert_close(inside, steps[0, 0], rtol=0, atol=1e-14)


def test_w_at_the_knots_does_not_depend_on_the_areas():
    assert torch.equal(path(levy=NoArea()).between_knots().w, path(levy=SpaceTimeTime()).between_knots().w)


def test_times_next_to_a_knot_are_that_knot():
    """Rounding of a driver's float64 times, and of a user's float32 times, moves nothing."""
    brownian = path()
    want = brownian.increment(0.4, 0.8).w
    assert torch.equal(brownian.increment(0.4 + 1e-16, 0.8 - 1e-16).w, want)
    for dtype in (torch.float64, torch.float32):
        t0, t1 = torch.tensor(0.4, dtype=dtype) * (1 + 1e-16), torch.tensor(0.8, dtype=dtype)
        torch.testing.assert_close(brownian.increment(t0, t1).w, want, rtol=0, atol=1e-14)
    ends = BrownianMotion.over(Key.rows(0, 2), (1,), 0.0, 0.1, intervals=4)
    beyond = torch.tensor(0.1, dtype=torch.float32)
    assert float(beyond) > 0.1
    torch.testing.assert_close(ends.value(beyond), ends.value(0.1), rtol=0, atol=1e-14)


def test_within_a_cell_the_path_is_one_smooth_curve():
    """u W + sqrt(u (1 - u) c) Z, with one Z: on half a grid of it, W² has the mean that is not h."""
    whole = BrownianMotion(Key.rows(0, ROWS), (), torch.tensor([0.0, 1.0]), depth=0)
    u = torch.tensor([0.25, 0.5, 0.75])
    off = torch.stack([whole.value(float(x)) - x * whole.value(1.0) for x in u])
    z = off / (u * (1 - u)).sqrt()[:, None]
    torch.testing.assert_close(z, z[:1].expand_as(z), rtol=0, atol=1e-9)
    assert normal(z[0])


def test_which_times_a_path_resolves():
    brownian = path(depth=3)  # cells of 0.05
    for ts, exact in (
        ([0.0, 0.01, 0.4], True),
        ([0.0, 0.01, 0.02, 0.4], False),
        ([0.4, 0.02, 0.01], False),
        ([0.39, 0.4, 0.41], True),
        ([0.04, 0.05, 0.06], True),
        ([0.04, 0.1, 0.9], True),
        ([0.4 + 0.05 * i for i in range(9)], True),
        ([0.4 + 0.025 * i for i in range(17)], True),
        ([0.4 + 0.0125 * i for i in range(33)], False),
    ):
        assert brownian.resolves(ts) is exact
        assert brownian.resolves(torch.tensor(ts, dtype=torch.float64)) is exact
    each = torch.tensor([[0.01, 0.02], [0.06, 0.03]], dtype=torch.float64)
    assert brownian.resolves(each[:, :1]) and not brownian.resolves(each)


def test_below_the_resolution_two_ends_have_no_areas_and_still_add_up():
    brownian = path(depth=3)
    assert brownian.resolution == pytest.approx(0.05)
    within = brownian.increment(0.46, 0.48)
    assert within.h is not None and within.k is not None
    assert float(within.h.abs().max()) == 0.0 and float(within.k.abs().max()) == 0.0
    whole = brownian.increment(0.41, 0.46).w + within.w + brownian.increment(0.48, 1.3).w
    torch.testing.assert_close(whole, brownian.increment(0.41, 1.3).w, rtol=0, atol=1e-14)
    from_start = standardised(path(ROWS, (), depth=3).increment(0.45, 0.47), 0.02)  # 0.45 begins a cell
    assert all(normal(part) for part in from_start)


def test_the_noise_may_have_any_shape():
    flat, boxed = path(3, (6,)).increment(0.3, 1.9), path(3, (2, 3)).increment(0.3, 1.9)
    assert torch.equal(moments(flat).reshape(3, 3, 2, 3), moments(boxed))
    assert path(3, ()).increment(0.3, 1.9).w.shape == (3,)


# Areas between channels


@pytest.mark.parametrize("levy", [Davie(), Foster()], ids=lambda levy: type(levy).__name__)
@pytest.mark.parametrize(("t0", "t1"), [(0.4, 0.8), (0.1, 1.9)])
def test_areas_between_channels(levy, t0, t1):
    """Antisymmetric, mean 0, variance dt^2 / 4, uncorrelated with each other; the chord's part is H W' - W H'."""
    increment = path(ROWS, levy=levy).increment(t0, t1)
    area, w, h = increment.area, increment.w, increment.h
    assert area is not None and h is not None and area.shape == (ROWS, 3, 3)
    torch.testing.assert_close(area, -area.mT)
    pairs = torch.stack([area[:, 0, 1], area[:, 0, 2], area[:, 1, 2]]) / ((t1 - t0) / 2)
    assert float((pairs @ pairs.mT / ROWS - torch.eye(3)).abs().max()) < 3 * WITHIN
    bridge = area[:, 0, 1] - (h[:, 0] * w[:, 1] - w[:, 0] * h[:, 1])
    assert float(bridge.var()) == pytest.approx((t1 - t0) ** 2 / 12, rel=6 / math.sqrt(ROWS))
    assert abs(float(torch.corrcoef(torch.stack([bridge, w[:, 0] * w[:, 1]]))[0, 1])) < WITHIN


def test_the_bridge_area_given_h():
    """Foster: variance dt^2 / 20 + dt (H_i^2 + H_j^2) / 5; Davie: dt^2 / 12 whatever H."""
    for levy in (Davie(), Foster()):
        increment = path(ROWS, (2,), levy=levy).increment(0.4, 0.8)
        assert increment.area is not None and increment.h is not None
        product = increment.h[:, 0] * increment.w[:, 1] - increment.w[:, 0] * increment.h[:, 1]
        squares = (increment.h**2).sum(1)
        variance = 0.4**2 / 20 + 0.4 / 5 * squares if isinstance(levy, Foster) else 0.4**2 / 12 + 0 * squares
        z = (increment.area[:, 0, 1] - product) / variance.sqrt()
        assert normal(z)
        assert float(z.var()) == pytest.approx(1.0, abs=4 * math.sqrt(2 / ROWS))
        assert abs(float(torch.corrcoef(torch.stack([z**2, squares]))[0, 1])) < WITHIN


def test_areas_join_over_knots():
    """Chen's relation; over many knots the area tends to that of the path."""
    brownian = BrownianMotion.over(Key.rows(2, 3000), (2,), 0.0, 1.0, intervals=64, levy=Foster())
    first, second, whole = (brownian.increment(*ends) for ends in ((0.25, 0.5), (0.5, 0.875), (0.25, 0.875)))
    assert first.area is not None and second.area is not None and whole.area is not None
    cross = first.w[:, :, None] * second.w[:, None, :]
    torch.testing.assert_close(first.area + second.area + (cross - cross.mT) / 2, whole.area, rtol=0, atol=1e-13)
    w = torch.cat([torch.zeros(1, 3000, 2), brownian.between_knots().w.cumsum(0)])
    chords = 0.5 * (w[:-1, :, 0] * w[1:, :, 1] - w[:-1, :, 1] * w[1:, :, 0]).sum(0)
    total = brownian.increment(0.0, 1.0).area
    assert total is not None
    # What the chords leave out is 64 areas of variance (1 / 64)^2 / 4.
    assert float((total[:, 0, 1] - chords).var()) == pytest.approx(1 / 256, rel=0.15)
    assert torch.equal(brownian.increment(0.5, 0.25).area, -first.area)  # type: ignore[arg-type]


def test_a_query_has_one_area():
    brownian = path(levy=Foster())
    first, again = brownian.increment(0.3, 1.1), path(levy=Foster()).increment(torch.full((5,), 0.3), 1.1)
    torch.testing.assert_close(first.area, again.area, rtol=0, atol=1e-13)
    steps = brownian.between_knots().area
    assert steps is not None
    torch.testing.assert_close(steps[1], brownian.increment(torch.tensor(0.4), 0.8).area, rtol=0, atol=1e-14)


# Correlated noise


def test_correlated_channels():
    covariance = torch.tensor([[2.0, 0.6], [0.6, 0.5]])
    brownian = path(ROWS, (2,), levy=Foster(), covariance=covariance)
    increment = brownian.increment(0.1, 0.9)
    assert increment.h is not None and increment.area is not None
    torch.testing.assert_close(increment.w.mT.cov() / 0.8, covariance, rtol=0, atol=0.08)
    torch.testing.assert_close(increment.h.mT.cov() / 0.8 * 12, covariance, rtol=0, atol=0.08)
    factor = torch.linalg.cholesky(covariance)
    same = path(ROWS, (2,), levy=Foster(), factor=factor).increment(0.1, 0.9)
    assert torch.equal(same.w, increment.w)
    plain = path(ROWS, (2,), levy=Foster()).increment(0.1, 0.9)
    assert plain.area is not None
    torch.testing.assert_close(plain.w @ factor.mT, increment.w)
    torch.testing.assert_close(plain.area * torch.det(factor), increment.area)


def test_few_sources_drive_many_channels_and_have_gradients():
    factor = torch.randn(4, 2, requires_grad=True)
    brownian = path(3, (5, 4), levy=NoArea(), factor=factor)
    w = brownian.increment(0.1, 0.9).w
    assert w.shape == (3, 5, 4)
    assert int(torch.linalg.matrix_rank(w.detach().flatten(0, 1))) == 2
    w.sum().backward()
    assert factor.grad is not None and float(factor.grad.abs().max()) > 0


# What is refused


@pytest.fixture
def unhooked():
    """The library's own messages, without the annotation hook before them."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


def test_times_outside_of_the_knots():
    brownian = path()
    with pytest.raises(ValueError, match=r"must lie within the knots, 0 to 2, got 2.5. Make the path over"):
        brownian.increment(0.5, 2.5)
    with pytest.raises(ValueError, match="must lie within the knots"):
        brownian.value(math.nan)
    w = brownian.increment(torch.tensor([0.1, 0.2, 0.3, 0.4, -0.1]), 0.5).w
    assert bool(w[:4].isfinite().all()) and bool(w[4].isnan().all())
    area = path(levy=Davie()).increment(torch.tensor(0.1), torch.tensor(2.1)).area
    assert area is not None and bool(area.isnan().all())


def test_times_of_the_wrong_number():
    with pytest.raises(ValueError, match=r"`t0` must be one time, or one per path \(5,\), got shape \(3,\)"):
        path().increment(torch.zeros(3), 1.0)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"knots": torch.tensor([0.0, 1.0, 1.0])}, r"`knots` must increase strictly, but knots\[1\]=1 is followed by"),
        ({"knots": torch.tensor([0.0, math.nan])}, "`knots` must be finite"),
        ({"knots": torch.tensor([0.0])}, r"`knots` must be a vector of at least two times, got shape \(1,\)"),
        ({"shape": (0,)}, "`shape` must be a whole number of at least 1, got 0"),
        ({"depth": -1}, "`depth` must be a whole number of at least 0, got -1"),
        ({"depth": 25}, "`depth` must be at most 24, got 25. Take more knots"),
        ({"dtype": torch.float16}, "`dtype` must be float32 or float64, got torch.float16"),
        ({"levy": Davie(), "shape": ()}, r"`shape` must have one axis, the channels, for areas between them, got \(\)"),
        ({"factor": torch.zeros(3, 2)}, r"one row per channel, the last axis of `shape`=\(2,\), got shape \(3, 2\)"),
        ({"factor": torch.eye(2), "covariance": torch.eye(2)}, "give `covariance` or `factor`, not both"),
        ({"covariance": torch.tensor([[1.0, 2.0], [2.0, 1.0]])}, "positive definite, got smallest eigenvalue -1"),
        ({"covariance": torch.tensor([[1.0, 0.5], [0.0, 1.0]])}, "must be symmetric and positive definite"),
        ({"covariance": torch.ones(2)}, r"`covariance` must have shape \(any, any\)"),
    ],
)
def test_what_a_path_is_not_made_of(changed, message, unhooked):
    arguments = {"key": Key.rows(0, 2), "shape": (2,), "knots": torch.tensor([0.0, 1.0])}
    with pytest.raises(ValueError, match=message):
        BrownianMotion(**{**arguments, **changed})


def test_wrong_kinds_of_arguments(unhooked):
    knots = torch.tensor([0.0, 1.0])
    with pytest.raises(TypeError, match="`key` must be a sciml.core.Key, got NoneType. Write e.g. Key.rows"):
        BrownianMotion(None, (1,), knots)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"`levy` must be an object such as NoArea\(\) or SpaceTime\(\)"):
        BrownianMotion(Key.rows(0, 1), (1,), knots, levy="space-time")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"`shape` must be a tuple of axes, got 2. Write \(2,\)"):
        BrownianMotion.over(Key.rows(0, 1), 2, 0.0, 1.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`t0` and `t1` must be finite and differ, got 1.0 and 1.0"):
        BrownianMotion.over(Key.rows(0, 1), (1,), 1.0, 1.0)
    with pytest.raises(ValueError, match="`intervals` must be a whole number"):
        BrownianMotion.over(Key.rows(0, 1), (1,), 0.0, 1.0, intervals=0)
    with pytest.raises(TypeError, match="Brownian motion has no derivative, but one was asked for at t=0.5"):
        path().derivative(0.5)
