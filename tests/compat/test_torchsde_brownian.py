"""The Brownian motions under torchsde's names: their laws, and what they answer."""

import math
from typing import Any

import numpy as np
import pytest
import torch
import torchsde as theirs
from scipy.stats import kstest

from sciml.compat import torchsde as ours
from sciml.compat.torchsde.pieces import Pieces

LEVY = ("none", "space-time", "davie", "foster")
ROWS = 20_000
BOTH = pytest.mark.parametrize("package", [theirs, ours], ids=["theirs", "ours"])
HALVES: Any = {"halfway_tree": True, "tol": 1e-5}
KINDS = pytest.mark.parametrize("options", [{}, HALVES], ids=["pieces", "halves"])


def normal(values: torch.Tensor, deviation: float) -> bool:
    return kstest((values / deviation).flatten().numpy(), "norm").pvalue > 1e-4


def area_of(bm, ta, tb):
    w, u = bm(ta, tb, return_U=True)
    return w, u / (tb - ta) - w / 2


@KINDS
def test_law_of_increments_and_areas(options):
    bm = ours.BrownianInterval(1.0, 3.0, (ROWS,), entropy=1, levy_area_approximation="space-time", **options)
    pairs = [(1.0, 3.0), (1.2, 2.9), (1.7, 2.1), (2.1, 2.9), (1.3, 1.7)]
    answers = [area_of(bm, *pair) for pair in pairs]
    for (ta, tb), (w, h) in zip(pairs, answers, strict=True):
        assert normal(w, math.sqrt(tb - ta)) and normal(h, math.sqrt((tb - ta) / 12))
        assert abs(float((w * h).mean())) < 5 / math.sqrt(ROWS)
    apart = torch.corrcoef(torch.stack([answers[2][0], answers[3][0], answers[4][0]])) - torch.eye(3)
    assert apart.abs().max() < 5 / math.sqrt(ROWS)


@KINDS
@pytest.mark.parametrize("levy", LEVY)
def test_increments_add_up(options, levy):
    bm = ours.BrownianInterval(0.0, 1.0, (4, 3), entropy=1, levy_area_approximation=levy, **options)
    ta, t, tb = 0.12, 0.37, 0.81
    whole, left, right = (bm(*pair, return_U=True, return_A=True) for pair in ((ta, tb), (ta, t), (t, tb)))
    torch.testing.assert_close(left[0] + right[0], whole[0])
    if levy == "none":
        assert whole[1] is None and whole[2] is None
        return
    torch.testing.assert_close(left[1] + right[1] + (tb - t) * left[0], whole[1])
    if levy == "space-time":
        assert whole[2] is None
        return
    again = bm(ta, tb, return_A=True)[1]  # kept, though its parts were asked for since
    assert torch.equal(again, whole[2]) and torch.equal(again, -again.mT)


@pytest.mark.parametrize("levy", ["davie", "foster"])
def test_areas_of_parts_make_that_of_the_whole(levy):
    bm = ours.BrownianInterval(0.0, 1.0, (4, 3), entropy=1, levy_area_approximation=levy)
    (w0, a0), (w1, a1) = bm(0.0, 0.3, return_A=True), bm(0.3, 1.0, return_A=True)
    w, a = bm(0.0, 1.0, return_A=True)
    cross = w0[:, :, None] * w1[:, None, :] / 2
    torch.testing.assert_close(a0 + a1 + cross - cross.mT, a)
    assert w.shape == (4, 3)


@pytest.mark.parametrize("levy", ["davie", "foster"])
def test_law_of_areas(levy):
    """E[A_ij²] = dt²/4 for both, and given W and H the mean is H_i W_j - W_i H_j."""
    bm = ours.BrownianInterval(0.0, 2.0, (ROWS, 2), entropy=2, levy_area_approximation=levy)
    w, u, a = bm(0.5, 1.3, return_U=True, return_A=True)
    h = u / 0.8 - w / 2
    rest = a[:, 0, 1] - (h[:, 0] * w[:, 1] - w[:, 0] * h[:, 1])
    assert float((a[:, 0, 1] ** 2).mean()) == pytest.approx(0.64 / 4, rel=0.05)
    assert float((rest**2).mean()) == pytest.approx(0.64 / 12, rel=0.05)
    assert abs(float((rest * w[:, 0]).mean())) < 0.01


