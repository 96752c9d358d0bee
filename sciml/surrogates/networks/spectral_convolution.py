"""Convolution by learned Fourier coefficients, the linear layer of Fourier neural operators.

    v_hat(k, o) = sum_c u_hat(k, c) W(k, c, o)   for the lowest wavenumbers k,   0 above;   plus a bias per channel

It computes what neuraloperator's `SpectralConv` computes from equal weights, faster, and also in float64. Two defects
of version 2.0 there are not reproduced: with an odd number of points on an axis that is not the last, its output is
multiplied by exp(-2 pi i x / L) before the real part is taken (`fftshift` undone by `fftshift`), and on finer output
grids the negative wavenumbers of such an axis land on wrong modes.

Source: Li, Kovachki, Azizzadenesheli, Liu, Bhattacharya, Stuart & Anandkumar (2021), "Fourier Neural Operator for
Parametric Partial Differential Equations", ICLR, eq. 4-5.
"""

from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.grids import Grid, resample
from sciml.surrogates.networks.kept_modes import gather_modes, pair_product, spread_modes


@final
class SpectralConvolution(nn.Module):
    """Convolution with a kernel that has only the lowest Fourier modes, on a periodic box of 1 to 3 dimensions.

    Weights are real pairs, so that `.double()`, optimisers and distributed training treat them as any parameter. The
    same weights act on every resolution that carries the modes. Commutes with translations; differentiable any number
    of times.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        modes: wavenumbers kept on each axis, both signs together: m keeps -(m // 2) ... m - m // 2 - 1; on the last
            axis m // 2 + 1 values from 0 upwards, since the field is real. This is neuraloperator's `n_modes`.
        bias: add a learned constant per channel.
        scaling: points of the output per point of the input, one factor per axis; None keeps the grid.

    Raises:
        ValueError: for channels, modes or factors out of range; in the call, for an input of another shape.
        TypeError: in the call, if the input's dtype is not the weights' or autocast is on.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        modes: tuple[int, ...],
        *,
        bias: bool = True,
        scaling: tuple[float, ...] | None = None,
    ) -> None:
        super().__init__()
        _check_arguments(in_channels, out_channels, modes, scaling)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.modes, self.scaling = modes, scaling
        self.kept = (*modes[:-1], modes[-1] // 2 + 1)
        std = (2 / (in_channels + out_channels)) ** 0.5
        self.weight_hat = nn.Parameter(std * 0.5**0.5 * torch.randn(2, *self.kept, in_channels, out_channels))
        self.bias = nn.Parameter(std * torch.randn(out_channels)) if bias else None
        self.mean_mode = (*(m // 2 for m in modes[:-1]), 0)

    def extra_repr(self) -> str:
        """Channels and modes, for `print`."""
        return f"{self.in_channels}, {self.out_channels}, modes={self.modes}"

    def forward(
        self, u: Float[Tensor, "batch channel *space"], output_shape: tuple[int, ...] | None = None
    ) -> Float[Tensor, "batch channel_out *space_out"]:
        """The convolved field on the same points, or on `output_shape` points of the same box, [field]."""
        self._check_input(u)
        points = self._output_points(tuple(u.shape[2:]), output_shape)
        u_hat = gather_modes(u, self.kept)
        return spread_modes(self._mix(u_hat), points)

    def transform(
        self, u: Float[Tensor, "batch channel *space"], output_shape: tuple[int, ...] | None = None
    ) -> Float[Tensor, "batch channel *space_out"]:
        """What a skip connection around this layer needs: the field by Fourier interpolation on the output's points."""
        space = tuple(u.shape[2:])
        points = self._output_points(space, output_shape)
        return u if points == space else resample(u, Grid(space, (1.0,) * len(space)), points)

    def _mix(self, u_hat: Tensor) -> Tensor:
        """The matrix product over channels for every mode; the bias is the real coefficient of wavenumber 0."""
        v_hat = pair_product(u_hat.flatten(1, -3), self.weight_hat.flatten(1, -3)).unflatten(1, self.kept)
        if self.bias is not None:
            v_hat[(0, *self.mean_mode)] += self.bias
        return v_hat

    def _output_points(self, space: tuple[int, ...], output_shape: Sequence[int] | None) -> tuple[int, ...]:
        if output_shape is not None:
            points = tuple(output_shape)
        elif self.scaling is not None:
            points = tuple(round(n * factor) for n, factor in zip(space, self.scaling, strict=True))
        else:
            return space
        _check_points("output_shape", points, self.modes)
        return points

    def _check_input(self, u: Tensor) -> None:
        if u.ndim != 2 + len(self.modes) or u.shape[1] != self.in_channels:
            raise ValueError(
                f"`u` must have shape (batch, {self.in_channels}, *space) with {len(self.modes)} space axes, got "
                f"{tuple(u.shape)}. Reshape it, or build the layer with the channels and modes of your field."
            )
        autocast = torch.is_autocast_enabled(u.device.type)
        if u.dtype != self.weight_hat.dtype or u.dtype not in (torch.float32, torch.float64) or autocast:
            raise TypeError(
                "`u` must be float32 or float64 as the weights are, and autocast must be off; got "
                f"{u.dtype}, weights {self.weight_hat.dtype}, autocast {'on' if autocast else 'off'}. "
                "Convert the module or the input with .to(dtype)."
            )
        _check_points("u.shape[2:]", tuple(u.shape[2:]), self.modes)


