"""The 3-D Taylor-Green vortex against the literature: dissipation over time at Reynolds numbers from 100 to 1,600.

    python benchmarks/orders/taylor_green.py [--points 32 48] [--reynolds 100 200] [--t1 8]

Box (2 pi)³, u = (sin x cos y cos z, -cos x sin y cos z, 0), nu = 1 / Re. Dissipation is counted twice: as
nu <|omega|²> and as the loss of energy -dE/dt; that both agree, and that the peak stands still on a finer grid,
says that the flow is resolved. Up to t = 0.5 it is compared with the series of Taylor & Green, and wherever it was read
off with the curves of Brachet et al. Results are recorded in `results/taylor_green.json`, one run in the place of an
earlier one of the same Reynolds number and points.
"""

import argparse
import json
import math
from pathlib import Path

import torch
from scipy.interpolate import CubicSpline
from torch import Tensor

import sciml
from sciml.core import Key
from sciml.grids import Grid
from sciml.integrate import ETD43, Ladder, SaveAt, solve
from sciml.pde import NavierStokes3D, Spectral, TaylorGreen3D

RESULTS = Path(__file__).parent / "results" / "taylor_green.json"
EVERY = 0.1
PUBLISHED = {
    100: (
        (1.0550, 0.0078214), (2.0598, 0.0093599), (3.0720, 0.0113532), (4.0122, 0.0126199), (4.8729, 0.0130401),
        (5.5576, 0.0127988), (5.9912, 0.0123885), (6.5071, 0.0116529), (7.0372, 0.0106751), (7.5671, 0.0096314),
        (8.0257, 0.0086983),
    ),
    200: (
        (1.0530, 0.0040420), (2.0001, 0.0051213), (3.0626, 0.0071090), (4.0462, 0.0093290), (4.9940, 0.0116107),
        (5.5611, 0.0126217), (6.0058, 0.0128438), (6.5220, 0.0125679), (7.0379, 0.0118895), (7.5537, 0.0110526),
        (7.9936, 0.0102958),
    ),
    400: (
        (1.0519, 0.0020666), (1.9988, 0.0027081), (3.0465, 0.0040305), (3.9941, 0.0060073), (4.9854, 0.0090990),
        (5.5598, 0.0103734), (5.9903, 0.0107760), (6.6430, 0.0109717), (7.5407, 0.0108033), (7.9981, 0.0107115),
        (8.5189, 0.0109200), (8.7656, 0.0109677), (8.9878, 0.0109104), (9.5181, 0.0102428),
    ),
    800: (
        (3.0592, 0.0022417), (4.0000, 0.0035984), (5.0126, 0.0063995), (6.0175, 0.0080435), (7.0437, 0.0093538),
        (8.6729, 0.0119146), (8.8450, 0.0119700), (9.0157, 0.0119577), (9.1891, 0.0117773),
    ),
    1600: (
        (3.0592, 0.0011661), (4.0063, 0.0020672), (4.9826, 0.0040525), (6.0161, 0.0055313), (6.9923, 0.0073252),
        (8.7451, 0.0128400), (8.8312, 0.0129315), (8.9173, 0.0129416), (9.1178, 0.0125612), (9.2181, 0.0122434),
    ),
}  # fmt: skip
"""Times and dissipation by Reynolds number.

Source: Brachet, Meiron, Orszag, Nickel, Morf & Frisch (1983), J. Fluid Mech. 130, 411, the figure of the rate of energy
dissipation over time (256³ by symmetry), some of the points read off it in `img/ref.txt` of github.com/slitvinov/dns.
"""


def energies(system: Spectral, y: Tensor) -> Tensor:
    """Energy <|u|²>/2 and enstrophy <|omega|²>/2 of velocity coefficients, (batch, 2), by Parseval's sum."""
    weight = torch.where(system.modes.numbers()[-1] == 0, 1.0, 2.0)  # half of the modes are stored
    squares = weight * y.abs().double().square().sum(1)
    k2 = -system.modes.laplacian()
    return torch.stack([squares.flatten(1).sum(1), (k2 * squares).flatten(1).sum(1)], dim=1) / 2


