"""Solve Kuramoto-Sivashinsky for a batch of random fields and recover its viscosity from two frames by gradient."""

import argparse

import torch

from sciml.core import Key
from sciml.grids import Grid
from sciml.pde import KuramotoSivashinsky, TruncatedFourier, evolve


def main(smoke: bool) -> None:
    torch.set_default_dtype(torch.float64)
    grid = Grid((64,), (22.0,))
    u0 = TruncatedFourier(cutoff=4).sample(Key.rows(seed=0, batch=8), grid)
    frames = evolve(KuramotoSivashinsky(), grid, u0, 0.5 * torch.arange(1, 41), dt=0.05)
    print(f"frames {tuple(frames.shape)}: (batch, time, channel, x), RMS {float(frames.square().mean().sqrt()):.3f}")

    before, after = frames[:, 20], frames[:, 21]
    viscosity = torch.tensor(1.5, requires_grad=True)
    optimiser = torch.optim.LBFGS([viscosity], lr=0.5)

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        guess = evolve(KuramotoSivashinsky(viscosity), grid, before, torch.tensor([0.5]), dt=0.05)[:, 0]
        error = (guess - after).square().mean()
        error.backward()
        return error

    for _ in range(2 if smoke else 8):
        error = optimiser.step(loss)
    print(f"viscosity {float(viscosity.detach()):.6f} (true: 1), squared error {error.item():.1e}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a few seconds, to see that it runs")
    main(parser.parse_args().smoke)
