"""SDE solves in turn with torchsde and diffrax: time relative to the first contender of each comparison.

    heun, midpoint, reversible_heun
               256 x 16, drift and diffusion 16-64-16 tanh, diagonal Stratonovich noise, 100 steps, 10 outputs; forward
               and gradient
    readme     the example of torchsde's README, 100 steps of Euler-Maruyama: 32 x 3, 2 Brownian motions, 20 outputs
    adaptive   the neural SDE with adaptive steps of Heun's method, joint, rtol = atol = 1e-3
    tight      the same with torchsde's own tolerances, rtol = 1e-5 and atol = 1e-4
    general    10 x 10 noise, 100 steps of Heun's method: 256 x 10, diffusion 10-64-100
    diffrax    the neural SDE with increments drawn beforehand, and with its VirtualBrownianTree

Every call makes its own path: its numbers are part of the time, but for diffrax with increments drawn beforehand and
`plain loop`, what a user would write by hand with `torch.randn`: what no library in eager torch can go below. `field
alone` is as many evaluations of drift and diffusion as our adaptive solve makes, and nothing else. With
increments of ours handed to torchsde, solutions and gradients are compared before anything is timed. diffrax is in the
extra `peers`; what is not there is left out, visibly.
"""

import argparse
import importlib
import json
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torchsde
from timing import Call, Row, check, compare, gradient, markdown, peer, quiet, write
from torch import Tensor, nn

from sciml.core import Key
from sciml.integrate import (
    PID,
    SDE,
    DiagonalNoise,
    EulerMaruyama,
    Fixed,
    GeneralNoise,
    Ito,
    ReversibleHeun,
    SaveAt,
    StochasticHeun,
    StochasticMidpoint,
    Stratonovich,
    solve,
)
from sciml.paths import BrownianMotion

SEED, STEPS = 0, 100
COMPAT = importlib.import_module("sciml.compat.torchsde")
RESULTS = Path(__file__).parent / "results" / "sde.json"
METHODS = {"heun": StochasticHeun(), "midpoint": StochasticMidpoint(), "reversible_heun": ReversibleHeun()}


class Model(nn.Module):
    """Drift and diffusion as tanh networks; both for torchsde and for us."""

    def __init__(self, kind: str, sense: str, width: int, noise: int | None = None) -> None:
        super().__init__()
        self.noise_type, self.sde_type = kind, sense
        self.drift = nn.Sequential(nn.Linear(width, 64), nn.Tanh(), nn.Linear(64, width))
        self.diffusion = nn.Sequential(nn.Linear(width, 64), nn.Tanh(), nn.Linear(64, width * (noise or 1)))
        self.noise = noise

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        return self.drift(y)

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        g = self.diffusion(y)
        return g if self.noise is None else g.view(*y.shape, self.noise)


class Ours(torchsde.BaseBrownian):
    """A path of ours as torchsde takes it, so that answers can be compared."""

    def __init__(self, path: BrownianMotion) -> None:
        super().__init__()
        self.path = path

    def __call__(self, ta: Any, tb: Any = None, return_U: bool = False, return_A: bool = False) -> Tensor:
        # torchsde's times are float32; the steps are those between knots.
        knots = self.path.knots
        i, j = (int((knots - float(t)).abs().argmin()) for t in (ta, tb))
        return self.path.increment(float(knots[i]), float(knots[j])).w

    dtype = property(lambda self: self.path.dtype)
    device = property(lambda self: torch.device("cpu"))
    shape = property(lambda self: (self.path.batch, *self.path.shape))
    levy_area_approximation = property(lambda self: "none")

    def __repr__(self) -> str:
        return "Ours()"


class Seeds:
    """A new seed for every call."""

    def __init__(self) -> None:
        self.last = 0

    def __call__(self) -> int:
        self.last += 1
        return self.last


def on_grid(seed: int, rows: int, width: int) -> BrownianMotion:
    """A path with knots at the steps."""
    return BrownianMotion.over(Key.rows(seed, rows), (width,), 0.0, 1.0, intervals=STEPS)


