"""Layers: what they start as, one answer however they are run, intervals, padding and batch-mates."""

import math

import pytest
import torch
from torch import Tensor

from sciml.ssm import (
    ZOH,
    AbstractLayer,
    Chunked,
    Convolution,
    GeneralizedBilinear,
    Preprocess,
    Recurrent,
    RefusedError,
    Scan,
    Selective,
    companion,
    dss,
    lru,
    lssl,
    s4,
    s4d,
    s4d_inv,
    s4d_legs,
    s4d_lin,
    s4d_quad,
    s4d_real,
    s5,
)
from sciml.ssm.hippo import LegS, LegT
from sciml.ssm.layers.companion import butterworth
from sciml.ssm.layers.preprocess import Difference, MovingAverageResidual
from sciml.ssm.nplr import dplr

LAYERS = {
    "s4d legs": lambda: s4d(4, 8),
    "s4d inv": lambda: s4d(4, 8, spectrum=s4d_inv),
    "s4d lin": lambda: s4d(4, 8, spectrum=s4d_lin, outputs=2),
    "s4d quad, backward Euler": lambda: s4d(4, 8, spectrum=s4d_quad, discretisation=GeneralizedBilinear(1.0)),
    "s4d real": lambda: s4d(4, 8, spectrum=s4d_real),
    "s4": lambda: s4(4, 8),
    "s4 legt, two outputs": lambda: s4(4, 8, operator=LegT(), outputs=2),
    "dss exp": lambda: dss(4, 8),
    "dss softmax": lambda: dss(4, 8, softmax=30),
    "lssl": lambda: lssl(4, 6, outputs=2),
    "lssl zoh": lambda: lssl(4, 6, discretisation=ZOH()),
    "s5": lambda: s5(4, 8, blocks=2),
    "lru": lambda: lru(4, 6),
    "companion": lambda: companion(4, 6),
    "companion flow": lambda: companion(4, 6, discretisation=ZOH()),
    "selective": lambda: Selective(4, 6),
    "selective zoh": lambda: Selective(4, 6, discretisation=ZOH()),
    "preprocess": lambda: Preprocess(4, [Difference(2), MovingAverageResidual(4)]),
}
WHOLE = {"companion"}  # maps, whose intervals are whole numbers of steps
EXACT = ("s4d legs", "s4d real", "s5", "lru", "lssl zoh", "dss exp", "companion", "companion flow")
WITHOUT_STEP = {"lru", "companion", "selective", "selective zoh", "preprocess", "dss softmax"}
MIXING = {"s5", "lru", "selective", "selective zoh"}  # matrix products over channels
WAYS = (Convolution(), Scan(), Recurrent(), Chunked(Convolution(), 6), Chunked(Scan(), 6), Chunked(Recurrent(), 6))


def make(name: str, dtype: torch.dtype = torch.float64) -> AbstractLayer:
    torch.manual_seed(1)
    return LAYERS[name]().to(dtype)


def series(name: str, dtype: torch.dtype = torch.float64, batch: int = 3, time: int = 17) -> tuple[Tensor, Tensor]:
    """Inputs, and intervals of which some are 0."""
    torch.manual_seed(2)
    u = torch.randn(batch, time, 4).to(dtype)
    dt = torch.randint(0, 3, (batch, time)).to(dtype) if name in WHOLE else 2 * torch.rand(batch, time).to(dtype)
    dt[:, 5] = 0
    dt[:, 0] = 1
    return u, dt


def stepped(layer: AbstractLayer, u: Tensor, dt: Tensor | None) -> tuple[Tensor, object]:
    state, outputs = layer.initial_state(len(u)), []
    for k in range(u.shape[1]):
        y, state = layer.step(u[:, k], state, None if dt is None else dt[:, k])
        outputs.append(y)
    return torch.stack(outputs, dim=1), state


