"""What is answered rather than computed."""

import numpy as np
import pytest
import torch
from torch import nn

from sciml.ssm import (
    ZOH,
    Bilinear,
    Chunked,
    Companion,
    Convolution,
    Dense,
    Diagonal,
    DiagonalPlusLowRank,
    Discrete,
    Exponential,
    Free,
    GeneralizedBilinear,
    Kernel,
    Recurrent,
    RefusedError,
    Scan,
    Selective,
    SelectiveState,
    Softplus,
    StateSpace,
    companion,
    dss,
    flow,
    lru,
    lssl,
    parameter_groups,
    s4,
    s4d,
    s4d_real,
    s5,
)
from sciml.ssm.checks import check_kind
from sciml.ssm.executions import check_kernel
from sciml.ssm.hippo import Chebyshev
from sciml.ssm.intervals import known
from sciml.ssm.layers.starts import check_sizes


@pytest.fixture(params=[lambda: s4d(3, 4), lambda: s5(3, 4), lambda: Selective(3, 4)], ids=["s4d", "s5", "selective"])
def layer(request) -> nn.Module:
    return request.param()


def test_negative_and_broken_intervals(layer) -> None:
    u, dt = torch.randn(2, 5, 3), torch.rand(2, 5)
    for value in (-0.5, float("nan"), float("inf"), 1e20):
        wrong = dt.clone()
        wrong[1, 3] = value
        with pytest.raises(ValueError, match=r"at least 0 and at most 1e15, got dt\[1, 3\]"):
            layer(u, wrong)
        with pytest.raises(ValueError, match=r"at least 0 and at most 1e15, got dt\[1\]"):
            layer.step(u[:, 0], layer.initial_state(2), wrong[:, 3])
    for value in (-1.0, float("nan"), float("inf"), 1e20):
        for number in (value, torch.tensor(value)):
            with pytest.raises(ValueError, match="`dt` must be at least 0 and at most 1e15, got .*leaves the state"):
                layer(u, number)
            with pytest.raises(ValueError, match="`dt` must be at least 0 and at most 1e15"):
                layer.step(u[:, 0], layer.initial_state(2), number)


def test_intervals_that_are_no_tensor(layer) -> None:
    u = torch.randn(2, 5, 3)
    for wrong in ([1.0, 2.0], np.ones((2, 5)), "1"):
        with pytest.raises(TypeError, match="`dt` must be a tensor .* or one number for all, got .* Convert it"):
            known(wrong)
    assert (known(np.float32(0.5)), known(2), known(None), known(torch.tensor(2.0))) == (0.5, 2.0, 1.0, None)
    torch.testing.assert_close(layer(u, 1), layer(u))
    torch.testing.assert_close(layer(u, torch.tensor(2)), layer(u, 2.0))


def test_an_interval_of_zero_is_neutral_in_every_form(layer) -> None:
    """One number, a tensor of no axes, one for each sample."""
    u = torch.randn(2, 5, 3)
    _, state = layer.prefill(u)
    still = layer.step(u[:, 0], state, torch.zeros(2))
    for zero in (0, 0.0, torch.tensor(0.0)):
        for have, want in zip(layer.step(u[:, 0], state, zero), still, strict=True):
            torch.testing.assert_close(have, want, rtol=0, atol=1e-12)
    y, end = layer.prefill(u, 0.0, state)
    for have, want in zip(tuple(end), tuple(state), strict=True):
        assert torch.equal(have, want)
    torch.testing.assert_close(y, layer(u, torch.zeros(2, 5), state))


def test_intervals_of_another_shape(layer) -> None:
    u = torch.randn(2, 5, 3)
    for shape in ((2, 4), (2, 5, 1)):
        with pytest.raises(ValueError, match="`dt` must have shape"):
            layer(u, torch.ones(shape))
    for shape in ((5,), (1, 5)):
        with pytest.raises(ValueError, match=r"`dt` must have shape \(2, 5\).*one grid, expand it: dt.expand\(2, 5\)"):
            layer(u, torch.ones(shape))
    with pytest.raises(ValueError, match="`dt` must have shape"):
        layer.step(u[:, 0], layer.initial_state(2), torch.ones(3))


def test_wrong_channels_and_empty_series(layer) -> None:
    with pytest.raises(ValueError, match=r"`u` must have shape \(any, any, 3\)"):
        layer(torch.randn(2, 5, 4))
    with pytest.raises(ValueError, match=r"`u` must have shape \(any, 3\)"):
        layer.step(torch.randn(2, 4), layer.initial_state(2))
    with pytest.raises(ValueError, match="at least one time"):
        layer(torch.randn(2, 0, 3))


