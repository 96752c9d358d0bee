"""How steps of the posterior differ from those of the prior: in the law of their Brownian motion, which is normal."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.neural_de.fields import Conditioned


class Steps(NamedTuple):
    """The steps of paths: where the prior has increments N(0, h) of Brownian motion, the posterior's are N(u h, v h).

    Args:
        u: the push along the noise, (batch, step, latent), [1/time^(1/2)].
        v: the share of the prior's variance that is left, like u.
        h: length, (step, 1), [time].
    """

    u: Float[Tensor, "batch step latent"]
    v: Float[Tensor, "batch step latent"]
    h: Float[Tensor, "step 1"]

    def divergence(self) -> Float[Tensor, " batch"]:
        """Of each path's steps from the prior's: sum of (v - 1 - log v + u² h) / 2, in nats."""
        return 0.5 * (self.v - 1 - self.v.log() + self.u.square() * self.h).sum(dim=(1, 2))

    def log_ratio(self, w: Float[Tensor, "batch step latent"]) -> Float[Tensor, " batch"]:
        """log prior/posterior of each path, made of u h + v^(1/2) w, in nats:

        sum of -u v^(1/2) w - u² h / 2 + (1 - v) w² / (2 h) + log v / 2
        """
        pushed = self.u * (self.v.sqrt() * w + 0.5 * self.u * self.h)
        return (0.5 * ((1 - self.v) * w.square() / self.h + self.v.log()) - pushed).sum(dim=(1, 2))


def conditioned_paths(
    posterior: Conditioned,
    grid: Float[Tensor, " grid"],
    z0: Float[Tensor, "batch latent"],
    context: Float[Tensor, "batch grid context"],
    w: Float[Tensor, "batch step latent"],
) -> tuple[Float[Tensor, "batch grid latent"], Steps]:
    """Paths of a `Conditioned` posterior on a grid, from increments of Brownian motion."""
    ts, hs = grid.to(z0.dtype), grid.diff().to(z0.dtype)
    zs, us, vs = [z0], [], []
    for t, h, at, dw in zip(ts.unbind(), hs.unbind(), context.unbind(1), w.unbind(1), strict=False):
        z, u, v = posterior(t, h, zs[-1], at, dw)
        zs.append(z)
        us.append(u)
        vs.append(v)
    return torch.stack(zs, dim=1), Steps(torch.stack(us, dim=1), torch.stack(vs, dim=1), hs.unsqueeze(-1))


def steps_along(
    posterior: nn.Module,
    prior: nn.Module,
    diffusion: nn.Module,
    grid: Float[Tensor, " grid"],
    zs: Float[Tensor, "batch grid latent"],
    context: Float[Tensor, "batch grid context"],
) -> Steps:
    """The steps of Euler-Maruyama that made paths on a grid along a posterior drift h(t, z, context), all at once."""
    batch, points, latent = zs.shape
    z = zs[:, :-1].reshape(-1, latent)
    t = grid[:-1].to(z.dtype).repeat(batch).unsqueeze(-1)
    u = (posterior(t, z, context[:, :-1].reshape(len(z), -1)) - prior(t, z)) / diffusion(t, z)
    u = u.reshape(batch, points - 1, latent)
    return Steps(u, torch.ones_like(u), grid.diff().to(z.dtype).unsqueeze(-1))
