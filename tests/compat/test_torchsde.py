"""Side by side with the package itself, on the same Brownian motion."""

import copy
import math
import sys
import warnings
from typing import Any

import pytest
import torch
import torchsde as theirs
from torch import nn

from sciml.compat import torchsde as ours
from sciml.compat.torchsde.pieces import Pieces

ROWS, SIZE, NOISE = 5, 3, 2
ITO, STRATONOVICH = ("euler", "milstein", "srk"), ("euler_heun", "heun", "midpoint", "milstein", "reversible_heun")
CASES = [
    (name, sense, noise)
    for sense, names in (("ito", ITO), ("stratonovich", (*STRATONOVICH, "log_ode")))
    for name in names
    for noise in ("diagonal", "scalar", "additive", "general")
    if not (noise == "general" and name in ("milstein", "srk"))
]
ADJOINT_CASES = [
    ("milstein", "ito", "diagonal"),
    ("heun", "stratonovich", "general"),
    ("reversible_heun", "stratonovich", "scalar"),
    ("srk", "ito", "additive"),
]
STEP = 0.125
"""Exact, so that both take the same times: theirs are sums of steps."""
TS = torch.tensor([0.0, 0.25, 0.4, 1.0], dtype=torch.float64)


class Equation(nn.Module):
    """An equation of each kind; entry i of a diagonal diffusion depends on entry i of the state only."""

    def __init__(self, noise_type: str, sde_type: str) -> None:
        super().__init__()
        self.noise_type, self.sde_type = noise_type, sde_type
        self.layer = nn.Linear(SIZE, SIZE)
        self.a = nn.Parameter(torch.linspace(0.2, 0.6, SIZE))
        self.matrix = nn.Parameter(torch.linspace(-0.5, 0.5, SIZE * NOISE).reshape(SIZE, NOISE))

    def f(self, t, y):
        return torch.tanh(self.layer(y)) + torch.cos(t)

    def g(self, t, y):
        if self.noise_type == "diagonal":
            return self.a * torch.sin(y + t)
        if self.noise_type == "scalar":
            return (self.a * y).unsqueeze(-1)  # torchsde's Milstein transposes the derivative, so that it is symmetric
        if self.noise_type == "additive":
            return self.matrix.expand(len(y), SIZE, NOISE)
        return torch.sin(y + t).unsqueeze(-1) * self.matrix

    def h(self, t, y):
        return -y


def brownian(noise_type, sizes=(), package=theirs, entropy=7):
    channels = {"diagonal": SIZE, "scalar": 1}.get(noise_type, NOISE) + sum(sizes)
    return package.BrownianInterval(0.0, 1.0, (ROWS, channels), entropy=entropy, levy_area_approximation="foster")


def start():
    return torch.linspace(-1, 1, ROWS * SIZE).reshape(ROWS, SIZE).requires_grad_()


def gradients(ys, y0, sde):
    return torch.autograd.grad(ys.square().sum(), [y0, *sde.parameters()], allow_unused=True, materialize_grads=True)


@pytest.mark.parametrize(("name", "sense", "noise"), CASES)
def test_values_and_gradients_on_their_brownian_motion(name, sense, noise):
    sde, bm, results = Equation(noise, sense), brownian(noise), []
    for package in (theirs, ours):
        y0 = start()
        ys = package.sdeint(sde, y0, TS, bm=bm, method=name, dt=STEP)
        results.append((ys, gradients(ys, y0, sde)))
    assert results[1][0].shape == (4, ROWS, SIZE) and results[1][0].is_contiguous()
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("noise", "sense"), [("diagonal", "ito"), ("scalar", "stratonovich")])
def test_milstein_without_derivatives_is_near(noise, sense):
    sde, bm = Equation(noise, sense), brownian(noise)
    options: Any = {"bm": bm, "method": "milstein", "dt": 0.005, "options": {"grad_free": True}}
    with torch.no_grad():
        both = [package.sdeint(sde, start(), TS, **options) for package in (theirs, ours)]
    torch.testing.assert_close(*both, rtol=5e-3, atol=5e-3)


@pytest.mark.parametrize("noise", ["diagonal", "general"])
def test_divergence_from_the_prior(noise):
    sde = Equation(noise, "stratonovich")
    bm = brownian(noise, (1,) if noise == "diagonal" else ())
    options: Any = {"bm": bm, "method": "heun", "dt": STEP, "logqp": True, "names": {"drift": "h", "prior_drift": "f"}}
    both = [package.sdeint(sde, start(), TS, **options) for package in (theirs, ours)]
    torch.testing.assert_close(*both, rtol=1e-9, atol=1e-9)
    assert both[1][1].shape == (3, ROWS)


