"""Stiff problems: error against evaluations and against time, beside SciPy; many Robertson problems in one batch.

    python benchmarks/work_precision/stiff.py [--out FOLDER] [--smoke] [--only curves|batch]

Curves: every contender integrates one trajectory in float64 with rtol = tolerance, atol = tolerance * floor of the
problem. The error is the largest |y - reference| / (floor + |reference|) at the end. `evaluations` are calls of the
field by the steps; those that serve a Jacobian are counted apart (LSODA does not tell them apart, SciPy's other methods
do). Times are of the processor, of one thread, the best of some runs.

Batch: 1,000 Robertson problems with rates of their own in one solve, SciPy one after the other (100 of them, its time
scaled), diffrax under vmap.
"""

import argparse
import importlib
import importlib.metadata
import json
import math
import platform
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from scipy.integrate import solve_ivp
from stiff_problems import ROBERTSON, StiffProblem, robertson, robertson_batched, stiff_problems

from sciml import integrate
from sciml.core.transforms import is_transforming
from sciml.integrate import ODE, PID, solve

matplotlib.use("Agg")
from matplotlib import pyplot as plt

OURS = ("TRBDF2", "Kvaerno5", "KenCarp5", "Rodas5P", "RadauIIA5", "BDF")
SCIPY = ("Radau", "BDF", "LSODA")
DIFFRAX = ("Kvaerno5",)
LOW_ORDER = ("TRBDF2",)
TOLERANCES = tuple(10.0**-k for k in range(3, 11))
SEED = 0
SAMPLES = 1000
LOOPED = 100
"""SciPy solves the first so many one by one; its time is scaled to all of them."""
BATCH_END = 1e5
BATCH_TOLERANCE = (1e-6, 1e-10)
LONGEST = 4.0
"""A contender that took longer than this, [s], is not asked for tighter tolerances."""


@dataclass(frozen=True)
class Row:
    """One run on one problem."""

    problem: str
    contender: str
    tolerance: float
    error: float
    evaluations: int
    jacobians: int
    steps: int
    rejected: int
    seconds: float
    succeeded: bool


@dataclass(frozen=True)
class BatchRow:
    """All samples by one contender."""

    contender: str
    seconds: float
    relative: float
    """To the fastest of SciPy's."""
    median_error: float
    worst_error: float
    failed: int


def ours() -> dict[str, Any]:
    """The contenders that exist."""
    return {name: getattr(integrate, name)() for name in OURS if hasattr(integrate, name)}


def timed(call: Callable[[], Any], repeats: int) -> tuple[Any, float]:
    """What the call gives, and the least processor time of some, fewer where one takes long."""
    least, found = math.inf, None
    for _ in range(repeats):
        start = time.process_time()
        found = call()
        least = min(least, time.process_time() - start)
        if least > 2.0:
            break
    return found, least


# Curves


def reference(name: str, problem: StiffProblem, out: Path) -> np.ndarray:
    """The end by SciPy's Radau at 1e-12, confirmed by LSODA to 1e-8 and by published digits to 1e-11; made once."""
    path = out / "references.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    if name not in known:
        known[name] = _end(problem, "Radau").tolist()
        out.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(known, indent=1) + "\n")
    end = np.array(known[name])
    assert error_of(problem, _end(problem, "LSODA"), end) < 1e-8, name
    for i, value in problem.published:
        assert abs(end[i] - value) < 1e-11 * (problem.floor + abs(value)), (name, i, end[i], value)
    return end


def _end(problem: StiffProblem, method: str) -> np.ndarray:
    atol = 1e-13 * problem.floor
    return solve_ivp(problem.single, (0, problem.t1), problem.y0, method=method, rtol=1e-12, atol=atol).y[:, -1]


def error_of(problem: StiffProblem, y: np.ndarray, end: np.ndarray) -> float:
    """The largest over the components; see the module."""
    return float(np.max(np.abs(y - end) / (problem.floor + np.abs(end))))


