"""Factors on B and C that depend on the system: the normalisations of LRU and DSS."""

import abc
from typing import final

import torch
from torch import Tensor, nn

from sciml.ssm.phi1 import phi1


class AbstractNormalisation(nn.Module, abc.ABC):
    """Factors for the rows of B and the columns of C. Subclasses are final."""

    @abc.abstractmethod
    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Factors of B and C, (systems, state) each.

        Args:
            z: learned step times a, (systems, state).
        """


@final
class UnitVariance(AbstractNormalisation):
    """gamma z / (exp(z) - 1) on B, so that one step of interval 1 is x_k = lambda x_{k-1} + gamma B u_k.

    gamma starts at sqrt(1 - |lambda|^2), which gives states the variance of white inputs, and is learned. At other
    intervals the same flow with held input is stepped, which the published layer does not have.

    Args:
        z: log lambda to start from, (systems, state).

    Source: Orvieto et al. (2023), arXiv 2303.06349, section 3.4, eq. (7).
    """

    def __init__(self, z: Tensor) -> None:
        super().__init__()
        self.log_gamma = nn.Parameter(torch.log(-torch.expm1(2 * z.real)) / 2)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """gamma / phi_1(z), and 1."""
        return torch.exp(self.log_gamma) / phi1(z), torch.ones_like(z)


@final
class SoftmaxOver(AbstractNormalisation):
    """1 / (exp(length z) - 1) on C, which makes the rows exp(l z), l < length, of the kernel a softmax over l.

    It serves modes that decay and modes that grow, as long as exp(length |Re z|) can be represented.

    Args:
        length: of the softmax, in steps of the learned size.

    Source: Gupta, Gu & Berant (2022), arXiv 2203.14343, proposition 1(b) and section 3.2. There the length is that of
    each series; here it is fixed, without which no step could equal the convolution. Where exp(length z) is near 1 the
    paper regularises the quotient; a kernel without a finite value is none here.
    """

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """1, and 1 / (exp(length z) - 1)."""
        return torch.ones_like(z), 1 / torch.expm1(self.length * z)