def close(have: object, want: object, dtype: torch.dtype) -> None:
    tolerance = 1e-11 if dtype == torch.float64 else 3e-5
    torch.testing.assert_close(have, want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("irregular", [False, True], ids=["fixed", "per sample"])
@pytest.mark.parametrize("name", LAYERS)
def test_one_answer_however_it_is_run(name, irregular, dtype) -> None:
    """Values, states and gradients of convolution, scan, loop, chunks, streaming, and prefill followed by steps."""
    layer = make(name, dtype)
    u, dt = series(name, dtype)
    intervals = dt if irregular else None
    u.requires_grad_()
    want, end = stepped(layer, u, intervals)
    weight = torch.linspace(-1, 1, want.numel(), dtype=dtype).view(want.shape)
    sources = [u, *(p for p in layer.parameters() if p.requires_grad)]
    gradient = torch.autograd.grad((weight * want).sum(), sources)
    ran = 0
    for way in WAYS:
        try:
            y, state = layer.prefill(u, intervals, None, way)
        except RefusedError:
            continue
        ran += 1
        close(y, want, dtype)
        close(layer(u, intervals, None, way), want, dtype)
        close(tuple(state), tuple(end), dtype)  # type: ignore[arg-type]
        for have, expected in zip(torch.autograd.grad((weight * y).sum(), sources), gradient, strict=True):
            close(have / (1 + expected.abs().max()), expected / (1 + expected.abs().max()), dtype)
    assert ran >= 2
    first, state = layer.prefill(u[:, :9], None if intervals is None else intervals[:, :9])
    second = layer(u[:, 9:], None if intervals is None else intervals[:, 9:], state)
    close(torch.cat([first, second], dim=1), want, dtype)


@pytest.mark.parametrize("name", LAYERS)
def test_equal_intervals_are_the_fixed_ones(name) -> None:
    """Invariant (i): (batch, time) intervals that are all the same, and one number."""
    layer, (u, _) = make(name), series(name)
    distance = 1.0 if name in WHOLE else 0.7
    close(layer(u, torch.full(u.shape[:2], distance)), layer(u, distance), torch.float64)


@pytest.mark.parametrize(
    "name", ["s4d legs", "s4d real", "s5", "lru", "lssl zoh", "dss exp", "companion", "companion flow"]
)
def test_an_interval_can_be_split_where_the_rule_is_exact(name) -> None:
    """Invariant (ii): the same held input over two intervals is that over their sum, with ZOH and for maps."""
    layer, (u, dt) = make(name), series(name)
    part = torch.randint(0, 2, dt.shape).double() if name in WHOLE else dt * torch.rand_like(dt)
    part = torch.minimum(part, dt)
    twice = torch.stack([part, dt - part], dim=2).flatten(1)
    both = layer(u.repeat_interleave(2, dim=1), twice)[:, 1::2]
    close(both, layer(u, dt), torch.float64)


def test_a_split_interval_without_input_leaves_selective_states_alone() -> None:
    """Invariant (ii) for the factor exp(d a): where B u is 0, only the sum of intervals counts."""
    layer = make("selective")
    assert isinstance(layer, Selective)
    memory = torch.randn(2, layer.inner, 6)
    decay = layer.matrix.values()
    halves = memory * torch.exp(0.2 * decay) * torch.exp(0.3 * decay)
    close(halves, memory * torch.exp(0.5 * decay), torch.float64)


def test_bilinear_is_not_exact_on_split_intervals() -> None:
    layer, (u, dt) = make("s4"), series("s4")
    twice = (dt / 2).repeat_interleave(2, dim=1)
    assert (layer(u.repeat_interleave(2, dim=1), twice)[:, 1::2] - layer(u, dt)).abs().max() > 1e-6


@pytest.mark.parametrize("name", sorted(set(LAYERS) - WITHOUT_STEP))
def test_the_unit_of_time_does_not_matter(name) -> None:
    """Invariant (iii): intervals times c and learned steps divided by c.

    Not for what has no learned step of its own, nor for a softmax over a length, which is counted in intervals of 1.
    """
    layer, (u, dt) = make(name), series(name)
    want = layer(u, dt)
    with torch.no_grad():
        layer.log_step -= math.log(60.0)  # type: ignore[operator]
    close(layer(u, 60.0 * dt), want, torch.float64)


@pytest.mark.parametrize("name", sorted(set(LAYERS) - {"preprocess"}))
def test_other_intervals_give_other_outputs(name) -> None:
    """Of every sample whose intervals changed, from the changed entry on, and of no other."""
    layer, (u, dt) = make(name), series(name)
    other = dt.clone()
    other[1, 8] += 1 if name in WHOLE else 0.1
    before, after = layer(u, dt), layer(u, other)
    assert bool((before[1, 8:] != after[1, 8:]).any(dim=-1).all())
    assert torch.equal(before[1, :8], after[1, :8])
    assert torch.equal(before[[0, 2]], after[[0, 2]])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("name", LAYERS)
def test_padding_is_exactly_neutral(name, dtype) -> None:
    """Bitwise: what stands at interval 0, in the middle or behind, reaches no other output and no state.

    Against the series without padding it is bitwise where nothing but the loop over time runs; matrix products of other
    shapes are summed in another order, and a scan is cut at other places, so that those differ by rounding.
    """
    layer, (u, dt) = make(name, dtype), series(name, dtype)
    holes = (slice(4, 6), slice(19, 25))
    padded = torch.cat([u[:, :4], u[:, :2], u[:, 4:], u[:, :6]], dim=1)
    other = padded.clone()
    gaps = torch.cat([dt[:, :4], dt[:, :2], dt[:, 4:], dt[:, :6]], dim=1)
    for hole in holes:
        other[:, hole] = 1e3
        gaps[:, hole] = 0
    kept = [*range(4), *range(6, 19)]
    plain, end = layer.prefill(u, dt, None, Recurrent())
    for way in (Recurrent(), None):
        (y, state), (y_other, state_other) = (
            layer.prefill(padded, gaps, None, way),
            layer.prefill(other, gaps, None, way),
        )
        assert torch.equal(y[:, kept], y_other[:, kept])
        assert all(torch.equal(a, b) for a, b in zip(tuple(state), tuple(state_other), strict=True))
        close(y[:, kept], plain, dtype)
        close(tuple(state), tuple(end), dtype)
        if isinstance(way, Recurrent) and name not in MIXING:
            assert torch.equal(y[:, kept], plain)
            assert all(torch.equal(a, b) for a, b in zip(tuple(state), tuple(end), strict=True))
    _, still = layer.step(u[:, 0], end, torch.zeros(3, dtype=dtype))
    assert all(torch.equal(a, b) for a, b in zip(tuple(still), tuple(end), strict=True))


@pytest.mark.parametrize("name", LAYERS)
def test_a_sample_alone_is_the_sample_in_a_batch(name) -> None:
    layer, (u, dt) = make(name, torch.float32), series(name, torch.float32)
    for intervals in (dt, None):
        together = layer(u, intervals)
        alone = layer(u[1:2], None if intervals is None else intervals[1:2])
        torch.testing.assert_close(alone, together[1:2], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", LAYERS)
def test_a_batch_mate_changes_nothing(name) -> None:
    """Bitwise at equal shapes."""
    layer, (u, dt) = make(name, torch.float32), series(name, torch.float32)
    other = u.clone()
    other[0] += 100
    for intervals in (dt, None):
        assert torch.equal(layer(u, intervals)[1:], layer(other, intervals)[1:])


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-14), (torch.float32, 5e-6)], ids=str)
def test_s4_kernel_is_the_recurrence(dtype, bound) -> None:
    """N = 64, L = 1024, dt = 1e-2: check 6."""
    torch.manual_seed(0)
    layer = s4(2, 64, shortest=1e-2, longest=1e-2).to(dtype)
    impulse = torch.zeros(1, 1024, 2, dtype=dtype)
    impulse[:, 0] = 1
    with torch.no_grad():
        want = layer(impulse, execution=Recurrent())[0].mT
        want[:, 0] -= layer.skip  # type: ignore[operator]
        have = layer.kernel(1024).values[:, 0, 0]
    error = (have - want).abs().max() / want.abs().max()
    print(
        f"S4 kernel against recurrence, {dtype}: relative error {error:.1e}, absolute {(have - want).abs().max():.1e}"
    )
    assert error <= bound


