"""SpaceTime forecasts carbon dioxide in closed loop, beside an autoregression and the last year carried on.

Weekly carbon dioxide above Mauna Loa, 1958 to 2001, ships in statsmodels; here are means over months. All is fitted on
the months until 1984; then the next 24 months are forecast from every month since, without fitting again.
"""

import argparse
import copy
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sciml.ssm import SpaceTime, parameter_groups

LAST, AHEAD, CONTEXT, YEAR = 1985, 24, 60, 12
"""First year after fitting; months that are forecast; months that SpaceTime sees; months of a year."""


def carbon_dioxide() -> tuple[Tensor, Tensor]:
    """Times in years and monthly means, [ppm]; 5 months without a value are interpolated."""
    from statsmodels.api import datasets

    weeks = datasets.co2.load_pandas().data
    assert weeks is not None
    months = weeks["co2"].resample("MS").mean().interpolate()
    years = 1958 + (2 + np.arange(len(months))) / YEAR  # from March 1958 on
    return torch.tensor(years), torch.tensor(np.array(months))


def relative(windows: Tensor) -> Tensor:
    """Windows less the last value of their context, so that a rising level is nothing new."""
    return windows - windows[:, CONTEXT - 1 : CONTEXT]


def train(series: Tensor, updates: int) -> SpaceTime:
    """The three losses of SpaceTime on windows of a standardised series: coming values, next values, next inputs.

    The last windows, whose coming values fill the last 4 years, are for stopping: the best weights on them are kept.
    """
    model = SpaceTime(1, width=16, state=24, dropout=0.0)
    optimiser = torch.optim.AdamW(parameter_groups(model, 5e-3, weight_decay=0.01))
    windows = relative(series.unfold(0, CONTEXT + AHEAD, 1)).float().unsqueeze(-1)
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
    print(f"the weights after {stopped} updates are best on the last {2 * AHEAD} months of fitting: {best:.3f}")
    return model.eval()


@torch.no_grad()
def validation_error(model: SpaceTime, windows: Tensor) -> float:
    """Root mean square error of the coming values."""
    context, wanted = windows.split([CONTEXT, AHEAD], dim=1)
    said = model.eval()(context, AHEAD).values
    model.train()
    return float((said - wanted).square().mean().sqrt())


def autoregression(training: Tensor, pasts: list[Tensor]) -> tuple[Tensor, int]:
    """Forecasts of an autoregression with a constant; its order, up to 36, has the least Akaike criterion."""
    from statsmodels.tsa.ar_model import ar_select_order

    fitted = ar_select_order(training.numpy(), maxlag=36, ic="aic").model.fit()
    said = [torch.as_tensor(fitted.apply(past.numpy()).forecast(AHEAD)) for past in pasts]
    return torch.stack(said), len(fitted.params) - 1


def carried_on(past: Tensor) -> Tensor:
    """The last year again, higher by what it rose above the year before it."""
    rise = past[-YEAR:].mean() - past[-2 * YEAR : -YEAR].mean()
    return torch.cat([past[-YEAR:] + rise * (k + 1) for k in range(AHEAD // YEAR)])


def main(smoke: bool, folder: Path) -> None:
    torch.manual_seed(0)
    years, series = carbon_dioxide()
    first = int((years < LAST).sum())
    scale = float(relative(series[:first].unfold(0, CONTEXT + AHEAD, 1)).std())
    origins = range(first, len(series) - AHEAD + 1)
    wanted = torch.stack([series[i : i + AHEAD] for i in origins])
    pasts = [series[:i] for i in origins]

    model = train(series[:first] / scale, 5 if smoke else 1000)
    contexts = torch.stack([past[-CONTEXT:] for past in pasts])
    with torch.no_grad():
        said = model((relative(contexts) / scale).float().unsqueeze(-1), AHEAD).values[..., 0].double()
    spacetime = contexts[:, -1:] + scale * said
    level = series[:first].mean()
    regressed, order = autoregression(series[:first] - level, [past - level for past in pasts])
    forecasts = {
        "SpaceTime": spacetime,
        f"autoregression of order {order}": regressed + level,
        "the last year carried on": torch.stack([carried_on(past) for past in pasts]),
        "the last month": contexts[:, -1:].expand(-1, AHEAD),
    }
    print(f"root mean square error over {len(wanted)} forecasts, in ppm:")
    for name, said in forecasts.items():
        error = (said - wanted).square().mean(0)
        figures = ", ".join(f"{float(error[a:b].mean().sqrt()):.2f}" for a, b in ((0, 1), (0, 12), (12, 24)))
        print(f"{name:30s} first month, months 1-12, months 13-24: {figures}")
    draw(years, series, first, forecasts, folder)


def draw(years: Tensor, series: Tensor, first: int, forecasts: dict[str, Tensor], folder: Path) -> None:
    """Forecasts every other year, and errors by months ahead."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), width_ratios=(1.7, 1), layout="constrained")
    left.plot(years[first - 48 :], series[first - 48 :], color="0.75", linewidth=3, label="measured")
    said = forecasts["SpaceTime"]
    for k in range(0, len(said), 2 * AHEAD):
        label = "SpaceTime, 24 months from each dot" if k == 0 else None
        left.plot(years[first + k : first + k + AHEAD], said[k], color="tab:blue", linewidth=1.2, label=label)
        left.plot(years[first + k - 1], series[first + k - 1], "o", color="tab:blue", markersize=4)
    left.axvline(float(years[first]), color="0.4", linewidth=0.8, linestyle=":")
    left.set(xlabel="year", ylabel="CO$_2$ [ppm]")
    left.legend(fontsize="small")
    wanted = series[first:].unfold(0, AHEAD, 1)
    for name, each in forecasts.items():
        right.plot(range(1, AHEAD + 1), (each - wanted).square().mean(0).sqrt(), label=name)
    right.set(xlabel="months ahead", ylabel="root mean square error [ppm]", ylim=(0, 2.5))
    right.legend(fontsize="x-small")
    figure.savefig(folder / "carbon_dioxide.png", dpi=150)
    print(f"picture: {folder / 'carbon_dioxide.png'}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="a few seconds, to see that it runs")
    parser.add_argument("--folder", type=Path, default=None, help="where to keep the picture")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        main(options.smoke, options.folder or Path(temporary))