def series(t: Tensor, reynolds: float) -> Tensor:
    """Dissipation in powers of t up to the fifth, in units of its first value 3 nu / 4.

    Source: Taylor & Green (1937), Proc. R. Soc. A 158, 499, the series of W'; confirmed here by the flow itself.
    """
    r = 1 / reynolds
    coefficients = [
        1.0,
        -6 * r,
        5 / 48 + 18 * r**2,
        -(5 / 3 + 36 * r**2) * r,
        50 / (99 * 64) + 1835 / (9 * 16) * r**2 + 54 * r**4,
        -(361 / (44 * 32) + 761 / 12 * r**2 + 324 / 5 * r**4) * r,
    ]
    return sum((c * t**power for power, c in enumerate(coefficients)), torch.zeros_like(t))


def against_published(ts: Tensor, dissipation: Tensor, reynolds: float) -> dict[str, float]:
    """Largest and mean relative difference from the published points, between which ours is a cubic."""
    points = [point for point in PUBLISHED.get(round(reynolds), ()) if point[0] < float(ts[-1])]
    if not points:
        return {}
    times, wanted = torch.tensor(points, dtype=torch.float64).T
    ours = torch.as_tensor(CubicSpline(ts.numpy(), dissipation.numpy())(times.numpy()))
    off = (ours / wanted - 1).abs()
    return {"published": float(off.max()), "published_mean": float(off.mean()), "published_points": len(points)}


def run(points: int, reynolds: float, t1: float) -> dict[str, object]:
    """One flow."""
    grid = Grid((points,) * 3, (2 * math.pi,) * 3)
    system = Spectral(NavierStokes3D(1 / reynolds), grid)
    u0 = TaylorGreen3D().sample(Key.rows(0, 1), grid).float()
    frames = round(t1 / EVERY)
    ts = torch.linspace(0, frames * EVERY, frames + 1, dtype=torch.float64)
    kept = []
    y = system.encode(u0)
    steps = 0
    kept.append(energies(system, y)[0])
    for _ in range(frames):
        made = solve(system.term, ETD43(), y, 0.0, EVERY, control=Ladder(1e-5, 1e-8), save=SaveAt(t1=True))
        y, steps = made.ys, steps + int(made.stats.steps[0])
        kept.append(energies(system, y)[0])
    energy, enstrophy = torch.stack(kept).T
    dissipation = 2 * enstrophy / reynolds
    lost = -(energy[2:] - energy[:-2]) / (2 * EVERY)
    place = int(dissipation.argmax())
    # The top of the parabola through the three largest.
    a, b, c = dissipation[place - 1 : place + 2].tolist()
    offset = 0.5 * (a - c) / (a - 2 * b + c)
    return {
        "version": sciml.__version__,
        "device": "cpu",
        "reynolds": reynolds,
        "points": points,
        "steps": steps,
        "peak_time": round(float(ts[place]) + EVERY * offset, 3),
        "peak_dissipation": round(b - 0.25 * (a - c) * offset, 6),
        "budget": float(((lost - dissipation[1:-1]).abs() / dissipation[1:-1]).max()),
        "series": float((dissipation / (0.75 / reynolds) / series(ts, reynolds) - 1)[ts < 0.51].abs().max()),
        **against_published(ts, dissipation, reynolds),
        "ts": ts.tolist(),
        "energy": energy.tolist(),
        "dissipation": dissipation.tolist(),
    }


@torch.no_grad()
def main() -> None:
    """Run and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, nargs="+", default=[32, 48])
    parser.add_argument("--reynolds", type=float, nargs="+", default=[100.0, 200.0])
    parser.add_argument("--t1", type=float, default=8.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    earlier = json.loads(options.out.read_text()) if options.out.exists() else []
    for reynolds in options.reynolds:
        for points in options.points:
            made = run(points, reynolds, options.t1)
            print({name: value for name, value in made.items() if not isinstance(value, list)}, flush=True)
            others = [row for row in earlier if (row["reynolds"], row["points"]) != (reynolds, points)]
            earlier = sorted([*others, made], key=lambda row: (row["reynolds"], row["points"]))
            options.out.parent.mkdir(parents=True, exist_ok=True)
            options.out.write_text(json.dumps(earlier) + "\n")


if __name__ == "__main__":
    main()
