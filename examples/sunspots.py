"""SpaceTime forecasts sunspots in closed loop, beside an autoregression, the cycle before, and the mean.

Yearly numbers of sunspots, 1700 to 2008, ship in statsmodels. Everything is fitted on the years until 1899; then the
next 22 years are forecast from every year since, without fitting again.
"""

import argparse
import copy
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sciml.ssm import SpaceTime, parameter_groups

LAST, AHEAD, CONTEXT, CYCLE = 1899, 22, 66, 11
"""Last year of fitting; years that are forecast; years that SpaceTime sees; length of a cycle."""


def sunspots() -> tuple[Tensor, Tensor]:
    """Years, and square roots of the numbers of sunspots: their noise is alike at all heights."""
    from statsmodels.api import datasets

    table = torch.tensor(np.array(datasets.sunspots.load_pandas().data))
    return table[:, 0].long(), table[:, 1].sqrt()


def train(series: Tensor, updates: int) -> SpaceTime:
    """The three losses of SpaceTime on windows of a standardised series: coming values, next values, next inputs.

    The last windows, whose coming values fill the last 44 years, are for stopping: the best weights on them are kept.
    """
    model = SpaceTime(1, width=8, state=16, dropout=0.2)
    optimiser = torch.optim.AdamW(parameter_groups(model, 5e-3, weight_decay=0.1))
    windows = series.float().unfold(0, CONTEXT + AHEAD, 1).unsqueeze(-1)
    windows, last = windows[: -2 * AHEAD], windows[-AHEAD - 1 :]
    order = torch.Generator().manual_seed(0)
    best, kept, stopped = float("inf"), copy.deepcopy(model.state_dict()), 0
    for update in range(1, updates + 1):
        context, wanted = windows[torch.randint(0, len(windows), (32,), generator=order)].split([CONTEXT, AHEAD], dim=1)
        said = model(context, AHEAD)
        parts = [
            (said.values - wanted).square().mean(),
            (said.one_ahead - context[:, 1:]).square().mean(),
            (said.latent_ahead - said.latent).square().mean(),
        ]
        optimiser.zero_grad()
        torch.stack(parts).sum().backward()
        optimiser.step()
        if update % 10 == 0 or update == updates:
            error = validation_error(model, last)
            if error < best:
                best, kept, stopped = error, copy.deepcopy(model.state_dict()), update
    model.load_state_dict(kept)
    print(f"the weights after {stopped} updates are best on the last {2 * AHEAD} years of fitting: {best:.3f}")
    return model.eval()


@torch.no_grad()
def validation_error(model: SpaceTime, windows: Tensor) -> float:
    """Root mean square error of the coming values."""
    context, wanted = windows.split([CONTEXT, AHEAD], dim=1)
    said = model.eval()(context, AHEAD).values
    model.train()
    return float((said - wanted).square().mean().sqrt())


def autoregression(training: Tensor, pasts: list[Tensor]) -> tuple[Tensor, int]:
    """Forecasts of an autoregression whose order, up to 24, has the least Akaike criterion, and that order."""
    from statsmodels.tsa.ar_model import ar_select_order

    fitted = ar_select_order(training.numpy(), maxlag=24, ic="aic").model.fit()
    said = [torch.as_tensor(fitted.apply(past.numpy()).forecast(AHEAD)) for past in pasts]
    return torch.stack(said), len(fitted.params) - 1


def main(smoke: bool, folder: Path) -> None:
    torch.manual_seed(0)
    years, roots = sunspots()
    known = years <= LAST
    mean, scale = roots[known].mean(), roots[known].std()
    series = (roots - mean) / scale
    origins = range(int(known.sum()), len(series) - AHEAD + 1)
    wanted = torch.stack([series[i : i + AHEAD] for i in origins])
    pasts = [series[:i] for i in origins]

    model = train(series[known], 5 if smoke else 400)
    contexts = torch.stack([past[-CONTEXT:] for past in pasts]).float().unsqueeze(-1)
    with torch.no_grad():
        spacetime = model(contexts, AHEAD).values[..., 0].double()
    regressed, order = autoregression(series[known], pasts)
    forecasts = {
        "SpaceTime": spacetime,
        f"autoregression of order {order}": regressed,
        "the cycle before": torch.stack([past[-CYCLE:].repeat(AHEAD // CYCLE) for past in pasts]),
        "the mean": torch.zeros_like(wanted),
    }
    print(f"root mean square error over {len(wanted)} forecasts, in standard deviations of the years of fitting:")
    for name, said in forecasts.items():
        error = (said - wanted).square().mean(0)
        figures = ", ".join(f"{float(error[a:b].mean().sqrt()):.3f}" for a, b in ((0, 1), (0, 11), (11, 22)))
        print(f"{name:30s} first year, years 1-11, years 12-22: {figures}")
    draw(years, roots, {name: (said * scale + mean).clamp(min=0) for name, said in forecasts.items()}, folder)


def draw(years: Tensor, roots: Tensor, forecasts: dict[str, Tensor], folder: Path) -> None:
    """The numbers since 1880, and forecasts from four years."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 1, figsize=(8, 5), sharex=True, sharey=True, layout="constrained")
    shown = years >= 1880
    for axis, (name, said) in zip(axes, list(forecasts.items())[:2], strict=True):
        axis.plot(years[shown], roots[shown] ** 2, color="0.7", linewidth=2.5, label="counted")
        for k in range(0, len(said), 26):
            label = name if k == 0 else None
            ahead = LAST + 1 + k + torch.arange(AHEAD)
            axis.plot(ahead, said[k] ** 2, color="tab:blue", linewidth=1.5, label=label)
            axis.plot(ahead[:1], said[k, :1] ** 2, "o", color="tab:blue", markersize=4)
        axis.axvline(LAST + 0.5, color="0.4", linewidth=0.8, linestyle=":")
        axis.set_ylabel("sunspots")
        axis.legend(loc="upper left", fontsize="small", ncols=2)
    axes[1].set(xlabel="year", xlim=(1880, 2009))
    figure.savefig(folder / "sunspots.png", dpi=150)
    print(f"picture: {folder / 'sunspots.png'}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="a few seconds, to see that it runs")
    parser.add_argument("--folder", type=Path, default=None, help="where to keep the picture")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        main(options.smoke, options.folder or Path(temporary))