def test_divergence_stays_finite_where_the_diffusion_is_zero():
    sde = Equation("diagonal", "ito")
    sde.a.data.zero_()
    _, ratio = ours.sdeint(sde, start(), TS, dt=0.1, method="euler", logqp=True, names={"prior_drift": "f"})
    assert not ratio.any()


@pytest.mark.parametrize("noise", ["diagonal", "scalar"])
def test_what_the_solver_carries(noise):
    sde, bm, results = Equation(noise, "stratonovich"), brownian(noise), []
    for package in (theirs, ours):
        options: Any = {"bm": bm, "method": "reversible_heun", "dt": STEP, "extra": True}
        ys, extra = package.sdeint(sde, start(), [0.0, 0.5], **options)
        more, _ = package.sdeint(sde, ys[-1], [0.5, 1.0], extra_solver_state=extra, **options)
        results.append((ys, extra, more))
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-9)
    assert ours.sdeint(sde, start(), [0.0, 0.5], bm=bm, method="heun", dt=0.1, extra=True)[1] == ()


@pytest.mark.parametrize("name", ["heun", "reversible_heun"])
def test_adaptive_steps_are_theirs(name):
    sde = Equation("diagonal", "stratonovich")
    options: Any = {"method": name, "dt": 0.05, "adaptive": True, "rtol": 1e-2, "atol": 1e-2}
    bm = theirs.BrownianInterval(0.0, 1.0, (ROWS, SIZE), entropy=3, tol=1e-9, halfway_tree=True)
    results = []
    for package in (theirs, ours):
        y0 = start()
        ys = package.sdeint(sde, y0, TS, bm=bm, **options)
        results.append((ys, gradients(ys, y0, sde)))
    torch.testing.assert_close(*results, rtol=1e-7, atol=1e-7)
    with torch.no_grad():
        torch.testing.assert_close(ours.sdeint(sde, start(), TS, bm=bm, **options), results[1][0])


