"""Quantities that flows conserve or balance, and how far a rollout drifts from them.

For 2-D flow with vorticity omega = dv/dx - du/dy and streamfunction psi, Laplace(psi) = -omega, per unit
area:

    energy = 1/2 <u² + v²> = 1/2 <psi omega>,    enstrophy = 1/2 <omega²>

Leading axes are free: fields (batch, 1, x, y) give (batch,), trajectories (batch, time, 1, x, y) give (batch,
time).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.grids import Grid, streamfunction, transform, wavenumbers
from sciml.metrics.frames import ROUNDING, check_same, infinite_if_undefined, relative
from sciml.metrics.spectra import mode_power


def energy(omega: Float[Tensor, "*lead channel x y"], grid: Grid) -> Float[Tensor, "*lead"]:
    """Kinetic energy of the divergence-free flow with vorticity omega and no mean velocity, [length²/time²].

    Raises:
        ValueError: if there is not exactly one channel or the grid does not match.
    """
    _check_vorticity(omega)
    omega = omega.double()
    return 0.5 * (streamfunction(omega, grid) * omega).mean((-3, -2, -1))


def enstrophy(omega: Float[Tensor, "*lead channel x y"]) -> Float[Tensor, "*lead"]:
    """Half the mean square vorticity, [1/time²].

    Raises:
        ValueError: if there is not exactly one channel.
    """
    _check_vorticity(omega)
    return 0.5 * omega.double().square().mean((-3, -2, -1))


def kinetic_energy(velocity: Float[Tensor, "*axes"], grid: Grid) -> Float[Tensor, "*lead"]:
    """1/2 <|velocity|²>: components summed, space averaged, [field²]; 1/2 <u²> for a scalar field."""
    return 0.5 * velocity.double().square().mean(grid.space).sum(-1)


def drift(quantity: Float[Tensor, "batch time"], initial: Float[Tensor, " batch"]) -> Float[Tensor, "batch time"]:
    """(q(t) - q(0)) / |q(0)|, signed, [1]; inf where q is not a number.

    Args:
        quantity: along the rollout, e.g. `energy` of the predicted frames.
        initial: of the last given frame.
    """
    start = initial[:, None].expand_as(quantity)
    return relative(quantity - start, start.abs())


def energy_ratio(
    prediction: Float[Tensor, "batch time channel x y"],
    truth: Float[Tensor, "batch time channel x y"],
    grid: Grid,
) -> Float[Tensor, "batch time"]:
    """Energy of each predicted frame over the time mean of the truth's energy, [1]; 1 is right on average.

    Both are vorticity fields. Infinite where the prediction is not finite.

    Raises:
        ValueError: if shapes differ, the truth is not finite, or there is not exactly one channel.
    """
    check_same(prediction, truth)
    return _over_time_mean(energy(prediction, grid), energy(truth, grid))


def enstrophy_ratio(
    prediction: Float[Tensor, "batch time channel x y"], truth: Float[Tensor, "batch time channel x y"]
) -> Float[Tensor, "batch time"]:
    """Enstrophy of each predicted frame over the time mean of the truth's, [1]; as `energy_ratio`."""
    check_same(prediction, truth)
    return _over_time_mean(enstrophy(prediction), enstrophy(truth))


def divergence(velocity: Float[Tensor, "*axes"], grid: Grid) -> Float[Tensor, "*lead"]:
    """Root mean square of div u relative to that of the velocity gradient, [1].

        sqrt(sum_k |k . u_hat|² / sum_k |k|² |u_hat|²)

    It lies in [0, 1]: 0 for a solenoidal field, 1 for a gradient field; 0 for a uniform one.

    Raises:
        ValueError: if there is not one channel per axis of the grid.
    """
    if velocity.shape[-grid.ndim - 1] != grid.ndim:
        raise ValueError(
            f"`velocity` must have one channel per spatial axis ({grid.ndim}), got shape "
            f"{tuple(velocity.shape)}. Give (..., axis, *space) with the components in order x, y, z."
        )
    u_hat = transform(velocity.double(), grid)
    ks = torch.stack(torch.broadcast_tensors(*wavenumbers(grid, odd=True))).to(velocity.device)
    channel = -grid.ndim - 1
    div = mode_power((ks * u_hat).sum(channel), grid).sum(grid.space)
    gradient = (mode_power(u_hat, grid).sum(channel) * ks.square().sum(0)).sum(grid.space)
    # The gradient of a uniform field is rounding of its transform, at any |k|, and has no direction.
    rounding = (ROUNDING**2 * ks.square().sum(0).max()) * mode_power(u_hat, grid).sum((channel, *grid.space))
    return relative(torch.where(gradient <= rounding, 0.0, div).sqrt(), gradient.sqrt())


def _over_time_mean(
    prediction: Float[Tensor, "batch time"], truth: Float[Tensor, "batch time"]
) -> Float[Tensor, "batch time"]:
    return infinite_if_undefined(prediction) / truth.mean(1, keepdim=True)


def _check_vorticity(omega: Tensor) -> None:
    if omega.shape[-3] != 1:
        raise ValueError(
            f"`omega` must have one channel, shape (..., 1, x, y), got {tuple(omega.shape)}. "
            "For a velocity use `kinetic_energy`, or `grids.vorticity_from_velocity` first."
        )
