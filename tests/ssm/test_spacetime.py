"""SpaceTime: autoregressions, the closed loop written out, forecasts at any intervals."""

import pytest
import torch

from sciml.ssm import (
    ZOH,
    Bilinear,
    ClosedLoop,
    Companion,
    Difference,
    MovingAverageResidual,
    Preprocess,
    Recurrent,
    Scan,
    SpaceTime,
    companion,
)
from sciml.ssm.kernels import companion as companion_kernel
from sciml.ssm.layers.companion import last_column


def autoregression(coefficients: torch.Tensor) -> ClosedLoop:
    """A closed loop that is x_k = sum_i phi_i x_{k-i}: its state holds the last entries."""
    order = len(coefficients)
    loop = ClosedLoop(1, order)
    with torch.no_grad():
        loop.system.matrix = Companion(torch.zeros(1, order))
        loop.system.c.zero_()
        loop.system.c[0, 0, 0] = 1
        loop.system.c[0, 1] = coefficients
    return loop


def with_feedback(loop: ClosedLoop) -> ClosedLoop:
    """One that feeds itself, as after training."""
    with torch.no_grad():
        loop.system.c[:, 1] = 0.3 * torch.randn(loop.channels, loop.state)
    return loop


def test_companion_matrix_has_the_roots_of_the_autoregression() -> None:
    """Coefficients in reversed order in the last column: check 10."""
    phi = torch.tensor([0.5, -0.3, 0.2, 0.1])
    matrix = Companion(phi.flip(0)[None]).full()[0]
    roots = torch.linalg.eigvals(matrix)
    polynomial = roots**4 - sum(p * roots ** (3 - i) for i, p in enumerate(phi))
    assert polynomial.abs().max() < 1e-13
    torch.testing.assert_close(last_column(roots), phi.flip(0))


def test_companion_kernel_is_the_dense_one() -> None:
    """d = 25, L = 64: check 10."""
    torch.manual_seed(0)
    layer = companion(3, 25)
    b, c = layer.ports()
    b = torch.randn_like(b)
    a, power, want = layer.matrix.full(), b, []
    for _ in range(64):
        want.append((c @ power)[:, 0, 0])
        power = a @ power
    values = layer.matrix.values()  # type: ignore[operator]
    error = (companion_kernel.kernel(values, b[..., 0], c[:, 0], 64) - torch.stack(want, dim=-1)).abs().max()
    print(f"companion kernel against dense: {error:.1e}")
    assert error < 2e-14


