"""Pure functions that execute linear systems: recurrences, kernels, convolutions."""

from sciml.ssm.kernels.convolution import causal
from sciml.ssm.kernels.scan import linear_recurrence
from sciml.ssm.kernels.selective import selective_scan
from sciml.ssm.kernels.vandermonde import exponential_sum

__all__ = ["causal", "exponential_sum", "linear_recurrence", "selective_scan"]