@KINDS
@pytest.mark.parametrize("given", [("W",), ("W", "H"), ("H",)])
def test_what_was_told_of_the_whole_interval(options, given):
    told: Any = {"W": torch.full((ROWS,), 1.5), "H": torch.full((ROWS,), -0.4)}
    bm = ours.BrownianInterval(
        0.0, 2.0, entropy=5, levy_area_approximation="space-time", **{name: told[name] for name in given}, **options
    )
    w, h = area_of(bm, 0.0, 2.0)
    if "W" in given:
        torch.testing.assert_close(w, told["W"])
    if "H" in given:
        torch.testing.assert_close(h, told["H"])
    w, _ = area_of(bm, 0.0, 0.5)
    if given == ("W",):
        assert normal(w - 0.375, math.sqrt(0.5 * 1.5 / 2))
    elif given == ("W", "H"):  # what is left of the bridge when its mean is known too
        share = 0.25
        mean = share * 1.5 + 6 * share * (1 - share) * -0.4
        assert normal(w - mean, math.sqrt(2 * (share * (1 - share) - 3 * (share * (1 - share)) ** 2)))


def test_given_ends_keep_areas_in_line_with_them():
    told: Any = {"W": torch.ones(4, 2), "H": torch.full((4, 2), 0.3)}
    bm = ours.BrownianInterval(0.0, 1.0, entropy=5, levy_area_approximation="davie", **told, **HALVES)
    (w, a), (w0, a0), (w1, a1) = (bm(*pair, return_A=True) for pair in ((0.0, 1.0), (0.0, 0.5), (0.5, 1.0)))
    torch.testing.assert_close(w0 + w1, w)
    assert torch.equal(a, -a.mT) and a0.shape == a1.shape == (4, 2, 2)


def test_questions_in_another_order():
    points = torch.rand(50, 2).sort(dim=1).values.tolist()
    one, two = (ours.BrownianInterval(0.0, 1.0, (2, 2), entropy=9, **HALVES) for _ in range(2))
    answers = [one(a, b) for a, b in points]
    for (a, b), answer in reversed(list(zip(points, answers, strict=True))):
        assert torch.equal(two(a, b), answer)
    one, two = (ours.BrownianInterval(0.0, 1.0, (2, 2), entropy=9) for _ in range(2))
    answers = [one(a, b) for a, b in points]
    assert all(torch.equal(two(a, b), answer) for (a, b), answer in zip(points, answers, strict=True))
    assert all(torch.equal(one(a, b), answer) for (a, b), answer in zip(points, answers, strict=True))
    other = ours.BrownianInterval(0.0, 1.0, (2, 2), entropy=10)
    assert not torch.equal(other(*points[0]), answers[0])


def test_a_solve_and_questions_see_one_path():
    class Noise:
        noise_type, sde_type = "additive", "ito"
        f = staticmethod(lambda t, y: torch.zeros_like(y))
        g = staticmethod(lambda t, y: torch.eye(2).expand(len(y), 2, 2))

    y0, ts = torch.zeros(3, 2), [0.0, 0.3, 1.0]
    several: Any = ({}, HALVES, {"dt": 0.1}, {"W": torch.ones(3, 2)})
    for options in several:
        bm = ours.BrownianInterval(0.0, 1.0, (3, 2), entropy=1, **options)
        ys = ours.sdeint(Noise(), y0, ts, bm=bm, method="euler", dt=0.1)
        torch.testing.assert_close(ys[1], bm(0.0, 0.3))
        torch.testing.assert_close(ys[2] - ys[1], bm(0.3, 1.0))
        finer = ours.sdeint(Noise(), y0, ts, bm=bm, method="euler", dt=0.07)
        torch.testing.assert_close(finer[2], ys[2])
        part = ours.sdeint(Noise(), y0, [0.25, 0.5], bm=bm, method="euler", dt=0.1)
        torch.testing.assert_close(part[1], bm(0.25, 0.5))
    bm = ours.BrownianInterval(0.0, 1.0, (3, 2), entropy=1)
    mirrored = ours.sdeint(Noise(), y0, [-1.0, 0.0], bm=ours.ReverseBrownian(bm), method="euler", dt=0.1)
    torch.testing.assert_close(mirrored[1], bm(0.0, 1.0))
    tree = ours.BrownianTree(0.0, torch.zeros(3, 2), entropy=4)
    torch.testing.assert_close(ours.sdeint(Noise(), y0, [0.0, 1.0], bm=tree, dt=0.5, method="euler")[1], tree(0.0, 1.0))


