"""A deep state-space model fed one entry at a time: the answers of the convolution, at constant time and memory."""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from sciml.ssm import DeepSSM, Gated, Residual, s4d


def numbers(state: object) -> int:
    """How many real numbers a state holds."""
    if isinstance(state, Tensor):
        return state.numel() * (2 if state.is_complex() else 1)
    assert isinstance(state, tuple | list)
    return sum(numbers(part) for part in state)


def milliseconds(call: Callable[[], object], repeats: int) -> float:
    """Median time of a call, [ms]."""
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        taken.append(1e3 * (time.perf_counter() - start))
    return statistics.median(taken)


@torch.no_grad()
def main(smoke: bool, folder: Path) -> None:
    torch.manual_seed(0)
    net = DeepSSM(3, 2, [Residual(s4d(32), Gated(32, 32)) for _ in range(4)]).eval()
    lengths = [2**k for k in range(4, 9 if smoke else 15)]
    u = torch.randn(1, lengths[-1] + 1, 3)
    dt = 0.5 + torch.rand(1, lengths[-1] + 1)  # times are irregular: every entry says how long ago the last one was

    few = min(512, lengths[-1])
    whole = net(u[:, :few], dt[:, :few])
    state, stepped = net.initial_state(1), []
    for k in range(few):
        y, state = net.step(u[:, k], state, dt[:, k])
        stepped.append(y)
    apart = (torch.stack(stepped, dim=1) - whole).abs().max() / whole.abs().max()
    regular = net(u[:, :few])
    _, middle = net.prefill(u[:, : few // 2])
    rest, _ = net.prefill(u[:, few // 2 : few], state=middle)
    halves = (rest - regular[:, few // 2 :]).abs().max() / regular.abs().max()
    print(f"{few} steps at irregular times and one scan differ by {float(apart):.0e} of the largest answer,")
    print(f"two halves with the state handed over and one convolution by {float(halves):.0e}")

    streamed, again, size = [], [], set()
    for length in lengths:
        _, state = net.prefill(u[:, :length])
        size.add(numbers(state))
        streamed.append(milliseconds(lambda s=state, n=length: net.step(u[:, n], s), 15))
        again.append(milliseconds(lambda n=length: net(u[:, : n + 1]), 3))
        print(f"one more after {length:5d}: by a step {streamed[-1]:6.2f} ms, by a convolution {again[-1]:8.2f} ms")
    print(f"the state holds {max(size):,} numbers, whatever came before")
    draw(lengths, streamed, again, folder / "streaming_inference.png")


def draw(lengths: list[int], streamed: list[float], again: list[float], path: Path) -> None:
    """Time of one more answer against what came before."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(5, 3.2), layout="constrained")
    axis.loglog(lengths, again, "o-", color="0.6", label="the whole series again, by convolution")
    axis.loglog(lengths, streamed, "o-", color="tab:blue", label="one step from the state")
    axis.set(xlabel="entries before", ylabel="time of one more answer [ms]")
    axis.legend(fontsize="small")
    figure.savefig(path, dpi=150)
    print(f"picture: {path}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a few seconds, to see that it runs")
    parser.add_argument("--folder", type=Path, default=None, help="where to keep the picture")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        main(options.smoke, options.folder or Path(temporary))
