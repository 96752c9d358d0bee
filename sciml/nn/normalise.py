"""Per-channel affine normalisation. Fitting lives in `sciml.data`; here are only the numbers and their use."""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn


@final
class Normalizer(nn.Module):
    """x -> (x - mean) / std, channel by channel; a module, so that it is saved with the model it belongs to.

    Args:
        mean: one value per channel, [field].
        std: one positive value per channel, [field].

    Raises:
        ValueError: if the shapes differ or a standard deviation is not positive.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Float[Tensor, " channel"], std: Float[Tensor, " channel"]) -> None:
        super().__init__()
        if mean.shape != std.shape or not bool((std > 0).all()):
            raise ValueError(
                f"`mean` and `std` must have one entry per channel and std be positive, got mean={mean.tolist()}, "
                f"std={std.tolist()}. A constant channel cannot be normalised: leave it out or set its std to 1."
            )
        self.register_buffer("mean", mean.clone())
        self.register_buffer("std", std.clone())

    @staticmethod
    def identity(channels: int) -> "Normalizer":
        """Mean 0 and standard deviation 1."""
        return Normalizer(torch.zeros(channels), torch.ones(channels))

    @staticmethod
    def shaped(values: Float[Tensor, " channel"], x: Float[Tensor, "*axes"], channel_axis: int = 1) -> Tensor:
        """One value per channel in the dtype of `x`, shaped to broadcast against it."""
        shape = [1] * x.ndim
        shape[channel_axis] = -1
        return values.to(x.dtype).reshape(shape)

    def normalize(self, x: Float[Tensor, "*axes"], channel_axis: int = 1) -> Float[Tensor, "*axes"]:
        """To mean 0 and standard deviation 1, [1]."""
        return (x - self.shaped(self.mean, x, channel_axis)) / self.shaped(self.std, x, channel_axis)

    def denormalize(self, x: Float[Tensor, "*axes"], channel_axis: int = 1) -> Float[Tensor, "*axes"]:
        """Back to physical values, [field]."""
        return x * self.shaped(self.std, x, channel_axis) + self.shaped(self.mean, x, channel_axis)