@pytest.mark.parametrize("size", [(), (5,), (5, 3), (2, 5, 3)])
@pytest.mark.parametrize("levy", LEVY)
@KINDS
def test_shapes_are_theirs(size, levy, options):
    shapes = []
    for package in (theirs, ours):
        bm = package.BrownianInterval(0.0, 1.0, size, torch.float32, levy_area_approximation=levy, **options)
        answers = [bm(0.2, 0.5), *bm(0.2, 0.5, return_U=True, return_A=True), *bm(0.2, 0.2, return_U=True)]
        if len(size) != 1:  # theirs has an area (5, 5) over no time, and (5,) else
            answers += bm(0.2, 0.2, return_A=True)
        shapes.append([None if x is None else (tuple(x.shape), x.dtype) for x in answers])
        assert bm.shape == bm.size() == size and bm.dtype == torch.float32 and bm.levy_area_approximation == levy
        assert torch.device(bm.device).type == "cpu"
    assert shapes[0] == shapes[1]


@BOTH
def test_attributes(package):
    bm = package.BrownianInterval(0.0, 1.0, (2, 2), entropy=3, dt=0.1, pool_size=5, cache_size=None, tol=1e-3)
    assert (bm.entropy, bm.dt, bm.pool_size, bm.cache_size, bm.tol) == (3, 0.1, 5, None, 1e-3)
    assert not bm.halfway_tree and "entropy=3" in repr(bm) and "cache_size=None" in repr(bm)
    assert isinstance(bm, package.BaseBrownian)
    reverse = package.ReverseBrownian(bm)
    assert torch.equal(reverse(-0.5, -0.25), bm(0.25, 0.5)) and reverse.shape == (2, 2)
    assert "base_brownian" in repr(reverse) and reverse.dtype == bm.dtype and reverse.device == bm.device
    assert reverse.levy_area_approximation == "none"
    like = package.brownian_interval_like(torch.ones(3, 2, dtype=torch.float32), t1=2.0, entropy=1)
    assert like.shape == (3, 2) and like.dtype == torch.float32
    np.random.seed(0)
    first = package.BrownianInterval(size=(1,)).entropy
    np.random.seed(0)
    assert package.BrownianInterval(size=(1,)).entropy == first


@BOTH
@pytest.mark.filterwarnings("ignore:.*interval:UserWarning")
def test_paths_that_start_at_a_point(package):
    w0 = torch.arange(6.0).reshape(3, 2)
    path = package.BrownianPath(t0=0.0, w0=w0)
    torch.testing.assert_close(path(0.5), w0 + path(0.0, 0.5))
    assert path.shape == (3, 2) and path.dtype == w0.dtype and "interval=" in repr(path)
    tree = package.BrownianTree(t0=0.0, w0=w0, t1=2.0, w1=w0 + 1, entropy=3)
    torch.testing.assert_close(tree(2.0), w0 + 1)
    torch.testing.assert_close(tree(0.3, 0.6), tree(0.6) - tree(0.3))
    again = package.BrownianTree(t0=0.0, w0=w0, t1=2.0, w1=w0 + 1, entropy=3)
    assert torch.equal(again(0.6), tree(0.6))


@BOTH
def test_questions_outside_are_moved(package):
    bm = package.BrownianInterval(0.0, 1.0, (2,), entropy=1)
    whole = bm(0.0, 1.0)
    for ta, tb in ((-1.0, 1.0), (0.0, 1.5), (-1.0, 1.5)):
        with pytest.warns(UserWarning):
            assert torch.equal(bm(ta, tb), whole)
    with pytest.warns(UserWarning):
        assert not bm(1.2, 1.5).any()
    with pytest.raises(RuntimeError, match="ta"):
        bm(0.5, 0.2)
    with pytest.warns(UserWarning, match="interval"):
        bm(0.5)
    empty = package.BrownianInterval(1.0, 1.0, (2,))
    assert not empty(1.0, 1.0).any()


def test_intervals_are_printed(capsys):
    bm = ours.BrownianInterval(0.0, 1.0, (1,))
    bm.display_binary_tree()
    bm(0.25, 1.0)
    bm.display_binary_tree()
    assert capsys.readouterr().out == "(0.0, 1.0)\n(0.0, 0.25)\n(0.25, 1.0)\n"


