"""Networks map fields to fields, (batch, channel, *space); they know no time. Steppers wrap them."""

from sciml.surrogates.networks.fno import FNO
from sciml.surrogates.networks.resnet import CircularConvolution, DilatedResNet
from sciml.surrogates.networks.spectral_convolution import (
    SpectralConvolution,
    from_neuraloperator,
    spectral_conv_module,
    to_neuraloperator,
)

__all__ = [
    "CircularConvolution",
    "DilatedResNet",
    "FNO",
    "SpectralConvolution",
    "from_neuraloperator",
    "spectral_conv_module",
    "to_neuraloperator",
]
