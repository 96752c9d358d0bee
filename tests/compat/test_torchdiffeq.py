"""Side by side with the package itself, on the four problems of its own tests and on one network."""

import copy
import math
import warnings
from collections import Counter
from typing import Any

import pytest
import torch
import torchdiffeq as theirs
from torch import Tensor, nn

from sciml.compat import torchdiffeq as ours

FIXED = ("euler", "midpoint", "heun2", "heun3", "rk4", "explicit_adams", "implicit_adams")
ADAPTIVE = ("dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun")
TOLERANCE = {"fehlberg2": 1e-4, "adaptive_heun": 1e-4, "bosh3": 1e-5}
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # theirs warn about their own tensors
BOTH = pytest.mark.parametrize("package", [theirs, ours], ids=["theirs", "ours"])


class Constant(nn.Module):
    """y = a t + b."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.tensor(0.2)), nn.Parameter(torch.tensor(3.0))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return self.a + (y - (self.a * t + self.b)) ** 5

    def exact(self, t: Tensor) -> Tensor:
        return (self.a * t + self.b).detach()


class Linear(nn.Module):
    """A rotation in ten dimensions."""

    def __init__(self) -> None:
        super().__init__()
        noise = torch.randn(10, 10, generator=torch.Generator().manual_seed(0)) * 0.1
        self.A = nn.Parameter(noise - noise.T)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return self.A @ y

    def exact(self, t: Tensor) -> Tensor:
        return torch.matrix_exp(self.A.detach() * (t - 1)[:, None, None]) @ torch.ones(10, dtype=t.dtype)


class Sine(nn.Module):
    """A polynomial times sines."""

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return 2 * y / t + t**4 * torch.sin(2 * t) - t**2 + 4 * t**3

    def exact(self, t: Tensor) -> Tensor:
        waves = -0.5 * t**4 * torch.cos(2 * t) + 0.5 * t**3 * torch.sin(2 * t) + 0.25 * t**2 * torch.cos(2 * t)
        return waves - t**3 + 2 * t**4 + (math.pi - 0.25) * t**2


class Exponential(nn.Module):
    """y = exp(-t / 2)."""

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return -0.5 * y

    def exact(self, t: Tensor) -> Tensor:
        return torch.exp(-0.5 * t)


class Network(nn.Module):
    """Counts its evaluations; optionally oscillates."""

    def __init__(self, width: int = 10, wave: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Linear(width, 2), nn.Tanh())
        self.wave, self.evaluations, self.calls = wave, 0, Counter()

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        self.evaluations += 1
        value = self.layers(y)
        return value * torch.sin(self.wave * t) if self.wave else value


def watched(network: Network, names: tuple[str, ...]) -> Network:
    """Count the callbacks."""
    for name in names:
        setattr(network, name, lambda t0, y0, dt, name=name: network.calls.update([name]))
    return network


def close(a: Any, b: Any, rtol: float, atol: float) -> None:
    assert a.shape == b.shape and a.dtype == b.dtype
    torch.testing.assert_close(a, b, rtol=rtol, atol=atol)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("method", ADAPTIVE)
def test_values_of_adaptive_methods(method: str, dtype: torch.dtype, backwards: bool) -> None:
    """Errors are about theirs or smaller: dense outputs differ."""
    tolerance = 1e-4 if dtype == torch.float32 else TOLERANCE.get(method, 1e-7)
    for problem in (Constant(), Linear(), Sine(), Exponential()):
        field = problem.to(dtype)
        t = torch.linspace(1, 3, 5, dtype=dtype)
        t = t.flip(0) if backwards else t
        exact = field.exact(t)
        kwargs: dict[str, Any] = dict(method=method, rtol=tolerance, atol=tolerance)
        with torch.no_grad():
            expected, value = (package.odeint(field, exact[0], t, **kwargs) for package in (theirs, ours))
        assert value.shape == expected.shape and value.dtype == expected.dtype
        size = exact.abs().max()
        mine, others = ((y - exact).abs().max() / size for y in (value, expected))
        assert float(mine) <= max(3 * float(others), 10 * tolerance), type(problem).__name__


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("method", FIXED)
def test_values_of_given_steps(method: str, dtype: torch.dtype, backwards: bool) -> None:
    """The same numbers to rounding."""
    for problem in (Constant(), Linear(), Sine(), Exponential()):
        field = problem.to(dtype)
        t = torch.linspace(1, 3, 5, dtype=dtype)
        t = t.flip(0) if backwards else t
        y0 = field.exact(t)[0]
        options = {"step_size": 0.0625} | ({"max_order": 6} if "adams" in method else {})
        kwargs: dict[str, Any] = dict(method=method, rtol=1e-3, atol=1e-3, options=options)
        with torch.no_grad():
            expected, value = (package.odeint(field, y0, t, **kwargs) for package in (theirs, ours))
        rounding = 1e-4 if dtype == torch.float32 else 1e-11
        close(value, expected, rounding, rounding)


def test_tsit5_is_served_too() -> None:
    t = torch.linspace(0, 1, 3)
    close(
        ours.odeint(Exponential(), torch.ones(2), t, method="tsit5"), torch.exp(-0.5 * t)[:, None].expand(3, 2), 1e-7, 0
    )


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 3), (2, 1, 3)])
@pytest.mark.parametrize("method", ["dopri5", "rk4"])
def test_states_of_any_shape(method: str, shape: tuple[int, ...]) -> None:
    y0, t = torch.rand(shape) + 0.5, torch.tensor([0.0, 0.3, 1.0])
    expected = theirs.odeint(lambda t, y: -y * t, y0, t, method=method)
    value = ours.odeint(lambda t, y: -y * t, y0, t, method=method)
    close(value, expected, 1e-7, 1e-9)
    assert value.is_contiguous()
    assert torch.equal(ours.odeint(lambda t, y: -y, y0, t[:1], method=method), y0[None])


@pytest.mark.parametrize("method", ["dopri5", "rk4", "implicit_adams"])
def test_complex_states(method: str) -> None:
    y0, t = torch.tensor([1.0 + 0.5j, 0.2j]), torch.linspace(0, 1, 11)
    close(
        ours.odeint(lambda t, y: 1j * y, y0, t, method=method),
        theirs.odeint(lambda t, y: 1j * y, y0, t, method=method),
        1e-6,
        1e-8,
    )


def test_tuple_states_and_tolerances_per_part_and_per_element() -> None:
    def field(t: Tensor, y: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return y[1].sum() * y[0], -y[1] * t

    y0, t = (torch.tensor(1.0), torch.rand(2, 2)), torch.linspace(0, 1, 4)
    kwargs: dict[str, Any] = dict(rtol=(1e-8, 1e-6), atol=(1e-9, torch.tensor(1e-7)))
    for a, b in zip(ours.odeint(field, y0, t, **kwargs), theirs.odeint(field, y0, t, **kwargs), strict=True):
        close(a, b, 1e-6, 1e-7)
    rtol = torch.tensor([1e-9, 1e-5])
    for package in (theirs, ours):
        value = package.odeint(lambda t, y: -y, torch.ones(2), t, rtol=rtol, atol=0.1 * rtol)
        close(value, torch.exp(-t)[:, None].expand(4, 2), 1e-5, 0)


@pytest.mark.parametrize("method", ["dopri5", "bosh3"])
def test_takes_the_same_steps(method: str) -> None:
    """One evaluation may be less: the end is stepped to, not stepped over."""
    counts = []
    for package in (theirs, ours):
        network = watched(Network(wave=20.0), ("callback_step", "callback_accept_step", "callback_reject_step"))
        package.odeint(network, torch.tensor([1.0, 2.0]), torch.linspace(0, 2, 5), method=method)
        calls = network.calls
        assert calls["callback_step"] == calls["callback_accept_step"] + calls["callback_reject_step"] > 0
        counts.append((calls["callback_step"], calls["callback_reject_step"], network.evaluations))
    assert all(abs(a - b) <= 2 for a, b in zip(*counts, strict=True)), counts


@BOTH
@pytest.mark.parametrize("method", ["rk4", "dopri5"])
def test_callbacks_of_both_solves(package: Any, method: str) -> None:
    names = ("callback_step",) if method == "rk4" else ("callback_step", "callback_accept_step", "callback_reject_step")
    network = watched(Network(), (*names, *(f"{name}_adjoint" for name in names)))
    options = {"step_size": 0.1} if method == "rk4" else None
    y = package.odeint_adjoint(
        network, torch.tensor([1.0, 2.0]), torch.tensor([0.0, 1.0]), method=method, options=options
    )
    y.sum().backward()
    for ending in ("", "_adjoint"):
        steps = network.calls[f"callback_step{ending}"]
        if method == "rk4":
            assert steps == 10
        else:
            assert (
                steps
                == network.calls[f"callback_accept_step{ending}"] + network.calls[f"callback_reject_step{ending}"]
                > 0
            )


@BOTH
def test_callbacks_see_the_users_state_and_time(package: Any) -> None:
    seen = []

    class Field(nn.Module):
        def forward(self, t: Tensor, y: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return tuple(-part for part in y)

        def callback_step(self, t0: Tensor, y0: tuple[Tensor, ...], dt: Tensor) -> None:
            seen.append((float(t0), [part.shape for part in y0], float(dt)))

    y0 = (torch.tensor(1.0), torch.ones(2, 3))
    package.odeint(Field(), y0, torch.tensor([1.0, 0.0]), method="euler", options=dict(step_size=0.25))
    assert [t for t, _, _ in seen] == [1.0, 0.75, 0.5, 0.25]
    assert all(shapes == [(), (2, 3)] and dt == 0.25 for _, shapes, dt in seen)


@BOTH
def test_a_callback_that_is_never_called_is_named(package: Any) -> None:
    network = watched(Network(), ("callback_reject_step",))
    with pytest.warns(UserWarning, match="callback_reject_step"):
        package.odeint(network, torch.ones(2), torch.tensor([0.0, 1.0]), method="rk4")


@BOTH
def test_options_that_mean_nothing_are_named(package: Any) -> None:
    for method in ("dopri5", "rk4"):
        with pytest.warns(UserWarning, match="wings"):
            package.odeint(Exponential(), torch.ones(2), torch.tensor([0.0, 1.0]), method=method, options=dict(wings=2))


@pytest.mark.parametrize("interp", ["linear", "cubic"])
@pytest.mark.parametrize("backwards", [False, True])
def test_outputs_between_given_steps(interp: str, backwards: bool) -> None:
    t = torch.tensor([0.0, 0.13, 0.2, 0.77, 1.0])
    t = (1 - t if backwards else t).requires_grad_()
    y0 = torch.ones(2).requires_grad_()
    kwargs: dict[str, Any] = dict(method="midpoint", options=dict(step_size=0.3, interp=interp))
    values = [package.odeint(lambda t, y: -y * t.sin(), y0, t, **kwargs) for package in (theirs, ours)]
    close(values[1], values[0], 1e-12, 0)
    grads = [torch.autograd.grad(value.cos().sum(), (y0, t)) for value in values]
    for a, b in zip(*grads, strict=True):
        close(a, b, 1e-9, 1e-12)


@BOTH
def test_grid_constructor(package: Any) -> None:
    seen = []

    def grid(func: Any, y0: Tensor, t: Tensor) -> Tensor:
        seen.append(t.tolist())
        return torch.linspace(float(t[0]), float(t[-1]), 11)

    y0 = torch.tensor(1.0, requires_grad=True)
    y = package.odeint_adjoint(
        lambda t, y: y,
        y0,
        torch.tensor([0.0, 1.0]),
        method="euler",
        options=dict(grid_constructor=grid),
        adjoint_params=(),
    )
    y[1].backward()
    assert seen == [[0.0, 1.0], [1.0, 0.0]]
    assert y0.grad is not None
    assert float(y[1]) == pytest.approx(1.1**10) and float(y0.grad) == pytest.approx(1.1**10)


@BOTH
@pytest.mark.parametrize("method", ["euler", "heun2", "rk4"])
def test_perturbed_steps_never_touch_their_ends(package: Any, method: str) -> None:
    times = []

    def field(t: Tensor, y: Tensor) -> Tensor:
        times.append(float(t))
        return -y

    for perturb in (True, False):
        times.clear()
        options = dict(step_size=0.5, perturb=perturb)
        package.odeint(field, torch.ones(2), torch.tensor([0.0, 1.0]), method=method, options=options)
        assert ({0.0, 0.5}.isdisjoint(times)) == perturb


@BOTH
@pytest.mark.parametrize("method", ["dopri5", "bosh3"])
def test_jumps_save_evaluations(package: Any, method: str) -> None:
    count = [0]

    def field(t: Tensor, y: Tensor) -> Tensor:
        count[0] += 1
        return -0.5 * y if t < 0.5 else y**2

    y0, t = torch.tensor([1.0, 2.0], requires_grad=True), torch.tensor([0.0, 0.9])
    evaluations = []
    for options in (None, dict(jump_t=torch.tensor([0.5]))):
        count[0] = 0
        y = package.odeint_adjoint(
            field, y0, t, rtol=1e-6, atol=1e-6, method=method, options=options, adjoint_params=()
        )
        y.sum().backward()
        evaluations.append(count[0])
    assert evaluations[1] < evaluations[0]


@BOTH
def test_limits_of_steps(package: Any) -> None:
    field, t, steps = Exponential(), torch.tensor([0.0, 4.0]), []
    field.callback_accept_step = lambda t0, y0, dt: steps.append((float(t0), float(dt)))  # type: ignore[assignment]

    def taken(**options: Any) -> list[tuple[float, float]]:
        steps.clear()
        package.odeint(field, torch.ones(2), t, rtol=1e-4, options=options)
        return list(steps)

    assert max(dt for _, dt in taken(max_step=0.25)) <= 0.25 * (1 + 1e-5)  # ours stretch a step by 1e-6 to end on time
    assert min(dt for _, dt in taken(min_step=2.0)[:-1]) >= 2.0
    assert taken(first_step=0.125)[0] == (0.0, 0.125)
    assert any(start == 0.7 for start, _ in taken(step_t=torch.tensor([0.7])))
    assert len(taken(ifactor=1.5)) > len(taken())


@BOTH
@pytest.mark.parametrize("name", ["step_t", "jump_t"])
def test_marks_before_the_start_mean_nothing(package: Any, name: str) -> None:
    options = {name: torch.tensor([0.1, 0.1, 0.7, 9.0])}
    y = package.odeint(Exponential(), torch.ones(2), torch.tensor([0.5, 1.0]), options=options)
    assert float(y[-1, 0]) == pytest.approx(math.exp(-0.25), rel=1e-6)


def test_dense_output() -> None:
    y0, t = torch.rand(3), torch.tensor(0.37)
    field = Exponential()
    at = [package.odeint_dense(field, y0, torch.tensor(0.0), torch.tensor(1.0)) for package in (theirs, ours)]
    close(at[1](t), at[0](t), 1e-8, 0)
    assert at[1](torch.tensor([0.1, 0.2])).shape == (2, 3)
    with pytest.raises(AssertionError, match="adaptive"):
        ours.odeint_dense(field, y0, torch.tensor(0.0), torch.tensor(1.0), method="rk4")
    with pytest.raises(AssertionError, match="tensor"):
        ours.odeint_dense(field, (y0,), torch.tensor(0.0), torch.tensor(1.0))


# Gradients


@pytest.mark.parametrize("method", ["dopri5", "midpoint", "rk4", "explicit_adams"])
@pytest.mark.parametrize("backwards", [False, True])
def test_gradcheck_of_state_and_all_times(method: str, backwards: bool) -> None:
    t = torch.linspace(1, 1.5, 6 if method == "explicit_adams" else 3)
    t = (t.flip(0) if backwards else t).requires_grad_()
    y0 = torch.tensor([0.7, 1.1], requires_grad=True)
    kwargs: dict[str, Any] = dict(method=method, rtol=1e-8, atol=1e-9)
    torch.autograd.gradcheck(lambda y0, t: ours.odeint(lambda t, y: y.cos() * t, y0, t, **kwargs), (y0, t))


@pytest.mark.parametrize("timed", [True, False])
def test_adjoint_gradients(timed: bool) -> None:
    def gradients(package: Any, name: str) -> list[Tensor]:
        network = Network(wave=2.0)
        y0, t = torch.tensor([1.0, 2.0], requires_grad=True), torch.linspace(0, 2, 4, requires_grad=timed)
        y = getattr(package, name)(network, y0, t, rtol=1e-9, atol=1e-11)
        (y * torch.linspace(1, 2, y.numel()).view_as(y)).sum().backward()
        return [x.grad for x in (y0, *([t] if timed else []), *network.parameters())]  # type: ignore[misc]

    reference = gradients(theirs, "odeint")
    for package, name in ((ours, "odeint"), (ours, "odeint_adjoint"), (theirs, "odeint_adjoint")):
        for a, b in zip(gradients(package, name), reference, strict=True):
            close(a, b, 1e-5, 1e-6)


def test_adjoint_of_tuples_and_unused_parameters() -> None:
    network = Network()
    unused = nn.Linear(2, 2)
    network.unused = unused
    y0 = (torch.rand(2), torch.rand(3, 2))

    def grads(solver: Any) -> list[Any]:
        parts = [part.clone().requires_grad_() for part in y0]

        class Pair(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.network = copy.deepcopy(network)

            def forward(self, t: Tensor, y: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
                return self.network(t, y[0]), self.network(t, y[1])

        pair = Pair()
        first, second = solver(pair, tuple(parts), torch.tensor([0.0, 1.0]), rtol=1e-8, atol=1e-9)
        (first.sum() + second.square().sum()).backward()
        return [x.grad for x in (*parts, *pair.parameters())]

    adjoint = grads(ours.odeint_adjoint)
    for a, b in zip(adjoint, grads(ours.odeint), strict=True):
        close(a, torch.zeros_like(a) if b is None else b, 1e-5, 1e-7)
    assert adjoint[-1].count_nonzero() == 0


def test_double_backward_of_the_adjoint_is_refused() -> None:
    y0 = torch.ones(2, requires_grad=True)
    y = ours.odeint_adjoint(Network(), y0, torch.tensor([0.0, 1.0]))
    (gradient,) = torch.autograd.grad(y.sum(), y0, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable|does not require grad"):
        gradient.sum().backward()


def test_seminorm_saves_evaluations_and_adjoint_options_hold() -> None:
    counts = []
    for norm in (None, "seminorm"):
        network = Network(width=64, wave=20.0)
        kwargs: dict[str, Any] = {} if norm is None else dict(adjoint_options=dict(norm=norm))
        y = ours.odeint_adjoint(network, torch.tensor([1.0, 2.0]), torch.tensor([0.0, 1.0]), atol=1e-6, **kwargs)
        network.evaluations = 0
        y.sum().backward()
        counts.append(network.evaluations)
    assert counts[1] <= counts[0]
    network = Network()
    y = ours.odeint_adjoint(
        network, torch.ones(2), torch.tensor([0.0, 1.0]), adjoint_method="rk4", adjoint_options=dict(step_size=0.1)
    )
    network.evaluations = 0
    y.sum().backward()
    assert network.evaluations == 40


@BOTH
def test_norms_see_what_the_user_gave(package: Any) -> None:
    seen: list[Any] = []

    def norm(state: Any) -> Tensor:
        seen.append([part.shape for part in state] if isinstance(state, tuple) else state.shape)
        parts = state if isinstance(state, tuple) else (state,)
        return torch.stack([part.abs().max() for part in parts]).max()

    t, params = torch.tensor([0.0, 1.0]), (torch.rand(7, requires_grad=True), torch.rand((), requires_grad=True))
    for y0, forward, backward in (
        (torch.tensor(1.0), (), [(), (), (), (7,), ()]),
        (torch.rand(2, 2), (2, 2), [(), (2, 2), (2, 2), (7,), ()]),
        ((torch.tensor(1.0), torch.rand(2, 2)), [(), (2, 2)], [(), (), (2, 2), (), (2, 2), (7,), ()]),
    ):
        seen.clear()
        package.odeint(lambda t, y: y, y0, t, options=dict(norm=norm))
        assert seen and all(shape == forward for shape in seen)
        seen.clear()
        y = package.odeint_adjoint(lambda t, y: y, y0, t, adjoint_params=params, adjoint_options=dict(norm=norm))
        if not isinstance(y, tuple):
            y = (y,)
        torch.cat([part.reshape(-1) for part in y]).requires_grad_().sum()
        y0 = tuple(part.requires_grad_() for part in y0) if isinstance(y0, tuple) else y0.requires_grad_()
        y = package.odeint_adjoint(lambda t, y: y, y0, t, adjoint_params=params, adjoint_options=dict(norm=norm))
        (y[0] if isinstance(y, tuple) else y).sum().backward()
        assert seen and all(shape == backward for shape in seen)


@BOTH
@pytest.mark.parametrize("name", ["odeint", "odeint_adjoint"])
def test_a_field_made_of_a_gradient(package: Any, name: str) -> None:
    """It asks its state whether it is recorded, as Hamiltonian networks do."""

    def field(t: Tensor, y: Tensor) -> Tensor:
        with torch.enable_grad():
            y = y if y.requires_grad else y.detach().requires_grad_()
            (slope,) = torch.autograd.grad((0.5 * y[1] ** 2 - torch.cos(y[0])).sum(), y, create_graph=True)
        return torch.stack([slope[1], -slope[0]])

    y0 = torch.tensor([1.0, 0.0], requires_grad=True)
    more: dict[str, Any] = dict(adjoint_params=()) if name == "odeint_adjoint" else {}
    y = getattr(package, name)(field, y0, torch.tensor([0.0, 2.0]), **more)
    (gradient,) = torch.autograd.grad(y[-1].sum(), y0)
    close(gradient, torch.tensor([-0.97852, 0.72213]), 1e-4, 0)
    with torch.no_grad():
        assert not getattr(package, name)(field, y0, torch.tensor([0.0, 2.0]), **more).requires_grad


# Errors


def _raises(package: Any, kwargs: dict[str, Any]) -> type[BaseException]:
    call: dict[str, Any] = dict(func=lambda t, y: -y, y0=torch.ones(2), t=torch.tensor([0.0, 1.0]), name="odeint")
    call |= kwargs
    name, args = call.pop("name"), [call.pop(key) for key in ("func", "y0", "t")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            result = getattr(package, name)(*args, **call)
            result.sum().backward()
        except Exception as error:
            assert str(error) or package is theirs
            return type(error)
    raise AssertionError(f"{package.__name__} took {kwargs}")


BAD: dict[str, dict[str, Any]] = {
    "unknown method": dict(method="nonsense"),
    "state a list": dict(y0=[1.0]),
    "times a list": dict(t=[0.0, 1.0]),
    "times whole numbers": dict(t=torch.tensor([0, 1])),
    "times in two dimensions": dict(t=torch.zeros(2, 2)),
    "times equal": dict(t=torch.tensor([0.0, 0.0, 1.0])),
    "times unsorted": dict(t=torch.tensor([0.0, 1.0, 0.5])),
    "tolerances of another length": dict(y0=(torch.ones(2),), rtol=(1e-3, 1e-3)),
    "state empty": dict(y0=torch.zeros(0)),
    "tolerance with gradient": dict(rtol=torch.tensor(1e-3, requires_grad=True)),
    "shape of the field": dict(func=lambda t, y: torch.ones(3)),
    "shape of the field, given steps": dict(func=lambda t, y: torch.ones(3), method="rk4"),
    "steps of no size": dict(method="rk4", options=dict(step_size=0.0)),
    "two grids": dict(method="rk4", options=dict(step_size=0.1, grid_constructor=lambda f, y, t: t)),
    "grid elsewhere": dict(method="rk4", options=dict(grid_constructor=lambda f, y, t: t + 1)),
    "interpolation": dict(method="rk4", options=dict(interp="quintic")),
    "order of Adams": dict(method="explicit_adams", options=dict(max_order=13)),
    "steps repeated": dict(options=dict(step_t=torch.tensor([0.5]), jump_t=torch.tensor([0.5]))),
    "too many steps": dict(options=dict(max_num_steps=1)),
    "not finite": dict(func=lambda t, y: y * math.nan),
    "event times": dict(event_fn=lambda t, y: y, t=torch.tensor([0.0, 0.5, 1.0])),
    "event without step size": dict(event_fn=lambda t, y: y, method="rk4"),
    "adjoint norm": dict(
        name="odeint_adjoint",
        adjoint_params=(),
        adjoint_options=dict(norm="nonsense"),
        y0=torch.ones(2).requires_grad_(),
    ),
    "adjoint without parameters": dict(name="odeint_adjoint"),
    "adjoint options unknown": dict(
        name="odeint_adjoint", method="rk4", options=dict(step_size=0.1), adjoint_method="dopri5", adjoint_params=()
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_raises_the_same_class(kind: str) -> None:
    assert _raises(ours, BAD[kind]) is _raises(theirs, BAD[kind])
