"""Restitution and drag of a ball are learned from noisy heights over several bounces, by the gradient of a solve with
events; the picture shows data, first guess and fit."""

import argparse
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

from sciml.integrate import ODE, PID, Event, SaveAt, Solution, Tsit5, solve

GRAVITY = 9.81


class Ball(nn.Module):
    """A ball with drag that loses part of its speed at the floor; rows of the state are (height, speed)."""

    def __init__(self, restitution: float, drag: float) -> None:
        super().__init__()
        self.logit = nn.Parameter(torch.logit(torch.tensor(restitution)))
        self.log_drag = nn.Parameter(torch.log(torch.tensor(drag)))

    @property
    def restitution(self) -> Tensor:
        """Part of the speed that is left, between 0 and 1."""
        return torch.sigmoid(self.logit)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        height, speed = y.unbind(1)
        return torch.stack([speed, -GRAVITY - self.log_drag.exp() * speed * speed.abs()], dim=1)

    def bounce(self, t: Tensor, y: Tensor) -> Tensor:
        """The state behind a bounce."""
        return torch.stack([y[:, 0], -self.restitution * y[:, 1]], dim=1)

    def solve(self, heights: Tensor, ts: Tensor) -> Solution:
        """Balls dropped from given heights, (batch,)."""
        y0 = torch.stack([heights, torch.zeros_like(heights)], dim=1)
        floor = Event(lambda t, y: y[:, 0], direction=-1, jump=self.bounce)
        control, save = PID(rtol=1e-7, atol=1e-9), SaveAt(ts=ts)
        return solve(ODE(self), Tsit5(), y0, 0.0, float(ts[-1]), control=control, save=save, event=floor)


def main(smoke: bool, folder: Path) -> None:
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    balls, iterations = (2, 4) if smoke else (4, 100)
    heights, ts = torch.linspace(1.0, 2.0, balls), torch.linspace(0.0, 2.0, 81)
    with torch.no_grad():
        truth = Ball(0.8, 0.05).solve(heights, ts)
        noise = 0.02 * torch.randn(balls, len(ts))
        data = truth.ys[..., 0] + noise
    ball = Ball(0.7, 0.02)
    guess = ball.solve(heights, ts).ys[..., 0].detach()
    optimiser = torch.optim.Adam(ball.parameters(), lr=0.05)
    end = 30
    for i in range(iterations):
        loss = (ball.solve(heights, ts[:end]).ys[..., 0] - data[:, :end]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        # What comes early decides which bounce a later time belongs to: the window grows once its part is learned.
        end = min(end + 4, len(ts)) if float(loss.detach().sqrt()) < 0.04 else end
        if i % max(iterations // 6, 1) == 0:
            say(f"step {i:3d}: error {float(loss.detach().sqrt()):.4f} over t = {float(ts[end - 1]):.2f}", ball)
    with torch.no_grad():
        fit = ball.solve(heights, ts)
    say(f"noise 0.02, error {float((fit.ys[..., 0] - data).square().mean().sqrt()):.4f}", ball)
    print(f"the truth is 0.800 and 0.0500; bounces per ball: {fit.events[0].count.tolist() if fit.events else None}")
    draw(ts, data[0], guess[0], fit.ys[0, :, 0], folder / "bouncing_ball.png")


def say(what: str, ball: Ball) -> None:
    """One line with the parameters."""
    restitution, drag = float(ball.restitution.detach()), float(ball.log_drag.detach().exp())
    print(f"{what}; restitution {restitution:.3f}, drag {drag:.4f}")


def draw(ts: Tensor, data: Tensor, guess: Tensor, fit: Tensor, path: Path) -> None:
    """Height over time."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
    axes.plot(ts, guess, color="0.7", label="first guess")
    axes.plot(ts, data, ".", markersize=4, label="data")
    axes.plot(ts, fit, linewidth=1.2, label="fit")
    axes.set(xlabel="time", ylabel="height")
    axes.legend(loc="upper right", fontsize="small")
    figure.savefig(path, dpi=150)
    print(f"picture: {path} ({path.stat().st_size // 1024 + 1} kB)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a few seconds, to see that it runs")
    parser.add_argument("--folder", type=Path, default=None, help="where to keep the picture")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        main(options.smoke, options.folder or Path(temporary))