def spectral_conv_module(
    in_channels: int,
    out_channels: int,
    n_modes: Sequence[int],
    resolution_scaling_factor: Sequence[float] | None = None,
    max_n_modes: Sequence[int] | None = None,
    rank: float = 1.0,
    fixed_rank_modes: bool = False,
    implementation: str = "factorized",
    separable: bool = False,
    factorization: str | None = None,
    fno_block_precision: str = "full",
    decomposition_kwargs: Mapping[str, Any] | None = None,
    complex_data: bool = False,
) -> SpectralConvolution:
    """`SpectralConvolution` built from the arguments that neuraloperator's `FNOBlocks` gives its `conv_module`.

        neuralop.models.FNO(n_modes=(16, 16), ..., conv_module=spectral_conv_module)

    `rank`, `fixed_rank_modes`, `implementation` and `decomposition_kwargs` only describe factorised weights and have no
    effect without a factorisation, there as here.

    Raises:
        ValueError: for anything this layer does not do: factorised or separable weights, half or mixed precision,
            complex data, more stored than used modes.
    """
    refused = {
        "factorization": factorization if factorization not in (None, "Dense", "dense") else None,
        "separable": separable or None,
        "fno_block_precision": fno_block_precision if fno_block_precision != "full" else None,
        "complex_data": complex_data or None,
        "max_n_modes": max_n_modes if max_n_modes is not None and list(max_n_modes) != list(n_modes) else None,
    }
    for name, value in refused.items():
        if value is not None:
            raise ValueError(
                f"SpectralConvolution has dense complex weights for real fields in full precision, got "
                f"{name}={value!r}. Leave `{name}` at its default, or use neuraloperator's own SpectralConv."
            )
    scaling = None if resolution_scaling_factor is None else tuple(resolution_scaling_factor)
    return SpectralConvolution(in_channels, out_channels, tuple(n_modes), scaling=scaling)


def from_neuraloperator(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights of neuraloperator's model (or one of its `SpectralConv`) under our names; the rest unchanged.

    Dense complex weights (in, out, *mode) become real pairs, and the `_metadata` entry is dropped.
    """
    ours = {name: value for name, value in state.items() if name != "_metadata"}
    for name in [name for name in ours if name.endswith("weight.tensor")]:
        prefix, weight = name.removesuffix("weight.tensor"), ours.pop(name)
        parts = torch.view_as_real(weight.resolve_conj()).movedim(-1, 0)
        ours[f"{prefix}weight_hat"] = parts.permute(0, *range(3, parts.ndim), 1, 2).contiguous()
        if f"{prefix}bias" in ours:
            ours[f"{prefix}bias"] = ours[f"{prefix}bias"].flatten()
    return ours


def to_neuraloperator(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `from_neuraloperator`: our weights under neuraloperator's names and shapes."""
    theirs = dict(state)
    for name in [name for name in theirs if name.endswith("weight_hat")]:
        prefix, pair = name.removesuffix("weight_hat"), theirs.pop(name)
        weight = torch.complex(pair[0], pair[1])
        theirs[f"{prefix}weight.tensor"] = weight.permute(-2, -1, *range(weight.ndim - 2)).contiguous()
        if f"{prefix}bias" in theirs:
            theirs[f"{prefix}bias"] = theirs[f"{prefix}bias"].reshape(-1, *(1,) * (weight.ndim - 2))
    return theirs


def _check_arguments(
    in_channels: int, out_channels: int, modes: tuple[int, ...], scaling: tuple[float, ...] | None
) -> None:
    if min(in_channels, out_channels) < 1:
        raise ValueError(
            f"`in_channels` and `out_channels` must be at least 1, got {in_channels} and {out_channels}. "
            "Give the number of channels of the field."
        )
    if not 1 <= len(modes) <= 3 or min(modes) < 1:
        raise ValueError(
            f"`modes` must hold one number of at least 1 per space axis, for 1 to 3 axes, got {modes}. "
            "Give e.g. (16, 16) in two dimensions."
        )
    if scaling is not None and (len(scaling) != len(modes) or not all(factor > 0 for factor in scaling)):
        raise ValueError(
            f"`scaling` must hold one positive factor per space axis, got {scaling} for {len(modes)} axes. "
            "Give e.g. (2.0, 2.0), or None to keep the grid."
        )


def _check_points(name: str, points: tuple[int, ...], modes: tuple[int, ...]) -> None:
    if len(points) != len(modes) or any(m > n for m, n in zip(modes, points, strict=True)):
        raise ValueError(
            f"every axis of `{name}` must have at least as many points as kept modes {modes}, got {points}. "
            "Use a finer grid, or build the network with fewer modes."
        )
