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

    The context (r, m) of a step says, entry by entry, that its end was seen at m with variance 1/r²: so much is known
    of it from what is still to come. With f and g as they are at the start of a step of length h, the increment of
    Brownian motion is then no longer N(0, h) but

        W ~ N(u h, v h),    v = 1 / (1 + g² h r²),    u = v g r² (m - z - f h)

    which leads to z1 = z + (f(z) + f(z + f h + g W)) h / 2 + g W, of weak order 2 where g is constant, else 1. In
    between this is an SDE with the diffusion of the prior whose drift pulls the harder the nearer the end is; its
    divergence from the prior is that of the two laws of W, exactly so in discrete time. For a linear prior that is seen
    with normal noise, steps of this kind make the posterior itself as h becomes small. Steps of Euler-Maruyama along a
    drift (`Guided`) all have v = 1. That costs about (g² h r²)²/4 nats per step, and who trains on it comes to prefer a
    diffusion that is too small.

    Args:
        prior: f(t, z).
        diffusion: g(t, z), like z.

    Source: Whitaker, Golightly, Boys & Sherlock (2017), Stat. Comput. 27, 885-900, the modified diffusion bridge for
    noisy observations; Durham & Gallant (2002), J. Bus. Econ. Stat. 20, 297-316. There m is the next value seen.
    """

    def __init__(self, prior: nn.Module, diffusion: nn.Module) -> None:
        super().__init__()
        self.prior, self.diffusion = prior, diffusion

    def forward(self, t: Tensor, h: Tensor, z: Tensor, context: Tensor, w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One step.

        Args:
            t, h: when it begins and its length, 0-D, [time].
            z: where it begins, (batch, latent).
            context: (r, m), twice the size of z.
            w: an increment of Brownian motion over h, N(0, h), like z.

        Returns:
            (z1, u, v), each like z.
        """
        root, seen = context.chunk(2, dim=-1)
        f, g = self.prior(t, z), self.diffusion(t, z)
        end, pull = torch.addcmul(z, f, h), g * root.square()
        v = 1 / (1 + h * g * pull)
        u = v * pull * (seen - end)
        moved = g * torch.addcmul(v.sqrt() * w, u, h)
        return torch.addcmul(z, f + self.prior(t + h, end + moved), 0.5 * h) + moved, u, v


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
