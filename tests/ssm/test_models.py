"""Residual models: streaming, both directions, groups of parameters, rollout from a context."""

import pytest
import torch
from torch import nn

from sciml.ssm import (
    Bidirectional,
    Chunked,
    DeepSSM,
    Gated,
    Plain,
    Recurrent,
    Residual,
    Scan,
    Selective,
    SelfGated,
    companion,
    intervals,
    lssl,
    parameter_groups,
    rollout,
    s4,
    s4d,
    s5,
)


def deep(*, norm_first: bool = True, dropout: float = 0.0) -> DeepSSM:
    """One block of every mixing."""
    torch.manual_seed(0)
    pairs = [
        (s4d(6, 4), Gated(6, 6)),
        (s5(6, 4), SelfGated(6)),
        (Selective(6, 3), nn.Identity()),
        (lssl(6, 4, outputs=2), Plain(12, 6)),
        (s4(6, 4), Gated(6, 6)),
    ]
    return DeepSSM(2, 2, [Residual(x, mix, norm_first=norm_first, dropout=dropout) for x, mix in pairs])


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("irregular", [True, False])
def test_streaming_a_deep_model_is_running_it(norm_first, irregular) -> None:
    model, u = deep(norm_first=norm_first), torch.randn(3, 14, 2)
    dt = torch.rand(3, 14) if irregular else None
    want = model(u, dt)
    y, state = model.prefill(u[:, :6], None if dt is None else dt[:, :6])
    outputs = [y]
    for k in range(6, 14):
        y, state = model.step(u[:, k], state, None if dt is None else dt[:, k])
        outputs.append(y.unsqueeze(1))
    torch.testing.assert_close(torch.cat(outputs, dim=1), want, rtol=1e-11, atol=1e-11)
    start = model.initial_state(3)
    torch.testing.assert_close(model(u, dt, start), want, rtol=1e-11, atol=1e-11)
    way = Chunked(Recurrent(), 5)
    torch.testing.assert_close(model(u, dt, None, way), want, rtol=1e-11, atol=1e-11)


def test_norm_first_and_last_differ_and_all_parameters_learn() -> None:
    for norm_first in (True, False):
        model = deep(norm_first=norm_first)
        model(torch.randn(2, 9, 2), torch.rand(2, 9)).square().sum().backward()
        for name, p in model.named_parameters():
            assert not p.requires_grad or (p.grad is not None and bool(p.grad.abs().max() > 0)), name


def test_dropout_acts_in_training_alone() -> None:
    model, u = deep(dropout=0.5), torch.randn(2, 9, 2)
    assert not torch.equal(model(u), model(u))
    model.eval()
    assert torch.equal(model(u), model(u))


def test_both_directions_see_the_whole_series() -> None:
    """The reversed layer on the reversed series; intervals stay with their entries."""
    torch.manual_seed(0)
    both = Bidirectional(s4d(3, 4), s4d(3, 4))
    u, dt = torch.randn(2, 10, 3), torch.rand(2, 10)
    y = both(u, dt)
    assert y.shape == (2, 10, 6)
    torch.testing.assert_close(y[..., :3], both.forwards(u, dt))
    torch.testing.assert_close(y[..., 3:], both.backwards(u.flip(1), dt.flip(1)).flip(1))
    other = u.clone()
    other[:, -1] += 1
    assert bool((both(other, dt)[:, 0] != y[:, 0]).any())
    model = DeepSSM(3, 1, [Residual(both, Gated(6, 3))])
    assert model(u, dt, execution=Scan()).shape == (2, 10, 1)


def test_padding_is_neutral_in_both_directions() -> None:
    both = Bidirectional(s4d(3, 4), s5(3, 4))
    u, dt = torch.randn(2, 10, 3), torch.rand(2, 10)
    padded = torch.cat([u, torch.full((2, 4, 3), 1e3)], dim=1)
    gaps = torch.cat([dt, torch.zeros(2, 4)], dim=1)
    torch.testing.assert_close(both(padded, gaps)[:, :10], both(u, dt), rtol=1e-12, atol=1e-12)


def test_two_directions_have_no_state() -> None:
    both = Bidirectional(s4d(3, 4), s4d(3, 4))
    u = torch.randn(2, 5, 3)
    for call in (
        lambda: both.prefill(u),
        lambda: both.step(u[:, 0], None),
        lambda: both.initial_state(2),
        lambda: both(u, state=torch.zeros(2)),
    ):
        with pytest.raises(ValueError, match="a bidirectional layer has no state between entries"):
            call()


