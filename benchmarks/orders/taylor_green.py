"""The 3-D Taylor-Green vortex against the literature: dissipation over time at low Reynolds numbers.

    python benchmarks/orders/taylor_green.py [--points 32 48] [--reynolds 100 200]

Box (2 pi)³, u = (sin x cos y cos z, -cos x sin y cos z, 0), nu = 1 / Re. Dissipation is counted twice: as
nu <|omega|²> and as the loss of energy -dE/dt; that both agree, and that the peak stands still on a finer grid,
says that the flow is resolved. Up to t = 0.5 it is compared with the series of Taylor & Green. Results are recorded in
`results/taylor_green.json`.
"""

import argparse
import json
import math
from pathlib import Path

import torch
from torch import Tensor

from sciml.core import Key
from sciml.grids import Grid
from sciml.integrate import ETD43, Ladder, SaveAt, solve
from sciml.pde import NavierStokes3D, Spectral, TaylorGreen3D

RESULTS = Path(__file__).parent / "results" / "taylor_green.json"
EVERY = 0.1


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
        "reynolds": reynolds,
        "points": points,
        "steps": steps,
        "peak_time": round(float(ts[place]) + EVERY * offset, 3),
        "peak_dissipation": round(b - 0.25 * (a - c) * offset, 6),
        "budget": float(((lost - dissipation[1:-1]).abs() / dissipation[1:-1]).max()),
        "series": float((dissipation / (0.75 / reynolds) / series(ts, reynolds) - 1)[ts < 0.51].abs().max()),
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
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    made = []
    for reynolds in options.reynolds:
        for points in options.points:
            made.append(run(points, reynolds, options.t1))
            shown = {name: value for name, value in made[-1].items() if not isinstance(value, list)}
            print(shown, flush=True)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(made) + "\n")


if __name__ == "__main__":
    main()