def test_mixed_dtypes(layer) -> None:
    u = torch.randn(2, 5, 3)
    with pytest.raises(TypeError, match="dtype of the layer's parameters, torch.float64, got torch.float32"):
        layer(u.float())
    with pytest.raises(TypeError, match="`dt` must have the dtype"):
        layer(u, torch.ones(2, 5, dtype=torch.float32))
    with pytest.raises(TypeError, match="`u` must have the dtype"):
        layer.step(u[:, 0].float(), layer.initial_state(2))
    with pytest.raises(TypeError, match="`dt` must have the dtype"):
        layer.step(u[:, 0], layer.initial_state(2), torch.ones(2, dtype=torch.float32))


def test_a_state_of_another_batch_or_layer() -> None:
    layer, u = s4d(3, 4), torch.randn(2, 5, 3)
    with pytest.raises(ValueError, match=r"`state` must have shape \(2, 3, 2\)"):
        layer(u, state=layer.initial_state(3))
    with pytest.raises(TypeError, match="`state` must be a tensor of torch.complex128, got torch.complex64"):
        layer(u, state=layer.initial_state(2).to(torch.complex64))
    with pytest.raises(TypeError, match="`state` must be a tensor of torch.complex128, got torch.float64"):
        layer(u, state=torch.zeros(2, 3, 2))
    selective = Selective(3, 4)
    window, memory = selective.initial_state(2)
    with pytest.raises(ValueError, match="`state` must have shape"):
        selective(u, state=type(selective.initial_state(2))(window[:1], memory))
    with pytest.raises(ValueError, match="`state` must have shape"):
        selective(u, state=type(selective.initial_state(2))(window, memory[:1]))
    with pytest.raises(TypeError, match="`state` must be a SelectiveState, got Tensor. Take the one"):
        check_kind(memory, SelectiveState)


def test_refused_cells_are_refused_by_layers() -> None:
    u, dt = torch.randn(2, 5, 3), torch.ones(2, 5)
    with pytest.raises(RefusedError, match="one kernel for all intervals. Take Scan"):
        s4d(3, 4)(u, dt, execution=Convolution())
    with pytest.raises(RefusedError, match="one kernel for all intervals"):
        s4d(3, 4)(u, dt, execution=Chunked(Convolution(), 2))
    with pytest.raises(RefusedError, match="a rank that grows"):
        s4(3, 4)(u, execution=Scan())
    with pytest.raises(RefusedError, match="one kernel for all times"):
        Selective(3, 4)(u, execution=Convolution())
    low_rank = s4(3, 4)
    exact = StateSpace(low_rank.matrix, *low_rank.ports(), ZOH())
    for execution in (None, Recurrent(), Convolution()):
        with pytest.raises(RefusedError, match="is full. Take Bilinear"):
            exact(u, execution=execution)
    with pytest.raises(RefusedError, match="not as a map"):
        StateSpace(s4d(3, 4).matrix, *s4d(3, 4).ports(), Discrete())(u)


def test_a_series_longer_than_a_kernel_made_before() -> None:
    layer, u = s4d(3, 4), torch.randn(2, 20, 3)
    kernel = layer.kernel(16)
    torch.testing.assert_close(layer(u[:, :16], execution=Convolution(kernel)), layer(u[:, :16]))
    torch.testing.assert_close(layer(u[:, :9], execution=Convolution(kernel)), layer(u[:, :9]))
    torch.testing.assert_close(layer(u, execution=Chunked(Convolution(kernel), 16)), layer(u))
    with pytest.raises(ValueError, match="has 16 lags, and the series has 20 times. Make a longer one"):
        layer(u, execution=Convolution(kernel))
    with pytest.raises(ValueError, match="is one of interval 1, and the series has 0.5. Make it for this one"):
        layer(u[:, :16], 0.5, execution=Convolution(kernel))
    with pytest.raises(ValueError, match="is one of interval 1, and the series has 0.5"):
        layer(u[:, :16], torch.tensor(0.5), execution=Convolution(kernel))
    with pytest.raises(TypeError, match="must be of torch.float64 on cpu, got torch.float32 on cpu. Make it anew"):
        layer(u[:, :16], execution=Convolution(Kernel(kernel.values.float(), 1.0)))
    with pytest.raises(TypeError, match="`kernel` of `Convolution` must be a Kernel, got Tensor. Take layer.kernel"):
        check_kernel(kernel.values, layer.running(None, u), 16)
    for wrong in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="`dt` must be at least 0 and at most 1e15"):
            layer.kernel(16, wrong)
    half = Convolution(layer.kernel(16, 0.5))
    torch.testing.assert_close(layer(u[:, :16], 0.5, execution=half), layer(u[:, :16], 0.5))
    torch.testing.assert_close(layer(u[:, :16], torch.tensor(0.5), execution=half), layer(u[:, :16], 0.5))
    with pytest.raises(ValueError, match=r"must have shape \(3, 1, 1\) and lags, got \(4, 1, 1, 16\)"):
        layer(u, execution=Convolution(s4d(4, 4).kernel(16)))
    with pytest.raises(ValueError, match="`length` must be a whole number of at least 1, got 0"):
        layer.kernel(0)


