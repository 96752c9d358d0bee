"""Times of equations with noise: which are kept, which have gradients, and how fine steps may be."""

from typing import Any

import pytest
import torch
from torch import Tensor

from sciml.core import Key
from sciml.integrate import (
    BAOAB,
    PID,
    SDE,
    AdditiveNoise,
    Backsolve,
    Checkpoint,
    Clip,
    DiagonalNoise,
    Direct,
    EulerMaruyama,
    Event,
    Fixed,
    Forward,
    Ito,
    Langevin,
    SaveAt,
    ShARK,
    StochasticHeun,
    Stratonovich,
    Tsit5,
    WithKL,
    solve,
    with_kl,
)
from sciml.paths import BrownianMotion, SpaceTime

TS = torch.tensor([0.125, 0.3, 0.31, 0.9])


def walk(rows: int = 8) -> SDE:
    """y = W."""
    path = BrownianMotion.over(Key.rows(0, rows), (1,), 0.0, 1.0, levy=SpaceTime())
    return SDE(
        lambda t, y: 0 * y, lambda t, y: torch.ones_like(y), path, structure=AdditiveNoise(diagonal=True), sense=Ito()
    )


def growth(sense: Any, path: Any = None) -> SDE:
    path = BrownianMotion.over(Key.rows(0, 8), (1,), 0.0, 1.0) if path is None else path
    return SDE(lambda t, y: 0 * y, lambda t, y: y, path, structure=DiagonalNoise(), sense=sense)


def zeros() -> Tensor:
    return torch.zeros(8, 1)


LOOSE = PID(rtol=1.0, atol=1.0)
OWN = torch.rand(8, 3, generator=torch.Generator().manual_seed(0)).sort(dim=1).values


@pytest.mark.parametrize("ts", [TS, OWN], ids=["shared", "of each"])
@pytest.mark.parametrize(
    "control",
    [
        LOOSE,
        PID(rtol=1.0, atol=1.0, per_sample=False),
        Clip(LOOSE, stops=torch.tensor([0.5])),
        Clip(LOOSE, stops=torch.full((8, 2), 0.5)),
        Clip(LOOSE, jumps=torch.tensor([0.5])),
    ],
    ids=["own steps", "joint steps", "stops", "stops of each", "jumps"],
)
def test_adaptive_steps_end_at_the_times_that_are_kept(ts, control):
    """Otherwise the states there were chords: of variance 0.061 at 0.125, say."""
    term, save = walk(), SaveAt(ts=ts)
    if ts.ndim == 2 and control is not LOOSE and isinstance(control, PID):
        with pytest.raises(ValueError, match="needs per-sample steps"):
            solve(term, ShARK(), zeros(), 0.0, 1.0, control=control, save=save)
        return
    made = solve(term, ShARK(), zeros(), 0.0, 1.0, control=control, save=save).ys
    for k in range(ts.shape[-1]):
        when = ts[..., k] if ts.ndim == 2 else float(ts[k])
        torch.testing.assert_close(made[:, k], term.path.value(when), rtol=0, atol=1e-9)


def test_stops_that_do_not_fit_the_batch_are_refused():
    with pytest.raises(ValueError, match="stops and jumps must have one row per clock"):
        control = Clip(LOOSE, stops=torch.full((3, 1), 0.5))
        solve(walk(), ShARK(), zeros(), 0.0, 1.0, control=control, save=SaveAt(ts=TS))


def test_adaptive_steps_run_backwards_to_the_times_that_are_kept():
    path = BrownianMotion.over(Key.rows(0, 8), (1,), 0.0, 1.0)
    made = solve(walk(), ShARK(), zeros(), 1.0, 0.0, control=LOOSE, save=SaveAt(ts=TS.flip(0))).ys
    torch.testing.assert_close(made[:, 3], path.increment(1.0, 0.125).w, rtol=0, atol=1e-9)


@pytest.mark.parametrize("t1", [1.0, torch.ones(8)], ids=["shared", "of each"])
def test_given_steps_keep_their_ends_and_refuse_what_lies_between(t1):
    term = walk()
    ends = SaveAt(ts=torch.tensor([0.0, 0.25, 0.75, 1.0]))
    made = solve(term, ShARK(), zeros(), 0.0, t1, control=Fixed(n=4), save=ends).ys
    torch.testing.assert_close(made[:, 1], term.path.value(0.25))
    for ts in (TS, TS.expand(8, -1)):
        with pytest.raises(ValueError, match=r"ShARK states are chords.*ts\[(0, )?0\]=0.125 is not.*Fixed\(ts=...\)"):
            solve(term, ShARK(), zeros(), 0.0, t1, control=Fixed(n=4), save=SaveAt(ts=ts))
    with pytest.raises(ValueError, match="states are chords"):
        end = Event(lambda t, y: y[:, 0] - 9.0)
        solve(term, EulerMaruyama(), zeros(), 0.0, t1, control=Fixed(n=4), save=SaveAt(ts=TS), event=end)
    with pytest.raises(ValueError, match="one row per sample|of each sample's own"):
        solve(term, ShARK(), zeros(), 0.0, t1, control=Fixed(n=4), save=SaveAt(ts=torch.full((3, 1), 0.5)))
    chords = solve(term, ShARK(), zeros(), 0.0, 1.0, control=Fixed(n=4), save=SaveAt(dense=True))
    torch.testing.assert_close(chords(TS)[:, 0], term.path.value(0.25) / 2)


