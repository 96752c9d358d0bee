"""Error against evaluations of the field: adaptive methods of `sciml.integrate` beside SciPy's, over tolerances.

    python benchmarks/work_precision/work_precision.py [--out FOLDER] [--smoke]

Every contender integrates one trajectory in float64 with rtol = atol = tolerance; evaluations are counted in the field.
The error is the largest difference of a component from the reference at the end, divided by the size of the reference.
Writes `results.csv` and one `<problem>.svg` per problem.
"""

import argparse
import csv
import math
import platform
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import matplotlib
import numpy as np
import scipy
import torch
from scipy.integrate import solve_ivp

import sciml
from sciml.integrate import (
    ODE,
    PID,
    RK4,
    AbstractMethod,
    Adams,
    Bosh3,
    Dopri5,
    Dopri8,
    StepDoubling,
    Tsit5,
    Vern7,
    solve,
)

matplotlib.use("Agg")
matplotlib.rcParams["svg.fonttype"] = "none"
from matplotlib import pyplot as plt  # noqa: E402

MU_MOON = 0.012277471
ARENSTORF_PERIOD = 17.0652165601579625588917206249
ECCENTRICITY = 0.6
METHODS: list[AbstractMethod] = [
    Bosh3(),
    StepDoubling(RK4()),
    Dopri5(),
    Tsit5(),
    Vern7(),
    Dopri8(),
    Adams(5),
    Adams(9),
]
PEERS = ("RK45", "DOP853", "LSODA")
TOLERANCES = tuple(10.0**-k for k in range(3, 12))


@dataclass(frozen=True)
class Problem:
    """An initial-value problem: f on lists of components (floats or tensors), y0, and the end time."""

    f: Callable
    y0: tuple[float, ...]
    t1: float
    exact: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Row:
    """One run."""

    problem: str
    contender: str
    tolerance: float
    error: float
    evaluations: int
    steps: int
    rejected: int
    version: str
    commit: str
    scipy: str
    torch: str
    seed: str
    device: str
    dtype: str


def lorenz(t: float, y: list) -> list:
    """sigma 10, rho 28, beta 8/3."""
    return [10 * (y[1] - y[0]), y[0] * (28 - y[2]) - y[1], y[0] * y[1] - 8 / 3 * y[2]]


def kepler(t: float, y: list) -> list:
    """Two bodies, one at rest, G M = 1."""
    cube = (y[0] * y[0] + y[1] * y[1]) ** 1.5
    return [y[2], y[3], -y[0] / cube, -y[1] / cube]


def arenstorf(t: float, y: list) -> list:
    """Restricted three bodies, rotating with earth and moon: Hairer, Norsett & Wanner I, II.0, eq. (0.1)."""
    mu, rest = MU_MOON, 1 - MU_MOON
    d1 = ((y[0] + mu) ** 2 + y[1] ** 2) ** 1.5
    d2 = ((y[0] - rest) ** 2 + y[1] ** 2) ** 1.5
    return [
        y[2],
        y[3],
        y[0] + 2 * y[3] - rest * (y[0] + mu) / d1 - mu * (y[0] - rest) / d2,
        y[1] - 2 * y[2] - rest * y[1] / d1 - mu * y[1] / d2,
    ]


def van_der_pol(t: float, y: list) -> list:
    """mu 1."""
    return [y[1], (1 - y[0] * y[0]) * y[1] - y[0]]


def problems() -> dict[str, Problem]:
    """The four, with exact ends for the periodic orbits."""
    start = (1 - ECCENTRICITY, 0.0, 0.0, math.sqrt((1 + ECCENTRICITY) / (1 - ECCENTRICITY)))
    orbit = (0.994, 0.0, 0.0, -2.00158510637908252240537862224)
    return {
        "lorenz": Problem(lorenz, (1.0, 1.0, 1.0), 5.0),
        "kepler": Problem(kepler, start, 4 * math.pi, start),
        "arenstorf": Problem(arenstorf, orbit, ARENSTORF_PERIOD, orbit),
        "van_der_pol": Problem(van_der_pol, (2.0, 0.0), 10.0),
    }


def reference(problem: Problem) -> np.ndarray:
    """The end: exact for a periodic orbit, else DOP853 at the tightest tolerance, confirmed by LSODA."""
    if problem.exact is not None:
        return np.array(problem.exact)
    found = [
        solve_ivp(problem.f, (0, problem.t1), problem.y0, method=name, rtol=3e-14, atol=1e-15).y[:, -1]
        for name in ("DOP853", "LSODA")
    ]
    assert np.abs(found[0] - found[1]).max() < 1e-9, found
    return found[0]


