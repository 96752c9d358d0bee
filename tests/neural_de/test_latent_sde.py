"""The latent SDE: masks, padding, times, divergences, samples, bounds against the exact likelihood, refusals."""

import importlib
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sciml.core import Key
from sciml.integrate import RI6, SRI2, Checkpoint, Milstein, StochasticHeun
from sciml.neural_de import (
    AffineControl,
    BackwardGRU,
    Conditioned,
    ConstantDiffusion,
    DriftNet,
    EntrywiseDiffusion,
    GaussianLikelihood,
    Guided,
    LatentSDE,
    Readout,
    SeriesBatch,
)
from sciml.neural_de.encoder import Encoded
from sciml.neural_de.series import at_times

GRID = torch.linspace(0.0, 2.0, 17, dtype=torch.float64)


@pytest.fixture
def ou(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of the benchmark: data and the Kalman filter."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks" / "latent_sde"))
    yield importlib.import_module("ornstein_uhlenbeck")
    sys.modules.pop("ornstein_uhlenbeck", None)


def model(channels: int = 2, latent: int = 3, **changes: Any) -> LatentSDE:
    torch.manual_seed(0)
    prior, diffusion = DriftNet(latent), EntrywiseDiffusion(latent)
    parts = {
        "encoder": BackwardGRU(channels, latent, 8),
        "posterior": Guided(prior, diffusion, DriftNet(latent, 9 + channels)),
        "prior": prior,
        "diffusion": diffusion,
        "decoder": nn.Linear(latent, channels),
        "likelihood": GaussianLikelihood(channels),
        "latent": latent,
        "grid": GRID,
    }
    return LatentSDE(**{**parts, **changes})


def series(rows: int = 4, time: int = 6, channels: int = 2) -> SeriesBatch:
    """Series at times of their own, with gaps."""
    generator = torch.Generator().manual_seed(1)
    times = torch.rand(rows, time, generator=generator).mul(1.9).sort(dim=1).values
    values = torch.randn(rows, time, channels, generator=generator)
    return SeriesBatch(times, values, torch.rand(values.shape, generator=generator) < 0.7, torch.arange(rows))


def test_parts_add_up_and_every_parameter_learns():
    made, batch = model(), series()
    loss = made.loss(batch, Key.rows(3, 4), kl_weight=0.25)
    parts = loss.parts
    kl = parts["kl_start"] + parts["kl_path"]
    torch.testing.assert_close(loss.total.detach(), 0.25 * kl - parts["log_likelihood"])
    torch.testing.assert_close(parts["elbo"], parts["log_likelihood"] - kl)
    assert parts["kl_start"] > 0 and parts["kl_path"] > 0
    loss.total.backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in made.parameters())


def test_what_is_masked_or_padding_is_never_read():
    made, batch, key = model(), series(), Key.rows(3, 4)
    want = made.loss(batch, key).total
    nan = replace(batch, values=torch.where(batch.mask, batch.values, torch.nan))
    torch.testing.assert_close(made.loss(nan, key).total, want, rtol=0, atol=0)
    longer = SeriesBatch(
        torch.cat([batch.times, batch.times[:, -1:].expand(-1, 3)], dim=1),
        torch.cat([batch.values, torch.full((4, 3, 2), torch.nan)], dim=1),
        torch.cat([batch.mask, torch.zeros(4, 3, 2, dtype=torch.bool)], dim=1),
        batch.ids,
    )
    torch.testing.assert_close(made.loss(longer, key).total, want, rtol=1e-12, atol=0)
    grads = torch.autograd.grad(made.loss(nan, key).total, list(made.parameters()))
    assert all(torch.isfinite(g).all() for g in grads)


def test_times_matter_and_shared_times_are_times_of_each():
    made, batch, key = model(), series(), Key.rows(3, 4)
    want = made.loss(batch, key).total
    moved = replace(batch, times=batch.times * 0.9)
    assert float((made.loss(moved, key).total - want).detach().abs()) > 1e-3
    shared = replace(batch, times=batch.times[0])
    each = replace(batch, times=batch.times[:1].expand(4, -1))
    torch.testing.assert_close(made.loss(shared, key).total, made.loss(each, key).total, rtol=1e-12, atol=0)


def test_a_series_alone_is_what_it_is_in_a_batch():
    made, batch = model(), series()
    whole = made.sample_posterior(batch, Key(3, batch.ids)).z
    rows = torch.tensor([2])
    one = made.sample_posterior(batch.rows(rows), Key(3, batch.ids[rows])).z
    torch.testing.assert_close(one, whole[rows], rtol=0, atol=1e-12)