def by_hand(model: Model, method: str, y: Tensor, w: Tensor, every: int) -> Tensor:
    """The loop without a library; kept states, (time, batch, state)."""

    def times(g: Tensor, w: Tensor) -> Tensor:
        return g * w if model.noise is None else torch.bmm(g, w[..., None])[..., 0]

    h, t, kept = 1.0 / STEPS, torch.zeros(()), []
    z, f, g = y, model.f(t, y), model.g(t, y)
    for i in range(STEPS):
        if method == "reversible_heun":
            d = h * f + times(g, w[i])
            z = 2 * y - z + d
            f, g = model.f(t, z), model.g(t, z)
            y = y + 0.5 * (d + h * f + times(g, w[i]))
        else:
            d = h * model.f(t, y) + times(model.g(t, y), w[i])
            middle = method == "midpoint"
            z = y + (0.5 * d if middle else d)
            ahead = h * model.f(t, z) + times(model.g(t, z), w[i])
            y = y + (ahead if middle else 0.5 * (d + ahead))
        if i % every == every - 1:
            kept.append(y)
    return torch.stack(kept)


def neural_rows(method: str, rounds: int) -> list[Row]:
    """The neural SDE on a grid."""
    model, y0, seeds = Model("diagonal", "stratonovich", 16), torch.randn(256, 16), Seeds()
    ts, later = torch.linspace(0.0, 1.0, 11), torch.linspace(0.1, 1.0, 10)
    inputs = list(model.parameters())

    def ours(method: str, path: BrownianMotion | None = None, **options: Any) -> Tensor:
        path = path or on_grid(seeds(), 256, 16)
        term = SDE(model.f, model.g, path, structure=DiagonalNoise(), sense=Stratonovich())
        return solve(
            term, METHODS[method], y0, 0.0, 1.0, control=Fixed(n=STEPS), save=SaveAt(ts=later), **options
        ).ys.transpose(0, 1)

    def theirs(method: str, package: Any = torchsde, **options: Any) -> Tensor:
        return package.sdeint(model, y0, ts, method=method, dt=1.0 / STEPS, **options)[1:]

    def plain(method: str) -> Tensor:
        return by_hand(model, method, y0, torch.randn(STEPS, 256, 16) * STEPS**-0.5, STEPS // 10)

    calls: dict[str, Call] = {
        "torchsde": partial(theirs, method),
        "sciml": partial(ours, method),
        "sciml, compiled": partial(ours, method, compile=True),
        "sciml.compat.torchsde": partial(theirs, method, COMPAT),
        "plain loop": partial(plain, method),
    }
    path = on_grid(0, 256, 16)
    reference: Call = partial(theirs, method, bm=Ours(path))
    expected = gradient(reference, inputs)()
    for compile in (False, True):
        mine: Call = partial(ours, method, path, compile=compile)
        check(method, mine().detach(), reference().detach(), 1e-4)
        for a, b in zip(gradient(mine, inputs)(), expected, strict=True):
            check(f"gradient of {method}", a, b, 1e-3)
    rows = compare(f"{method}, forward", {name: quiet(call) for name, call in calls.items()}, rounds)
    both = {name: gradient(call, inputs) for name, call in calls.items()}
    return rows + compare(f"{method}, forward + gradient", both, rounds)


def readme_rows(rounds: int) -> list[Row]:
    """torchsde's README, 100 steps."""
    mu, sigma, y0, seeds = nn.Linear(3, 3), nn.Linear(3, 6), torch.full((32, 3), 0.1), Seeds()
    ts = torch.linspace(0.0, 1.0, 20)

    class Example(nn.Module):
        noise_type, sde_type = "general", "ito"

        def f(self, t: Tensor, y: Tensor) -> Tensor:
            return mu(y)

        def g(self, t: Tensor, y: Tensor) -> Tensor:
            return sigma(y).view(32, 3, 2)

    model = Example()

    def theirs(package: Any = torchsde, **options: Any) -> Tensor:
        return package.sdeint(model, y0, ts, dt=1.0 / STEPS, **options)

    def ours(path: BrownianMotion | None = None, **options: Any) -> Tensor:
        path = path or on_grid(seeds(), 32, 2)
        term = SDE(model.f, model.g, path, structure=GeneralNoise(), sense=Ito())
        return solve(
            term, EulerMaruyama(), y0, 0.0, 1.0, control=Fixed(n=STEPS), save=SaveAt(ts=ts), **options
        ).ys.transpose(0, 1)

    path = on_grid(0, 32, 2)
    for compile in (False, True):
        check("readme", ours(path, compile=compile).detach(), theirs(bm=Ours(path)).detach(), 1e-3)
    calls: dict[str, Call] = {"torchsde": theirs, "sciml": ours, "sciml, compiled": partial(ours, compile=True)}
    calls["sciml.compat.torchsde"] = partial(theirs, COMPAT)
    return compare("README, forward", {name: quiet(call) for name, call in calls.items()}, rounds)


def adaptive_rows(name: str, rtol: float, atol: float, rounds: int) -> list[Row]:
    """Adaptive steps, all samples together as torchsde takes them; also per sample."""
    model, y0, seeds = Model("diagonal", "stratonovich", 16), torch.randn(256, 16), Seeds()
    ts, own = torch.tensor([0.0, 1.0]), PID(rtol=rtol, atol=atol)
    joint = replace(own, per_sample=False)

    def theirs(package: Any = torchsde, bm: Any = None) -> Tensor:
        return package.sdeint(model, y0, ts, bm, method="heun", adaptive=True, dt=0.01, rtol=rtol, atol=atol)[-1]

    def ours(control: Any = joint, path: BrownianMotion | None = None, **options: Any) -> Any:
        path = path or BrownianMotion.over(Key.rows(seeds(), 256), (16,), 0.0, 1.0)
        term = SDE(model.f, model.g, path, structure=DiagonalNoise(), sense=Stratonovich())
        return solve(term, StochasticHeun(), y0, 0.0, 1.0, control=control, **options)

    with torch.no_grad():
        path = BrownianMotion.over(Key.rows(0, 256), (16,), 0.0, 1.0, intervals=4096)
        exact, mine = ours(Fixed(n=4096), path).ys, ours(joint, path)
        interval = torchsde.BrownianInterval(0.0, 1.0, (256, 16))
        there: Any = torchsde.sdeint(model, y0, ts, interval, method="heun", dt=1 / 2048)
        other = theirs(bm=interval)
        errors = [float((a - b).square().mean().sqrt()) for a, b in ((mine.ys, exact), (other, there[-1]))]
        taken, evaluations = int(mine.stats.attempts.max()), int(mine.stats.evaluations.max())
        print(f"{name}: root mean square error {errors[0]:.1e} in {taken} attempts; torchsde {errors[1]:.1e}")

    def field(y: Tensor) -> tuple[Tensor, Tensor]:
        return model.f(y, y), model.g(y, y)

    def alone(field: Callable[[Tensor], Any]) -> None:
        for _ in range(evaluations):
            field(y0)

    calls: dict[str, Call] = {
        "torchsde": theirs,
        "sciml": ours,
        "sciml, compiled": partial(ours, compile=True),
        "sciml.compat.torchsde": partial(theirs, COMPAT),
        "sciml, per-sample steps": partial(ours, own),
        "sciml, per-sample steps, compiled": partial(ours, own, compile=True),
        "field alone": partial(alone, field),
        "field alone, compiled": partial(alone, torch.compile(field)),
    }
    return compare(f"{name} heun, forward", {name: quiet(call) for name, call in calls.items()}, rounds)


def general_rows(rounds: int) -> list[Row]:
    """10 Brownian motions for 10 entries."""
    model, y0, seeds = Model("general", "stratonovich", 10, 10), torch.randn(256, 10), Seeds()
    ts, inputs = torch.tensor([0.0, 1.0]), list(model.parameters())

    def theirs(package: Any = torchsde, **options: Any) -> Tensor:
        return package.sdeint(model, y0, ts, method="heun", dt=1.0 / STEPS, **options)[-1]

    def ours(path: BrownianMotion | None = None, **options: Any) -> Tensor:
        path = path or on_grid(seeds(), 256, 10)
        term = SDE(model.f, model.g, path, structure=GeneralNoise(), sense=Stratonovich())
        return solve(term, StochasticHeun(), y0, 0.0, 1.0, control=Fixed(n=STEPS), **options).ys

    path = on_grid(0, 256, 10)
    for compile in (False, True):
        check("general", ours(path, compile=compile).detach(), theirs(bm=Ours(path)).detach(), 1e-3)
    calls: dict[str, Call] = {"torchsde": theirs, "sciml": ours, "sciml, compiled": partial(ours, compile=True)}
    calls["sciml.compat.torchsde"] = partial(theirs, COMPAT)
    calls["plain loop"] = lambda: by_hand(model, "heun", y0, torch.randn(STEPS, 256, 10) * STEPS**-0.5, STEPS)[-1]
    rows = compare("general 10 x 10, forward", {name: quiet(call) for name, call in calls.items()}, rounds)
    both = {name: gradient(call, inputs) for name, call in calls.items()}
    return rows + compare("general 10 x 10, forward + gradient", both, rounds)


def diffrax_rows(rounds: int) -> list[Row]:
    """The neural SDE by diffrax, one sample at a time under vmap, compiled."""
    diffrax = peer("diffrax")
    if diffrax is None:
        return []
    jax, jnp = importlib.import_module("jax"), importlib.import_module("jax.numpy")
    lineax = importlib.import_module("lineax")
    import numpy as np

    model, y0, seeds = Model("diagonal", "stratonovich", 16), torch.randn(256, 16), Seeds()
    nets = [[jnp.asarray(p.detach().numpy()) for p in net.parameters()] for net in (model.drift, model.diffusion)]
    start, later = jnp.asarray(y0.numpy()), torch.linspace(0.1, 1.0, 10)
    grid, kept = jnp.linspace(0.0, 1.0, STEPS + 1), jnp.linspace(0.1, 1.0, 10)

    def network(net: Any, y: Any) -> Any:
        return net[2] @ jnp.tanh(net[0] @ y + net[1]) + net[3]

    def run(control: Any, y: Any) -> Any:
        drift = diffrax.ODETerm(lambda t, y, _: network(nets[0], y))
        noise = diffrax.ControlTerm(lambda t, y, _: lineax.DiagonalLinearOperator(network(nets[1], y)), control)
        return diffrax.diffeqsolve(
            diffrax.MultiTerm(drift, noise), diffrax.Heun(), 0.0, 1.0, None, y, saveat=diffrax.SaveAt(ts=kept),
            stepsize_controller=diffrax.StepTo(grid), max_steps=STEPS,
        ).ys  # fmt: skip

    @jax.jit
    def drawn(w: Any) -> Any:
        return jax.vmap(lambda w, y: run(diffrax.LinearInterpolation(grid, w), y))(w, start)

    @jax.jit
    def tree(keys: Any) -> Any:
        # The tolerance is that of the steps: nothing finer is asked for.
        return jax.vmap(lambda key, y: run(diffrax.VirtualBrownianTree(0.0, 1.0, 0.5 / STEPS, (16,), key), y))(
            keys, start
        )

    def ours(path: BrownianMotion | None = None, **options: Any) -> Tensor:
        path = path or on_grid(seeds(), 256, 16)
        term = SDE(model.f, model.g, path, structure=DiagonalNoise(), sense=Stratonovich())
        return solve(term, StochasticHeun(), y0, 0.0, 1.0, control=Fixed(n=STEPS), save=SaveAt(ts=later), **options).ys

    path = on_grid(0, 256, 16)
    w = torch.cat([torch.zeros(1, 256, 16), path.between_knots().w.cumsum(0)]).transpose(0, 1).contiguous()
    increments, keys = jnp.asarray(w.numpy()), jax.random.split(jax.random.PRNGKey(0), 256)
    check("diffrax", torch.from_numpy(np.array(drawn(increments))), ours(path).detach(), 1e-3)
    calls: dict[str, Call] = {
        "diffrax, increments drawn beforehand": lambda: drawn(increments).block_until_ready(),
        "diffrax, VirtualBrownianTree": lambda: tree(keys).block_until_ready(),
        "sciml, path drawn beforehand": quiet(partial(ours, path)),
        "sciml, compiled, path drawn beforehand": quiet(partial(ours, path, compile=True)),
        "sciml, compiled": quiet(partial(ours, compile=True)),
    }
    return compare("diffrax, heun, forward", calls, rounds)


PARTS: dict[str, Callable[[int], list[Row]]] = {
    **{method: partial(neural_rows, method) for method in METHODS},
    "readme": readme_rows,
    "adaptive": partial(adaptive_rows, "adaptive", 1e-3, 1e-3),
    "tight": partial(adaptive_rows, "adaptive, tight", 1e-5, 1e-4),
    "general": general_rows,
    "diffrax": diffrax_rows,
}


def others(path: Path, rows: list[Row]) -> list[Row]:
    """Recorded rows of comparisons that were not run this time."""
    kept = [Row(**row) for row in json.loads(path.read_text())["rows"]] if path.exists() else []
    return [row for row in kept if row.comparison not in {new.comparison for new in rows}]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--rounds", type=int, default=15, help="times each contender is run (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="JSON record (default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows: list[Row] = []
    for name in options.parts or PARTS:
        torch.manual_seed(SEED)
        new = PARTS[name](options.rounds)
        print(markdown(new, header=not rows), flush=True)
        rows += new
    assert all(math.isfinite(row.milliseconds) for row in rows)
    write(options.out, others(options.out, rows) + rows, seed=SEED, rounds=options.rounds, peers=("torchsde",))
    print(f"\nRecorded in {options.out}.")


if __name__ == "__main__":
    main()
