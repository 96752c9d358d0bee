"""S4D reads images of digits number by number; the picture shows what it believes after each one."""

import argparse
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from sciml.ssm import DeepSSM, Gated, Residual, parameter_groups, s4d, s4d_lin


def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training and test part of scikit-learn's 1,797 images, as (images, 64, 1) in [-1, 1], with their classes."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, classes = load_digits(return_X_y=True)
    parts = train_test_split(pixels, classes, test_size=0.2, stratify=classes, random_state=0)
    training, test, known, wanted = (torch.as_tensor(part) for part in parts)
    return training.float().unsqueeze(-1) / 8 - 1, known, test.float().unsqueeze(-1) / 8 - 1, wanted


def model(width: int = 48) -> DeepSSM:
    """Two causal S4D layers; its answers are evidence for each class, entry by entry."""
    layers = [s4d(width, 32, spectrum=s4d_lin) for _ in range(2)]
    return DeepSSM(1, 10, [Residual(layer, Gated(width, width), dropout=0.1) for layer in layers])


def train(net: DeepSSM, images: Tensor, classes: Tensor, updates: int, rate: float = 1e-2) -> None:
    """AdamW on the evidence of the whole image; systems learn at a thousandth."""
    optimiser = torch.optim.AdamW(parameter_groups(net, rate))
    limits = [group["lr"] for group in optimiser.param_groups]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, limits, total_steps=updates, pct_start=0.1)
    order = torch.Generator().manual_seed(0)
    for update in range(updates):
        chosen = torch.randint(0, len(images), (64,), generator=order)
        loss = torch.nn.functional.cross_entropy(net(images[chosen]).mean(1), classes[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if update % max(updates // 5, 1) == 0:
            print(f"update {update:4d}: loss {loss.detach():.3f}")


@torch.no_grad()
def beliefs(net: DeepSSM, image: Tensor) -> Tensor:
    """Probability of each class after every number of one image, (64, 10), from one `step` per number."""
    state, evidence, found = net.initial_state(1), torch.zeros(1, 10), []
    for seen, number in enumerate(image, start=1):
        answer, state = net.step(number[None], state)
        evidence = evidence + answer
        found.append((evidence / seen).softmax(-1)[0])
    return torch.stack(found)


def main(smoke: bool, folder: Path) -> None:
    torch.manual_seed(0)
    images, classes, test, wanted = digits()
    net = model()
    train(net, images, classes, 5 if smoke else 700)
    net.eval()
    with torch.no_grad():
        answers = net(test).cumsum(1)
    right = (answers.argmax(-1) == wanted[:, None]).double().mean(0)
    print(f"right after 16, 32, 48, 64 numbers: {', '.join(f'{100 * right[i]:.1f} %' for i in (15, 31, 47, 63))}")
    chosen = [int((wanted == digit).nonzero()[0]) for digit in (3, 7, 8)]
    streamed = [beliefs(net, test[i]) for i in chosen]
    whole = [(answers[i] / torch.arange(1, 65)[:, None]).softmax(-1) for i in chosen]
    apart = max(float((a - b).abs().max()) for a, b in zip(streamed, whole, strict=True))
    print(f"one number at a time and the whole image at once differ by {apart:.0e}")
    draw(test[chosen], wanted[chosen].tolist(), streamed, folder / "sequential_digits.png")


def draw(images: Tensor, classes: list[int], streamed: list[Tensor], path: Path) -> None:
    """Three images, and below each what is believed after every number of it."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(8, 4.2), height_ratios=(1, 1.6), layout="constrained")
    for column, (image, digit, belief) in enumerate(zip(images, classes, streamed, strict=True)):
        axes[0, column].imshow(image.view(8, 8), cmap="gray_r")
        axes[0, column].set(xticks=[], yticks=[], title=f"a {digit}")
        for other in range(10):
            style = {"color": "tab:blue", "linewidth": 2} if other == digit else {"color": "0.7", "linewidth": 1}
            axes[1, column].plot(range(1, 65), belief[:, other], **style)
        rivals = belief.clone()
        rivals[:, digit] = 0
        at, rival = divmod(int(rivals[8:].argmax()), 10)
        axes[1, column].annotate(str(rival), (at + 9, float(rivals[at + 8, rival])), color="0.4", va="bottom")
        axes[1, column].set(xlabel="numbers seen", ylim=(0, 1.05), xlim=(1, 64), xticks=range(8, 65, 8))
    axes[1, 0].set_ylabel("probability")
    figure.savefig(path, dpi=150)
    print(f"picture: {path}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a few seconds, to see that it runs")
    parser.add_argument("--folder", type=Path, default=None, help="where to keep the picture")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        main(options.smoke, options.folder or Path(temporary))