def test_s4_starts_as_hippo() -> None:
    """Its real matrix has the eigenvalues of LegS, -1, ..., -N, to what eigenvalues of so skew a matrix allow."""
    layer = s4(1, 8)
    eigenvalues = torch.linalg.eigvals(layer.matrix.full()[0])
    assert torch.allclose(eigenvalues.real.sort().values, -torch.arange(8.0, 0, -1), atol=1e-8)


@pytest.mark.parametrize("start", [s4d_legs, s4d_inv, s4d_lin, s4d_quad, s4d_real])
def test_s4d_starts_as_asked(start) -> None:
    layer = s4d(3, 16, spectrum=start)
    torch.testing.assert_close(layer.matrix.values(), start(16).expand(3, -1))  # type: ignore[operator]


def test_dss_softmax_is_the_published_kernel() -> None:
    layer = dss(3, 8, softmax=30)
    a, w = layer.matrix.values(), torch.view_as_complex(layer.c)[:, 0]  # type: ignore[operator]
    p = layer.scale().unsqueeze(-1) * a.unsqueeze(-1) * torch.arange(30)
    softmax = p.exp() / p.exp().sum(-1, keepdim=True)
    torch.testing.assert_close(layer.kernel(30).values[:, 0, 0], 2 * ((w / a).unsqueeze(-1) * softmax).sum(1).real)