def test_an_autoregression_is_represented_exactly() -> None:
    """Its forecasts are those of the recursion, and it predicts its own series one entry ahead."""
    phi = torch.tensor([1.6, -0.7, 0.05])
    series = [1.0, 0.5, -0.2]
    for _ in range(40):
        series.append(sum(float(p) * x for p, x in zip(phi, reversed(series[-3:]), strict=True)))
    u = torch.tensor(series).view(1, -1, 1)
    loop = autoregression(phi)
    ahead, state = loop.prefill(u[:, :20])
    torch.testing.assert_close(ahead.y[:, 2:], u[:, 3:20], rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(ahead.u[:, 2:], u[:, 3:20], rtol=1e-13, atol=1e-13)
    coming = loop.forecast(state, 23)
    torch.testing.assert_close(coming.y, u[:, 20:], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("flow", [False, True])
def test_the_loop_is_its_recursion(flow) -> None:
    """x_j = (A + B K) x_{j-1}, y_j = C x_j, u_j = K x_{j-1}, with the same A, B, C, K everywhere."""
    torch.manual_seed(0)
    loop = with_feedback(ClosedLoop(3, 5, discretisation=ZOH() if flow else None))
    u, n = torch.randn(2, 9, 3), 6
    dt, dt_ahead = (torch.rand(2, 9), torch.rand(2, n)) if flow else (None, None)
    system = loop.system
    state = system.initial_state(2)
    one_ahead, feedback = [], []
    for k in range(9):
        if k > 0:
            inputs = (system.c[:, 1] * state).sum(-1)
            predicted, _ = system.step(inputs, state, None if dt is None else dt[:, k])
            one_ahead.append(predicted.unflatten(-1, (3, 2))[..., 0])
            feedback.append(inputs)
        _, state = system.step(u[:, k], state, None if dt is None else dt[:, k])
    ahead, end = loop.prefill(u, dt)
    torch.testing.assert_close(end, state)
    torch.testing.assert_close(ahead.y, torch.stack(one_ahead, dim=1))
    torch.testing.assert_close(ahead.u, torch.stack(feedback, dim=1))
    coming = loop.forecast(end, n, dt_ahead)
    for j in range(n):
        inputs = (system.c[:, 1] * state).sum(-1)
        y, state = system.step(inputs, state, None if dt_ahead is None else dt_ahead[:, j])
        torch.testing.assert_close(coming.u[:, j], inputs)
        torch.testing.assert_close(coming.y[:, j], y.unflatten(-1, (3, 2))[..., 0])


def test_whole_intervals_of_a_map_skip_entries() -> None:
    """Interval 2 is two steps with the input held, interval 0 none."""
    loop = with_feedback(ClosedLoop(2, 4))
    _, state = loop.prefill(torch.randn(1, 8, 2))
    gaps = torch.tensor([[1.0, 0.0, 1.0, 1.0]])
    some, all_of_them = loop.forecast(state, 4, gaps), loop.forecast(state, 3)
    torch.testing.assert_close(some.y[:, [0, 2, 3]], all_of_them.y)
    torch.testing.assert_close(some.y[:, 1], some.y[:, 0])


@pytest.mark.parametrize("flow", [False, True])
def test_forecasts_of_the_whole_model(flow) -> None:
    """Shapes, gradients everywhere, and other intervals give other forecasts."""
    torch.manual_seed(0)
    rule = ZOH() if flow else None
    model = SpaceTime(2, width=6, state=4, layers=2, discretisation=rule)
    u = torch.randn(3, 12, 2)
    dt = torch.rand(3, 12) + 0.1 if flow else torch.ones(3, 12)
    ahead = torch.rand(3, 5) + 0.1 if flow else torch.ones(3, 5)
    forecast = model(u, 5, dt, ahead)
    assert forecast.values.shape == (3, 5, 2)
    assert forecast.one_ahead.shape == (3, 11, 2)
    loss = forecast.values.square().sum() + forecast.one_ahead.square().sum()
    (loss + (forecast.latent - forecast.latent_ahead).square().sum()).backward()
    for name, p in model.named_parameters():
        assert not p.requires_grad or (p.grad is not None and bool(p.grad.abs().max() > 0)), name
    assert bool((model(u, 5, dt + 1, ahead).values != forecast.values).all())
    assert bool((model(u, 5, dt, ahead + 1).values != forecast.values).all())
    if not flow:
        torch.testing.assert_close(model(u, 5).values, forecast.values, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("rule", [None, ZOH()], ids=str)
def test_forecasts_of_a_new_model_do_not_grow(rule) -> None:
    """The loop starts without feedback: 2000 entries ahead stay where the context is."""
    for seed in range(5):
        torch.manual_seed(seed)
        model = SpaceTime(1, width=16, state=12, discretisation=rule)
        with torch.no_grad():
            values = model(torch.randn(4, 100, 1), 2000).values
        assert float(values.abs().max()) < 10


@pytest.mark.parametrize("rule", [ZOH(), Bilinear()], ids=str)
@pytest.mark.parametrize("interval", [1.0, 3.0])
def test_flows_of_every_size_that_is_taken_hold_in_float32(rule, interval) -> None:
    for state in (None, 4, 12):
        torch.manual_seed(0)
        layer, u = companion(8, state, discretisation=rule).float(), torch.randn(1, 200, 8)
        found = [layer(u.float(), interval, execution=way) for way in (None, Scan(), Recurrent())]
        exact = layer.double()(u, interval, execution=Recurrent())
        assert exact.abs().max() < 20
        for have in found:
            assert (have - exact).abs().max() < 1e-3 * exact.abs().max(), (state, rule)


@pytest.mark.parametrize("make", [companion, ClosedLoop, SpaceTime])
def test_flows_that_float32_does_not_hold_are_refused(make) -> None:
    with pytest.raises(ValueError, match="`state` of a companion flow must be at most 12, got 13.*or s4d at any"):
        make(2, state=13, discretisation=ZOH())
    make(2, discretisation=ZOH())


def test_forecasts_go_on_at_the_interval_of_the_context() -> None:
    model = SpaceTime(1, width=4, state=4, discretisation=ZOH())
    with_feedback(model.loop)
    u = torch.randn(2, 9, 1)
    torch.testing.assert_close(model(u, 5, 0.05).values, model(u, 5, 0.05, 0.05).values)
    assert (model(u, 5, 0.05).values - model(u, 5, 0.05, 1.0).values).abs().max() > 1e-6


def test_a_map_with_a_last_column_of_zero_only_shifts() -> None:
    layer = companion(1, 3)
    with torch.no_grad():
        layer.matrix.a.zero_()  # type: ignore[operator]
    y = layer(torch.tensor([[[1.0], [0.0], [0.0], [0.0], [0.0]]]))
    torch.testing.assert_close(y[0, :, 0], torch.nn.functional.pad(layer.c[0, 0], (0, 2)))
    y.sum().backward()
    assert bool(torch.isfinite(layer.matrix.a.grad).all())  # type: ignore[arg-type]


def test_long_horizons_can_be_trained() -> None:
    """240 entries of two sines; a loop that starts unstable overflows or stays where it is."""
    t = 0.1 * torch.arange(1000)
    series = torch.sin(t) + 0.3 * torch.sin(2.7 * t)
    windows = series.unfold(0, 64 + 240, 8).unsqueeze(-1)
    model = SpaceTime(1, width=8, state=8)
    optimiser, losses = torch.optim.Adam(model.parameters(), 5e-3), []
    for update in range(30):
        context, wanted = windows[update % 3 :: 6].split([64, 240], dim=1)
        said = model(context, 240)
        values = (said.values - wanted).square().mean()
        parts = values, (said.one_ahead - context[:, 1:]).square().mean(), (said.latent_ahead - said.latent).square()
        optimiser.zero_grad()
        (parts[0] + parts[1] + parts[2].mean()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        losses.append(float(values.detach()))
    print(f"error of 240 entries ahead: {losses[0]:.2f}, after training {losses[-1]:.2f}")
    assert losses[-1] < 0.9 * losses[0] and max(losses) < 10


def test_preprocessing_is_a_fixed_companion_system() -> None:
    """A shift matrix, B the first unit vector, C the taps."""
    taps = torch.tensor(Difference(3).taps())
    layer = companion(1, 4)
    with torch.no_grad():
        layer.matrix = Companion(torch.zeros(1, 4))
        layer.c.copy_(taps.view(1, 1, 4))
    u = torch.randn(2, 10, 1)
    torch.testing.assert_close(Preprocess(1, [Difference(3)])(u), layer(u), rtol=1e-12, atol=1e-12)


def test_what_filters_refuse() -> None:
    with pytest.raises(ValueError, match="`order` must be a whole number of at least 0, got -1"):
        Difference(-1)
    with pytest.raises(ValueError, match="`width` must be a whole number of at least 1, got 0"):
        MovingAverageResidual(0)
    with pytest.raises(ValueError, match="`filters` must hold at least one filter"):
        Preprocess(1, [])


def test_what_the_loop_refuses() -> None:
    loop = ClosedLoop(2, 4)
    _, state = loop.prefill(torch.randn(1, 8, 2))
    with pytest.raises(ValueError, match="whole numbers of its steps, got 0.5"):
        loop.forecast(state, 2, torch.full((1, 2), 0.5))
    with pytest.raises(ValueError, match="`entries` must be a whole number of at least 1"):
        loop.forecast(state, 0)
    with pytest.raises(ValueError, match=r"`context` must have at least two entries, got shape \(2, 1, 2\)"):
        SpaceTime(2, width=3, state=4)(torch.randn(2, 1, 2), 3)
    with pytest.raises(ValueError, match="`dt_ahead` must be given where"):
        SpaceTime(2, width=3, state=4)(torch.randn(2, 4, 2), 3, torch.ones(2, 4))
    with pytest.raises(ValueError, match="`state` must have shape"):
        loop.prefill(torch.randn(2, 8, 2), None, state)
