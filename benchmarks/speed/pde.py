"""Spectral PDE steps in turn with exponax (ETD2RK, 2/3 rule, float32) and torch-cfd (time to equal error, float64).

    python benchmarks/speed/pde.py [plane] [line] [box] [error] --threads 2

exponax's vorticity is minus the curl, so that it is given minus the field. Answers are compared before anything is
timed.
"""

import argparse
import functools
import importlib
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from timing import Row, check, compare, markdown, peer, quiet, write
from torch import Tensor

from sciml.core import Key
from sciml.grids import Grid
from sciml.integrate import ETD2RK, ETD43, ETDRK4, AbstractMethod, Fixed, Ladder, SaveAt, SemiLinear, SolveError, solve
from sciml.integrate.phi import phi
from sciml.pde import (
    AbstractEquation,
    Channels,
    GaussianRandomField,
    KuramotoSivashinsky,
    NavierStokes2D,
    NavierStokes3D,
    Spectral,
    TruncatedFourier,
)

SEED = 0
COMPILED = False
TAU = 2 * math.pi
RESULTS = Path(__file__).parent / "results" / "pde.json"


def rollout(system: Spectral, method: AbstractMethod, u0: Tensor, dt: float, steps: int, *, every: bool) -> Tensor:
    """The fields after every step, (batch, time, ...), or after the last one alone, from fields."""
    save = SaveAt(every=1) if every else SaveAt(t1=True)
    control = Fixed(n=steps)
    ys = solve(system.term, method, system.encode(u0), 0.0, steps * dt, control=control, save=save).ys
    return system.decode(ys.flatten(0, 1)).unflatten(0, ys.shape[:2]) if every else system.decode(ys)


def compiled(system: Spectral) -> Spectral:
    """The same with its nonlinear part compiled."""
    other = Spectral(system.equation, system.grid)
    term = SemiLinear(other.term.linear, torch.compile(other.term.nonlinear))
    object.__setattr__(other, "term", term)
    return other


def transforms_only(grid: Grid, batch: int, inverse: int, forward: int, evaluations: int) -> Callable[[], None]:
    """As many whole transforms of real fields as the evaluations make, and nothing else."""
    u = torch.randn(batch, forward, *grid.points)
    y = torch.fft.rfftn(torch.randn(batch, inverse, *grid.points), dim=grid.space)

    def run() -> None:
        for _ in range(evaluations):
            torch.fft.irfftn(y, s=grid.points, dim=grid.space)
            torch.fft.rfftn(u, dim=grid.space)

    return run


def pair_transforms_only(grid: Grid, batch: int, evaluations: int) -> Callable[[], None]:
    """As many whole transforms of pairs of fields as the evaluations make, and nothing else."""
    w = torch.randn(batch, 1, *grid.points, dtype=torch.complex64)

    def run() -> None:
        for _ in range(evaluations):
            torch.fft.ifftn(w, dim=grid.space)
            torch.fft.fftn(w, dim=grid.space)

    return run


class Plain(NamedTuple):
    """A scheme as torch calls.

    Args:
        linear, nonlinear: L and N.
        place: where the modes it keeps lie among those of `rfftn`.
    """

    linear: Tensor
    nonlinear: Callable[[Tensor], Tensor]
    place: tuple[Any, ...]


def plain_rollout(plain: Plain, u0: Tensor, dt: float, steps: int, *, every: bool) -> Tensor:
    """The same steps by the torch calls alone, without a library around them: what eager torch allows."""
    ndim = u0.ndim - 2
    axes, z = tuple(range(-ndim, 0)), dt * plain.linear.double()
    exponential, whole = phi(0, z).to(torch.complex64), (dt * phi(1, z)).to(torch.complex64)
    last = (dt * phi(2, z)).to(torch.complex64)
    first, kept, nonlinear = whole - last, [], plain.nonlinear
    hat = torch.fft.rfftn(u0, dim=axes, norm="forward")
    y = hat[plain.place]
    for _ in range(steps):
        before = nonlinear(y)
        moved = exponential * y
        after = nonlinear(torch.addcmul(moved, whole, before))
        y = torch.addcmul(moved, first, before).addcmul_(last, after)
        if every:
            kept.append(y)
    found = torch.stack(kept, dim=1) if every else y
    modes = found.new_zeros(*found.shape[:-ndim], *hat.shape[-ndim:])
    modes[plain.place] = found
    return torch.fft.irfftn(modes, s=u0.shape[-ndim:], dim=axes, norm="forward")


