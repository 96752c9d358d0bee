"""What HiPPO operators remember of a function they have seen once, as it went by: 32 numbers each, updated online. The
picture shows each operator's basis functions of age and its reconstruction of the past; the last row shows LegS, which
remembers all of it, with more and more numbers."""

import argparse
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from sciml.ssm.discretise import Bilinear
from sciml.ssm.hippo import (
    AbstractOperator,
    Chebyshev,
    FouT,
    LagT,
    LegS,
    LegT,
    project,
    project_scaled,
    reconstruct,
    scaled_ages,
)

END = 10.0
WINDOW = 4.0
OPERATORS: dict[str, AbstractOperator] = {
    "LegT, window 4": LegT(WINDOW),
    "FouT, window 4": FouT(WINDOW),
    "Chebyshev, window 4": Chebyshev(WINDOW),
    "LagT": LagT(),
}


def signal(t: Tensor) -> Tensor:
    """Slow and fast parts, and a step."""
    return torch.sin(1.3 * t) + 0.4 * torch.sin(4.1 * t + 1) + 0.5 * (t > 6.5)


def remember(states: int, steps: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Times and the function there as each operator tells it at the end."""
    ts = torch.linspace(0, END, steps + 1)
    f = signal((ts[1:] + ts[:-1]) / 2)[None]
    told = {}
    for name, operator in OPERATORS.items():
        c = project(operator, states, f, ts, Bilinear())[:, -1]
        ages = torch.linspace(0, min(operator.span, END), 400)
        told[name] = END - ages, reconstruct(operator, c, ages)[0]
    told["LegS"] = remember_all(states, steps)
    return told


def remember_all(states: int, steps: int) -> tuple[Tensor, Tensor]:
    """LegS, scaled with the time that has passed."""
    ts = torch.linspace(0, END, steps + 1)
    f = signal((ts[1:] + ts[:-1]) / 2)[None]
    c = project_scaled(states, f, ts, Bilinear())[:, -1]
    fraction = torch.linspace(1e-6, 1, 400)
    return END * fraction, reconstruct(LegS(), c, scaled_ages(fraction))[0]


def error(told: tuple[Tensor, Tensor]) -> float:
    """Relative, in the mean square over what is told."""
    t, values = told
    return float((values - signal(t)).norm() / signal(t).norm())


def main(smoke: bool, folder: Path) -> None:
    torch.set_default_dtype(torch.float64)
    states, steps = (8, 200) if smoke else (32, 4000)
    told = remember(states, steps)
    for name, values in told.items():
        print(f"{name}: {states} numbers, relative error {error(values):.3f} back to t = {float(values[0].min()):.1f}")
    sizes = (4, states // 2, states) if smoke else (8, 16, 64)
    growing = {size: remember_all(size, steps) for size in sizes}
    for size, values in growing.items():
        print(f"LegS: {size} numbers, relative error {error(values):.3f}")
    draw(told, growing, folder / "function_memory.png")


def draw(told: dict[str, tuple[Tensor, Tensor]], growing: dict[int, tuple[Tensor, Tensor]], path: Path) -> None:
    """A row per operator: basis and reconstruction."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    t = torch.linspace(0, END, 600)
    figure, axes = plt.subplots(6, 2, figsize=(9, 11), layout="constrained", width_ratios=[1, 2])
    rows = [*OPERATORS.items(), ("LegS", LegS())]
    for (name, operator), (left, right) in zip(rows, axes[:-1], strict=True):
        ages = torch.linspace(1e-3, min(operator.span, 6.0), 500)
        for n, kernel in enumerate(operator.kernels(8, ages)):
            if bool(kernel.abs().max() > 0) and n in (0, 2, 4, 6):
                left.plot(ages, kernel, linewidth=1)
        left.set_title(f"{name}: K0, K2, K4, K6", fontsize="small")
        right.plot(t, signal(t), color="0.7", linewidth=3, label="function")
        right.plot(*told[name], linewidth=1.2, label="remembered at t = 10")
        right.set_ylim(-2.2, 2.2)
        right.set_title(f"relative error {error(told[name]):.3f} over what is remembered", fontsize="small")
    axes[-2][0].set_xlabel("age (of LegS in log t)")
    axes[0][1].legend(loc="lower left", fontsize="x-small")
    axes[-1][0].axis("off")
    last = axes[-1][1]
    last.plot(t, signal(t), color="0.7", linewidth=3)
    for size, values in growing.items():
        last.plot(*values, linewidth=1, label=f"{size} numbers, error {error(values):.3f}")
    last.set(xlabel="time", ylim=(-2.2, 2.2))
    last.set_title("LegS", fontsize="small")
    last.legend(loc="lower left", fontsize="x-small")
    figure.savefig(path, dpi=110)
    plt.close(figure)
    print(f"picture: {path} ({path.stat().st_size // 1024 + 1} kB)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a few seconds, to see that it runs")
    parser.add_argument("--folder", type=Path, default=None, help="where to keep the picture")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        main(options.smoke, options.folder or Path(temporary))