def run_ours(problem: StiffProblem, method: Any, tolerance: float, repeats: int) -> tuple[np.ndarray, Row]:
    """Joint steps: decided in Python, least work for a single trajectory."""
    calls = [0, 0]

    def counting(t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        calls[is_transforming()] += 1
        return problem.batched(t, y)

    y0 = torch.tensor([problem.y0], dtype=torch.float64)
    control = PID(rtol=tolerance, atol=tolerance * problem.floor, per_sample=False)

    def call(field: Any = problem.batched) -> Any:
        with torch.no_grad():
            return solve(ODE(field), method, y0, 0.0, problem.t1, control=control, max_steps=100_000, throw=False)

    solution, seconds = timed(lambda: call(counting), 1)
    evaluations, jacobians = calls
    if seconds < 0.5:
        seconds = min(seconds, timed(call, repeats)[1])
    stats = solution.stats
    good = bool((solution.result == integrate.Result.SUCCESS).all())
    steps, rejected = int(stats.steps[0]), int(stats.rejected[0])
    row = Row("", "", tolerance, 0.0, evaluations, jacobians, steps, rejected, seconds, good)
    return solution.ys[0].numpy(), row


def run_scipy(problem: StiffProblem, name: str, tolerance: float, repeats: int) -> tuple[np.ndarray, Row]:
    """As a user calls it: Jacobians by differences, which nfev counts for LSODA only."""
    found, seconds = timed(
        lambda: solve_ivp(
            problem.single, (0, problem.t1), problem.y0, method=name, rtol=tolerance, atol=tolerance * problem.floor
        ),
        repeats,
    )
    row = Row(
        "", "", tolerance, 0.0, int(found.nfev), int(found.njev), len(found.t) - 1, -1, seconds, bool(found.success)
    )
    return found.y[:, -1], row


def curves(tolerances: tuple[float, ...], repeats: int, out: Path, names: tuple[str, ...] | None = None) -> list[Row]:
    """All runs of all contenders on all problems, written down after each problem."""
    rows = []
    for method in ours().values():
        run_ours(stiff_problems()["hires"], method, 1e-1, 0)  # what is loaded at the first call is not timed
    for name, problem in stiff_problems().items():
        if names is not None and name not in names:
            continue
        end = reference(name, problem, out)
        runs: dict[str, Callable] = {
            label: lambda tol, m=method: run_ours(problem, m, tol, repeats)  # noqa: B023
            for label, method in ours().items()
        }
        runs |= {
            f"SciPy {peer}": lambda tol, m=peer: run_scipy(problem, m, tol, repeats)  # noqa: B023
            for peer in SCIPY
        }
        for label, run in runs.items():
            for tolerance in tolerances:
                if label in LOW_ORDER and tolerance < 1e-6:
                    continue
                y, row = run(tolerance)
                error = float(f"{error_of(problem, y, end):.3e}") if row.succeeded else math.nan
                rows.append(Row(name, label, tolerance, error, *list(asdict(row).values())[4:]))
                print(rows[-1], flush=True)
                if row.seconds > LONGEST:
                    break
        write(out, "curves", rows, curves_table(rows))
        draw(rows, out)
    return rows


# Batch


def batch_rates(samples: int) -> np.ndarray:
    """(sample, 3): every rate within a factor of about 3 of Robertson's, log-uniform."""
    exponents = np.random.default_rng(SEED).uniform(-0.5, 0.5, (samples, 3))
    return np.array(ROBERTSON) * 10**exponents


def scipy_loop(name: str, rates: np.ndarray, rtol: float, atol: float) -> np.ndarray:
    """Ends, one sample after the other."""
    ends = []
    for own in rates:
        given = tuple(own.tolist())
        found = solve_ivp(
            lambda t, y, k=given: robertson(t, y, k), (0, BATCH_END), (1.0, 0.0, 0.0), method=name, rtol=rtol, atol=atol
        )
        ends.append(found.y[:, -1] if found.success else np.full(3, np.nan))
    return np.array(ends)


def ours_at_once(method: Any, rates: np.ndarray, rtol: float, atol: float) -> np.ndarray:
    """Ends, all samples in one solve with steps of their own."""
    k = torch.from_numpy(rates).unbind(-1)
    y0 = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64).repeat(len(rates), 1)
    with torch.no_grad():
        solution = solve(
            ODE(lambda t, y: robertson_batched(t, y, k)),
            method,
            y0,
            0.0,
            BATCH_END,
            control=PID(rtol=rtol, atol=atol, compact=False),
            max_steps=100_000,
            throw=False,
        )
    ends = solution.ys.clone()
    ends[solution.result != integrate.Result.SUCCESS] = math.nan
    return ends.numpy()