@pytest.mark.parametrize("make", [s4, s4d, dss])
def test_state_sizes_that_have_no_pairs(make) -> None:
    with pytest.raises(ValueError, match="`states` must be even"):
        make(3, 5)
    with pytest.raises(ValueError, match="at least 2, got 0"):
        make(3, 0)
    assert s4d(3, 5, spectrum=s4d_real).matrix.state == 5


def test_arguments_of_layers() -> None:
    for state, blocks, other in ((8, 3, 12), (12, 4, 16)):
        with pytest.raises(ValueError, match=f"multiple of twice `blocks`.* got {state} and {blocks}. .* of {other}"):
            s5(3, state, blocks=blocks)
    with pytest.raises(ValueError, match="`blocks` must be a whole number of at least 1, got 0"):
        s5(3, 8, blocks=0)
    with pytest.raises(ValueError, match="`channels` must be a whole number of at least 1, got 2.5"):
        check_sizes(channels=2.5)
    for make in (s4, s4d, s5, dss, lru, lssl, companion):
        with pytest.raises(ValueError, match="`channels` must be a whole number of at least 1, got 0"):
            make(0, 4)
    for make in (s4, s4d, lssl, companion):
        with pytest.raises(ValueError, match="`outputs` must be a whole number of at least 1, got 0"):
            make(3, 4, outputs=0)
    with pytest.raises(ValueError, match="`state` must be a whole number of at least 1, got 0"):
        lru(3, 0)
    with pytest.raises(ValueError, match="`states` must be a whole number of at least 1, got 0"):
        s4d(3, 0, spectrum=s4d_real)
    with pytest.raises(TypeError, match="`operator` must be one whose matrix is normal plus low rank, got Chebyshev"):
        s4(3, 4, operator=Chebyshev())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"moduli must rise within \(0, 1\)"):
        lru(3, 4, smallest=0.9, largest=1.0)
    with pytest.raises(ValueError, match="`phase` must be positive"):
        lru(3, 4, phase=0.0)
    with pytest.raises(ValueError, match="longest step must not be below the shortest"):
        s4d(3, 4, shortest=0.1, longest=0.01)
    with pytest.raises(ValueError, match="`softmax` must be a whole number of at least 1, got 0"):
        dss(3, 4, softmax=0)
    with pytest.raises(ValueError, match="`state` must be a whole number of at least 1, got 0"):
        lssl(3, 0)
    with pytest.raises(ValueError, match="`state` must be a whole number of at least 1, got 0"):
        companion(3, 0)
    with pytest.raises(ValueError, match="`width` must be a whole number of at least 1, got 0"):
        Selective(3, 4, width=0)
    with pytest.raises(ValueError, match="`rate` must be positive"):
        parameter_groups(s4d(3, 4), 0.0)
    with pytest.raises(ValueError, match="`slow_rate` must be positive"):
        parameter_groups(s4d(3, 4), 1.0, slow_rate=-1.0)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_weights_of_the_bilinear_rule(alpha) -> None:
    with pytest.raises(ValueError, match="`alpha` must lie between 0 and 1"):
        GeneralizedBilinear(alpha)