def test_two_directions_of_different_width_are_refused() -> None:
    with pytest.raises(ValueError, match="the same channels, got 3 and 4"):
        Bidirectional(s4d(3, 4), s4d(4, 4))


def test_groups_of_parameters() -> None:
    """Systems learn slowly and without decay; every parameter is in one group."""
    model = deep()
    fast, slow = parameter_groups(model, 4e-3, slow_rate=1e-3, weight_decay=0.05)
    assert (fast["lr"], fast["weight_decay"], slow["lr"], slow["weight_decay"]) == (4e-3, 0.05, 1e-3, 0.0)
    names = {id(p): name for name, p in model.named_parameters() if p.requires_grad}
    slow_names = {names.pop(id(p)) for p in slow["params"]}
    assert {id(p) for p in fast["params"]} == set(names)
    for part in ("matrix.decay", "matrix.frequency", "matrix.a", "log_step", "matrix.p", "layer.b", "widen.bias"):
        assert any(part in name for name in slow_names), part
    assert not any("encoder" in name or "mixing" in name or name.endswith(".c") for name in slow_names)
    torch.optim.AdamW([fast, slow]).step()
    assert parameter_groups(model, 1e-4)[1]["lr"] == 1e-4


def test_rollout_is_the_model_on_its_own_outputs() -> None:
    model, context = deep(), torch.randn(3, 7, 2)
    for dt, ahead in ((None, None), (torch.rand(3, 7), torch.rand(3, 5)), (0.3, 0.3)):
        predictions, _ = rollout(model, context, 5, dt, ahead)
        series = context
        for k in range(5):
            if isinstance(dt, torch.Tensor):
                gaps: object = torch.cat([dt, ahead[:, :k]], dim=1)  # type: ignore[index]
            else:
                gaps = dt
            coming = model(series, gaps)[:, -1]  # type: ignore[arg-type]
            torch.testing.assert_close(predictions[:, k], coming, rtol=1e-11, atol=1e-11)
            series = torch.cat([series, coming.unsqueeze(1)], dim=1)


def test_rollout_goes_on_at_the_interval_of_the_context() -> None:
    model, context = deep(), torch.randn(3, 7, 2)
    for dt in (0.3, torch.tensor(0.3)):
        torch.testing.assert_close(rollout(model, context, 5, dt)[0], rollout(model, context, 5, dt, 0.3)[0])
    with pytest.raises(ValueError, match=r"`dt_ahead` must be given where .* beside dt of shape \(3, 7\). Give"):
        rollout(model, context, 5, torch.rand(3, 7))
    with pytest.raises(ValueError, match="`dt_ahead`|`dt` must have shape"):
        rollout(model, context, 5, 1.0, torch.rand(3, 4))


def test_rollout_has_gradients_in_its_intervals() -> None:
    """Of one number for all too."""
    model, context, ahead = deep(), torch.randn(3, 7, 2), torch.tensor(0.4, requires_grad=True)
    (one,) = torch.autograd.grad(rollout(model, context, 3, 0.3, ahead)[0].sum(), ahead)
    each = torch.full((3, 3), 0.4, requires_grad=True)
    (all_of_them,) = torch.autograd.grad(rollout(model, context, 3, 0.3, each)[0].sum(), each)
    torch.testing.assert_close(one, all_of_them.sum())


def test_rollout_goes_on_from_a_state() -> None:
    model, context = deep(), torch.randn(3, 7, 2)
    _, state = model.prefill(context[:, :4])
    whole, _ = rollout(model, context, 4)
    torch.testing.assert_close(rollout(model, context[:, 4:], 4, state=state)[0], whole, rtol=1e-11, atol=1e-11)


def test_rollout_needs_outputs_that_can_be_inputs() -> None:
    with pytest.raises(ValueError, match=r"`the output of model` must have shape \(1, 3\)"):
        rollout(lssl(3, 4, outputs=2), torch.randn(1, 5, 3), 2)
    with pytest.raises(ValueError, match="`entries` must be a whole number of at least 1, got 0"):
        rollout(s4d(3, 4), torch.randn(1, 5, 3), 0)


