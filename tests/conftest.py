"""Settings for every test: float64 by default, fixed seed. `sciml` is not imported here at the
top, because the jaxtyping hook has to come first."""

import signal

import pytest
import torch

from tests import calls


def pytest_configure() -> None:
    """Float64 also for the tensors made while tests are collected, every warning each time, Ctrl-C as in any process.

    PyTorch gives some of its warnings once per process, so that which test fails on one would depend on the order.
    Workers of a parallel run ignore SIGINT, and so would every process that a test starts in order to interrupt it.
    """
    torch.set_default_dtype(torch.float64)
    torch.set_warn_always(True)
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _deterministic():
    """Each test starts from float64, seed 0 and no counted calls, and so do fixtures of the module after it."""
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    calls.clear()
    yield
    torch.set_default_dtype(torch.float64)
