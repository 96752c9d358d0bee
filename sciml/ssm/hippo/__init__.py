"""HiPPO operators: coefficients of the past, updated as it goes on."""

from sciml.ssm.hippo.base import AbstractNormalOperator, AbstractOperator
from sciml.ssm.hippo.cell import HiPPOCell, HiPPOState
from sciml.ssm.hippo.chebyshev import Chebyshev
from sciml.ssm.hippo.fout import FouT
from sciml.ssm.hippo.lagt import LagT
from sciml.ssm.hippo.legs import LegS
from sciml.ssm.hippo.legt import LMU, LegT
from sciml.ssm.hippo.online import coefficients, project, project_scaled, reconstruct, scaled_ages

__all__ = [
    "LMU",
    "AbstractNormalOperator",
    "AbstractOperator",
    "Chebyshev",
    "FouT",
    "HiPPOCell",
    "HiPPOState",
    "LagT",
    "LegS",
    "LegT",
    "coefficients",
    "project",
    "project_scaled",
    "reconstruct",
    "scaled_ages",
]