def plain_plane(points: int, nu: float) -> Plain:
    """The vorticity equation with w = u + i v, one whole transform each way."""
    m = (points - 1) // 3
    count = 2 * m + 1
    kx, ky = torch.arange(-m, m + 1.0, dtype=torch.float64)[:, None], torch.arange(-m, m + 1.0, dtype=torch.float64)
    k2 = kx**2 + ky**2
    velocity = ((kx + 1j * ky) * torch.where(k2 > 0, 1 / torch.where(k2 > 0, k2, 1.0), 0.0)).to(torch.complex64)
    flux = (-kx * ky / 2 - 0.25j * (kx**2 - ky**2)).to(torch.complex64)
    plus, minus = velocity[:, m:].clone(), velocity[:, :m].clone()
    back, mirrored_back = flux[:, m:].clone(), flux[:, : m + 1].flip(-2, -1).conj().resolve_conj()

    def nonlinear(y: Tensor) -> Tensor:
        hat = y.new_zeros(*y.shape[:2], points, points)
        torch.mul(plus, y, out=hat[..., :count, m:count])
        torch.mul(minus, y[..., 1:].flip(-2, -1).conj_physical_(), out=hat[..., :count, :m])
        w = torch.fft.ifft2(hat, norm="forward")
        del hat
        q = torch.fft.fft2(w.mul_(w), norm="forward")
        del w
        mirrored = q[..., m : m + count, m:count].flip(-2, -1).conj_physical_().mul_(mirrored_back)
        return mirrored.addcmul_(back, q[..., m : m + count, 2 * m : 2 * m + m + 1])

    rows = torch.arange(-m, m + 1) % points
    return Plain(-nu * k2[:, m:], nonlinear, (..., rows[:, None], torch.arange(m + 1)))


