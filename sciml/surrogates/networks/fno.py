"""The Fourier neural operator: neuraloperator's `FNO` around our spectral convolution.

    lift -> layers x [ gelu(K v + W v), channel MLP with soft-gated skip, gelu ] -> project

K is a `SpectralConvolution`, W a linear map of the channels. Every layer commutes with translations.

Source: Li et al. (2021), "Fourier Neural Operator for Parametric Partial Differential Equations", ICLR; channel MLP and
skips as in neuraloperator 2.0.
"""

from collections.abc import Mapping
from typing import Any, final

from jaxtyping import Float
from torch import Tensor, nn

from sciml.core import require_extra
from sciml.core.checks import check_at_least
from sciml.surrogates.networks.spectral_convolution import from_neuraloperator, spectral_conv_module


@final
class FNO(nn.Module):
    """Fourier neural operator on periodic fields of 1 to 3 dimensions, for any resolution that carries the modes.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        modes: wavenumbers kept on each axis, both signs together (neuraloperator's `n_modes`); its length is the
            number of space axes.
        hidden_channels: width.
        layers: number of Fourier layers.
        grid_embedding: give the network the coordinates as further input channels. Off, because with coordinates the
            network no longer commutes with translations, which periodic homogeneous dynamics do.

    Raises:
        MissingExtraError: if neuraloperator is not installed (extra `operators`).
        ValueError: for channels, layers or modes out of range; in the call, for a field of another shape or with fewer
            points than modes.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        modes: tuple[int, ...],
        *,
        hidden_channels: int = 32,
        layers: int = 4,
        grid_embedding: bool = False,
    ) -> None:
        super().__init__()
        for name, value in (("in_channels", in_channels), ("out_channels", out_channels), ("layers", layers)):
            check_at_least(name, value, 1)
        check_at_least("hidden_channels", hidden_channels, 2)
        self.in_channels, self.modes = in_channels, modes
        self.operator: nn.Module = require_extra("neuralop.models", "operators").FNO(
            n_modes=modes,
            in_channels=in_channels,
            out_channels=out_channels,
            hidden_channels=hidden_channels,
            n_layers=layers,
            positional_embedding="grid" if grid_embedding else None,
            conv_module=spectral_conv_module,
        )
        self.register_state_dict_post_hook(_drop_metadata)

    def forward(self, u: Float[Tensor, "batch channel *space"]) -> Float[Tensor, "batch channel_out *space"]:
        """Map fields to fields on the same points, [field]."""
        if u.ndim != 2 + len(self.modes) or u.shape[1] != self.in_channels:
            raise ValueError(
                f"`u` must have shape (batch, {self.in_channels}, *space) with {len(self.modes)} space axes, got "
                f"{tuple(u.shape)}. Reshape it, or build the network with the channels and modes of your field."
            )
        return self.operator(u)

    def load_neuraloperator(self, state: Mapping[str, Any]) -> None:
        """Take the weights of a neuraloperator `FNO` of equal sizes, as its `state_dict()` gives them."""
        self.operator.load_state_dict(from_neuraloperator(state))


def _drop_metadata(module: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    """Remove the entry that neuraloperator adds to state dicts; it is no tensor and breaks nesting and `torch.load`."""
    state.pop("_metadata", None)