def run_ours(problem: Problem, method: AbstractMethod, tolerance: float) -> tuple[np.ndarray, int, int, int]:
    """End, evaluations, steps, rejected steps."""
    calls = 0

    def field(t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return torch.tensor([problem.f(float(t), y[0].tolist())], dtype=torch.float64)

    y0 = torch.tensor([problem.y0], dtype=torch.float64)
    control = PID(rtol=tolerance, atol=tolerance, per_sample=False)
    solution = solve(ODE(field), method, y0, 0.0, problem.t1, control=control)
    return solution.ys[0].numpy(), calls, int(solution.stats.steps[0]), int(solution.stats.rejected[0])


def run_scipy(problem: Problem, name: str, tolerance: float) -> tuple[np.ndarray, int, int, int]:
    """End, evaluations, steps; SciPy does not say how many were rejected (-1)."""
    found = solve_ivp(problem.f, (0, problem.t1), problem.y0, method=name, rtol=tolerance, atol=tolerance)
    return found.y[:, -1], int(found.nfev), len(found.t) - 1, -1


def measure(tolerances: tuple[float, ...]) -> list[Row]:
    """All runs."""
    folder = Path(__file__).parent
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=folder, capture_output=True, text=True)
    about = {
        "version": sciml.__version__,
        "commit": commit.stdout.strip(),
        "scipy": scipy.__version__,
        "torch": torch.__version__,
        "seed": "none",
        "device": f"cpu {platform.machine()}",
        "dtype": "float64",
    }
    rows = []
    for name, problem in problems().items():
        end = reference(problem)
        scale = np.abs(end).max()
        runs: list[tuple[str, Callable]] = [
            (label_of(method), lambda p, tol, m=method: run_ours(p, m, tol)) for method in METHODS
        ]
        runs += [(f"SciPy {peer}", lambda p, tol, m=peer: run_scipy(p, m, tol)) for peer in PEERS]
        for label, run in runs:
            for tolerance in tolerances:
                if label == "Bosh3" and tolerance < 1e-7:
                    continue  # order 3: tens of thousands of steps
                y, evaluations, steps, rejected = run(problem, tolerance)
                error = float(np.abs(y - end).max() / scale)
                rows.append(Row(name, label, tolerance, float(f"{error:.3e}"), evaluations, steps, rejected, **about))
    return rows


def label_of(method: AbstractMethod) -> str:
    """Its name with arguments, short."""
    return repr(method).replace("()", "").replace("method=", "").replace("order=", "")


def write(rows: list[Row], out: Path) -> None:
    """The table and the figures."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / "results.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(asdict(rows[0])), lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    for name in dict.fromkeys(row.problem for row in rows):
        figure, axes = plt.subplots(figsize=(6, 4.2), layout="constrained")
        mine = [row for row in rows if row.problem == name]
        for i, label in enumerate(dict.fromkeys(row.contender for row in mine)):
            line = [(row.error, row.evaluations) for row in mine if row.contender == label and row.error > 0]
            style = {"linestyle": "--", "marker": "x"} if label.startswith("SciPy") else {"marker": "o"}
            axes.loglog(*zip(*line, strict=True), color=f"C{i % 10}", label=label, markersize=3, **style)
        axes.set(title=name.replace("_", " "), xlabel="relative error at the end", ylabel="evaluations of the field")
        axes.invert_xaxis()
        axes.legend(fontsize=7)
        axes.grid(alpha=0.3)
        figure.savefig(out / f"{name}.svg", metadata={"Date": None})
        plt.close(figure)


def evaluations_at(rows: list[Row], problem: str, label: str, error: float) -> float:
    """Evaluations for a given error, between the runs to both sides of it on logarithmic axes."""
    line = sorted((row.error, row.evaluations) for row in rows if (row.problem, row.contender) == (problem, label))
    line = [(e, n) for e, n in line if e > 0]
    errors, counts = np.log([e for e, _ in line]), np.log([n for _, n in line])
    if not errors[0] <= math.log(error) <= errors[-1]:
        return math.nan
    return float(np.exp(np.interp(math.log(error), errors, counts)))


def table(rows: list[Row], errors: tuple[float, ...]) -> str:
    """Markdown: evaluations needed for given errors."""
    names = list(dict.fromkeys(row.problem for row in rows))
    heads = [f"{name.replace('_', ' ')} {error:.0e}" for name in names for error in errors]
    lines = ["| | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for label in dict.fromkeys(row.contender for row in rows):
        cells = [evaluations_at(rows, name, label, error) for name in names for error in errors]
        lines.append(f"| {label} | " + " | ".join("" if math.isnan(c) else f"{c:.0f}" for c in cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--smoke", action="store_true", help="two loose tolerances only")
    given = parser.parse_args()
    torch.set_num_threads(1)
    found = measure((1e-3, 1e-4) if given.smoke else TOLERANCES)
    write(found, given.out)
    print(table(found, (1e-3,) if given.smoke else (1e-4, 1e-7, 1e-9)))
