"""A fixture for tests of our own messages, which the shape checks of jaxtyping would forestall."""

import pytest
from jaxtyping import config


@pytest.fixture
def without_shape_checks():
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)