def test_nothing_observed_and_no_guidance_is_the_prior():
    """Then posterior and prior have one drift: no divergence of paths, and equal samples from equal starts."""
    prior, diffusion = DriftNet(3), ConstantDiffusion(3)
    control = DriftNet(3, 11)
    nn.init.zeros_(control.net[-1].weight)  # type: ignore[arg-type]
    nn.init.zeros_(control.net[-1].bias)  # type: ignore[arg-type]
    made = model(prior=prior, diffusion=diffusion, posterior=Guided(prior, diffusion, control))
    for part in (made.encoder.start.straight, made.encoder.start.bent[-1]):  # type: ignore[union-attr, index]
        nn.init.zeros_(part.weight)  # type: ignore[union-attr]
        nn.init.zeros_(part.bias)  # type: ignore[union-attr]
    with torch.no_grad():
        made.encoder.start.straight.bias.copy_(torch.tensor([0.0] * 3 + [math.log(math.expm1(1.0 - 1e-4))] * 3))  # type: ignore[union-attr]
    batch = replace(series(), mask=torch.zeros(4, 6, 2, dtype=torch.bool))
    parts = made.loss(batch, Key.rows(3, 4)).parts
    assert parts["kl_path"] == 0 and parts["log_likelihood"] == 0 and float(parts["kl_start"]) < 1e-12
    there, here = made.sample_posterior(batch, Key.rows(5, 4)), made.sample_prior(Key.rows(5, 4))
    torch.testing.assert_close(there.z, here.z, rtol=1e-12, atol=1e-12)
    assert here.x.shape == (4, 17, 2) and torch.equal(here.ts, GRID)


def test_affine_control_from_the_encoder_ends_with_the_last_observation():
    head = nn.Linear(11, 6)
    prior, diffusion = DriftNet(3), ConstantDiffusion(3)
    parts = {"encoder": BackwardGRU(2, 3, 8, head), "posterior": Guided(prior, diffusion, AffineControl())}
    made = model(prior=prior, diffusion=diffusion, **parts)
    batch, key = series(), Key.rows(3, 4)
    context = made.encoder(batch, GRID).context
    last = torch.where(batch.observed, batch.times, 0.0).max(dim=1).values
    behind = GRID[None] >= last[:, None]
    assert context.shape == (4, 17, 6) and not context[behind].any() and context[~behind].all()
    z, u = torch.randn(4, 3), AffineControl()(GRID[0], torch.randn(4, 3), torch.zeros(4, 6))
    assert not u.any()
    torch.testing.assert_close(AffineControl()(GRID[0], z, context[:, 0]), context[:, 0, :3] * z + context[:, 0, 3:])
    loss = made.loss(batch, key).total
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in made.parameters())


def test_methods_gradients_and_precisions():
    batch, key = series(), Key.rows(3, 4)
    direct, stored = model(), model(gradient=Checkpoint())
    found = [torch.autograd.grad(m.loss(batch, key).total, list(m.parameters())) for m in (direct, stored)]
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-10, atol=1e-12)
    for method in (Milstein(), SRI2(), RI6()):  # of which the last two need the areas of the path
        made = model(method=method)
        assert math.isfinite(made.loss(batch, key).total.item())
        assert math.isfinite(made.bound(batch, key, 2).sum().item())
        made.sample_prior(key)
    single = SeriesBatch(batch.times.float(), batch.values.float(), batch.mask, batch.ids)
    made = direct.float()
    made.grid = GRID  # `float` takes the times with it
    assert made.loss(single, key).total.dtype == torch.float32


def test_states_between_points_of_the_grid_lie_on_the_chord():
    ys = torch.randn(2, 17, 3)
    on_grid = at_times(ys, GRID, GRID.expand(2, -1))
    torch.testing.assert_close(on_grid, ys, rtol=0, atol=1e-12)
    between = at_times(ys, GRID, (GRID[:-1] + 0.25 * GRID.diff()).expand(2, -1))
    torch.testing.assert_close(between, 0.75 * ys[:, :-1] + 0.25 * ys[:, 1:])


class LinearDrift(nn.Module):
    """rate (mean - z)."""

    def __init__(self, rate: float, mean: float) -> None:
        super().__init__()
        self.rate, self.mean = rate, mean

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        return self.rate * (self.mean - z)


def test_the_filter_of_the_benchmark_is_the_normal_law_of_all_observations(ou):
    process = ou.OrnsteinUhlenbeck()
    ts = torch.tensor([0.1, 0.5, 0.6, 1.4])
    batch = process.sample(Key.rows(0, 3), ts, keep=0.7)
    found = process.log_likelihood(batch)
    gap = (ts[:, None] - ts[None, :]).abs()
    covariance = process.variance * torch.exp(-process.rate * gap) + process.noise**2 * torch.eye(4)
    for row in range(3):
        seen = batch.mask[row, :, 0]
        law = torch.distributions.MultivariateNormal(
            torch.full((int(seen.sum()),), process.mean), covariance[seen][:, seen]
        )
        torch.testing.assert_close(found[row], law.log_prob(batch.values[row, seen, 0]))


