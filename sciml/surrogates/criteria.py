"""How far a predicted frame is from the true one, as a number to be minimised.

The mean square weighs every mode by its energy, so that the small scales of a steep spectrum hardly count, and a
network trained on it loses them over a rollout. `Spectral` weighs them up, and asks for the right energy of every scale
even where its phase cannot be known.
"""

import abc
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.core.checks import check_at_least
from sciml.grids import Grid, laplacian_symbol, transform
from sciml.metrics import energy_spectrum


class AbstractCriterion(nn.Module, abc.ABC):
    """A distance of frames. Subclasses are final."""

    @abc.abstractmethod
    def forward(
        self,
        prediction: Float[Tensor, "batch channel *space"],
        truth: Float[Tensor, "batch channel *space"],
        scale: Float[Tensor, "batch channel *space"],
        unit: Float[Tensor, "..."],
    ) -> Float[Tensor, ""]:
        """The distance, [1].

        Args:
            prediction: predicted frames.
            truth: true frames.
            scale: what the network had to add: the true change over the step, or the deviation from the mean.
            unit: standard deviation of `scale` over the training data, per channel, broadcastable.
        """


@final
class MeanSquare(AbstractCriterion):
    """Mean squared error in units of the standard deviation of what is learned, so that predicting its mean costs 1."""

    def forward(self, prediction: Tensor, truth: Tensor, scale: Tensor, unit: Tensor) -> Tensor:
        """See `AbstractCriterion.forward`; `scale` is not used."""
        return ((prediction - truth) / unit).square().mean()


@final
class Spectral(AbstractCriterion):
    """Relative Sobolev error and, if asked for, the distance of energy spectra, on periodic fields:

        sum_k (1 + kappa²)^s |p_k - u_k|² / sum_k (1 + kappa²)^s |d_k|²  +  w mean_shells log10(E_p / E_u)²

    with kappa the wavenumber in units of the longest side's lowest, d what the network had to add, sums over the batch,
    and E the energies of the complete shells of each frame.

    Args:
        grid: of the frames.
        order: s; 0 weighs all modes alike, 1 is the error of the gradient.
        spectrum: weight w of the second term.

    Raises:
        ValueError: if `order` or `spectrum` is negative.

    Source: Li et al. (2022), "Learning dissipative dynamics in chaotic systems", NeurIPS, section 3.2 (Sobolev loss,
        there of integer order). The second term is the square of `metrics.log_spectral_distance_per_frame`.
    """

    def __init__(self, grid: Grid, *, order: float = 0.5, spectrum: float = 0.0) -> None:
        super().__init__()
        check_at_least("order", order, 0.0)
        check_at_least("spectrum", spectrum, 0.0)
        self.grid, self.order, self.spectrum = grid, order, spectrum
        kappa = -laplacian_symbol(grid) * (max(grid.extent) / (2 * torch.pi)) ** 2
        partners = torch.full((grid.modes[-1],), 2.0, dtype=torch.float64)
        partners[0] = 1.0
        if grid.points[-1] % 2 == 0:
            partners[-1] = 1.0
        self.register_buffer("weight", (1 + kappa).pow(order) * partners, persistent=False)
        self.shells = min(n * max(grid.extent) / side for n, side in zip(grid.points, grid.extent, strict=True)) / 2

    def forward(self, prediction: Tensor, truth: Tensor, scale: Tensor, unit: Tensor) -> Tensor:
        """See `AbstractCriterion.forward`; channels are compared in units of `unit`."""
        error = self._sum(prediction - truth, unit) / self._sum(scale, unit)
        if self.spectrum == 0.0:
            return error
        last = -int(-self.shells // 1)
        energies = [energy_spectrum(u, self.grid)[..., 1:last] for u in (prediction, truth)]
        floor = 1e-10 * energies[1].sum(-1, keepdim=True)
        ratio = torch.log10(torch.maximum(energies[0], floor) / torch.maximum(energies[1], floor))
        return error + self.spectrum * ratio.square().mean().to(error.dtype)

    def _sum(self, u: Tensor, unit: Tensor) -> Tensor:
        u_hat = transform(u / unit, self.grid)
        weight: Tensor = self.weight  # type: ignore[assignment]
        return (weight.to(u.dtype) * (u_hat.real.square() + u_hat.imag.square())).sum()