def diffrax_at_once(name: str, rates: np.ndarray, rtol: float, atol: float) -> Callable[[], np.ndarray] | None:
    """A compiled solve of all samples under vmap, or None where diffrax is not installed."""
    try:
        diffrax, jax = (importlib.import_module(name) for name in ("diffrax", "jax"))
    except ImportError:
        print("diffrax is not installed and left out; install the extra `peers`.")
        return None
    jax.config.update("jax_enable_x64", True)
    np_ = jax.numpy

    def field(t: Any, y: Any, k: Any) -> Any:
        decay, meeting, back = k[0] * y[0], k[1] * y[1] * y[1], k[2] * y[1] * y[2]
        return np_.stack([back - decay, decay - back - meeting, meeting])

    @jax.jit
    def all_ends(k: Any) -> Any:
        def one(own: Any) -> Any:
            return diffrax.diffeqsolve(
                diffrax.ODETerm(field),
                getattr(diffrax, name)(),
                0.0,
                BATCH_END,
                None,
                np_.array([1.0, 0.0, 0.0]),
                args=own,
                stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol),
                saveat=diffrax.SaveAt(t1=True),
                max_steps=100_000,
                adjoint=diffrax.ForwardMode(),
                throw=False,
            ).ys[0]  # type: ignore[index]

        return jax.vmap(one)(k)

    given = np_.asarray(rates)
    np.asarray(all_ends(given))  # compiles
    return lambda: np.asarray(all_ends(given))


