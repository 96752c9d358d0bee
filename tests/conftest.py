"""Settings for every test: float64 by default, fixed seed. `sciml` is not imported here at the
top, because the jaxtyping hook has to come first."""

import pytest
import torch


def pytest_configure() -> None:
    """Float64 also for the tensors made while tests are collected."""
    torch.set_default_dtype(torch.float64)


@pytest.fixture(autouse=True)
def _deterministic():
    """Each test starts from float64 and seed 0, whatever ran before it."""
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
