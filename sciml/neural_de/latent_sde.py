"""The latent SDE: a series is seen through an SDE that is inferred along with its law.

    prior       z(t0) ~ N(m, s²),    dz = f(t, z) dt + g(t, z) dW
    posterior   z(t0) ~ N(mu(x), sigma(x)²),    dz = h(t, z, c(t, x)) dt + g(t, z) dW
    series      x(t_i) = decoder(z(t_i)) + noise

Both share the diffusion, so that their divergence is finite: KL of the laws of z(t0), and 1/2 int |(h - f)/g|² dt along
the path (Girsanov). Training maximises the evidence bound E log p(x | z) - KL.

Source: Li, Wong, Chen & Duvenaud (2020), "Scalable gradients for stochastic differential equations", arXiv 2001.01328,
section 5.
"""

import math
from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.core import Key, Loss
from sciml.core.checks import check_finite, check_increasing, check_whole
from sciml.integrate import (
    SDE,
    AbstractGradient,
    AbstractStochastic,
    DiagonalNoise,
    EulerMaruyama,
    Fixed,
    Ito,
    SaveAt,
    WithKL,
    solve,
    with_kl,
)
from sciml.neural_de.context import ContextOnGrid
from sciml.neural_de.encoder import Encoded
from sciml.neural_de.fields import Conditioned
from sciml.neural_de.path_ratio import Steps, conditioned_paths, steps_along
from sciml.neural_de.series import SeriesBatch, at_times
from sciml.paths import BrownianMotion

_START, _PATH = 0, 1  # purposes of keys


@final
@dataclass(frozen=True, eq=False)
class LatentPaths:
    """Sampled paths on the grid of the model.

    Args:
        ts: times of the grid, [time].
        z: latent states, (batch, grid, latent).
        x: what they look like, without noise, (batch, grid, channel), [x].
    """

    ts: Float[Tensor, " grid"]
    z: Float[Tensor, "batch grid latent"]
    x: Float[Tensor, "batch grid channel"]


@final
@dataclass(frozen=True, eq=False)
class _Given:
    """The posterior drift given a context. It reaches neither the model nor its encoder: what the context is made of
    gets its gradient through the context, and not from the solve."""

    posterior: nn.Module
    context: ContextOnGrid

    def __call__(self, t: Tensor, z: Tensor) -> Tensor:
        return self.posterior(t, z, self.context(t))