def batch(samples: int, repeats: int) -> list[BatchRow]:
    """All contenders on all samples."""
    rates, (rtol, atol) = batch_rates(samples), BATCH_TOLERANCE
    checked = slice(0, max(samples // 20, 1))
    ends = scipy_loop("LSODA", rates[checked], 1e-12, 1e-18)
    floor = atol / rtol
    runs: dict[str, Callable[[], np.ndarray]] = {
        f"SciPy {name}, looped": lambda m=name: scipy_loop(m, rates[:LOOPED], rtol, atol) for name in SCIPY
    }
    runs |= {
        f"{label}, one batch": lambda m=method: ours_at_once(m, rates, rtol, atol) for label, method in ours().items()
    }
    for name in DIFFRAX:
        call = diffrax_at_once(name, rates, rtol, atol)
        if call is not None:
            runs[f"diffrax {name}, vmap"] = call
    found: dict[str, tuple[np.ndarray, float]] = {}
    for label, call in runs.items():
        y, seconds = timed(call, repeats)
        found[label] = y, seconds * samples / len(y)
        print(label, found[label][1], flush=True)
    fastest = min(seconds for label, (_, seconds) in found.items() if label.startswith("SciPy"))
    rows = []
    for label, (y, seconds) in found.items():
        error = np.max(np.abs(y[checked] - ends) / (floor + np.abs(ends)), axis=1)
        failed = int(np.isnan(y).any(axis=1).sum())
        median, worst = float(np.nanmedian(error)), float(np.nanmax(error))
        rows.append(BatchRow(label, seconds, seconds / fastest, median, worst, failed))
    return rows


# Records


def about() -> dict[str, Any]:
    """What the numbers were measured on."""
    folder = Path(__file__).parent
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=folder, capture_output=True, text=True)
    names = ("sciml-torch", "torch", "scipy", "diffrax", "jax")
    return {
        "versions": {name: _version(name) for name in names},
        "commit": commit.stdout.strip(),
        "device": f"cpu, {platform.machine()}, {torch.backends.cpu.get_cpu_capability()}",
        "threads": torch.get_num_threads(),
        "seed": SEED,
        "dtype": "float64",
        "time": "processor time of the process, least of the runs",
    }


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def needed(rows: list[Row], problem: str, label: str, error: float, what: str) -> float:
    """Evaluations or seconds for a given error, between the runs to both sides of it on logarithmic axes."""
    mine = [row for row in rows if (row.problem, row.contender) == (problem, label) and row.error > 0]
    line = sorted((row.error, getattr(row, what)) for row in mine)
    if not line or not line[0][0] <= error <= line[-1][0]:
        return math.nan
    errors, counts = np.log([e for e, _ in line]), np.log([n for _, n in line])
    return float(np.exp(np.interp(math.log(error), errors, counts)))


def curves_table(rows: list[Row], errors: tuple[float, ...] = (1e-4, 1e-7)) -> str:
    """Markdown: evaluations and milliseconds needed for given errors."""
    names = list(dict.fromkeys(row.problem for row in rows))
    heads = [f"{name.replace('_', ' ')} {error:.0e}" for name in names for error in errors]
    lines = ["| evaluations / ms | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for label in dict.fromkeys(row.contender for row in rows):
        cells = []
        for name in names:
            for error in errors:
                count = needed(rows, name, label, error, "evaluations")
                seconds = needed(rows, name, label, error, "seconds")
                cells.append("" if math.isnan(count) else f"{count:.0f} / {1e3 * seconds:.0f}")
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def batch_table(rows: list[BatchRow]) -> str:
    """Markdown."""
    head = "| contender | seconds | relative to the fastest SciPy | median error | worst error | failed |"
    lines = [head, "|---" * 6 + "|"]
    for r in rows:
        times, errors = f"{r.seconds:.2f} | {r.relative:.2f}", f"{r.median_error:.1e} | {r.worst_error:.1e}"
        lines.append(f"| {r.contender} | {times} | {errors} | {r.failed} |")
    return "\n".join(lines)


def draw(rows: list[Row], out: Path) -> None:
    """One picture per problem: evaluations and time against the error."""
    for name in dict.fromkeys(row.problem for row in rows):
        figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained", sharex=True)
        mine = [row for row in rows if row.problem == name]
        for i, label in enumerate(dict.fromkeys(row.contender for row in mine)):
            style = {"linestyle": "--", "marker": "x"} if label.startswith("SciPy") else {"marker": "o"}
            for axis, what in zip(axes, ("evaluations", "seconds"), strict=True):
                line = [(r.error, getattr(r, what)) for r in mine if r.contender == label and r.error > 0]
                if line:
                    axis.loglog(*zip(*line, strict=True), color=f"C{i % 10}", label=label, markersize=3, **style)
        axes[0].set(title=name.replace("_", " "), xlabel="error at the end", ylabel="evaluations of the field")
        axes[1].set(xlabel="error at the end", ylabel="seconds")
        axes[0].invert_xaxis()
        axes[0].legend(fontsize=7)
        for axis in axes:
            axis.grid(alpha=0.3)
        figure.savefig(out / f"{name}.png", dpi=120, metadata={"Software": None})
        plt.close(figure)


def write(out: Path, kind: str, rows: list[Any], table: str) -> None:
    """JSON and markdown."""
    out.mkdir(parents=True, exist_ok=True)
    record = {"about": about(), "rows": [asdict(row) for row in rows]}
    (out / f"{kind}.json").write_text(json.dumps(record, indent=1) + "\n")
    (out / f"{kind}.md").write_text(table + "\n")
    print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "stiff")
    parser.add_argument("--smoke", action="store_true", help="one problem, two loose tolerances, 20 samples")
    parser.add_argument("--only", choices=("curves", "batch"), default=None)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.only != "batch":
        if given.smoke:
            curves((1e-3, 1e-4), 1, given.out, ("hires",))
        else:
            curves(TOLERANCES, 2, given.out)
    if given.only != "curves":
        many = batch(20, 1) if given.smoke else batch(SAMPLES, 2)
        write(given.out, "batch", many, batch_table(many))
