"""What mixes channels behind a layer, entry by entry."""

from typing import final

from torch import Tensor, nn


@final
class Gated(nn.Module):
    """GELU, then a gated linear unit: the output of S4.

    Args:
        inputs: channels of the layer's output.
        outputs: channels of the block.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        self.linear = nn.Linear(inputs, 2 * outputs)

    def forward(self, y: Tensor) -> Tensor:
        """(..., inputs) to (..., outputs)."""
        return nn.functional.glu(self.linear(nn.functional.gelu(y)), dim=-1)


@final
class SelfGated(nn.Module):
    """g(y) sigmoid(W g(y)) with g = GELU: the output of S5, half the parameters of `Gated`.

    Args:
        channels: of the layer and the block.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inputs = self.outputs = channels
        self.linear = nn.Linear(channels, channels)

    def forward(self, y: Tensor) -> Tensor:
        """(..., channels)."""
        y = nn.functional.gelu(y)
        return y * self.linear(y).sigmoid()


@final
class Plain(nn.Module):
    """GELU, then a linear map: the output of LSSL and DSS.

    Args:
        inputs: channels of the layer's output.
        outputs: channels of the block.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        self.linear = nn.Linear(inputs, outputs)

    def forward(self, y: Tensor) -> Tensor:
        """(..., inputs) to (..., outputs)."""
        return self.linear(nn.functional.gelu(y))
