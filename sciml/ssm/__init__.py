"""State-space models of series: structure, discretisation and execution as separate choices."""

from sciml.ssm import hippo, kernels
from sciml.ssm.bidirectional import Bidirectional
from sciml.ssm.cells import Approximate, Cell, Refused, RefusedError, Supported, cells
from sciml.ssm.constraints import Clipped, Exponential, Free, Softplus
from sciml.ssm.discretise import ZOH, Bilinear, Discrete, GeneralizedBilinear, SimplifiedZOH
from sciml.ssm.executions import Chunked, Convolution, Kernel, Recurrent, Scan
from sciml.ssm.flow import flow
from sciml.ssm.frequencies import s4d_inv, s4d_legs, s4d_lin, s4d_quad, s4d_real
from sciml.ssm.intervals import intervals
from sciml.ssm.layer import AbstractLayer
from sciml.ssm.layers.closed_loop import Ahead, ClosedLoop
from sciml.ssm.layers.companion import companion
from sciml.ssm.layers.dss import dss
from sciml.ssm.layers.lru import lru
from sciml.ssm.layers.lssl import lssl
from sciml.ssm.layers.preprocess import Difference, MovingAverageResidual, Preprocess
from sciml.ssm.layers.s4 import s4
from sciml.ssm.layers.s4d import s4d
from sciml.ssm.layers.s5 import s5
from sciml.ssm.layers.selective import Selective, SelectiveState
from sciml.ssm.matrices import Companion, Dense, Diagonal, DiagonalPlusLowRank
from sciml.ssm.mixing import Gated, Plain, SelfGated
from sciml.ssm.nplr import DPLR, dplr
from sciml.ssm.parameter_groups import parameter_groups
from sciml.ssm.residual import DeepSSM, Residual
from sciml.ssm.rollout import rollout
from sciml.ssm.spacetime import Forecast, SpaceTime
from sciml.ssm.streaming import streaming
from sciml.ssm.system import StateSpace

__all__ = [
    "DPLR",
    "ZOH",
    "AbstractLayer",
    "Ahead",
    "Approximate",
    "Bidirectional",
    "Bilinear",
    "Cell",
    "Chunked",
    "Clipped",
    "ClosedLoop",
    "Companion",
    "Convolution",
    "DeepSSM",
    "Dense",
    "Diagonal",
    "DiagonalPlusLowRank",
    "Difference",
    "Discrete",
    "Exponential",
    "Forecast",
    "Free",
    "Gated",
    "GeneralizedBilinear",
    "Kernel",
    "MovingAverageResidual",
    "Plain",
    "Preprocess",
    "Recurrent",
    "Refused",
    "RefusedError",
    "Residual",
    "Scan",
    "Selective",
    "SelectiveState",
    "SelfGated",
    "SimplifiedZOH",
    "Softplus",
    "SpaceTime",
    "StateSpace",
    "Supported",
    "cells",
    "companion",
    "dplr",
    "dss",
    "flow",
    "hippo",
    "intervals",
    "kernels",
    "lru",
    "lssl",
    "parameter_groups",
    "rollout",
    "s4",
    "s4d",
    "s4d_inv",
    "s4d_legs",
    "s4d_lin",
    "s4d_quad",
    "s4d_real",
    "s5",
    "streaming",
]