def test_blocks_are_of_one_width() -> None:
    blocks = [Residual(s4d(3, 4), Gated(3, 3)), Residual(s4d(4, 4), Gated(4, 4))]
    with pytest.raises(ValueError, match=r"one or more of one width, got widths \[3, 4\]"):
        DeepSSM(1, 1, blocks)
    with pytest.raises(ValueError, match=r"one or more of one width, got widths \[\]"):
        DeepSSM(1, 1, [])


def test_mixing_fits_the_layer() -> None:
    both = Bidirectional(s4d(6, 4), s4d(6, 4))
    for layer, mixing in (
        (s4d(6, 4), Gated(5, 6)),
        (s4d(6, 4), Plain(6, 5)),
        (s4d(6, 4), SelfGated(5)),
        (lssl(6, 4, outputs=2), nn.Identity()),
        (both, Gated(6, 6)),
    ):
        with pytest.raises(ValueError, match=r"`mixing` must take .* outputs of the layer .* got one of .* Take G"):
            Residual(layer, mixing)
    with pytest.raises(ValueError, match="12 outputs of the layer and give its 6 channels, got one of 6 and 6. .*both"):
        Residual(both, Gated(6, 6))
    other = DeepSSM(2, 1, [Residual(s4d(6, 4), nn.Linear(6, 5))])
    with pytest.raises(ValueError, match=r"`the output of mixing` must have shape \(1, 4, 6\)"):
        other(torch.randn(1, 4, 2))


def test_inputs_fit_the_model() -> None:
    model = deep()
    for call in (model, model.prefill):
        with pytest.raises(ValueError, match=r"`u` must have shape \(any, any, 2\), that is batch, time and inputs"):
            call(torch.randn(1, 5, 3))
    with pytest.raises(ValueError, match=r"`u` must have shape \(any, 2\)"):
        model.step(torch.randn(1, 3), model.initial_state(1))
    with pytest.raises(TypeError, match="`blocks` must be Residual, got Linear. Write Residual"):
        DeepSSM(2, 1, [nn.Linear(2, 2)])  # type: ignore[list-item]


def test_a_state_per_block() -> None:
    model = deep()
    with pytest.raises(ValueError, match="one state for each of 5 blocks, got 1"):
        model(torch.randn(2, 5, 2), state=(torch.zeros(2, 6, 2),))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_intervals_of_times(dtype) -> None:
    times = torch.tensor([[1.0, 1.5, 4.0, 4.0], [0.0, 2.0, torch.nan, 3.0]], dtype=dtype)
    present = torch.tensor([[True, True, True, False], [True, True, False, True]])
    torch.testing.assert_close(
        intervals(times, 0.5, present), torch.tensor([[0.5, 0.5, 2.5, 0.0], [0.5, 2.0, 0.0, 1.0]], dtype=dtype)
    )
    torch.testing.assert_close(intervals(times[:1], 0.5), torch.tensor([[0.5, 0.5, 2.5, 0.0]], dtype=dtype))
    moving = times.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(intervals(moving, 0.5, present).sum(), moving)
    assert bool(torch.isfinite(gradient).all())
    with pytest.raises(ValueError, match=r"must not fall, but times\[0, 1\] is 1 behind 2"):
        intervals(torch.tensor([[2.0, 1.0]]), 1.0)
    with pytest.raises(ValueError, match=r"times\[1, 2\] is nan"):
        intervals(times, 1.0)
    with pytest.raises(ValueError, match="`first` must be positive"):
        intervals(times, 0.0, present)
    with pytest.raises(ValueError, match="`present` must have shape"):
        intervals(times, 1.0, present[:1])
    with pytest.raises(TypeError, match="`times` must be of a floating dtype, got torch.int64. Convert them"):
        intervals(torch.tensor([[0, 1, 3]]), 1.0)
    with pytest.raises(ValueError, match="`times` must have shape"):
        intervals(times[0], 1.0)


def test_memory_of_what_came_before_is_not_shared() -> None:
    """A state is a value: going on from it twice gives the same twice."""
    layer = companion(2, 4)
    _, state = layer.prefill(torch.randn(1, 6, 2))
    before = state.clone()
    first = layer.step(torch.ones(1, 2), state)[0]
    assert torch.equal(layer.step(torch.ones(1, 2), state)[0], first)
    assert torch.equal(state, before)
