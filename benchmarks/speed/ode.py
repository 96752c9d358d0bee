"""ODE solves in turn with torchdiffeq, torchode and diffrax: time relative to the first contender of each comparison.

    mlp        32-64-32 tanh field, batch 64, t 0..5, dopri5, tolerances 1e-6, float32, 20 outputs; forward and gradient
    rk4        the same field, 500 steps of the 3/8 rule (what torchdiffeq calls rk4)
    vdp        Van der Pol mu 5, batch 256, t 0..10, dopri5, tolerances 1e-6, steps of each sample's own
    diffrax    its own small neural ODE: 4-32-4, batch 64, t 0..100, dopri5, tolerances 1e-6, one output

torchode and diffrax are in the extra `peers`; what is not installed is left out, visibly. Gradients and solutions are
compared before anything is timed. `field alone` is the time of as many evaluations as the first contender makes, one
after the other; compiled, all in one graph: what no method can go below.
"""

import argparse
import importlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torchdiffeq
from timing import Call, Row, check, compare, gradient, markdown, peer, quiet, write
from torch import Tensor, nn

from sciml.integrate import ODE, PID, Backsolve, Checkpoint, Dopri5, Fixed, SaveAt, ThreeEighths, solve

SEED = 0
RESULTS = Path(__file__).parent / "results" / "ode.json"
TOLERANCES = {"rtol": 1e-6, "atol": 1e-6}


def mlp(width: int, hidden: int, layers: int = 1) -> nn.Sequential:
    """A tanh network from `width` to `width`."""
    inner = [m for _ in range(layers - 1) for m in (nn.Linear(hidden, hidden), nn.Tanh())]
    return nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), *inner, nn.Linear(hidden, width))


def alone(field: nn.Module, y: Tensor, count: int) -> dict[str, Call]:
    """That many evaluations of a field and nothing else."""

    def eager() -> None:
        for _ in range(count):
            field(y)

    @torch.compile(fullgraph=True)
    def compiled(y: Tensor) -> Tensor:
        turns = (torch.zeros((), dtype=torch.int64), y)
        return torch.while_loop(lambda i, y: i < count, lambda i, y: (i + 1, field(y)), turns)[1]

    return {"field alone": quiet(eager), "field alone, compiled": quiet(lambda: compiled(y))}