def test_dss_softmax_takes_modes_that_grow() -> None:
    layer = dss(1, 4, softmax=50)
    with torch.no_grad():
        layer.matrix.decay.copy_(torch.tensor([[-4.0, 0.5]]))  # type: ignore[union-attr]
    u = torch.randn(2, 50, 1)
    y = layer(u)
    close(layer(u, execution=Recurrent()), y, torch.float64)
    assert y.abs().max() < 100


def test_lru_at_unit_intervals_is_the_published_one() -> None:
    layer = lru(3, 5)
    z = layer.matrix.values()[0]  # type: ignore[operator]
    b, c = torch.view_as_complex(layer.b)[0], 2 * torch.view_as_complex(layer.c)[0]
    assert bool(((z.exp().abs() >= 0.9) & (z.exp().abs() <= 0.999)).all())
    gamma = (1 - z.exp().abs() ** 2).sqrt()
    u = torch.randn(2, 12, 3)
    x, outputs = torch.zeros(2, 5, dtype=torch.complex128), []
    for u_k in u.unbind(1):
        x = z.exp() * x + gamma * (u_k.to(b) @ b.T)
        outputs.append((x @ c.T).real + layer.skip * u_k)  # type: ignore[operator]
    close(layer(u), torch.stack(outputs, dim=1), torch.float64)


