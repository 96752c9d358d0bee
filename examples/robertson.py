"""Stiff chemistry with unknown rates: three rates that span nine powers of ten are found by gradient from noisy data.

Robertson's reactions A -> B, 2 B -> B + C, B + C -> A + C are measured at some times between 1e-5 and 1e5 with five per
cent of noise, in two experiments at once, each from its own mixture. The rates start a factor of 3 to 10 off. An
implicit method takes every experiment with steps of its own; the gradient is that of the implicit function, so that
nothing of Newton's iterations is recorded.
"""

import argparse
import math
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

from sciml.integrate import ODE, PID, RadauIIA5, SaveAt, solve

TRUE = (0.04, 3e7, 1e4)
SIZES = torch.tensor([1.0, 3e-5, 1.0])
"""A, B and C are of these sizes; noise and misfit are in units of them."""


class Reactions(nn.Module):
    """dy/dt of A, B, C. The parameters are logarithms of the rates, so that rates stay positive."""

    def __init__(self, rates: tuple[float, ...]) -> None:
        super().__init__()
        self.log_rates = nn.Parameter(torch.tensor(rates, dtype=torch.float64).log())

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        a, b, c = y.unbind(-1)
        k1, k2, k3 = self.log_rates.exp().unbind()
        decay, meeting, back = k1 * a, k2 * b * b, k3 * b * c
        return torch.stack([back - decay, decay - back - meeting, meeting], dim=-1)


def observed(reactions: Reactions, y0: Tensor, ts: Tensor) -> Tensor:
    """Concentrations at the times `ts`, (experiment, time, 3), in units of `SIZES`."""
    control = PID(rtol=1e-3, atol=1e-9)
    return solve(ODE(reactions), RadauIIA5(), y0, 0.0, float(ts[-1]), control=control, save=SaveAt(ts=ts)).ys / SIZES


def main(smoke: bool, folder: Path) -> None:
    torch.manual_seed(0)
    rounds, count = (2, 10) if smoke else (15, 20)
    ts = torch.logspace(-5, 5, count, dtype=torch.float64)
    y0 = torch.tensor([[1.0, 0.0, 0.0], [0.7, 0.0, 0.3]], dtype=torch.float64)
    with torch.no_grad():
        clean = observed(Reactions(TRUE), y0, ts)
    data = clean * (1 + 0.05 * torch.randn_like(clean))
    model = Reactions((0.2, 3e6, 3e4))
    before = [f"{rate:.3g}" for rate in model.log_rates.exp().tolist()]
    optimiser = torch.optim.LBFGS(model.parameters(), max_iter=rounds, line_search_fn="strong_wolfe")
    losses: list[float] = []

    def misfit() -> Tensor:
        optimiser.zero_grad()
        loss = (observed(model, y0, ts) - data).square().mean()
        loss.backward()
        losses.append(float(loss.detach()))
        return loss

    optimiser.step(misfit)
    shown = range(0, len(losses), max(len(losses) // 6, 1))
    print("mean square:", ", ".join(f"{losses[i]:.5f} (evaluation {i})" for i in shown))
    print(f"noise alone: {float((clean - data).square().mean()):.5f}")
    for name, start, rate, true in zip(("k1", "k2", "k3"), before, model.log_rates.exp().tolist(), TRUE, strict=True):
        print(f"{name}: from {start} to {rate:.4g}, true {true:.4g} ({100 * (rate / true - 1):+.1f} %)")
    draw(model, y0, ts, data, folder / "robertson.png")


def draw(model: Reactions, y0: Tensor, ts: Tensor, data: Tensor, path: Path) -> None:
    """Data of the first experiment, and what the found rates give."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    fine = torch.logspace(-5, 5, 200, dtype=torch.float64)
    with torch.no_grad():
        lines = observed(model, y0[:1], fine)[0]
    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    for i, label in enumerate(("A", "B / 3e-5", "C")):
        axes.semilogx(fine, lines[:, i], color=f"C{i}", label=label)
        axes.semilogx(ts, data[0, :, i], ".", color=f"C{i}")
    axes.set(xlabel="time", ylabel="concentration", title="found rates (lines) and noisy data (points)")
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=150)
    print(f"picture: {path} ({math.ceil(path.stat().st_size / 1024)} kB)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a few seconds, to see that it runs")
    parser.add_argument("--folder", type=Path, default=None, help="where to keep the picture")
    options = parser.parse_args()
    torch.set_default_dtype(torch.float64)
    with tempfile.TemporaryDirectory() as temporary:
        main(options.smoke, options.folder or Path(temporary))