def test_bounds_of_the_true_model_come_to_the_exact_likelihood(ou):
    """Of the process in Euler-Maruyama steps, with the exact law of z in the steps as the posterior cannot have it."""
    step = float(GRID[1])
    true = ou.OrnsteinUhlenbeck(noise=0.5, step=step)
    batch = ou.OrnsteinUhlenbeck(noise=0.5).sample(Key.rows(0, 24), GRID[2::4], keep=0.8)
    exact = true.log_likelihood(batch)
    drift, diffusion = LinearDrift(true.rate, true.mean), ConstantDiffusion(1, true.spread)
    made = model(
        1,
        1,
        prior=drift,
        diffusion=diffusion,
        posterior=Guided(drift, diffusion, DriftNet(1, 10)),
        decoder=nn.Identity(),
        likelihood=GaussianLikelihood(1, true.noise, learned=False),
    )
    with torch.no_grad():
        made.start_mean.fill_(true.mean)
        made.start_log_sd.fill_(0.5 * math.log(true.variance))
    key = Key(7, batch.ids)
    with torch.no_grad():
        few, many = (made.bound(batch, key, samples) for samples in (1, 1000))
    elbo = torch.stack([made.loss(batch, key.fold(i)).parts["elbo"] for i in range(8)]).mean()
    print(f"\nELBO {float(elbo):.3f}, 1 sample {float(few.mean()):.3f}, 1000 {float(many.mean()):.3f}", end=" ")
    print(f"exact {float(exact.mean()):.3f}")
    assert float(elbo) < float(exact.mean()) - 0.1 and float(few.mean()) < float(many.mean())
    torch.testing.assert_close(many.mean(), exact.mean(), rtol=0, atol=0.05)


class Smoothed(nn.Module):
    """What is known of z at each time of the grid from what is seen then and later, of an Ornstein-Uhlenbeck process
    in steps: exactly, by the information filter run backwards."""

    def __init__(self, process: Any) -> None:
        super().__init__()
        self.process = process

    def forward(self, batch: SeriesBatch, grid: Tensor) -> Encoded:
        p, h = self.process, float(grid[1] - grid[0])
        decay, spread = 1 - p.rate * h + (p.rate * h) ** 2 / 2, p.spread * h**0.5 * (1 - p.rate * h / 2)
        information, seen = torch.zeros(len(batch.values)), torch.zeros(len(batch.values))
        context = [torch.stack([information, seen], dim=1)]
        for t in reversed(grid):
            here = (batch.times - t).abs() < 1e-6
            if here.any():
                x, mask = batch.values[:, here, 0].squeeze(1), batch.mask[:, here, 0].squeeze(1)
                more = torch.where(mask, 1 / p.noise**2, 0.0)
                total = information + more
                seen = torch.where(total > 0, (information * seen + more * x) / total.clamp(min=1e-12), 0.0)
                information = total
            context.append(torch.stack([information.sqrt(), seen], dim=1))
            first = information, seen
            information = decay**2 * information / (1 + spread**2 * information)
            seen = (seen - p.mean * (1 - decay)) / decay
        total = first[0] + 1 / p.variance
        mean = (first[0] * first[1] + p.mean / p.variance) / total
        return Encoded(mean[:, None], total.rsqrt()[:, None], torch.stack(context[-2::-1], dim=1))


class Pull(nn.Module):
    """The control by which `Conditioned` begins its step."""

    def __init__(self, prior: nn.Module, diffusion: nn.Module, h: float) -> None:
        super().__init__()
        self.prior, self.diffusion, self.h = prior, diffusion, h

    def forward(self, t: Tensor, z: Tensor, context: Tensor) -> Tensor:
        root, seen = context.chunk(2, dim=-1)
        pull = self.diffusion(t, z) * root.square()
        return pull * (seen - z - self.h * self.prior(t, z)) / (1 + self.h * self.diffusion(t, z) * pull)


