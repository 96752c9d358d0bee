"""Settings for every test: float64 by default, fixed seed and threads. `sciml` is not imported here at the
top, because the jaxtyping hook has to come first."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _deterministic():
    """Each test starts from float64, seed 0 and two threads, whatever ran before it."""
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)