@pytest.mark.parametrize("name", ["euler", "srk"])
def test_adaptive_steps_on_our_own_brownian_motion_come_near(name):
    sde, bm = Equation("additive", "ito"), brownian("additive", package=ours)
    fine = ours.sdeint(sde, start(), TS, bm=bm, method=name, dt=1e-3)
    adaptive = ours.sdeint(sde, start(), TS, bm=bm, method=name, adaptive=True, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(adaptive[-1], fine[-1], rtol=1e-2, atol=1e-2)  # between steps both are linear


def test_smallest_adaptive_step_warns():
    sde = Equation("diagonal", "stratonovich")
    options: Any = {
        "adaptive": True,
        "dt": STEP,
        "dt_min": 0.05,
        "rtol": 1e-6,
        "atol": 1e-6,
    }
    for package in (theirs, ours):
        with pytest.warns(UserWarning, match="minimum allowed step size|dt_min=0.05 is reached"):
            package.sdeint(sde, start(), TS, bm=brownian("diagonal"), method="heun", **options)


def test_functions_that_give_products():
    class Product:
        noise_type, sde_type, calls = "general", "ito", 0

        def f_and_g_prod(self, t, y, v):
            self.calls += 1
            return -y, torch.bmm(y.unsqueeze(-1) * torch.ones(NOISE), v.unsqueeze(-1)).squeeze(-1)

    class Both:
        noise_type, sde_type = "general", "ito"

        def f_and_g(self, t, y):
            return -y, y.unsqueeze(-1) * torch.ones(NOISE)

    class Separate(Both):
        def g_prod(self, t, y, v):
            return torch.bmm(y.unsqueeze(-1) * torch.ones(NOISE), v.unsqueeze(-1)).squeeze(-1)

    bm, product = brownian("general"), Product()
    options: Any = {"bm": bm, "method": "euler", "dt": STEP}
    results = [ours.sdeint(sde, start(), TS, **options) for sde in (product, Both(), Separate())]
    results.append(theirs.sdeint(product, start(), TS, **options))
    for result in results[1:]:
        torch.testing.assert_close(result, results[0], rtol=1e-12, atol=1e-12)
    assert product.calls == 2 * (1 + 8)
    for sde in (Product(), Both()):
        sde.sde_type = "stratonovich"
        both = (package.sdeint(sde, start(), TS, bm=bm, method="midpoint", dt=STEP) for package in (theirs, ours))
        torch.testing.assert_close(*both, rtol=1e-12, atol=1e-12)
    sde = Product()
    sde.sde_type = "stratonovich"
    with pytest.raises(RuntimeError, match="needs drift and diffusion themselves"):
        ours.sdeint(sde, start(), TS, bm=bm, method="reversible_heun", dt=0.1)


@pytest.mark.parametrize("name", ["milstein", "srk"])
@pytest.mark.parametrize("adaptive", [False, True])
def test_products_alone_serve_where_noise_is_additive(name, adaptive):
    class Products(torch.nn.Module):
        noise_type, sde_type = "additive", "ito"

        def __init__(self):
            super().__init__()
            self.matrix = torch.nn.Parameter(torch.linspace(0.1, 0.6, SIZE * NOISE).reshape(SIZE, NOISE))

        def f(self, t, y):
            return -y * (1 + t)

        def g_prod(self, t, y, v):
            return v @ self.matrix.mT

    class Matrix(Products):
        def g(self, t, y):
            return self.matrix.expand(len(y), SIZE, NOISE)

    sde = Products()
    bm = theirs.BrownianInterval(
        0.0, 1.0, (ROWS, NOISE), entropy=3, tol=1e-9, halfway_tree=True, levy_area_approximation="space-time"
    )
    options: Any = {"bm": bm, "method": name, "dt": STEP, "adaptive": adaptive, "rtol": 1e-1, "atol": 1e-1}
    results = [package.sdeint(sde, start(), TS, **options) for package in (theirs, ours)]
    results += [ours.sdeint(Matrix(), start(), TS, **options), ours.sdeint_adjoint(sde, start(), TS, **options)]
    found = [torch.autograd.grad(results[n].square().sum(), sde.matrix)[0] for n in (0, 1, 3)]
    for made in (results, found):
        for value in made[1:]:
            torch.testing.assert_close(value, made[0], rtol=1e-7, atol=1e-7)


def test_lost_states_are_nan_in_their_rows():
    class Exploding:
        noise_type, sde_type = "diagonal", "ito"
        f = staticmethod(lambda t, y: y**3)
        g = staticmethod(lambda t, y: torch.zeros_like(y))

    y0 = torch.tensor([[0.1], [1e60]])
    both = [package.sdeint(Exploding(), y0, [0.0, 0.1, 0.5, 1.0], method="euler", dt=0.1) for package in (theirs, ours)]
    torch.testing.assert_close(both[1][:, 0], both[0][:, 0])
    assert both[1][2:, 1].isnan().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_defaults(dtype):
    for sense, noise in (("ito", "diagonal"), ("ito", "additive"), ("ito", "general"), ("stratonovich", "general")):
        sde = Equation(noise, sense).to(dtype)
        ys = ours.sdeint(sde, start().detach().to(dtype), torch.linspace(0, 0.3, 4, dtype=dtype), dt=0.05)
        assert ys.dtype == dtype and ys.isfinite().all()
    assert ours.sdeint(sde, start().detach().to(dtype), [0.5]).shape == (1, ROWS, SIZE)
    # 0.3 in float32 is more than 6 steps of 0.05, and not meant so: one draw for each of 6 steps.
    bm = ours.BrownianInterval(0.0, torch.tensor(0.3, dtype=dtype), (ROWS, NOISE), dtype=dtype)
    ours.sdeint(sde, start().detach().to(dtype), torch.tensor([0.0, 0.3], dtype=dtype), bm=bm, dt=0.05)
    assert isinstance(bm.path, Pieces) and len(bm.path.times) == 7


@pytest.mark.parametrize(("name", "sense", "noise"), ADJOINT_CASES)
@pytest.mark.parametrize("adaptive", [False, True])
def test_adjoint_gives_the_gradients_of_the_steps(name, sense, noise, adaptive):
    sde, bm, results = Equation(noise, sense), brownian(noise, package=ours), []
    options: Any = {"bm": bm, "method": name, "dt": 0.05, "adaptive": adaptive, "rtol": 1e-2, "atol": 1e-2}
    for solve in (ours.sdeint, ours.sdeint_adjoint):
        y0 = start()
        ys = solve(sde, y0, TS, **options)
        results.append((ys, gradients(ys, y0, sde)))
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-9)