def mlp_rows(rounds: int) -> list[Row]:
    """Neural ODE, forward and gradient, and the adjoints."""
    net, y0, ts = mlp(32, 64), torch.randn(64, 32), torch.linspace(0.0, 5.0, 20)
    leaf = y0.clone().requires_grad_()
    inputs = [leaf, *net.parameters()]

    def theirs(integrate: Any = torchdiffeq.odeint, **options: Any) -> Tensor:
        return integrate(field, leaf, ts, method="dopri5", **TOLERANCES, **options).transpose(0, 1)

    class Field(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, t: Tensor, y: Tensor) -> Tensor:
            return self.net(y)

    field = Field()

    def ours(per_sample: bool = False, **options: Any) -> Tensor:
        control = PID(rtol=1e-6, atol=1e-6, per_sample=per_sample)
        return solve(ODE(field), Dopri5(), leaf, 0.0, 5.0, control=control, save=SaveAt(ts=ts), **options).ys

    calls: dict[str, Call] = {
        "torchdiffeq": theirs,
        "sciml": ours,
        "sciml, per-sample steps": lambda: ours(per_sample=True),
        "sciml, compiled": lambda: ours(compile=True),
    }
    reference = theirs().detach()
    expected = gradient(theirs, inputs)()
    for name, call in calls.items():
        check(name, call().detach(), reference, 1e-4)
        for mine, their in zip(gradient(call, inputs)(), expected, strict=True):
            check(f"gradient of {name}", mine, their, 1e-3)

    forward = {name: quiet(call) for name, call in calls.items()} | alone(net, y0, 44)
    rows = compare("mlp, forward", forward, rounds)
    both = {name: gradient(call, inputs) for name, call in calls.items()}
    rows += compare("mlp, forward + gradient", both, rounds)
    adjoints = {
        "torchdiffeq odeint_adjoint": gradient(lambda: theirs(torchdiffeq.odeint_adjoint), inputs),
        "sciml, Checkpoint": gradient(lambda: ours(gradient=Checkpoint()), inputs),
        "sciml, Backsolve": gradient(lambda: ours(gradient=Backsolve()), inputs),
    }
    return rows + compare("mlp, adjoints, forward + gradient", adjoints, max(rounds // 4, 3))


def rk4_rows(rounds: int) -> list[Row]:
    """A fixed grid of 500 steps."""
    net, y0, times = mlp(32, 64), torch.randn(64, 32), torch.tensor([0.0, 5.0])

    def theirs() -> Tensor:
        options = {"step_size": 0.01}
        states: Any = torchdiffeq.odeint(lambda t, y: net(y), y0, times, method="rk4", options=options)
        return states[-1]

    term = ODE(lambda t, y: net(y))

    def ours(**options: Any) -> Tensor:
        return solve(term, ThreeEighths(), y0, 0.0, 5.0, control=Fixed(n=500), **options).ys

    calls: dict[str, Call] = {"torchdiffeq": theirs, "sciml": ours, "sciml, compiled": lambda: ours(compile=True)}
    for name, call in calls.items():
        check(name, call().detach(), theirs().detach(), 1e-4)

    return compare("rk4, 500 steps, forward", {k: quiet(c) for k, c in calls.items()} | alone(net, y0, 2000), rounds)


def van_der_pol(mu: float) -> Callable[[Tensor, Tensor], Tensor]:
    """The field of x'' = mu (1 - x²) x' - x."""

    def field(t: Tensor, y: Tensor) -> Tensor:
        x, v = y[:, :1], y[:, 1:]
        return torch.cat([v, mu * (1 - x * x) * v - x], dim=1)

    return field


def vdp_rows(rounds: int) -> list[Row]:
    """Samples that need very different steps."""
    field, y0 = van_der_pol(5.0), 2 * torch.randn(256, 2)
    term, control = ODE(field), PID(rtol=1e-6, atol=1e-6)

    def ours(**options: Any) -> Tensor:
        return solve(term, Dopri5(), y0, 0.0, 10.0, control=options.pop("control", control), **options).ys

    calls: dict[str, Call] = {}
    torchode, diffrax = peer("torchode"), peer("diffrax")
    if torchode is not None:
        ode = torchode.ODETerm(field)
        controller = torchode.IntegralController(atol=1e-6, rtol=1e-6, term=ode)
        solver = torchode.AutoDiffAdjoint(torchode.Dopri5(term=ode), controller)
        start, end = torch.zeros(256), torch.full((256,), 10.0)

        def theirs() -> Tensor:
            return solver.solve(torchode.InitialValueProblem(y0=y0, t_start=start, t_end=end, t_eval=end[:, None])).ys[
                :, -1
            ]

        calls["torchode"] = theirs
    calls["sciml"] = ours
    calls["sciml, no compaction"] = lambda: ours(control=PID(rtol=1e-6, atol=1e-6, compact=False))
    calls["sciml, compiled"] = lambda: ours(compile=True)
    if diffrax is not None:
        calls["diffrax, vmap"] = diffrax_vdp(diffrax, y0)
    reference = solve(term, Dopri5(), y0.double(), 0.0, 10.0, control=PID(rtol=1e-9, atol=1e-9)).ys.float()
    for name, call in calls.items():
        check(name, torch.as_tensor(call()).detach(), reference, 1e-2)
    return compare("vdp, forward", {name: quiet(call) for name, call in calls.items()}, rounds)


def diffrax_vdp(diffrax: Any, y0: Tensor) -> Call:
    """The same solve by diffrax, one sample at a time under vmap, compiled."""
    jax, jnp = importlib.import_module("jax"), importlib.import_module("jax.numpy")
    import numpy as np

    def field(t: Any, y: Any, _: Any) -> Any:
        return jnp.stack([y[1], 5.0 * (1 - y[0] ** 2) * y[1] - y[0]])

    @jax.jit
    @jax.vmap
    def one(y: Any) -> Any:
        control = diffrax.PIDController(rtol=1e-6, atol=1e-6)
        term = diffrax.ODETerm(field)
        return diffrax.diffeqsolve(term, diffrax.Dopri5(), 0.0, 10.0, None, y, stepsize_controller=control).ys[-1]

    start = jnp.asarray(y0.numpy())
    return lambda: torch.from_numpy(np.array(one(start).block_until_ready()))


def diffrax_rows(rounds: int) -> list[Row]:
    """diffrax's own benchmark of a small neural ODE."""
    diffrax = peer("diffrax")
    if diffrax is None:
        return []
    jax, jnp = importlib.import_module("jax"), importlib.import_module("jax.numpy")
    import numpy as np

    net, y0 = mlp(4, 32, layers=2), torch.randn(64, 4)
    leaf = y0.clone().requires_grad_()
    inputs = [leaf, *net.parameters()]
    weights = [jnp.asarray(p.detach().numpy()) for p in net.parameters()]
    start = jnp.asarray(y0.numpy())

    def network(ws: Any, y: Any) -> Any:
        for i in range(0, len(ws), 2):
            y = ws[i] @ y + ws[i + 1]
            y = jnp.tanh(y) if i + 2 < len(ws) else y
        return y

    def ends(ws: Any, ys: Any) -> Any:
        def one(y: Any) -> Any:
            control = diffrax.PIDController(rtol=1e-6, atol=1e-6)
            term = diffrax.ODETerm(lambda t, y, w: network(w, y))
            options = {"stepsize_controller": control, "adjoint": diffrax.RecursiveCheckpointAdjoint()}
            return diffrax.diffeqsolve(term, diffrax.Dopri5(), 0.0, 100.0, None, y, ws, **options).ys[-1]

        return jax.vmap(one)(ys)

    forward = jax.jit(ends)
    backward = jax.jit(jax.grad(lambda ws, ys: (ends(ws, ys) ** 2).sum(), argnums=(0, 1)))
    term, control = ODE(lambda t, y: net(y)), PID(rtol=1e-6, atol=1e-6)

    def ours(**options: Any) -> Tensor:
        return solve(term, Dopri5(), leaf, 0.0, 100.0, control=control, **options).ys

    reference = torch.from_numpy(np.array(forward(weights, start)))
    check("sciml", ours().detach(), reference, 1e-2)
    check("sciml, compiled", ours(compile=True).detach(), reference, 1e-2)
    attempts = int(solve(term, Dopri5(), y0, 0.0, 100.0, control=control).stats.attempts.max())
    their_forward: Call = lambda: forward(weights, start).block_until_ready()  # noqa: E731
    their_gradient: Call = lambda: jax.block_until_ready(backward(weights, start))  # noqa: E731
    rows = compare(
        "diffrax's benchmark, forward",
        {
            "diffrax": their_forward,
            "sciml": quiet(ours),
            "sciml, compiled": quiet(lambda: ours(compile=True)),
            **alone(net, y0, 6 * attempts),
        },
        rounds,
    )
    return rows + compare(
        "diffrax's benchmark, forward + gradient",
        {
            "diffrax": their_gradient,
            "sciml": gradient(ours, inputs),
            "sciml, compiled": gradient(lambda: ours(compile=True), inputs),
        },
        max(rounds // 4, 3),
    )


PARTS = {"mlp": mlp_rows, "rk4": rk4_rows, "vdp": vdp_rows, "diffrax": diffrax_rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--rounds", type=int, default=25, help="times each contender is run (default: %(default)s)")
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
    write(options.out, rows, seed=SEED, rounds=options.rounds, peers=("torchdiffeq",))
    print(f"\nRecorded in {options.out}.")


if __name__ == "__main__":
    main()