@final
class LatentSDE(nn.Module):
    """A latent SDE made of its parts. z has one axis; g is diagonal, entry i a function of entry i of z.

    All series are solved on one grid; each is compared with the path at times of its own, between points of the grid
    with the chord. Put points where observations are if that matters: a chord lacks part of
    the noise, up to g² dt / 4 in variance.

    Args:
        encoder: (batch, grid) -> `Encoded`, such as `BackwardGRU`.
        posterior: h(t, z, context), such as `Guided`; or `Conditioned`, the better one unless steps are very small.
        prior: f(t, z), such as `DriftNet`.
        diffusion: g(t, z), positive, such as `EntrywiseDiffusion`. t is 0-D, or (batch, 1), for all three.
        decoder: z -> x, on the last axis; `nn.Identity()` where z is what is observed.
        likelihood: (decoded, x) -> log p entry by entry, such as `GaussianLikelihood`.
        latent: size of z.
        grid: times of the steps, [time], increasing; from before the first observation to the last or later.
        method: of the solve, in the sense of Ito.
        gradient: of the solve; `Direct` if None.

    Raises:
        TypeError: if the method is none for Ito terms.
        ValueError: for a grid that is no vector of increasing times, or an empty z.
    """

    grid: Tensor

    def __init__(
        self,
        *,
        encoder: nn.Module,
        posterior: nn.Module,
        prior: nn.Module,
        diffusion: nn.Module,
        decoder: nn.Module,
        likelihood: nn.Module,
        latent: int,
        grid: Float[Tensor, " grid"],
        method: AbstractStochastic = EulerMaruyama(),  # noqa: B008  (frozen)
        gradient: AbstractGradient | None = None,
    ) -> None:
        super().__init__()
        check_whole("latent", latent, 1)
        check_finite("grid", grid)
        check_increasing("grid", grid)
        if len(grid) < 2:
            raise ValueError(f"`grid` must hold at least two times, got {grid.tolist()}. Give the times of the steps.")
        if isinstance(posterior, Conditioned) and not (isinstance(method, EulerMaruyama) and gradient is None):
            raise TypeError(
                "a `Conditioned` posterior has steps of its own, and the gradient that autograd records, got "
                f"method={method} and gradient={gradient}. Leave both out, or take a `Guided` posterior."
            )
        if Ito not in method.senses:
            raise TypeError(
                f"the fields of a latent SDE are in the sense of Ito, got {type(method).__name__} of another sense. "
                "Take EulerMaruyama(), Milstein() or SRI2()."
            )
        self.encoder, self.posterior, self.prior, self.diffusion = encoder, posterior, prior, diffusion
        self.decoder, self.likelihood = decoder, likelihood
        self.start_mean, self.start_log_sd = nn.Parameter(torch.zeros(latent)), nn.Parameter(torch.zeros(latent))
        self.register_buffer("grid", grid.double())
        self.latent, self.method, self.gradient = latent, method, gradient

    def loss(self, batch: SeriesBatch, key: Key, kl_weight: float = 1.0) -> Loss:
        """The negative evidence bound per series, in nats, with one path each.

        Args:
            batch: what was observed.
            key: of z(t0) and of the path, one row per series.
            kl_weight: of both divergences, rising from 0 to 1 early in training; at 1 the loss is the bound.

        Returns:
            The mean over series, and its parts: `elbo` (with weight 1), `log_likelihood`, `kl_start`, `kl_path`.

        Raises:
            ValueError: if an observation lies outside of the grid, or the key has other rows than the batch.
        """
        self._check(batch, key)
        encoded = self.encoder(batch, self.grid)
        z0 = self._start(encoded, key)
        zs, kl = self._posterior(encoded, z0, key)
        fit = self._log_likelihood(batch, zs).mean()
        kl_start = self._kl_start(encoded).mean()
        kl_path = kl.mean()
        parts = {
            "elbo": fit - kl_start - kl_path,
            "log_likelihood": fit,
            "kl_start": kl_start,
            "kl_path": kl_path,
        }
        total = kl_weight * (kl_start + kl_path) - fit
        return Loss(total, {name: part.detach() for name, part in parts.items()})

    def bound(self, batch: SeriesBatch, key: Key, samples: int) -> Float[Tensor, " batch"]:
        """The importance-weighted bound of log p(x) per series, in nats: the tighter the more samples.

            log 1/K sum_k p(x | z_k) p(z_k(t0)) / q(z_k(t0)) exp(-int u dW - 1/2 int |u|² dt),    u = (h - f)/g

        Taken with steps of Euler-Maruyama, of which this is the exact ratio of densities; so that in the mean it is a
        bound of the likelihood of the model with these steps. Its negative mean can be trained on in place of `loss`:
        where a step is not small beside what observations tell, g² dt against their variance, posterior steps have more
        noise than the law of z given x, and `loss` then prefers a model with too little diffusion.

        Args:
            batch: what was observed.
            key: one row per series.
            samples: K, paths per series; they are solved at once.

        Raises:
            ValueError: as `loss`.

        Source: Burda, Grosse & Salakhutdinov (2016), "Importance weighted autoencoders", arXiv 1509.00519, (8).
        """
        self._check(batch, key)
        check_whole("samples", samples, 1)
        rows = torch.arange(len(batch.values), device=batch.ids.device).repeat_interleave(samples)
        several = batch.rows(rows)
        encoded = self.encoder(batch, self.grid)
        encoded = Encoded(encoded.mean[rows], encoded.sd[rows], encoded.context[rows])
        members = torch.arange(samples, device=rows.device).repeat(len(batch.values))
        each = Key(key.seed, key.ids[rows], members)
        z0 = self._start(encoded, each)
        path = self._path(each, z0)
        zs, steps = self._in_steps(encoded, z0, path)
        weights = self._log_likelihood(several, zs) + self._log_start_ratio(encoded, z0)
        weights = weights + steps.log_ratio(path.between_knots().w.transpose(0, 1))
        return torch.logsumexp(weights.reshape(-1, samples), dim=1) - math.log(samples)

    @torch.no_grad()
    def sample_prior(self, key: Key) -> LatentPaths:
        """Paths of the model itself, one per row of the key."""
        z0 = self.start_mean + self.start_log_sd.exp() * key.fold(_START).normal(
            self.latent, dtype=self.start_mean.dtype
        )
        term = self._term(self.prior, self._path(key, z0))
        return self._shown(self._walked(term, z0, self.method, None, ()))

    @torch.no_grad()
    def sample_posterior(self, batch: SeriesBatch, key: Key) -> LatentPaths:
        """Paths given what was observed, one per series.

        Raises:
            ValueError: as `loss`.
        """
        self._check(batch, key)
        encoded = self.encoder(batch, self.grid)
        return self._shown(self._posterior(encoded, self._start(encoded, key), key)[0])

    # Parts

    def _check(self, batch: SeriesBatch, key: Key) -> None:
        if key.batch != len(batch.values):
            raise ValueError(
                f"`key` must have one row per series, {len(batch.values)}, got {key.batch}. Give Key(seed, batch.ids)."
            )
        times = batch.each_times[batch.observed].double()
        low, high = float(self.grid[0]), float(self.grid[-1])
        slack = 1e-6 * (high - low)
        if times.numel() and not (times.min() >= low - slack and times.max() <= high + slack):
            raise ValueError(
                f"observations must lie within the grid, {low:g} to {high:g}, got times from {float(times.min()):g} to "
                f"{float(times.max()):g}. Make the model with a longer grid."
            )

    def _start(self, encoded: Encoded, key: Key) -> Tensor:
        return encoded.mean + encoded.sd * key.fold(_START).normal(self.latent, dtype=encoded.mean.dtype)

    def _path(self, key: Key, z0: Tensor) -> BrownianMotion:
        return BrownianMotion(key.fold(_PATH), (self.latent,), self.grid, levy=self.method.levy, dtype=z0.dtype)

    def _term(self, drift: Any, path: BrownianMotion) -> SDE:
        return SDE(drift, self.diffusion, path, structure=DiagonalNoise(), sense=Ito())

    def _posterior(self, encoded: Encoded, z0: Tensor, key: Key) -> tuple[Tensor, Tensor]:
        """Posterior states on the grid, (batch, grid, latent), and the divergence of each path, (batch,)."""
        if isinstance(self.posterior, Conditioned):
            zs, steps = self._in_steps(encoded, z0, self._path(key, z0))
            return zs, steps.divergence()
        context = ContextOnGrid(self.grid, encoded.context)
        term = with_kl(self._term(_Given(self.posterior, context), self._path(key, z0)), self.prior)
        states = self._walked(term, WithKL.start(z0), self.method, self.gradient, context.tensors)
        return states.y, states.kl[:, -1, 0]

    def _in_steps(self, encoded: Encoded, z0: Tensor, path: BrownianMotion) -> tuple[Tensor, Steps]:
        """Posterior states by steps of Euler-Maruyama or of `Conditioned`, and how these differ from the prior's."""
        if isinstance(self.posterior, Conditioned):
            w = path.between_knots().w.transpose(0, 1)
            return conditioned_paths(self.posterior, self.grid, z0, encoded.context, w)
        term = self._term(_Given(self.posterior, ContextOnGrid(self.grid, encoded.context)), path)
        zs = self._walked(term, z0, EulerMaruyama(), None, ())
        return zs, steps_along(self.posterior, self.prior, self.diffusion, self.grid, zs, encoded.context)

    def _walked(self, term: SDE, y0: Any, method: Any, gradient: Any, params: tuple[Tensor, ...]) -> Any:
        ends = float(self.grid[0]), float(self.grid[-1])
        save = SaveAt(ts=self.grid)
        return solve(
            term, method, y0, *ends, control=Fixed(ts=self.grid), save=save, gradient=gradient, params=params
        ).ys

    def _log_likelihood(self, batch: SeriesBatch, zs: Tensor) -> Tensor:
        """log p(x | z) of each series."""
        low, high = self.grid[0], self.grid[-1]
        times = batch.each_times.to(self.grid.dtype).clamp(low, high)  # of padding, which is masked
        decoded = self.decoder(at_times(zs, self.grid, times))
        if decoded.shape != batch.values.shape:
            raise ValueError(
                f"the decoder must give the channels of the series, {batch.values.shape[-1]}, got "
                f"{decoded.shape[-1]}. Make it with that many outputs."
            )
        entries = self.likelihood(decoded, torch.where(batch.mask, batch.values, 0.0))
        return torch.where(batch.mask, entries, 0.0).sum(dim=(1, 2))

    def _kl_start(self, encoded: Encoded) -> Tensor:
        """KL of two normal laws of z(t0), per series."""
        ratio = encoded.sd * torch.exp(-self.start_log_sd)
        shift = (encoded.mean - self.start_mean) * torch.exp(-self.start_log_sd)
        return (0.5 * (ratio.square() + shift.square() - 1) - ratio.log()).sum(-1)

    def _log_start_ratio(self, encoded: Encoded, z0: Tensor) -> Tensor:
        """log p(z0) / q(z0), per series."""
        own = (z0 - encoded.mean) / encoded.sd
        prior = (z0 - self.start_mean) * torch.exp(-self.start_log_sd)
        return (0.5 * (own.square() - prior.square()) + encoded.sd.log() - self.start_log_sd).sum(-1)

    def _shown(self, zs: Tensor) -> LatentPaths:
        return LatentPaths(self.grid, zs, self.decoder(zs))