def test_s5_is_the_system_in_its_eigenbasis() -> None:
    """B and C are those of a real system x' = A x + B0 u, y = C0 x with A the normal part of HiPPO."""
    torch.manual_seed(0)
    layer = s5(3, 8, shortest=0.1, longest=0.1)
    start = dplr(LegS(), 8)
    b, c = (value[0] for value in layer.ports())
    b0, c0 = 2 * (start.vectors @ b).real, 2 * (c @ start.vectors.mH).real
    a = 2 * (start.vectors @ torch.diag(start.eigenvalues) @ start.vectors.mH).real
    step = torch.linalg.matrix_exp(0.1 * a)
    held = torch.linalg.solve(a, step - torch.eye(8)) @ b0
    u, x, outputs = torch.randn(2, 20, 3), torch.zeros(2, 8), []
    for u_k in u.unbind(1):
        x = x @ step.T + u_k @ held.T
        outputs.append(x @ c0.T + layer.skip * u_k)  # type: ignore[operator]
    close(layer(u), torch.stack(outputs, dim=1), torch.float64)


def test_lssl_is_hippo_by_the_bilinear_rule() -> None:
    layer = lssl(2, 5)
    a, b = LegS().transition(5)
    u, outputs = torch.randn(1, 9, 2), []
    for h in range(2):
        d, x = layer.scale()[h, 0], torch.zeros(5)
        left, right = torch.eye(5) - d / 2 * a, torch.eye(5) + d / 2 * a
        for u_k in u[0, :, h]:
            x = torch.linalg.solve(left, right @ x + d * b * u_k)
            outputs.append(layer.c[h, 0] @ x + layer.skip[h] * u_k)  # type: ignore[index]
    close(layer(u)[0].mT.flatten(), torch.stack(outputs), torch.float64)


def test_selective_is_the_published_recurrence() -> None:
    """Entry by entry, with steps that intervals multiply."""
    torch.manual_seed(0)
    layer = Selective(4, 3, expand=2, width=3)
    u, dt = torch.randn(1, 10, 4), torch.rand(1, 10) + 0.1
    v, gate = layer.enter(u).chunk(2, dim=-1)
    padded = torch.cat([torch.zeros(1, 2, 8), v], dim=1)
    weight = layer.convolution.weight
    v = torch.nn.functional.silu(
        layer.convolution.bias + sum(weight[lag] * padded[:, 2 - lag : 12 - lag] for lag in range(3))
    )
    s, b, c = layer.choose(v).split([layer.rank, 3, 3], dim=-1)
    step = dt.unsqueeze(-1) * torch.nn.functional.softplus(layer.widen(s))
    x, outputs = torch.zeros(8, 3), []
    a = -torch.arange(1.0, 4.0)
    for k in range(10):
        x = torch.exp(step[0, k, :, None] * a) * x + step[0, k, :, None] * b[0, k] * v[0, k, :, None]
        outputs.append(x @ c[0, k] + v[0, k])
    y = layer.leave(torch.stack(outputs) * torch.nn.functional.silu(gate[0]))
    close(layer(u, dt)[0], y, torch.float64)


def test_companion_flow_starts_as_butterworth() -> None:
    column = butterworth(4)
    matrix = torch.diag(torch.ones(3), -1)
    matrix[:, -1] += column
    eigenvalues = torch.linalg.eigvals(matrix)
    torch.testing.assert_close(eigenvalues.abs(), torch.ones(4))
    assert eigenvalues.real.max() < -0.3


def test_filters_of_a_series() -> None:
    u = torch.randn(1, 8, 1)
    y = Preprocess(1, [Difference(0), Difference(1), Difference(3), MovingAverageResidual(4)])(u)[0, :, :].T
    torch.testing.assert_close(y[0], u[0, :, 0])
    torch.testing.assert_close(y[1, 1:], u[0, :, 0].diff())
    torch.testing.assert_close(y[2, 3:], u[0, :, 0].diff(3))
    torch.testing.assert_close(y[3, 3:], u[0, 3:, 0] - u[0, :, 0].unfold(0, 4, 1).mean(-1))


@pytest.mark.parametrize("name", LAYERS)
def test_slow_parameters_are_parameters_once(name) -> None:
    layer = make(name)
    slow = [id(p) for p in layer.slow_parameters()]
    assert len(set(slow)) == len(slow)
    assert set(slow) <= {id(p) for p in layer.parameters()}
