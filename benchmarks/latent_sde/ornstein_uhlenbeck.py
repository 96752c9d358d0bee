"""A noisy Ornstein-Uhlenbeck process at irregular times: data, and the exact likelihood of any such process.

dz = rate (mean - z) dt + spread dW,  in its stationary law at first,    x(t_i) = z(t_i) + noise e_i
"""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sciml.core import Key
from sciml.neural_de import SeriesBatch


@final
@dataclass(frozen=True)
class OrnsteinUhlenbeck:
    """The process and how it is seen.

    Args:
        rate: [1/time]. mean: [x]. spread: diffusion, [x/time^(1/2)]. noise: of the observations, [x].
        step: None for the process itself; else that of Euler-Maruyama on a grid from 0, with the law at first that of
            the process, [time].
    """

    rate: float | Tensor = 1.0
    mean: float | Tensor = 0.5
    spread: float | Tensor = 0.8
    noise: float | Tensor = 0.3
    step: float | None = None

    @property
    def variance(self) -> float | Tensor:
        """Of z in its stationary law."""
        return self.spread**2 / (2 * self.rate)

    def moved(self, dt: Tensor) -> tuple[Tensor, Tensor]:
        """Factor of z - mean, and variance added, over times dt."""
        if self.step is None:
            decay = torch.exp(-self.rate * dt)
            return decay, self.variance * (1 - decay**2)
        steps = torch.round(dt / self.step)
        factor = 1 - self.rate * self.step
        square = torch.as_tensor(factor**2)
        decay = torch.as_tensor(factor) ** steps
        return decay, self.spread**2 * self.step * (1 - square**steps) / (1 - square)

    def sample(self, key: Key, ts: Tensor, *, keep: float) -> SeriesBatch:
        """Series at times of `ts`, each with probability `keep`; all drawn exactly."""
        e = key.fold(0).normal(len(ts), 2)
        z = self.mean + self.variance**0.5 * e[:, 0, 0]
        states = [z]
        for i, dt in enumerate(ts.diff()):
            decay, added = self.moved(dt)
            z = self.mean + decay * (z - self.mean) + added.sqrt() * e[:, i + 1, 0]
            states.append(z)
        x = torch.stack(states, dim=1) + self.noise * e[..., 1]
        mask = key.fold(1).uniform(len(ts)) < keep
        return SeriesBatch(ts, x.unsqueeze(-1), mask.unsqueeze(-1), key.ids)

    def log_likelihood(self, batch: SeriesBatch) -> Tensor:
        """log p of each series, by the Kalman filter, (batch,): exact."""
        times, x, seen = batch.times, batch.values[..., 0], batch.mask[..., 0]
        mean = torch.zeros_like(x[:, 0]) + self.mean
        variance = torch.zeros_like(mean) + self.variance
        total = torch.zeros_like(mean)
        before = times.new_zeros(()) if self.step is not None else times[0]
        for i, t in enumerate(times):
            decay, added = self.moved(t - before)
            mean, variance, before = self.mean + decay * (mean - self.mean), decay**2 * variance + added, t
            law = torch.distributions.Normal(mean, (variance + self.noise**2) ** 0.5)
            gain = variance / (variance + self.noise**2)
            total = total + torch.where(seen[:, i], law.log_prob(x[:, i]), 0.0)
            mean = torch.where(seen[:, i], mean + gain * (x[:, i] - mean), mean)
            variance = torch.where(seen[:, i], (1 - gain) * variance, variance)
        return total


def most_likely(batch: SeriesBatch, steps: int = 200) -> OrnsteinUhlenbeck:
    """The process under which series are most likely: the classical way, which knows the form of the law."""
    raw = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([raw], max_iter=steps, line_search_fn="strong_wolfe")

    def process() -> OrnsteinUhlenbeck:
        rate, spread, noise = raw[[0, 2, 3]].exp().unbind()
        return OrnsteinUhlenbeck(rate, raw[1], spread, noise)

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = -process().log_likelihood(batch).mean()
        loss.backward()
        return loss

    optimiser.step(closure)  # type: ignore[arg-type]
    with torch.no_grad():
        found = process()
        return OrnsteinUhlenbeck(*(float(x) for x in (found.rate, found.mean, found.spread, found.noise)))


def standard_errors(found: OrnsteinUhlenbeck, batch: SeriesBatch) -> Tensor:
    """Of rate, mean, spread and noise at their most likely values, by the observed information."""
    double = SeriesBatch(batch.times.double(), batch.values.double(), batch.mask, batch.ids)
    at = torch.tensor([float(x) for x in (found.rate, found.mean, found.spread, found.noise)], dtype=torch.float64)

    def loss(values: Tensor) -> Tensor:
        rate, mean, spread, noise = values.unbind()
        return -OrnsteinUhlenbeck(rate, mean, spread, noise).log_likelihood(double).sum()

    information = torch.autograd.functional.hessian(loss, at)
    assert isinstance(information, Tensor)
    return torch.linalg.inv(information).diagonal().sqrt()


def independent(train: SeriesBatch, test: SeriesBatch) -> Tensor:
    """log p of each test series if all observations were independent and normal: no dynamics at all."""
    seen = train.values[train.mask]
    law = torch.distributions.Normal(seen.mean(), seen.std())
    return torch.where(test.mask, law.log_prob(torch.where(test.mask, test.values, 0.0)), 0.0).sum((1, 2))