@pytest.mark.parametrize("gradient", [Direct(), Checkpoint(), Backsolve(), Forward()], ids=lambda g: type(g).__name__)
def test_times_have_no_gradients(gradient):
    late = torch.tensor(1.0, requires_grad=True)
    options: dict[str, Any] = {"control": Fixed(n=4), "gradient": gradient}
    for term, method in ((growth(Stratonovich()), StochasticHeun()), (walk(), Tsit5())):
        with pytest.raises(ValueError, match="no gradients of the times of an SDE.*`t0` or `t1` is differentiated"):
            solve(term, method, zeros(), 0.0, late, **options)
        with pytest.raises(ValueError, match="no gradients of the times of an SDE.*`save.ts` is differentiated"):
            solve(term, method, zeros(), 0.0, 1.0, save=SaveAt(ts=late[None]), **options)
    still = Langevin(lambda t, x: -x, walk().path, friction=1.0)
    with pytest.raises(ValueError, match="or of Langevin dynamics.*no slope"):
        solve(still, BAOAB(), (zeros(), zeros()), late - 1.0, 1.0, **options)


def test_times_have_no_tangents():
    def end(t1: Tensor) -> Any:
        return solve(growth(Stratonovich()), StochasticHeun(), zeros(), 0.0, t1, control=Fixed(n=4)).ys

    with pytest.raises(ValueError, match="no gradients of the times"):
        torch.func.jvp(end, (torch.tensor(1.0),), (torch.tensor(1.0),))


def test_events_of_noise_have_no_gradients():
    height = torch.tensor(0.1, requires_grad=True)
    options: dict[str, Any] = {"control": Fixed(n=64), "event": Event(lambda t, y: y[:, 0] - height)}
    with pytest.raises(ValueError, match=r"events of an SDE.*no gradients.*event 0. Solve under torch.no_grad\(\)"):
        solve(walk(), EulerMaruyama(), zeros(), 0.0, 1.0, **options)
    with torch.no_grad():
        made = solve(walk(), EulerMaruyama(), zeros(), 0.0, 1.0, **options)
    assert int((made.events.ended_by == 0).sum()) > 0  # type: ignore[union-attr]


# Resolution


def test_given_steps_of_ito_terms_are_not_finer_than_the_path():
    path = BrownianMotion.over(Key.rows(0, 8), (1,), 0.0, 1.0, intervals=4, depth=2)  # 1/16
    y0 = torch.ones(8, 1)
    match = r"must not be finer than the path.*Stratonovich.*0.0625.*more `intervals` or `depth`.*on_grid"
    for t1 in (1.0, torch.ones(8)):
        with pytest.raises(ValueError, match=match):
            solve(growth(Ito(), path), EulerMaruyama(), y0, 0.0, t1, control=Fixed(n=64))
        with pytest.raises(ValueError, match=match):
            end = Event(lambda t, y: y[:, 0] - 99.0)
            solve(growth(Ito(), path), EulerMaruyama(), y0, 0.0, t1, control=Fixed(n=64), event=end)
        solve(growth(Ito(), path), EulerMaruyama(), y0, 0.0, t1, control=Fixed(n=32))  # one time in each cell
        solve(growth(Stratonovich(), path), StochasticHeun(), y0, 0.0, t1, control=Fixed(n=64))
    with pytest.raises(ValueError, match=match):
        made = with_kl(growth(Ito(), path), lambda t, y: y)
        solve(made, EulerMaruyama(), WithKL.start(y0), 0.0, 1.0, control=Fixed(n=64))


def test_uneven_grids_whose_times_are_knots_are_taken():
    grid = torch.cat([torch.zeros(1), torch.logspace(-6, 0, 12)])
    path = BrownianMotion.on_grid(Key.rows(0, 8), (1,), grid)
    assert float(grid[1]) < path.resolution
    solve(growth(Ito(), path), EulerMaruyama(), torch.ones(8, 1), 0.0, 1.0, control=Fixed(ts=grid))


@pytest.mark.parametrize("control", [Fixed(n=4), LOOSE], ids=["given", "adaptive"])
def test_the_path_and_the_solve_agree_where_the_path_ends(control):
    term = growth(Stratonovich())
    with pytest.raises(ValueError, match="must cover the whole interval from 0 to 1.0000005, got knots from 0 to 1"):
        solve(term, StochasticHeun(), torch.ones(8, 1), 0.0, 1 + 5e-7, control=control)
    near = solve(term, StochasticHeun(), torch.ones(8, 1), 0.0, 1 + 5e-13, control=control).ys
    exact = solve(term, StochasticHeun(), torch.ones(8, 1), 0.0, 1.0, control=control).ys
    torch.testing.assert_close(near, exact, rtol=1e-9, atol=0)