def test_adjoint_is_near_to_theirs():
    sde, bm, results = Equation("diagonal", "stratonovich"), brownian("diagonal"), []
    for package in (theirs, ours):
        y0 = start()
        results.append(gradients(package.sdeint_adjoint(sde, y0, TS, bm=bm, dt=0.01), y0, sde))
    torch.testing.assert_close(*results, rtol=0.05, atol=0.05)


def test_adjoint_of_what_the_solver_carries_and_of_the_ratio():
    sde, bm = Equation("diagonal", "stratonovich"), brownian("diagonal", package=ours)
    results = []
    for solve in (ours.sdeint, ours.sdeint_adjoint):
        y0 = start()
        options: Any = {"bm": bm, "method": "reversible_heun", "dt": STEP, "extra": True}
        ys, extra = solve(sde, y0, [0.0, 0.5], **options)
        ys, (f, _, z) = solve(sde, ys[-1], [0.5, 1.0], extra_solver_state=extra, **options)
        loss = ys.square().sum() + f.sum() + z.square().sum()
        results.append(torch.autograd.grad(loss, [y0, sde.a, sde.layer.weight]))
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-9)
    bm, results = brownian("diagonal", (1,), package=ours), []
    for solve in (ours.sdeint, ours.sdeint_adjoint):
        y0 = start()
        _, ratio = solve(sde, y0, TS, bm=bm, method="heun", dt=0.1, logqp=True)
        results.append(torch.autograd.grad(ratio.sum(), [y0, sde.a, sde.layer.weight]))
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-9)


def test_adjoint_differentiated_twice():
    sde, bm = Equation("diagonal", "stratonovich"), brownian("diagonal", package=ours)
    results = []
    for solve in (ours.sdeint, ours.sdeint_adjoint):
        y0 = start()
        ys = solve(sde, y0, [0.0, 0.5], bm=bm, dt=0.1)
        first = torch.autograd.grad(ys.square().sum(), [y0, sde.a], create_graph=True)
        results.append(torch.autograd.grad(first[0].square().sum() + first[1].sum(), [y0, sde.a]))
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-9)


def test_adjoint_parameters():
    sde, bm = Equation("diagonal", "stratonovich"), brownian("diagonal", package=ours)
    ours.sdeint_adjoint(sde, start(), TS, bm=bm, dt=0.1, adjoint_params=[sde.a]).sum().backward()
    assert sde.a.grad is not None and sde.layer.weight.grad is None
    context = torch.ones(SIZE, requires_grad=True)
    inner = sde.f
    sde.f = lambda t, y: inner(t, y) * context
    made = ours.sdeint_adjoint(sde, start(), TS, bm=bm, dt=0.1, adjoint_params=(*sde.parameters(), context))
    plain = ours.sdeint(sde, start(), TS, bm=bm, dt=0.1)
    torch.testing.assert_close(*(torch.autograd.grad(ys.square().sum(), context) for ys in (made, plain)))
    with pytest.raises(ValueError, match="would lose its gradient") as caught:
        ours.sdeint_adjoint(sde, start(), TS, bm=bm, dt=0.1)
    assert "`adjoint_params`" in caught.value.__notes__[0]
    unused = Equation("diagonal", "stratonovich")
    ours.sdeint_adjoint(unused, start(), TS, bm=bm, dt=0.1)[-1].sum().backward()
    assert unused.matrix.grad is not None and not unused.matrix.grad.any()  # zeros, as theirs
    with torch.no_grad():
        assert not ours.sdeint_adjoint(sde, start(), TS, bm=bm, dt=0.1).requires_grad


