"""How steps of the posterior differ from those of the prior: steps of Euler-Maruyama are normal, and all is exact."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.neural_de.fields import Conditioned


class Steps(NamedTuple):
    """The steps of paths. With f and g those of the prior, the posterior's step is N(z + (f + g u) h, v g² h).

    Args:
        u: the push along the noise, (batch, step, latent), [1/time^(1/2)].
        v: the share of the prior's variance, like u.
        h: length, (step, 1), [time].
    """

    u: Float[Tensor, "batch step latent"]
    v: Float[Tensor, "batch step latent"]
    h: Float[Tensor, "step 1"]

    def divergence(self) -> Float[Tensor, " batch"]:
        """Of each path's steps from the prior's: sum of (v - 1 - log v + u² h) / 2, in nats."""
        return 0.5 * (self.v - 1 - self.v.log() + self.u.square() * self.h).sum(dim=(1, 2))

    def log_ratio(self, w: Float[Tensor, "batch step latent"]) -> Float[Tensor, " batch"]:
        """log prior/posterior of each path, given the increments of Brownian motion that made it, in nats:

        sum of -u v^(1/2) w - u² h / 2 + (1 - v) w² / (2 h) + log v / 2
        """
        pushed = self.u * (self.v.sqrt() * w + 0.5 * self.u * self.h)
        return (0.5 * ((1 - self.v) * w.square() / self.h + self.v.log()) - pushed).sum(dim=(1, 2))


def steps_along(
    posterior: nn.Module,
    prior: nn.Module,
    diffusion: nn.Module,
    grid: Float[Tensor, " grid"],
    zs: Float[Tensor, "batch grid latent"],
    context: Float[Tensor, "batch grid context"],
) -> Steps:
    """The steps of paths on a grid, all at once.

    Args:
        posterior: h(t, z, context), or `Conditioned`.
        prior: f(t, z).
        diffusion: g(t, z), like z.
        grid: times of the steps, [time].
        zs: states there.
        context: of the posterior there.
    """
    batch, points, latent = zs.shape
    z = zs[:, :-1].reshape(-1, latent)
    t = grid[:-1].to(z.dtype).repeat(batch).unsqueeze(-1)
    given = context[:, :-1].reshape(len(z), -1)
    u = (posterior(t, z, given) - prior(t, z)) / diffusion(t, z)
    v = posterior.share(t, z, given) if isinstance(posterior, Conditioned) else torch.ones_like(u)
    shape = (batch, points - 1, latent)
    return Steps(u.reshape(shape), v.reshape(shape), grid.diff().to(z.dtype).unsqueeze(-1))
