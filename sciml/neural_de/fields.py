"""Drifts, diffusions and likelihoods of latent SDEs."""

import math
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.core.checks import check_positive, check_whole


@final
class DriftNet(nn.Module):
    """A drift of tanh layers that does not see the time: `f(t, z)`, or `f(t, z, context)`.

    Args:
        latent: size of z.
        context: size of the context, 0 for none.
        width, depth: of the hidden layers.
    """

    def __init__(self, latent: int, context: int = 0, width: int = 32, depth: int = 1) -> None:
        super().__init__()
        check_whole("depth", depth, 1)
        sizes = [latent + context, *[width] * depth]
        layers = [part for a, b in zip(sizes, sizes[1:], strict=False) for part in (nn.Linear(a, b), nn.Tanh())]
        self.net = nn.Sequential(*layers, nn.Linear(width, latent))

    def forward(self, t: Tensor, z: Tensor, context: Tensor | None = None) -> Tensor:
        """The drift, like z, [state/time]."""
        return self.net(z if context is None else torch.cat([z, context], dim=-1))


@final
class Guided(nn.Module):
    """A posterior drift that is the prior one, pushed along the noise: f + g u, so that the path KL is 1/2 int |u|².

    Args:
        prior: f(t, z).
        diffusion: g(t, z), like z.
        control: u(t, z, context), like z, [1/time^(1/2)].
    """

    def __init__(self, prior: nn.Module, diffusion: nn.Module, control: nn.Module) -> None:
        super().__init__()
        self.prior, self.diffusion, self.control = prior, diffusion, control

    def forward(self, t: Tensor, z: Tensor, context: Tensor) -> Tensor:
        """The drift, like z, [state/time]."""
        return torch.addcmul(self.prior(t, z), self.diffusion(t, z), self.control(t, z, context))


@final
class AffineControl(nn.Module):
    """u = a z + b entry by entry, with (a, b) the context: what guides a linear process is of this form.

    All networks are in the encoder then, outside of the loop over steps: the cheapest control, and the best one where
    the posterior is nearly normal.
    """

    def forward(self, t: Tensor, z: Tensor, context: Tensor) -> Tensor:
        """The control, like z, [1/time^(1/2)]; the context has twice the size of z."""
        slope, level = context.chunk(2, dim=-1)
        return torch.addcmul(level, slope, z)


@final
class Conditioned(nn.Module):
    """A posterior whose steps are those of the prior, given that something normal is known of where they end.

    The context (r, e) of a step stands for the factor exp(e z1 - r² z1² / 2), entry by entry, where z1 is the end of
    the step: information r², from whatever is still to come. With f and g as they are at its start, a step of length h
    is

        z1 ~ N(z + v h (f + g² (e - r² z)), v g² h),    v = 1 / (1 + g² h r²)

    and its divergence from the prior's step is that of two normal laws, (v - 1 - log v) / 2 + (shift)² / (2 g² h). In
    between it is an SDE with the diffusion of the prior whose drift pulls the harder the nearer the end is, and that is
    the divergence of its path too. For a linear prior seen with normal noise this family holds the posterior itself.
    Steps of Euler-Maruyama of a drift (`Guided`) all have the variance g² h of the prior. That is too much by the
    factor 1/v, costs about (g² h r²)²/4 per step, and makes who trains on it prefer a diffusion that is too small.

    Args:
        prior: f(t, z).
        diffusion: g(t, z), like z.

    Source: Whitaker, Golightly, Boys & Sherlock (2017), Stat. Comput. 27, 885-900, the modified diffusion bridge for
    noisy observations; Durham & Gallant (2002), J. Bus. Econ. Stat. 20, 297-316. There what comes is the next value.
    """

    def __init__(self, prior: nn.Module, diffusion: nn.Module) -> None:
        super().__init__()
        self.prior, self.diffusion = prior, diffusion

    def forward(self, t: Tensor, z: Tensor, context: Tensor) -> Tensor:
        """The mean drift over a step, like z, [state/time]; the context is (r, e, h), twice the size of z and 1."""
        g, share, pull = self._parts(t, z, context)
        return torch.addcmul(self.prior(t, z), g.square(), pull) * share

    def share(self, t: Tensor, z: Tensor, context: Tensor) -> Tensor:
        """v: the share of the prior's variance that is left to a step, like z."""
        return self._parts(t, z, context)[1]

    def spread(self, t: Tensor, z: Tensor, context: Tensor) -> Tensor:
        """g v^(1/2), like z, [state/time^(1/2)]."""
        g, share, _ = self._parts(t, z, context)
        return g * share.sqrt()

    def _parts(self, t: Tensor, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        root, level, h = context.split([z.shape[-1], z.shape[-1], 1], dim=-1)
        g, information = self.diffusion(t, z), root.square()
        return g, 1 / torch.addcmul(torch.ones_like(h), g.square() * h, information), level - information * z


@final
class ConstantDiffusion(nn.Module):
    """One positive number per entry of z.

    Args:
        latent: size of z.
        sd: at first, [state/time^(1/2)].

    Raises:
        ValueError: unless `sd` is positive.
    """

    def __init__(self, latent: int, sd: float = 0.5) -> None:
        super().__init__()
        check_positive("sd", sd)
        self.log_sd = nn.Parameter(torch.full((latent,), math.log(sd)))

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        """The diffusion, like z, [state/time^(1/2)]."""
        return self.log_sd.exp().expand_as(z)


@final
class EntrywiseDiffusion(nn.Module):
    """Entry i is a positive function of entry i of z: a hidden layer each, softplus at the end.

    Args:
        latent: size of z.
        width: of the hidden layers.
        sd: at first, [state/time^(1/2)].

    Raises:
        ValueError: unless `sd` is positive.
    """

    def __init__(self, latent: int, width: int = 16, sd: float = 0.5) -> None:
        super().__init__()
        check_positive("sd", sd)
        self.weight = nn.Parameter(torch.randn(latent, width))
        self.bias = nn.Parameter(torch.randn(latent, width))
        self.out = nn.Parameter(0.1 * torch.randn(latent, width) / width**0.5)
        self.level = nn.Parameter(torch.full((latent,), math.log(math.expm1(sd))))

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        """The diffusion, like z, [state/time^(1/2)]."""
        hidden = torch.tanh(torch.addcmul(self.bias, z.unsqueeze(-1), self.weight))
        return nn.functional.softplus((hidden * self.out).sum(-1) + self.level)


@final
class GaussianLikelihood(nn.Module):
    """x = decoded z + noise, independent and normal, with one spread per channel.

    Args:
        channels: of x.
        sd: of the noise, at first if it is learned, [x].
        learned: whether it is.

    Raises:
        ValueError: unless `sd` is positive.
    """

    log_sd: Tensor

    def __init__(self, channels: int, sd: float = 0.1, *, learned: bool = True) -> None:
        super().__init__()
        check_positive("sd", sd)
        start = torch.full((channels,), math.log(sd))
        if learned:
            self.log_sd = nn.Parameter(start)
        else:
            self.register_buffer("log_sd", start)

    def forward(self, mean: Float[Tensor, "*axes channel"], x: Float[Tensor, "*axes channel"]) -> Tensor:
        """log p(x), entry by entry."""
        scaled = (x - mean) * torch.exp(-self.log_sd)
        return -0.5 * scaled.square() - self.log_sd - 0.5 * math.log(2 * math.pi)
