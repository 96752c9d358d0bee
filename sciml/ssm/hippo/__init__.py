"""HiPPO operators: coefficients of the past, updated as it goes on."""

from sciml.ssm.hippo.base import AbstractNormalOperator, AbstractOperator
from sciml.ssm.hippo.chebyshev import Chebyshev
from sciml.ssm.hippo.fout import FouT
from sciml.ssm.hippo.lagt import LagT
from sciml.ssm.hippo.legs import LegS
from sciml.ssm.hippo.legt import LMU, LegT

__all__ = ["LMU", "AbstractNormalOperator", "AbstractOperator", "Chebyshev", "FouT", "LagT", "LegS", "LegT"]