ARGUMENTS: dict[str, Any] = {
    "y0": ({"y0": 1.0}, ValueError, "`y0` must be a tensor of shape .*got a float"),
    "y0 shape": ({"y0": torch.ones(3)}, ValueError, r"got shape \(3,\)"),
    "ts kind": ({"ts": "01"}, ValueError, "`ts` must be a 1-D tensor or a list"),
    "ts order": ({"ts": [0.0, 0.5, 0.5]}, ValueError, "`ts` must increase strictly"),
    "ts gradient": ({"ts": torch.tensor([0.0, 1.0], requires_grad=True)}, ValueError, "`ts` must not require"),
    "dt gradient": ({"dt": torch.tensor(0.1, requires_grad=True)}, ValueError, "`dt` must not require"),
    "method": ({"method": "rk4"}, ValueError, "`method` must be one of"),
    "sense": ({"method": "euler"}, ValueError, "is for the sense of ito, got an equation of stratonovich"),
    "adjoint method": ({"method": "adjoint_reversible_heun"}, ValueError, "an adjoint method only"),
    "levy": ({"method": "log_ode", "bm": "none"}, ValueError, "one of .*foster.*got .none"),
    "bm axes": ({"bm": (3,)}, ValueError, r"`bm` must have shape \(batch, noise channels\)"),
    "bm batch": ({"bm": (ROWS + 1, SIZE)}, ValueError, "got batch sizes"),
    "bm channels": ({"bm": (ROWS, SIZE + 1)}, ValueError, "got noise sizes"),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_refused_with_their_kind_of_error(name):
    options, kind, message = ARGUMENTS[name]
    options: Any = {"y0": start(), "ts": TS, "dt": STEP, **options}
    for package in (theirs, ours):
        bm = options.get("bm")
        if isinstance(bm, tuple):
            bm = package.BrownianInterval(0.0, 1.0, bm)
        elif bm is not None:
            bm = package.BrownianInterval(0.0, 1.0, (ROWS, SIZE), levy_area_approximation=bm)
        with pytest.raises(kind, match=message if package is ours else None), warnings.catch_warnings():
            warnings.simplefilter("ignore" if package is theirs else "error")
            package.sdeint(Equation("diagonal", "stratonovich"), **{**options, "bm": bm})


def without(*names, **changed) -> Any:
    """An equation with other attributes."""
    sde: Any = type("Odd", (), {"f": staticmethod(lambda t, y: y), "g": staticmethod(lambda t, y: y)})
    sde.noise_type, sde.sde_type = "diagonal", "ito"
    for name in names:
        delattr(sde, name)
    for name, value in changed.items():
        setattr(sde, name, value if isinstance(value, str) else staticmethod(value))
    return sde()


EQUATIONS: dict[str, Any] = {
    "no noise type": (without("noise_type"), "must have the attribute `noise_type`"),
    "no sde type": (without("sde_type"), "must have the attribute `sde_type`"),
    "noise type": (without(noise_type="odd"), "`noise_type` must be one of"),
    "sde type": (without(sde_type="odd"), "`sde_type` must be one of"),
    "no drift": (without("f"), "must have a drift"),
    "no diffusion": (without("g"), "must have a diffusion"),
    "drift": (without(f=lambda t, y: y[0]), "the drift must have shape"),
    "diffusion": (without(g=lambda t, y: y.unsqueeze(-1)), "the diffusion of diagonal noise must have shape"),
    "matrix": (without(noise_type="general"), "state channels, noise channels"),
    "state": (without(f=lambda t, y: y[:, :1]), "got state sizes"),
    "scalar": (
        without(noise_type="scalar", g=lambda t, y: y.unsqueeze(-1).expand(-1, -1, 2)),
        "scalar noise must have one channel, got 2",
    ),
    "product": (without("g", g_prod=lambda t, y, v: y), "number of Brownian motions must be told"),
    "noise of method": (
        without(noise_type="general", g=lambda t, y: y.unsqueeze(-1)),
        "for noise that is additive, diagonal, scalar",
    ),
}


@pytest.mark.parametrize("name", EQUATIONS)
def test_odd_equations_are_refused(name):
    sde, message = EQUATIONS[name]
    for package in (theirs, ours):
        with pytest.raises(ValueError, match=message if package is ours else None):
            package.sdeint(sde, start().detach(), TS, method="milstein", dt=0.1)


ADJOINTS: dict[str, Any] = {
    "no module": ({}, "ito", "diagonal", ValueError, "`adjoint_params` must be given"),
    "srk": ({"adjoint_method": "srk"}, "ito", "diagonal", ValueError, "cannot be the method of an adjoint"),
    "general": ({"adjoint_method": "milstein"}, "ito", "additive", ValueError, "is for noise that is"),
    "scalar": ({"adjoint_method": "milstein"}, "ito", "scalar", NotImplementedError, "is for diagonal noise"),
    "sense": ({"adjoint_method": "heun"}, "ito", "diagonal", ValueError, "for the sense of stratonovich"),
    "name": ({"adjoint_method": "rk4"}, "ito", "diagonal", ValueError, "must be one of"),
    "free": (
        {"adjoint_method": "milstein", "adjoint_options": {"grad_free": True}},
        "ito",
        "diagonal",
        ValueError,
        "grad_free=False",
    ),
    "reversible": (
        {"adjoint_method": "adjoint_reversible_heun", "method": "heun"},
        "stratonovich",
        "diagonal",
        RuntimeError,
        "Name both or none",
    ),
    "gradient": ({"adjoint_rtol": torch.ones((), requires_grad=True)}, "ito", "diagonal", ValueError, "adjoint_rtol"),
}


@pytest.mark.parametrize("name", ADJOINTS)
def test_adjoint_is_refused_with_their_kind_of_error(name):
    options, sense, noise, kind, message = ADJOINTS[name]
    options: Any = {"method": "euler" if sense == "ito" else "heun", **options}
    for package in (theirs, ours):
        sde = Equation(noise, sense) if name != "no module" else without()
        with pytest.raises(kind, match=message if package is ours else None):
            ys = package.sdeint_adjoint(sde, start(), TS, dt=0.1, **options)
            ys.sum().backward()


def test_other_refusals_and_warnings():
    sde = Equation("diagonal", "ito")
    with pytest.raises(AttributeError, match="has no h"):
        ours.sdeint(without(), start().detach(), TS, logqp=True)
    with pytest.raises(ValueError, match="`dt` must be positive"):
        ours.sdeint(sde, start(), TS, dt=-0.1)
    for solve in (ours.sdeint, ours.sdeint_adjoint):
        with pytest.warns(UserWarning, match=r"has no arguments \['steps'\]"):
            solve(sde, start(), TS, dt=0.5, steps=3)
    with pytest.warns(UserWarning, match="Euler-Maruyama"):
        ours.sdeint(sde, start(), TS, method="euler", adaptive=True, rtol=0.1, atol=0.1)
    infinite = without(f=lambda t, y: y * math.inf)
    for package in (theirs, ours):
        with pytest.raises(AssertionError, match="not a number" if package is ours else None):
            package.sdeint(infinite, start().detach(), TS, method="milstein", adaptive=True, dt=0.1)


def test_base_classes_and_words():
    for base in (ours.SDEIto, theirs.SDEIto, ours.SDEStratonovich, theirs.SDEStratonovich):
        with pytest.raises(ValueError, match="noise"):
            base(noise_type="odd")
    with pytest.raises(ValueError, match="`sde_type` must be one of"):
        ours.BaseSDE("diagonal", "odd")
    assert ours.SDEIto("scalar").sde_type == "ito" and ours.SDEStratonovich("scalar").noise_type == "scalar"
    for words in ("METHODS", "NOISE_TYPES", "SDE_TYPES", "LEVY_AREA_APPROXIMATIONS", "METHOD_OPTIONS"):
        own, other = (getattr(package.settings, words) for package in (ours, theirs))
        assert own.all() == other.all() and str(own) == str(other) and own.all()[0] in own and "odd" not in own
    assert set(vars(sys.modules["torchsde.types"])) - set(dir(ours.types)) <= {"Tuple", "Dict", "annotations"}
    public = {name for name in vars(theirs) if not name.startswith("_")}
    assert public <= set(dir(ours))


def test_deepcopied_equations_and_quiet_solves():
    sde = copy.deepcopy(Equation("general", "stratonovich"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours.sdeint(sde, start(), TS, dt=0.1)


def test_a_class_times_of_two_axes_and_a_brownian_motion_that_is_too_short_are_refused():
    sde = Equation("diagonal", "ito")
    with pytest.raises(TypeError, match="`sde` must be an object, got the class Equation itself"):
        ours.sdeint(Equation, start(), TS)
    for ts in (torch.tensor([]), torch.linspace(0, 1, 4)[None]):
        with pytest.raises(ValueError, match="`ts` must hold one or more times along one axis, got shape"):
            ours.sdeint(sde, start(), ts)
    size = {"levy_area_approximation": "space-time", "size": (ROWS, SIZE)}
    for bm in (ours.BrownianInterval(0.0, 0.5, **size), ours.BrownianPath(0.2, torch.zeros(ROWS, SIZE))):
        with pytest.raises(ValueError, match="`bm` must span the times, 0 to 1, got one from"):
            ours.sdeint(sde, start(), torch.linspace(0, 1, 4), bm=bm, method="euler", dt=STEP)
