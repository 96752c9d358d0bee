"""A neural ODE learns a spiral from short windows, and continues it from one point; the picture shows both."""

import argparse
import math
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

from sciml.integrate import ODE, PID, SaveAt, Tsit5, solve


class Field(nn.Module):
    """dy/dt = net(y³), a field without explicit time."""

    def __init__(self, width: int = 50) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Linear(width, 2))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return self.net(y**3)


def spiral(ts: Tensor) -> Tensor:
    """The truth from (2, 0), (1, time, 2): dy/dt = A y³."""
    matrix = torch.tensor([[-0.1, 2.0], [-2.0, -0.1]])
    term = ODE(lambda t, y: y**3 @ matrix.T)
    start = torch.tensor([[2.0, 0.0]])
    end = float(ts[-1])
    return solve(term, Tsit5(), start, 0.0, end, control=PID(rtol=1e-8, atol=1e-8), save=SaveAt(ts=ts)).ys


def main(smoke: bool, folder: Path) -> None:
    torch.manual_seed(0)
    steps, window = (20, 10) if smoke else (1500, 20)
    ts = torch.linspace(0.0, 25.0, 500, dtype=torch.float64)
    truth = spiral(ts)
    field, control = Field(), PID(rtol=1e-4, atol=1e-5)
    optimiser = torch.optim.Adam(field.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for step in range(steps):
        starts = torch.randint(0, len(ts) - window, (32,))
        wanted = torch.stack([truth[0, i : i + window] for i in starts.tolist()])
        save = SaveAt(ts=ts[:window])
        predicted = solve(ODE(field), Tsit5(), wanted[:, 0], 0.0, float(ts[window - 1]), control=control, save=save).ys
        loss = (predicted - wanted).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % max(steps // 10, 1) == 0:
            print(f"step {step:4d}: error over {window} points {loss.detach().sqrt():.4f}")
    with torch.no_grad():
        whole = solve(ODE(field), Tsit5(), truth[:, 0], 0.0, 25.0, control=control, save=SaveAt(ts=ts))
    print(f"from one point over t = 25: mean error {float((whole.ys - truth).abs().mean()):.3f}", end=", ")
    print(f"{int(whole.stats.steps)} steps, {int(whole.stats.evaluations)} evaluations")
    draw(truth[0], whole.ys[0], folder / "spiral.png")


def draw(truth: Tensor, predicted: Tensor, path: Path) -> None:
    """Both curves in the plane."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(4, 4.3), layout="constrained")
    axes.plot(*truth.T, color="0.7", linewidth=3, label="truth")
    axes.plot(*predicted.T, linewidth=1.2, label="neural ODE from one point")
    axes.set(xlabel="$y_1$", ylabel="$y_2$", aspect="equal")
    figure.legend(loc="outside upper center", ncols=2, fontsize="small")
    figure.savefig(path, dpi=150)
    size = math.ceil(path.stat().st_size / 1024)
    print(f"picture: {path} ({size} kB)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a few seconds, to see that it runs")
    parser.add_argument("--folder", type=Path, default=None, help="where to keep the picture")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        main(options.smoke, options.folder or Path(temporary))
