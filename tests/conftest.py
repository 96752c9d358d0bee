"""Settings for every test: float64 by default, fixed seed. `sciml` is not imported here at the
top, because the jaxtyping hook has to come first."""

import signal

import pytest
import torch


def pytest_configure() -> None:
    """Float64 also for the tensors made while tests are collected, and Ctrl-C as in any Python process.

    Workers of a parallel run ignore SIGINT, and so would every process that a test starts in order to interrupt it.
    """
    torch.set_default_dtype(torch.float64)
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _deterministic():
    """Each test starts from float64 and seed 0, whatever ran before it."""
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