@pytest.mark.parametrize("conditioned", [True, False])
def test_conditioned_steps_come_to_the_exact_likelihood_where_those_of_a_drift_do_not(ou, conditioned):
    """A linear prior and all that is known of the future: one path gives log p(x), but for the size of the steps."""
    true, grid = ou.OrnsteinUhlenbeck(), torch.linspace(0.0, 2.0, 33, dtype=torch.float64)
    batch = true.sample(Key.rows(0, 64), grid[4::4], keep=0.8)
    drift, diffusion = LinearDrift(true.rate, true.mean), ConstantDiffusion(1, true.spread)
    control = Pull(drift, diffusion, float(grid[1]))
    made = model(
        1,
        1,
        prior=drift,
        diffusion=diffusion,
        posterior=Conditioned(drift, diffusion) if conditioned else Guided(drift, diffusion, control),
        encoder=Smoothed(true),
        decoder=nn.Identity(),
        likelihood=GaussianLikelihood(1, true.noise, learned=False),
        grid=grid,
    )
    with torch.no_grad():
        made.start_mean.fill_(true.mean)
        made.start_log_sd.fill_(0.5 * math.log(true.variance))
        key, exact = Key(7, batch.ids), true.log_likelihood(batch)
        off = made.bound(batch, key, 1) - exact  # where the posterior is exact, of equal value on every path
        elbo = torch.stack([made.loss(batch, key.fold(i)).parts["elbo"] for i in range(8)]).mean()
    print(f"\noff by {float(off.mean()):.4f}, spread {float(off.std()):.4f}, ELBO {float(elbo - exact.mean()):.3f}")
    if conditioned:
        assert abs(float(off.mean())) < 0.02 and float(off.std()) < 0.1
        assert abs(float(elbo - exact.mean())) < 0.3  # of few paths
    else:
        assert float(off.mean()) < -0.3 and float(off.std()) > 0.3


def test_every_parameter_of_a_conditioned_model_learns_and_every_path_goes_with_it():
    prior, diffusion = DriftNet(3), EntrywiseDiffusion(3)
    parts = {"encoder": BackwardGRU(2, 3, 8, Readout(11, 6)), "posterior": Conditioned(prior, diffusion)}
    made, batch, key = model(prior=prior, diffusion=diffusion, **parts), series(), Key.rows(3, 4)
    for loss in (made.loss(batch, key).total, -made.bound(batch, key, 4).mean()):
        found = torch.autograd.grad(loss, list(made.parameters()))
        assert all(torch.isfinite(g).all() and g.abs().max() > 0 for g in found)
    nothing = replace(batch, mask=torch.zeros_like(batch.mask))
    assert made.loss(nothing, key).parts["kl_path"] == 0
    assert made.sample_posterior(batch, key).z.shape == (4, 17, 3)
    for wrong in ({"method": Milstein()}, {"gradient": Checkpoint()}):
        with pytest.raises(TypeError, match="a `Conditioned` posterior has steps of its own"):
            model(prior=prior, diffusion=diffusion, **parts, **wrong)  # type: ignore[arg-type]


def test_refusals():
    made, batch, key = model(), series(), Key.rows(3, 4)
    with pytest.raises(ValueError, match=r"`key` must have one row per series, 4, got 3"):
        made.loss(batch, Key.rows(3, 3))
    with pytest.raises(ValueError, match="observations must lie within the grid, 0 to 2, got times from"):
        made.loss(replace(batch, times=batch.times + 1.0), key)
    with pytest.raises(ValueError, match=r"made for series of 3 channels, got values.*BackwardGRU\(channels=2"):
        model(encoder=BackwardGRU(3, 3, 8)).loss(batch, key)
    with pytest.raises(ValueError, match="decoder must give the channels of the series, 2, got 3"):
        model(decoder=nn.Linear(3, 3)).loss(batch, key)
    with pytest.raises(TypeError, match="in the sense of Ito, got StochasticHeun"):
        model(method=StochasticHeun())
    with pytest.raises(ValueError, match="`grid` must hold at least two times"):
        model(grid=torch.zeros(1, dtype=torch.float64))
    with pytest.raises(ValueError, match="`grid` must increase strictly"):
        model(grid=torch.zeros(3, dtype=torch.float64))
    with pytest.raises(ValueError, match="`latent` must be a whole number"):
        LatentSDE(**{**vars_of(made), "latent": 0})
    with pytest.raises(ValueError, match="`samples` must be a whole number"):
        made.bound(batch, key, 0)
    for kind in (ConstantDiffusion, EntrywiseDiffusion):
        with pytest.raises(ValueError, match="`sd` must be positive"):
            kind(2, sd=0.0)
    with pytest.raises(ValueError, match="`sd` must be positive"):
        GaussianLikelihood(1, -1.0)
    with pytest.raises(ValueError, match="`times` must have shape"):
        replace(batch, times=batch.times[:, :-1])
    with pytest.raises(ValueError, match="must not fall"):
        replace(batch, times=batch.times.flip(1))
    with pytest.raises(ValueError, match="`values` must be finite where"):
        replace(batch, values=torch.full_like(batch.values, torch.nan))


def vars_of(made: LatentSDE) -> dict[str, Any]:
    """The parts of a model."""
    names = ("encoder", "posterior", "prior", "diffusion", "decoder", "likelihood", "latent", "grid")
    return {name: getattr(made, name) for name in names}