def test_matrices_and_ports_that_do_not_fit() -> None:
    a, b, c = torch.complex(-torch.rand(3, 2) - 0.1, torch.rand(3, 2)), torch.ones(3, 2, 1), torch.ones(3, 1, 2)
    matrix, wide = Diagonal(a), torch.complex128
    with pytest.raises(TypeError, match="`b` and `c` must be complex"):
        StateSpace(matrix, b, c, ZOH())
    with pytest.raises(TypeError, match="`b` and `c` must be real"):
        StateSpace(Diagonal(a.real), b.to(wide), c.to(wide), ZOH())
    with pytest.raises(ValueError, match="as many systems as the matrix, 3, got 2"):
        StateSpace(matrix, b[:2].to(wide), c[:2].to(wide), ZOH())
    with pytest.raises(ValueError, match="`b` must have shape"):
        StateSpace(matrix, b.mT.to(wide), c.to(wide), ZOH())
    with pytest.raises(ValueError, match="`c` must have shape"):
        StateSpace(matrix, b.to(wide), c[:2].to(wide), ZOH())
    with pytest.raises(ValueError, match="`skip` must have shape"):
        StateSpace(matrix, b.to(wide), c.to(wide), ZOH(), skip=torch.ones(2))
    with pytest.raises(ValueError, match="systems have 2 inputs and 1 outputs"):
        StateSpace(matrix, b.expand(3, 2, 2).to(wide), c.to(wide), ZOH(), skip=torch.ones(3))
    with pytest.raises(ValueError, match="`step` must be positive, got a smallest of 0"):
        StateSpace(matrix, b.to(wide), c.to(wide), ZOH(), step=torch.zeros(3, 1))
    with pytest.raises(ValueError, match="`step` must have shape"):
        StateSpace(matrix, b.to(wide), c.to(wide), ZOH(), step=torch.ones(3))
    dense = Dense(torch.zeros(3, 2, 2))
    with pytest.raises(ValueError, match=r"`step` must be None for maps and \(systems or 1, 1\) for Dense"):
        StateSpace(dense, b, c, Bilinear(), step=torch.ones(3, 2))
    with pytest.raises(ValueError, match="`step` must be None for maps"):
        StateSpace(dense, b, c, Discrete(), step=torch.ones(3, 1))
    with pytest.raises(ValueError, match="whole numbers of its steps, got 1.5"):
        StateSpace(dense, b, c, Discrete())(torch.ones(1, 2, 3), 1.5)
    with pytest.raises(TypeError, match="`a` and `p` must be complex"):
        DiagonalPlusLowRank(a.real, a[None])
    for make in (lambda: Diagonal(a[0]), lambda: Companion(a.real[0]), lambda: Dense(torch.zeros(2, 3, 2))):
        with pytest.raises(ValueError, match="`a` must have shape"):
            make()
    with pytest.raises(ValueError, match="`p` must have shape"):
        DiagonalPlusLowRank(a, a)


@pytest.mark.parametrize("constraint", [Exponential(), Softplus()])
def test_systems_that_grow_need_a_free_constraint(constraint) -> None:
    a = torch.tensor([[0.5, -1.0]])
    with pytest.raises(ValueError, match="must be positive under this constraint, got a smallest of -0.5. Take Free"):
        Diagonal(a, constraint)
    torch.testing.assert_close(Diagonal(a, Free()).values(), a)
    torch.testing.assert_close(Diagonal(-a.abs(), constraint).values(), -a.abs())


@pytest.mark.parametrize("make", [s4, s4d, s5, lru, lssl, companion, Selective])
def test_an_empty_batch_has_empty_outputs(make) -> None:
    layer = make(3, 4)
    for dt in (None, torch.ones(0, 5)):
        y, state = layer.prefill(torch.zeros(0, 5, 3), dt)
        assert y.shape == (0, 5, 3) and layer.step(torch.zeros(0, 3), state)[0].shape == (0, 3)


@pytest.mark.parametrize("outputs", [1, 2])
def test_every_output_has_a_skip(outputs) -> None:
    for make in (s4, s4d, lssl):
        skip = make(3, 4, outputs=outputs).skip
        assert skip is not None and skip.shape == (3 * outputs,)


def test_a_layer_that_is_no_flow() -> None:
    with pytest.raises(TypeError, match="`layer` must be a StateSpace, as s4d, s5 and lssl return, got Selective"):
        flow(Selective(3, 4), torch.randn(2, 3))
    with pytest.raises(ValueError, match=r"`u` must have shape \(any, 3\)"):
        flow(s4d(3, 4), torch.randn(2, 4))
    with pytest.raises(TypeError, match="`u` must have the dtype"):
        flow(s4d(3, 4), torch.randn(2, 3).float())


@pytest.mark.parametrize("make", [s4, s4d, s5, lru, lssl, Selective], ids=lambda make: make.__name__)
@pytest.mark.parametrize("interval", [0.0, 1e-20, 1e-8, 1e6, 1e15])
def test_every_interval_that_is_taken_runs_in_float32(make, interval) -> None:
    """One number and one for each entry give the same, and both are finite."""
    layer, u = make(4, 8).float(), torch.randn(2, 6, 4).float()
    one, each = layer(u, interval), layer(u, torch.full((2, 6), interval).float())
    assert bool(torch.isfinite(one).all())
    torch.testing.assert_close(one, each, rtol=1e-4, atol=1e-4 * float(each.detach().abs().max()))