def plain_line(points: int, length: float) -> Plain:
    """Kuramoto-Sivashinsky."""
    m = torch.arange(points // 2 + 1.0)
    k = m * (TAU / length)
    flux = torch.where(m <= (points - 1) // 3, -0.5j * k, 0.0).to(torch.complex64)

    def nonlinear(y: Tensor) -> Tensor:
        u = torch.fft.irfft(y, n=points, norm="forward")
        return torch.fft.rfft(u.square_(), norm="forward").mul_(flux)

    return Plain(k**2 - k**4, nonlinear, (...,))


def exponax_rollout(
    stepper: Any, u0: Tensor, steps: int, *, every: bool
) -> tuple[Callable[[], Any], Callable[[], Tensor]]:
    """A call that waits for exponax's rollout of a batch, and its answer as a tensor."""
    jax, exponax = importlib.import_module("jax"), importlib.import_module("exponax")
    numpy = importlib.import_module("numpy")
    body = exponax.rollout(stepper, steps) if every else exponax.RepeatedStepper(stepper, steps)
    one = len(u0) == 1
    run = jax.jit((lambda u: body(u)) if one else jax.vmap(lambda u: body(u)))
    start = jax.numpy.asarray(u0[0].numpy() if one else u0.numpy())

    def call() -> Any:
        return jax.block_until_ready(run(start))

    def answer() -> Tensor:
        made = torch.from_numpy(numpy.array(call()))
        return made[None] if one else made

    return call, answer


def contenders(
    name: str,
    equation: AbstractEquation,
    grid: Grid,
    u0: Tensor,
    dt: float,
    steps: int,
    sign: float,
    make: Any,
    plain: Plain | None,
    every: bool,
) -> dict[str, Callable[[], Any]]:
    """exponax, sciml, sciml compiled and the plain loop, after their answers were compared."""
    system = Spectral(equation, grid)
    made: dict[str, Callable[[], Any]] = {}
    ours = quiet(lambda: rollout(system, ETD2RK(), u0, dt, steps, every=every))
    if make is not None:
        call, answer = exponax_rollout(make(), sign * u0, steps, every=every)
        check(f"{name}: sciml", ours(), sign * answer(), 2e-4)
        made["exponax"] = call
    made["sciml"] = ours
    if COMPILED:
        fast = compiled(system)
        made["sciml, compiled"] = quiet(lambda: rollout(fast, ETD2RK(), u0, dt, steps, every=every))
        check(f"{name}: compiled", made["sciml, compiled"](), ours(), 2e-4)
    if plain is not None:
        made["plain loop"] = quiet(functools.partial(plain_rollout, plain, u0, dt, steps, every=every))
        check(f"{name}: plain loop", made["plain loop"](), ours(), 2e-4)
    return made


def plane(rounds: int) -> list[Row]:
    """2-D vorticity steps."""
    exponax = peer("exponax")
    rows = []
    for points, batch, steps in ((128, 1, 100), (128, 8, 40), (256, 1, 40), (256, 8, 8)):
        grid, dt, nu = Grid((points, points), (TAU, TAU)), 0.002, 1e-3
        u0 = GaussianRandomField(4, 3.0).sample(Key.rows(SEED, batch), grid).float()
        # Exact for the modes both keep: what the 2/3 rule drops is not there to begin with.
        u0 = Spectral(NavierStokes2D(nu), grid).decode(Spectral(NavierStokes2D(nu), grid).encode(u0))
        make = None
        if exponax is not None:
            make = functools.partial(exponax.stepper.NavierStokesVorticity, 2, TAU, points, dt, diffusivity=nu, order=2)
        for every in (False, True):
            name = f"vorticity {points}², batch {batch}, {steps} steps" + (", each kept" if every else "")
            plain = plain_plane(points, nu)
            made = contenders(name, NavierStokes2D(nu), grid, u0, dt, steps, -1.0, make, plain, every)
            made["transforms only"] = quiet(pair_transforms_only(grid, batch, 2 * steps))
            rows += compare(name, made, rounds)
    return rows


def line(rounds: int) -> list[Row]:
    """Kuramoto-Sivashinsky, 256 points, batch 32, 200 steps with output."""
    exponax = peer("exponax")
    grid, dt, steps = Grid((256,), (64.0,)), 0.05, 200
    u0 = TruncatedFourier(8, 1.0).sample(Key.rows(SEED, 32), grid).float()
    make = None
    if exponax is not None:
        make = functools.partial(exponax.stepper.KuramotoSivashinskyConservative, 1, 64.0, 256, dt, order=2)
    name = "Kuramoto-Sivashinsky 256 points, batch 32, 200 steps, each kept"
    made = contenders(name, KuramotoSivashinsky(), grid, u0, dt, steps, 1.0, make, plain_line(256, 64.0), True)
    made["transforms only"] = quiet(transforms_only(grid, 32, 1, 1, 2 * steps))
    return compare(name, made, rounds)


def box(rounds: int) -> list[Row]:
    """3-D velocity steps."""
    exponax = peer("exponax")
    rows = []
    for points, batch, steps in ((32, 1, 10), (48, 1, 5), (64, 1, 3)):
        grid, dt, nu = Grid((points,) * 3, (TAU,) * 3), 0.002, 1e-2
        system = Spectral(NavierStokes3D(nu), grid)
        initial = Channels(tuple(GaussianRandomField(1, 1.0) for _ in range(3)))
        u0 = system.decode(system.encode(initial.sample(Key.rows(SEED, batch), grid).float()))
        make = None
        if exponax is not None:
            make = functools.partial(exponax.stepper.NavierStokesVelocity, 3, TAU, points, dt, diffusivity=nu, order=2)
        name = f"velocity {points}³, batch {batch}, {steps} steps"
        made = contenders(name, NavierStokes3D(nu), grid, u0, dt, steps, 1.0, make, None, False)
        made["transforms only"] = quiet(transforms_only(grid, batch, 3, 5, 2 * steps))
        rows += compare(name, made, rounds)
    return rows


def cfd_rollout(u0: Tensor, nu: float, t1: float, steps: int) -> Tensor:
    """torch-cfd's spectral solver with its fourth-order Runge-Kutta and Crank-Nicolson."""
    grids, spectral = importlib.import_module("torch_cfd.grids"), importlib.import_module("torch_cfd.spectral")
    n = u0.shape[-1]
    grid = grids.Grid((n, n), domain=((0, TAU), (0, TAU)))
    solver = spectral.NavierStokes2DSpectral(
        viscosity=nu, grid=grid, smooth=True, step_fn=spectral.RK4CrankNicolsonStepper()
    ).double()
    y = torch.fft.rfft2(u0[:, 0])
    y, _ = solver(y, t1 / steps, steps=steps)
    return torch.fft.irfft2(y)[:, None]


def error(rounds: int) -> list[Row]:
    """Time to an error of 1e-5 at 256², decaying turbulence, float64."""
    if peer("torch_cfd") is None:
        return []
    points, nu, t1, wanted = 256, 1e-3, 0.5, 1e-5
    grid = Grid((points, points), (TAU, TAU))
    system = Spectral(NavierStokes2D(nu), grid)
    u0 = system.decode(system.encode(GaussianRandomField(6, 5.0).sample(Key.rows(SEED, 1), grid)))

    def sciml(steps: float) -> Tensor:
        return rollout(system, ETDRK4(), u0, t1 / steps, int(steps), every=False)

    def ladder(tolerance: float) -> Tensor:
        return solve(
            system.term, ETD43(), system.encode(u0), 0.0, t1, control=Ladder(tolerance, 1e-12),
            save=SaveAt(t1=True, fn=lambda t, y: system.decode(y)),
        ).ys  # fmt: skip

    with torch.no_grad():
        exact = sciml(640)
        chosen: dict[str, Callable[[], Any]] = {}
        run: Callable[[Any], Tensor]
        for name, run, settings in (
            (
                "torch-cfd",
                lambda n: cfd_rollout(u0, nu, t1, int(n)),
                (20, 28, 40, 56, 80, 113, 160, 226, 320, 640),
            ),
            ("sciml, ETDRK4", sciml, (14, 20, 28, 40, 56, 80, 113, 160, 226, 320)),
            ("sciml, ETD43 on a ladder", ladder, tuple(10 ** (-k / 4) for k in range(12, 33))),
        ):
            for setting in settings:
                start = time.perf_counter()
                try:
                    off = float((run(setting) - exact).norm() / exact.norm())
                except SolveError:  # steps that are too large
                    continue
                if off <= wanted:
                    print(f"{name}: {setting:g}, error {off:.2e}, {time.perf_counter() - start:.2f} s")
                    chosen[name] = quiet(functools.partial(run, setting))
                    break
            else:
                raise SystemExit(f"{name} does not come to {wanted:g}.")
    return compare(f"vorticity {points}² to t={t1:g}, error {wanted:g}, float64", chosen, rounds)


def main() -> None:
    """Run the chosen parts and record them."""
    parts = {"plane": plane, "line": line, "box": box, "error": error}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(parts)} (default: all)")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2, help="threads of torch, and of XLA if 1")
    parser.add_argument("--compiled", action="store_true", help="time a compiled nonlinear part too")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    if options.threads == 1:
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    torch.set_num_threads(options.threads)
    global COMPILED
    COMPILED = options.compiled
    rows = []
    for name in options.parts or parts:
        made = parts[name](options.rounds)
        print(markdown(made, header=not rows), flush=True)
        rows += made
    write(options.out, rows, seed=SEED, rounds=options.rounds, peers=("exponax", "jax", "torch-cfd"))


if __name__ == "__main__":
    main()
