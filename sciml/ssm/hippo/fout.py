"""FouT: a window of fixed length, by its Fourier series."""

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.core.checks import check_positive
from sciml.ssm.hippo.base import AbstractNormalOperator


@final
@dataclass(frozen=True)
class FouT(AbstractNormalOperator):
    """The Fourier series of a sliding window.

        g = 1, 0, sqrt 2 cos(w_1 s), sqrt 2 sin(w_1 s), sqrt 2 cos(w_2 s), ...,    w_k = 2 pi k / window
        K_n(s) = g_n(s) / window
        A = rotations by w_k of the pairs - 2/window g(0) g(0)^T,    B = 2/window g(0)

    At the edge of the window the series gives the mean of the newest and the oldest value, whence the factors of 2:
    what leaves the window is 2 (series) - (newest). That is exact for series of period `window` with these
    frequencies. The second entry, the sine of frequency 0, is always 0. The public S4 code has window 2.

    Args:
        window: length of the window, [time].

    Raises:
        ValueError: if it is not positive, or the number of states is odd.

    Source: Gu, Johnson, Timalsina, Rudra & Re (2022), arXiv 2206.12037, theorem 3.5 (S4-FouT).
    """

    window: float = 1.0

    def __post_init__(self) -> None:
        check_positive("window", self.window)

    @property
    def span(self) -> float:
        """The window."""
        return self.window

    def transition(self, states: int) -> tuple[Float[Tensor, "{states} {states}"], Float[Tensor, " {states}"]]:
        """A and B."""
        p = self.low_rank(states)
        frequency = 2 * math.pi / self.window * torch.arange(states // 2, dtype=torch.float64)
        below = torch.stack([frequency, torch.zeros_like(frequency)], dim=-1).flatten()[:-1]
        return torch.diag(below, -1) - torch.diag(below, 1) - p @ p.mT, 2 / self.window * self._newest(states)

    def kernels(self, states: int, ages: Float[Tensor, " age"]) -> Float[Tensor, "{states} age"]:
        """The series over the window's length."""
        return self.duals(states, ages) / self.window

    def duals(self, states: int, ages: Float[Tensor, " age"]) -> Float[Tensor, "{states} age"]:
        """1, 0, sqrt 2 cos, sqrt 2 sin, ..."""
        newest = self._newest(states).to(ages)
        k = torch.arange(states // 2, dtype=ages.dtype, device=ages.device)
        angle = 2 * math.pi / self.window * k[:, None] * ages
        return (newest[::2, None, None] * torch.stack([torch.cos(angle), torch.sin(angle)], dim=1)).flatten(0, 1)

    def low_rank(self, states: int) -> Float[Tensor, "{states} 1"]:
        """sqrt(2/window) g(0), which is sqrt(window/2) B."""
        return math.sqrt(2 / self.window) * self._newest(states).unsqueeze(-1)

    def _newest(self, states: int) -> Tensor:
        """g(0)."""
        if states % 2:
            raise ValueError(
                f"`states` of FouT must be even, pairs of cosine and sine; got {states}. Take {states + 1}."
            )
        newest = torch.zeros(states, dtype=torch.float64)
        newest[::2] = math.sqrt(2)
        newest[0] = 1.0
        return newest
