"""The GRU to compare with: as good a model of its kind as is customary, on the same terms."""

from typing import final

from torch import Tensor, nn


@final
class GRU(nn.Module):
    """Layers of gated recurrent units, a linear map to answers at every time; `dt` is not looked at.

    Source: Cho et al. (2014), arXiv:1406.1078, in the form of torch.nn.GRU.
    """

    def __init__(
        self, inputs: int, answers: int, width: int, layers: int = 1, *, both_ways: bool = False, dropout: float = 0.0
    ) -> None:
        super().__init__()
        between = dropout if layers > 1 else 0.0
        self.units = nn.GRU(inputs, width, layers, batch_first=True, bidirectional=both_ways, dropout=between)
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear((2 if both_ways else 1) * width, answers)

    def forward(self, inputs: Tensor, dt: Tensor | None = None) -> Tensor:
        """Answers at every time, (batch, time, answer)."""
        return self.head(self.drop(self.units(inputs)[0]))


def width_for(parameters: int, inputs: int, answers: int, layers: int = 1) -> int:
    """The width at which a GRU has as near as can be that many parameters."""

    def count(width: int) -> int:
        first = 3 * width * (inputs + width + 2)
        return first + (layers - 1) * 3 * width * (2 * width + 2) + (width + 1) * answers

    return min(range(1, 1024), key=lambda width: abs(count(width) - parameters))