WRONG: dict[str, Any] = {
    "t0": ({"t0": "0"}, "`t0` must be a number"),
    "order": ({"t0": 2.0}, "`t0` must not lie after `t1`"),
    "dt": ({"dt": torch.ones(2)}, "`dt` must be a number"),
    "tol": ({"tol": -1.0}, "`tol` must not be negative"),
    "half tol": ({"halfway_tree": True}, "`tol` must be positive"),
    "half dt": ({"halfway_tree": True, "tol": 1e-3, "dt": 0.1}, "`dt` does not go with"),
    "levy": ({"levy_area_approximation": "odd"}, "`levy_area_approximation` must be one of"),
    "size": ({"size": None}, "`size` must be given"),
    "W": ({"W": torch.ones(3)}, "`size`, W and H must agree"),
    "dtype": ({"W": torch.ones(2), "dtype": torch.float32}, "`dtype`, W and H must agree"),
    "integer": ({"W": torch.ones(2, dtype=torch.int64), "dtype": None}, "`W` must be a tensor of floating"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_are_refused(name):
    options, message = WRONG[name]
    for package in (theirs, ours):
        with pytest.raises(ValueError, match=message if package is ours else None):
            package.BrownianInterval(**{"t0": 0.0, "t1": 1.0, "size": (2,), **options})


def test_of_a_long_path_a_few_nodes_are_kept_and_the_rest_is_the_same_again(monkeypatch):
    """A grid, and steps tried one after the other, in nodes of a few times."""
    monkeypatch.setattr("sciml.compat.torchsde.pieces._NODE", 1)
    monkeypatch.setattr("sciml.compat.torchsde.pieces._SPLITS", 8)
    monkeypatch.setattr("sciml.compat.torchsde.pieces._KEPT", 200)
    grid = torch.linspace(0, 1, 301, dtype=torch.float64).tolist()
    for levy in ("none", "space-time", "foster"):
        for planned in (True, False):
            bm = ours.BrownianInterval(0.0, 1.0, (2, 3), entropy=1, dtype=torch.float64, levy_area_approximation=levy)
            path = bm.path
            assert isinstance(path, Pieces)
            if planned:
                path.expect(grid)
            steps = [path.between(a, b) for a, b in zip(grid, grid[1:], strict=False)]
            for n in (250, 3, 118, 119):
                again = path.between(grid[n], grid[n + 1])
                assert all(torch.equal(a, b) for a, b in zip(again, steps[n], strict=True) if a is not None)  # type: ignore[arg-type]
            path.between(0.1234, 0.5)
            assert len(path.times) == (302 if planned else len(set(path.times))) >= 302
            assert len(path.made) <= 8 and sum(len(node.parts or ()) for node in path.made) * 6 <= 200 + 4 * 24 * 6
            whole = path.between(0.0, 1.0)
            torch.testing.assert_close(sum(step.w for step in steps), whole.w)
            if levy == "space-time":
                ends = [sum((step.w for step in steps[:n]), torch.zeros(2, 3)) for n in range(300)]
                integral = sum((w + step.w / 2 + step.h) / 300 for w, step in zip(ends, steps, strict=True))  # type: ignore[operator]
                torch.testing.assert_close(whole.h, integral - whole.w / 2)


def test_the_law_in_nodes_is_that_of_brownian_motion(monkeypatch):
    """Covariances of W and H over steps that are drawn at once, bent to what their node does, and split."""
    monkeypatch.setattr("sciml.compat.torchsde.pieces._NODE", 1)
    rows, grid = 20000, torch.linspace(0, 1, 41, dtype=torch.float64).tolist()
    bm = ours.BrownianInterval(
        0.0, 1.0, (rows, 1), entropy=3, dtype=torch.float64, levy_area_approximation="space-time"
    )
    assert isinstance(bm.path, Pieces)
    bm.path.expect(grid)
    asked = [*grid[14:20], 0.4815, *grid[20:23]]
    steps = [bm.path.between(a, b) for a, b in zip(asked, asked[1:], strict=False)]
    numbers = []
    for step, dt in zip(steps, torch.tensor(asked, dtype=torch.float64).diff(), strict=True):
        numbers += [step.w / dt**0.5, step.h * (12 / dt) ** 0.5]  # type: ignore[operator]
    normal = torch.cat(numbers, dim=1)
    covariance = normal.T @ normal / rows
    torch.testing.assert_close(covariance, torch.eye(18, dtype=torch.float64), rtol=0, atol=5 * (2 / rows) ** 0.5)


def test_answers_beyond_those_kept_are_equal_to_rounding(monkeypatch):
    monkeypatch.setattr("sciml.compat.torchsde.interval._ANSWERS", 20)
    bm = ours.BrownianInterval(0.0, 1.0, (2, 2), entropy=1, dtype=torch.float64)
    times = (
        torch.rand(30, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64).sort(dim=1).values.tolist()
    )
    first = [bm(a, b) for a, b in times]
    assert len(bm._answers) == 5
    for value, (a, b) in zip(first, times, strict=True):
        torch.testing.assert_close(bm(a, b), value, rtol=1e-12, atol=1e-14)
