"""Time and peak memory of every way to differentiate a solve, each in a process of its own.

500 steps of RK4 (for `Reversible`: of `Reversibly(RK4())`) over t 0..5, field tanh(y W) with a 256 x 256 matrix, state
(64, 256) in float32: 64 kB. Memory is what the gradient adds to the peak resident size of the process. The adjoints
solve backwards with adaptive steps, tolerances 1e-5; the error is that of the gradient against `Direct` in float64.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch
from timing import Row, write

from sciml.integrate import (
    ODE,
    PID,
    RK4,
    AbstractGradient,
    AbstractMethod,
    Backsolve,
    Checkpoint,
    Direct,
    Dopri5,
    Fixed,
    Forward,
    Quadrature,
    Reversible,
    Reversibly,
    solve,
)

SEED, STEPS = 0, 500
RESULTS = Path(__file__).parent / "results" / "gradients.json"
CONTROL = PID(rtol=1e-5, atol=1e-6, per_sample=False)
GRADIENTS: dict[str, tuple[AbstractMethod, AbstractGradient]] = {
    "Direct": (RK4(), Direct()),
    "Checkpoint": (RK4(), Checkpoint()),
    "Reversible": (Reversibly(RK4()), Reversible()),
    "Backsolve": (RK4(), Backsolve(Dopri5(), CONTROL)),
    "Quadrature": (RK4(), Quadrature(rtol=1e-5, atol=1e-6, method=Dopri5())),
}


def gradient_of(name: str, dtype: torch.dtype) -> tuple[torch.Tensor, float]:
    """The gradient with respect to matrix and initial state, and the seconds it took."""
    torch.manual_seed(SEED)
    matrix = (torch.randn(256, 256) / 16).to(dtype).requires_grad_()
    y0 = torch.randn(64, 256).to(dtype).requires_grad_()
    method, how = GRADIENTS[name]
    start = time.perf_counter()
    term = ODE(lambda t, y: torch.tanh(y @ matrix))
    end = solve(term, method, y0, 0.0, 5.0, control=Fixed(n=STEPS), gradient=how, params=(matrix,)).ys
    grads = torch.autograd.grad(end.square().mean(), (matrix, y0))
    return torch.cat([g.flatten().double() for g in grads]), time.perf_counter() - start


def forward_mode(dtype: torch.dtype) -> float:
    """Seconds of one tangent by `Forward`."""
    from torch.autograd import forward_ad

    torch.manual_seed(SEED)
    matrix, y0 = (torch.randn(256, 256) / 16).to(dtype), torch.randn(64, 256).to(dtype)
    start = time.perf_counter()
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(y0, torch.ones_like(y0))
        term = ODE(lambda t, y: torch.tanh(y @ matrix))
        solve(term, RK4(), dual, 0.0, 5.0, control=Fixed(n=STEPS), gradient=Forward())
    return time.perf_counter() - start


def peak() -> float:
    """Peak resident size so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def child(name: str) -> None:
    """Measure one way and print it."""
    torch.set_num_threads(1)
    with torch.no_grad():  # everything that is loaded on first use
        solve(ODE(lambda t, y: torch.tanh(y)), RK4(), torch.ones(64, 256), 0.0, 1.0, control=Fixed(n=2))
    before = peak()
    seconds = forward_mode(torch.float32) if name == "Forward" else gradient_of(name, torch.float32)[1]
    added = peak() - before
    error = float("nan")
    if name != "Forward":
        gradient = gradient_of(name, torch.float32)[0]
        reference = gradient_of("Direct", torch.float64)[0]
        error = float((gradient - reference).norm() / reference.norm())
    print(json.dumps({"seconds": seconds, "megabytes": added, "error": error}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=3, help="processes per gradient (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="JSON record (default: %(default)s)")
    options = parser.parse_args()
    if options.child:
        child(options.child)
        return
    torch.set_num_threads(1)
    rows: list[Row] = []
    print("| gradient | least ms | relative | added peak memory MB | relative error |\n|---|---|---|---|---|")
    for name in [*GRADIENTS, "Forward"]:
        call = [sys.executable, __file__, "--child", name]
        runs = [json.loads(subprocess.run(call, check=True, capture_output=True).stdout) for _ in range(options.rounds)]
        seconds = min(run["seconds"] for run in runs)
        reference = rows[0].milliseconds / 1e3 if rows else seconds
        memory, error = min(run["megabytes"] for run in runs), runs[0]["error"]
        ratio = seconds / reference
        rows.append(Row(f"memory {memory:.1f} MB, error {error:.1e}", name, 1e3 * seconds, ratio, 1e3 * seconds, ratio))
        print(f"| {name} | {1e3 * seconds:.0f} | {ratio:.2f} | {memory:.1f} | {error:.1e} |", flush=True)
    write(options.out, rows, seed=SEED, rounds=options.rounds, peers=())
    print(f"\nRecorded in {options.out}.")


if __name__ == "__main__":
    main()
