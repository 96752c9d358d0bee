"""Parameters drawn per trajectory: their distributions, and that a value belongs to (seed, id, name)."""

import math

import pytest
import torch

from sciml.core import Key
from sciml.pde.sampling import Choice, LogUniform, Uniform, parameter_key

KEY = Key.rows(0, 20000)


def test_moments_and_bounds():
    u = Uniform(-1.0, 3.0).sample(KEY)
    assert u.shape == (20000,) and u.dtype == torch.float64
    assert -1 < float(u.min()) < -0.99 and 2.99 < float(u.max()) < 3
    assert float(u.mean()) == pytest.approx(1, abs=5 * 4 / math.sqrt(12 * 20000))
    logs = torch.log10(LogUniform(1e-4, 1e-2).sample(KEY))
    assert float(logs.min()) > -4 and float(logs.max()) < -2
    assert float(logs.mean()) == pytest.approx(-3, abs=5 * 2 / math.sqrt(12 * 20000))
    assert float(logs.var()) == pytest.approx(4 / 12, rel=0.03)


def test_choices_come_as_often_as_their_weights():
    values = Choice((0.1, 0.2, 0.7), weights=(1, 0, 3)).sample(KEY)
    assert float((values == 0.1).double().mean()) == pytest.approx(0.25, abs=0.016)
    assert float((values == 0.7).double().mean()) == pytest.approx(0.75, abs=0.016)
    thirds = Choice((1.0, 2.0, 3.0)).sample(KEY)
    assert [float((thirds == v).double().mean()) for v in (1, 2, 3)] == pytest.approx([1 / 3] * 3, abs=0.017)


@pytest.mark.parametrize("distribution", [Uniform(0.0, 1.0), LogUniform(0.1, 1.0), Choice(tuple(range(100)))])
def test_a_value_belongs_to_seed_id_and_name(distribution):
    whole = distribution.sample(parameter_key(Key.rows(3, 50), "viscosity"))
    alone = distribution.sample(parameter_key(Key(3, torch.tensor([17])), "viscosity"))
    assert torch.equal(alone, whole[17:18])
    other = distribution.sample(parameter_key(Key.rows(3, 50), "drag"))
    assert float((other == whole).double().mean()) < 0.1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Uniform(1.0, 1.0), "`low` and `high` must be finite and increase"),
        (lambda: Uniform(0.0, math.nan), "`low` and `high` must be finite"),
        (lambda: LogUniform(0.0, 1.0), "`low` must be positive"),
        (lambda: Choice(()), "`values` must be finite, at least one"),
        (lambda: Choice((1.0, 2.0), weights=(1.0,)), "one finite entry of at least 0 per value"),
        (lambda: Choice((1.0, 2.0), weights=(0.0, 0.0)), "`sum of weights` must be positive"),
    ],
)
def test_bad_distributions_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
